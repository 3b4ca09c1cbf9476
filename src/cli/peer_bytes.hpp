// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What another program's codec prints; apart from peer.cpp because hipcc cannot compile the JSON library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace seqkv::cli {

/// "bytes" of a JSON object, if that is what was printed.
std::optional<std::int64_t> bytes_in(const std::string& printed);

}  // namespace seqkv::cli
