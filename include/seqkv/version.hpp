// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Version of the library. Formats carry versions of their own (frame.hpp, store.hpp).
#pragma once

#include <string_view>

#define SEQKV_VERSION_MAJOR 0
#define SEQKV_VERSION_MINOR 1
#define SEQKV_VERSION_PATCH 0
#define SEQKV_VERSION_STRING "0.1.0"

namespace seqkv {

/// The version this library was built as; compare with SEQKV_VERSION_STRING to find a mixed-up installation.
std::string_view version() noexcept;

}  // namespace seqkv
