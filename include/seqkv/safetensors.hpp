// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Safetensors: a strict reader (memory-mapped, every check of the reference implementation and duplicate keys
/// refused) and a writer that streams and appears whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "seqkv/dtype.hpp"
#include "seqkv/result.hpp"

namespace seqkv {

/// The seqkv dtype of a safetensors dtype name ("BF16", "F16", "F32"), if it is one.
std::optional<DType> dtype_from_safetensors(std::string_view name);
std::string_view to_safetensors(DType dtype);

/// One tensor of an open file: row-major, little-endian, owned by the file.
struct TensorView {
  std::string dtype;  ///< as in the file: "BF16", "I32", ...
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file;  ///< where it stands, for messages

  std::int64_t elements() const;
};

/// A .safetensors file, or a folder or index file of shards (model.safetensors.index.json).
class SafetensorsFile {
 public:
  /// Errors: file_not_found, io, bad_format (with tensor and byte), limit_exceeded.
  static Result<SafetensorsFile> open(const std::filesystem::path& path);
  /// model.safetensors in the folder, or the shards of model.safetensors.index.json.
  static Result<SafetensorsFile> open_model(const std::filesystem::path& directory);
  /// Parses bytes that the caller keeps alive.
  static Result<SafetensorsFile> parse(std::span<const std::byte> bytes, const std::string& name);

  SafetensorsFile();
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::map<std::string, TensorView>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;
  const TensorView* find(const std::string& name) const;
  /// Errors: missing_field.
  Result<TensorView> tensor(const std::string& name) const;

  /// Copies a part of a tensor's bytes into other memory. Where the file is mapped they are read from the disk instead,
  /// so that no more of it than that comes into the memory of the process. Errors: io, truncated (the file has become
  /// shorter).
  Result<void> read(std::span<const std::byte> part, std::byte* to) const;
  /// Has the system read it into its cache, and does not wait.
  void prefetch(std::span<const std::byte> part) const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct TensorSpec {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
};

/// Writes a file whose tensors are known by name and shape beforehand, in any order and in pieces.
class SafetensorsWriter {
 public:
  /// Errors: io, disk_full, invalid_argument (unknown dtype, duplicate name).
  static Result<SafetensorsWriter> create(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                          const std::map<std::string, std::string>& metadata);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;
  ~SafetensorsWriter();

  /// Bytes of `tensor` from byte `offset` on. Errors: invalid_argument (outside the tensor), io, disk_full.
  Result<void> write(const std::string& tensor, std::int64_t offset, std::span<const std::byte> bytes);
  /// Takes the disk space of the whole file now, where the file system can. Errors: disk_full, io.
  Result<void> reserve();
  /// Makes the file appear under its name. Bytes never written are zero.
  Result<void> commit();

 private:
  struct State;
  SafetensorsWriter();
  std::unique_ptr<State> state_;
};

}  // namespace seqkv
