// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/version.hpp"

namespace seqkv {

std::string_view version() noexcept { return SEQKV_VERSION_STRING; }

}  // namespace seqkv
