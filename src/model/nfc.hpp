// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Unicode normalization form C, as tokenizers' NFC normalizer has it.
#pragma once

#include <string>
#include <string_view>

#include "seqkv/result.hpp"

namespace seqkv {

/// `text` in NFC by the tables of Unicode 9, which is what PyPI `tokenizers` is built with: younger characters
/// neither combine nor change places. Precondition: valid UTF-8. Errors: out_of_memory.
Result<std::string> to_nfc(std::string_view text);

}  // namespace seqkv
