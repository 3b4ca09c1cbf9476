// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a language model says of tokens, in numbers that are the same on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "seqkv/forward.hpp"

namespace seqkv {

/// -log2 softmax(logits)[next] in 2^-16 bit, of one row; at most 2^32 - 1. Fixed order, own exponentials: the same bits
/// everywhere. Precondition: next < logits.size().
std::uint32_t surprisal_of(std::span<const float> logits, Token next);

/// -log2 P(token | all tokens before it) of every token, in 2^-16 bit, by the model's own distribution; the first
/// token, which has nothing before it, counts log2 of the vocabulary. The same bits for every space, thread count and
/// chunk. Fences. Errors: empty_input, those of Forward::run.
template <class ExecutionSpace>
Result<std::vector<std::uint32_t>> token_surprisals(const ExecutionSpace& space, Forward<ExecutionSpace>& forward,
                                                    TokenSpan tokens);

}  // namespace seqkv
