// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The probabilistic language trie (arXiv 2604.06228; layer 1 of arXiv 2604.15356): token sequences by their prefixes,
/// with counts. docs/trie.md has the data structure, the file format and what it costs.
///
/// The same set of sequences gives the same trie, byte for byte, whatever the order of insertion, the number of threads
/// and the backend.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "seqkv/kv.hpp"
#include "seqkv/result.hpp"
#include "seqkv/trie_view.hpp"

namespace seqkv {

enum class TrieKind : std::uint8_t {
  windows = 1,   ///< of every position the next `depth_limit` tokens: n-gram counts, which predict
  sessions = 2,  ///< whole sequences with ids: what is stored already
};

/// What the sizes of a trie's arrays follow from.
struct TrieShape {
  TrieKind kind = TrieKind::sessions;
  bool surprisals = false;        ///< sessions: whether every token has one
  std::uint32_t depth_limit = 0;  ///< windows: tokens of the longest
  Token largest_token = 0;
  std::uint64_t nodes = 1;         ///< with the root
  std::uint64_t label_tokens = 0;  ///< tokens of edges beyond the first
  std::uint64_t total = 0;         ///< windows or sessions: the root's count
  std::uint64_t sum_counts = 0;    ///< over all nodes
  std::uint32_t weights = 0;       ///< windows: token_weight_count(depth_limit) (token_coder.hpp), or 0: none trained

  friend bool operator==(const TrieShape&, const TrieShape&) = default;
};

/// A session to be stored.
struct TrieSession {
  TokenSpan tokens;
  std::uint64_t id = 0;                            ///< the caller's; unique within a trie
  std::span<const std::uint32_t> surprisals = {};  ///< of each token given all before it, in 2^-16 bit; or empty
};

/// An immutable trie in host memory, or a mapped file. Cheap to copy: copies share the memory.
class Trie {
 public:
  /// The empty trie of whole sessions.
  Trie();
  /// Memory that `owner` keeps, laid out as `shape` says (src/trie/image.hpp).
  Trie(const TrieShape& shape, std::span<const std::byte> image, std::shared_ptr<const void> owner);

  const TrieShape& shape() const noexcept { return shape_; }
  const TrieView& view() const noexcept { return view_; }
  /// All arrays, as they stand in a file.
  std::span<const std::byte> image() const noexcept { return image_; }
  /// Byte for byte.
  friend bool operator==(const Trie& a, const Trie& b);

  /// Maps a file read-only after checking all of it: checksums, and that its arrays are those of a trie.
  /// Errors: file_not_found, io, truncated, corrupt, checksum_mismatch, unsupported_version, limit_exceeded.
  static Result<Trie> open(const std::filesystem::path& path);
  /// All or nothing. Errors: io, disk_full.
  Result<void> save(const std::filesystem::path& path) const;

 private:
  TrieShape shape_;
  std::span<const std::byte> image_;
  std::shared_ptr<const void> owner_;
  TrieView view_;
};

/// The windows of every position of `sequences`, at most `depth` tokens each (shorter at the ends). In parallel on
/// `space`, fences. Time O(windows * depth), memory about 40 to 72 bytes a window beside the trie (docs/trie.md).
/// Errors: empty_input (no sequence, or an empty one), invalid_argument (depth below 1), token_out_of_range,
/// limit_exceeded (limits::max_window_depth, limits::max_windows, or depth times the bits of a token above 512),
/// out_of_memory.
template <class ExecutionSpace>
Result<Trie> build_window_trie(const ExecutionSpace& space, std::span<const TokenSpan> sequences, int depth);

/// Whole sessions. Long common prefixes cost one hash of each token and a logarithm of comparisons, not a comparison of
/// each pair; what hashes say is checked token by token. In parallel
/// on `space`, on the host's cores where that is a device; fences.
/// Errors: empty_input, token_out_of_range, limit_exceeded (limits::max_tokens), invalid_argument (an id twice, some
/// sessions with surprisals and some without, different surprisals of the same prefix), out_of_memory.
template <class ExecutionSpace>
Result<Trie> build_session_trie(const ExecutionSpace& space, std::span<const TrieSession> sessions);

/// The same windows with the mixing weights of a token coder, trained by train_token_weights (token_coder.hpp), in
/// place of those it has; with an empty span, without. Errors: invalid_argument (a trie of sessions, not
/// token_weight_count(depth_limit) of them, or one outside of min_token_weight to max_token_weight), out_of_memory.
Result<Trie> with_weights(const Trie& trie, std::span<const std::uint16_t> weights);

/// All sequences of both; without weights. Time O(nodes + label tokens) of both.
/// Errors: invalid_argument (kinds or depths differ, an id in both, different surprisals of the same prefix),
/// out_of_memory.
Result<Trie> merge(const Trie& a, const Trie& b);

/// Without these sessions. Errors: invalid_argument (a trie of windows, an id twice), session_not_found, out_of_memory.
Result<Trie> remove_sessions(const Trie& trie, std::span<const std::uint64_t> ids);

/// Windows of `trie` less those of `part`, which it must contain; without weights. Errors: invalid_argument,
/// out_of_memory.
Result<Trie> subtract_windows(const Trie& trie, const Trie& part);

}  // namespace seqkv
