// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Tokens as bytes, near the entropy that a trie of windows gives them: n-gram counts of a corpus, mixed with those of
/// the block so far, drive a range coder. docs/token-coder.md has the model and the format, for who writes a decoder.
///
/// All of it is integer arithmetic: the same tokens and trie give the same bytes on every machine, for every number of
/// threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "seqkv/kv.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/result.hpp"
#include "seqkv/trie.hpp"

namespace seqkv {

/// Mixing weights of a trie of windows: how much of a context's probability goes to the shorter contexts, in 2^-16.
inline constexpr std::uint16_t min_token_weight = 128;
inline constexpr std::uint16_t max_token_weight = 65408;
/// Of each context length: [beside recent counts | recent | without recent counts][9 sizes][6 varieties], and
/// [3 runs][9 sizes] of the last token seen.
constexpr std::uint32_t token_weight_count(std::uint32_t depth_limit) { return depth_limit * (3 * 9 * 6 + 3 * 9); }

struct TokenWeightOptions {
  int folds = 10;  ///< parts of the corpus; each is coded by a trie of the others. At most one a sequence
  int passes = 4;  ///< of expectation maximization
  std::int64_t tokens = 1LL << 20;  ///< at most so many are coded, about 100 bytes of memory each; 0: all
};

/// Weights for a trie of these windows (with_weights puts them there), by cross-validation within the corpus; of one
/// sequence, the default weights. Builds `folds` tries, fences. The same for every space and number of threads.
/// Errors: those of build_window_trie, invalid_argument (folds below 2, passes below 1, tokens below 0).
template <class ExecutionSpace>
Result<std::vector<std::uint16_t>> train_token_weights(const ExecutionSpace& space,
                                                       std::span<const TokenSpan> sequences, int depth,
                                                       const TokenWeightOptions& options = {});

/// A stream in a file. Errors: io, disk_full.
Result<void> save_token_stream(const std::filesystem::path& path, std::span<const std::byte> stream);
/// Errors: file_not_found, io, limit_exceeded (limits::max_text_bytes), out_of_memory.
Result<std::vector<std::byte>> load_token_stream(const std::filesystem::path& path);

/// An entropy coder of token sequences. Cheap to copy; may be used by several threads at once.
class TokenCoder {
 public:
  struct Options {
    std::uint32_t block_tokens = 0;  ///< what can be decoded alone, and in parallel; 0: whole sequences
    bool adaptive = true;            ///< learn from the block's own tokens, too
    std::uint32_t vocabulary = 0;    ///< tokens are below it; 0: the trie's largest token plus one
  };

  /// With the trie's weights, or default ones. Time O(tokens of edges * log children), memory about 6 bytes a node (10
  /// where counts sum to 2^32), for a moment 15, beside the trie.
  /// Errors: invalid_argument (a trie of sessions, or a vocabulary that lacks the trie's tokens), corrupt (not the
  /// trie of any windows), limit_exceeded (limits::max_coded_vocabulary, or counts that sum to 2^34), out_of_memory.
  static Result<TokenCoder> create(Trie trie, const Options& options);
  static Result<TokenCoder> create(Trie trie) { return create(std::move(trie), Options()); }

  /// Identifies the trie, its weights included: the checksum of its file's header.
  std::uint64_t fingerprint() const noexcept;

  /// One stream of all sequences, which may be empty. Blocks in parallel on `space` (on the host's cores where that is
  /// a device); fences. Errors: token_out_of_range, out_of_memory, limit_exceeded (limits::max_tokens of a sequence).
  template <class ExecutionSpace>
  Result<std::vector<std::byte>> encode(const ExecutionSpace& space, std::span<const TokenSpan> sequences) const;

  /// All sequences of a stream made with this trie, whatever its options. Likely tokens take far less than a bit: who
  /// reads streams of strangers should bound `max_tokens`, of all sequences together.
  /// Errors: wrong_model (another trie), corrupt, truncated, checksum_mismatch, unsupported_version, limit_exceeded
  /// (more than max_tokens), out_of_memory.
  template <class ExecutionSpace>
  Result<std::vector<std::vector<Token>>> decode(const ExecutionSpace& space, std::span<const std::byte> stream,
                                                 std::uint64_t max_tokens = limits::max_tokens) const;

  /// Tokens [block * block_tokens, ...) of one sequence; nothing but the index and that block is read. Errors: those of
  /// decode, invalid_argument (no such sequence or block).
  Result<std::vector<Token>> decode_block(std::span<const std::byte> stream, std::uint64_t sequence,
                                          std::uint64_t block) const;

  /// -log2 of each token's probability given those before it, in 2^-16 bit: what its coding takes. `adaptive`: with
  /// what is learned from the tokens before it. Errors: token_out_of_range, out_of_memory.
  Result<std::vector<std::uint32_t>> surprisals(TokenSpan tokens, bool adaptive = false) const;

 private:
  struct Model;
  explicit TokenCoder(std::shared_ptr<const Model> model) : model_(std::move(model)) {}

  std::shared_ptr<const Model> model_;
};

}  // namespace seqkv
