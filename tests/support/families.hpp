// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The tiny random models of tests/data/families, one of every family that seqkv knows.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "seqkv/kv_file.hpp"
#include "seqkv/model.hpp"
#include "support/result.hpp"

namespace seqkv::test {

template <class Space>
struct Family {
  std::string name;
  std::shared_ptr<const Model<Space>> model;
  KvFile golden;

  TokenSpan tokens() const { return golden.tokens(); }
};

/// In the order of their names.
template <class Space>
std::vector<Family<Space>> load_families(const Space& space) {
  std::vector<Family<Space>> families;
  for (const auto& folder : std::filesystem::directory_iterator(SEQKV_TEST_DATA "/families")) {
    families.push_back({folder.path().filename().string(), value_of(Model<Space>::load(space, folder.path())),
                        value_of(KvFile::open(folder.path() / "golden.safetensors"))});
  }
  std::sort(families.begin(), families.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return families;
}

}  // namespace seqkv::test
