// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// KV files: safetensors with `layers.N.key`, `layers.N.value` [kv_heads, tokens, head_dim] and `input_ids`
/// I32 [tokens], the exchange format with any engine (DESIGN 5). Metadata `seqkv.model` names the model by its
/// fingerprint and `seqkv.rope` its rotary embedding; both may be absent in files of other programs.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/safetensors.hpp"

namespace seqkv {

/// An open KV file.
class KvFile {
 public:
  /// Errors: file_not_found, io, bad_format, missing_field, shape_mismatch, unsupported.
  static Result<KvFile> open(const std::filesystem::path& path);

  const KvShape& shape() const noexcept { return view_.shape; }
  TokenSpan tokens() const noexcept { return tokens_; }
  /// Zero if the file does not name its model.
  const Digest& model() const noexcept { return model_; }
  /// The cache: the mapped file itself where its alignment allows, else a copy.
  const ConstKvView& view() const noexcept { return view_; }
  /// The states that enter the layers, [tokens][hidden] in the dtype of the cache, one a layer, in the mapped file;
  /// empty where the file has none.
  const std::vector<std::span<const std::byte>>& hidden() const noexcept { return hidden_; }
  const SafetensorsFile& file() const noexcept { return file_; }

  /// Copies tokens [first, first + to.tokens) into `to`, host memory of the same shape. No more of a large file comes
  /// into the memory of the process than that; it does with what is used of view(). Errors: invalid_argument, io,
  /// truncated.
  Result<void> read(std::int64_t first, const KvView& to) const;
  /// Has the system read tokens [first, first + count), as far as there are any, into its cache, and does not wait.
  void prefetch(std::int64_t first, std::int64_t count) const;

 private:
  KvFile() = default;
  SafetensorsFile file_;
  KvCache copy_;
  ConstKvView view_;
  std::vector<Token> tokens_;
  std::vector<std::span<const std::byte>> hidden_;
  Digest model_;
};

/// Writes a KV file piece by piece along the tokens.
class KvFileWriter {
 public:
  /// `extra` tensors are the caller's to fill through tensors().
  static Result<KvFileWriter> create(const std::filesystem::path& path, const KvShape& shape, TokenSpan tokens,
                                     const Digest& model, const std::vector<TensorSpec>& extra = {});
  /// With token ids that come later, through write_tokens.
  static Result<KvFileWriter> create(const std::filesystem::path& path, const KvShape& shape, std::int64_t tokens,
                                     const Digest& model, const std::vector<TensorSpec>& extra = {});

  const KvShape& shape() const noexcept { return shape_; }
  std::int64_t tokens() const noexcept { return tokens_; }

  /// Takes the disk space of the whole file, where the file system can: a full disk shows before the work.
  /// Errors: disk_full, io.
  Result<void> reserve() { return writer_.reserve(); }
  /// Ids [first, first + ids.size()). Errors: token_out_of_range (above 2^31 - 1), invalid_argument, io, disk_full.
  Result<void> write_tokens(TokenSpan ids, std::int64_t first);
  /// Tokens [first, first + part.tokens) of all layers; `part` in host memory, of the shape and dtype given.
  Result<void> write(const ConstKvView& part, std::int64_t first);
  SafetensorsWriter& tensors() noexcept { return writer_; }
  Result<void> commit() { return writer_.commit(); }

 private:
  KvFileWriter(SafetensorsWriter writer, const KvShape& shape, std::int64_t tokens)
      : writer_(std::move(writer)), shape_(shape), tokens_(tokens) {}
  SafetensorsWriter writer_;
  KvShape shape_;
  std::int64_t tokens_ = 0;
};

}  // namespace seqkv
