// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What sessions may be called.
#pragma once

#include <fmt/format.h>

#include <string>

#include "io/text.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/result.hpp"

namespace seqkv::store {

/// Errors: invalid_argument.
inline Result<void> check_session_name(const std::string& name) {
  if (!name.empty() && static_cast<std::int64_t>(name.size()) <= limits::max_session_name &&
      io::find_invalid_utf8(name) < 0 && name.find('\0') == std::string::npos) {
    return {};
  }
  return Error(ErrorCode::invalid_argument,
               fmt::format("a session's name has 1 to {} bytes of UTF-8, none of them zero", limits::max_session_name));
}

}  // namespace seqkv::store
