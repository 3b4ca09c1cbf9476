// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What every build of windows checks first, and the size of its keys.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

#include "core/try.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/result.hpp"
#include "seqkv/trie.hpp"
#include "trie/check_tokens.hpp"
#include "trie/window_key.hpp"

namespace seqkv::trie {

/// Errors: invalid_argument (depth below 1), limit_exceeded.
inline Result<void> check_depth(int depth) {
  if (depth < 1) return Error(ErrorCode::invalid_argument, fmt::format("windows of {} tokens", depth));
  if (depth <= limits::max_window_depth) return {};
  return Error(ErrorCode::limit_exceeded,
               fmt::format("windows of {} tokens; {} are the most", depth, limits::max_window_depth));
}

/// Places of windows and of the ends of sequences are numbers of 32 bits. Errors: limit_exceeded.
inline Result<void> check_windows(std::int64_t windows, std::int64_t sequences) {
  if (windows <= limits::max_windows && windows + sequences <= UINT32_MAX) return {};
  return Error(ErrorCode::limit_exceeded, fmt::format("{} windows are more than {} in one build; merge several tries",
                                                      windows, limits::max_windows));
}

/// Tokens of sequences.
struct Extent {
  std::int64_t windows = 0;
  Token largest = 0;
};

/// Errors: empty_input, token_out_of_range, limit_exceeded.
inline Result<Extent> extent_of(std::span<const TokenSpan> sequences) {
  if (sequences.empty()) return Error(ErrorCode::empty_input, "no sequence to build a trie of");
  Extent extent;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    SEQKV_ASSIGN(const Token largest, check_tokens(sequences[i], i));
    extent.largest = std::max(extent.largest, largest);
    extent.windows += std::ssize(sequences[i]);
  }
  SEQKV_TRY(check_windows(extent.windows, std::ssize(sequences)));
  return extent;
}

/// run.template operator()<Words>(format) with as many words as keys of these windows take.
/// Errors: limit_exceeded, those of `run`.
template <class Run>
auto with_key_format(Token largest, int depth, const Run& run) -> decltype(run.template operator()<1>(KeyFormat())) {
  const KeyFormat format(static_cast<int>(std::bit_width(largest + 1)), depth);
  if (format.words() <= 1) return run.template operator()<1>(format);
  if (format.words() <= 2) return run.template operator()<2>(format);
  if (format.words() <= 4) return run.template operator()<4>(format);
  if (format.words() <= 8) return run.template operator()<8>(format);
  return Error(ErrorCode::limit_exceeded,
               fmt::format("windows of {} tokens of {} bits take more than 512 bits", depth, format.symbol_bits));
}

}  // namespace seqkv::trie
