// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Prints coded symbol blocks, their tables and their symbols as JSON, for the decoder in tests/python.
#include <Kokkos_Core.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "codec/entropy/symbol_coder.hpp"
#include "support/symbol_blocks.hpp"

using namespace seqkv;

int main() {
  const Kokkos::ScopeGuard kokkos;
  const auto family = codec::TableFamily::of_scales(40, 0.1, 40);
  nlohmann::json out;
  for (int t = 0; t < family.tables(); ++t) out["tables"].push_back(family.frequencies(t));
  auto blocks = test::varied_blocks(family, 1);
  std::vector<codec::SymbolBlock> views;
  for (auto& block : blocks) {
    block.coded.resize(static_cast<std::size_t>(block.view().most_bytes()));
    views.push_back(block.view());
  }
  const Kokkos::DefaultHostExecutionSpace space;
  codec::encode_symbols(space, family.view(), views.data(), static_cast<std::int64_t>(views.size()));
  space.fence("seqkv::test: blocks are printed");
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto* coded = reinterpret_cast<const std::uint8_t*>(views[i].coded);
    out["blocks"].push_back({{"runs", blocks[i].runs},
                             {"classes", blocks[i].classes},
                             {"least_choice", blocks[i].least_choice},
                             {"choices", blocks[i].choices},
                             {"symbols", blocks[i].symbols},
                             {"coded", std::vector<std::uint8_t>(coded, coded + views[i].bytes)}});
  }
  std::printf("%s\n", out.dump().c_str());
}
