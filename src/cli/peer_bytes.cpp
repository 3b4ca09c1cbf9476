// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/peer_bytes.hpp"

#include <nlohmann/json.hpp>

namespace seqkv::cli {

std::optional<std::int64_t> bytes_in(const std::string& printed) {
  const auto json = nlohmann::json::parse(printed, nullptr, false);
  if (!json.is_object() || !json.contains("bytes") || !json["bytes"].is_number_integer()) return std::nullopt;
  return json["bytes"].get<std::int64_t>();
}

}  // namespace seqkv::cli
