// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What calibration looks at: which pieces of the text, and which of their tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "calibrate/sizes.hpp"
#include "seqkv/calibrate.hpp"

namespace seqkv::calibration {

/// One sampled token.
struct Row {
  Token token = 0;
  float behind = 0;        ///< distance to the end of the context: the last token's is 1
  float block_behind = 0;  ///< distance to the end of its block
  float weight = 0;        ///< one over the probability of being sampled, of mean 1
};

/// A piece of a document: its first token (the usual one put in front of later pieces), context and continuation.
using Chunk = std::vector<Token>;

/// A document behind two preambles: its tokens are predicted in the first of these contexts, from the second.
struct Pair {
  std::array<std::vector<Token>, 2> contexts;
  std::array<std::int64_t, 2> starts{};  ///< of the document in each
  std::vector<std::int64_t> positions;   ///< the sampled tokens of the document, ascending; as many as of a chunk
};

struct Plan {
  KvShape shape;
  std::int64_t context = 0;
  std::int64_t continuation = 0;
  Sizes sizes;
  int draws = 0;  ///< gradient samples of a chunk
  std::int64_t rows_of_chunk = 0;
  std::vector<Chunk> chunks;
  std::vector<std::vector<std::int64_t>> positions;  ///< [chunks][rows_of_chunk]: the sampled tokens, ascending
  std::vector<Row> rows;                             ///< of all chunks
  std::vector<std::vector<Token>> held_out;          ///< documents of which nothing is in `chunks`
  std::optional<Token> first_token;                  ///< with which all chunks begin
  std::vector<Pair> pairs;                           ///< for predictions from references; none: they are not learned
  std::vector<Row> predicted_rows;                   ///< of all pairs in the first context
  std::vector<Row> source_rows;                      ///< and in the second
  Digest key;                                        ///< of all of this, the model and the text

  std::int64_t width() const { return shape.kv_heads * shape.head_dim; }
  std::int64_t subblocks() const { return 2 * shape.layers; }
  std::int64_t rows_in_all() const { return static_cast<std::int64_t>(rows.size()); }
  std::int64_t window(std::int64_t number) const { return window_of(number, sizes.layers_below); }
  /// What a sub-block is predicted from: the constant, the token, the values below.
  std::int64_t inputs(std::int64_t number) const { return 1 + sizes.token_width + window(number) * width(); }
  /// Of its predictor; 0: a whole matrix.
  std::int64_t rank(std::int64_t number) const { return useful_rank(sizes.rank, inputs(number), width() + 1); }
};

/// Errors: invalid_argument, empty_input (with the amount that is needed).
Result<Plan> make_plan(const ModelConfig& config, const Digest& model, const std::vector<std::vector<Token>>& documents,
                       const CalibrateOptions& options);

/// The state of a small generator of random numbers (splitmix64), the same on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15ULL;
    std::uint64_t x = state_;
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31U);
  }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(bits() >> 11U) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace seqkv::calibration
