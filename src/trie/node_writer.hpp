// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Writes the nodes of a new trie one after another, in breadth-first order, with edges taken from other tries. Those
/// who make a trie this way go through it twice: once to measure, once to write.
#pragma once

#include <algorithm>
#include <cstdint>

#include "trie/image.hpp"

namespace seqkv::trie {

class NodeWriter {
 public:
  /// Measures: `shape` gets nodes, label_tokens, sum_counts and largest_token, and says what else the trie has.
  explicit NodeWriter(TrieShape& shape) : shape_(&shape) {
    shape.nodes = shape.label_tokens = shape.sum_counts = 0;
    shape.largest_token = 0;
  }
  /// Writes a trie that has been measured.
  explicit NodeWriter(const MutableView& out) : out_(out), writes_(true) {}

  /// The next node; its edge follows in pieces.
  void start(std::uint64_t count) {
    if (writes_) {
      out_.child.set(nodes_, child_);
      out_.label.set(nodes_, label_);
      out_.below.set(nodes_, below_);
      if (nodes_ == 0) root();
    }
    below_ += count;
    edge_ = 0;
  }
  /// Tokens [from, to) of the edge of `node` in `trie`.
  void edge(const TrieView& trie, std::uint64_t node, std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t i = from; i < to; ++i, ++edge_) {
      const Token token = trie.edge_token(node, i);
      const bool first = edge_ == 0;
      if (!writes_) {
        shape_->largest_token = std::max(shape_->largest_token, token);
      } else if (first) {
        out_.token.set(nodes_, token);
        if (out_.token_surprisal != nullptr) out_.token_surprisal[nodes_] = trie.edge_surprisal(node, i);
      } else {
        out_.label_token.set(label_, token);
        if (out_.label_surprisal != nullptr) out_.label_surprisal[label_] = trie.edge_surprisal(node, i);
      }
      label_ += first ? 0 : 1;
    }
  }
  void finish(std::uint64_t children) {
    ++nodes_;
    child_ += children;
  }

  /// After the last node.
  void end() {
    if (writes_) {
      out_.child.set(nodes_, child_);
      out_.label.set(nodes_, label_);
      out_.below.set(nodes_, below_);
    } else {
      shape_->nodes = nodes_;
      shape_->label_tokens = label_;
      shape_->sum_counts = below_;
    }
  }

  /// Where ids of sessions go; null while measuring.
  std::uint64_t* sessions() const { return writes_ ? out_.session : nullptr; }

 private:
  void root() {
    out_.token.set(0, 0);
    if (out_.token_surprisal != nullptr) out_.token_surprisal[0] = 0;
  }

  TrieShape* shape_ = nullptr;
  MutableView out_;
  bool writes_ = false;
  std::uint64_t nodes_ = 0;
  std::uint64_t child_ = 1;
  std::uint64_t label_ = 0;
  std::uint64_t below_ = 0;
  std::uint64_t edge_ = 0;
};

/// Makes a trie by going through its nodes twice: `walk(NodeWriter&)` gives them. `shape` says the kind.
template <class Walk>
Result<Trie> write_trie(TrieShape shape, const Walk& walk) {
  shape.weights = 0;  // those of other counts
  NodeWriter measure(shape);
  walk(measure);
  measure.end();
  auto image = Image::allocate(shape);
  if (!image) return std::move(image).error();
  NodeWriter write(image->arrays());
  walk(write);
  write.end();
  return std::move(*image).finish();
}

}  // namespace seqkv::trie
