// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Files: read-only mappings, and files that appear under their name only when they are whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "seqkv/result.hpp"

namespace seqkv::io {

namespace fs = std::filesystem;

/// The Error for a failed system call: disk_full for ENOSPC and EDQUOT, file_not_found for ENOENT, else io.
Error system_error(const std::string& what, const fs::path& path, int errno_value);

/// A file descriptor that closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  int get() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

/// Opens a regular file for reading. Errors: file_not_found, io (a folder, a pipe, no permission).
Result<Descriptor> open_for_reading(const fs::path& path);

Result<void> write_all(const Descriptor& file, const fs::path& path, std::span<const std::byte> bytes,
                       std::int64_t offset);
Result<void> read_all(const Descriptor& file, const fs::path& path, std::span<std::byte> bytes, std::int64_t offset);
Result<void> sync(const Descriptor& file, const fs::path& path);
/// Makes the names in a folder durable.
Result<void> sync_directory(const fs::path& directory);

/// A whole file mapped read-only. The mapping follows the file: do not truncate it while it is in use.
class MappedFile {
 public:
  static Result<MappedFile> open(const fs::path& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// A file written beside its final name (name.tmp-PID-N) and renamed over it by commit(), after fsync of the
/// data and before fsync of the folder. Destroyed without commit, it leaves nothing behind. Mode 0600 unless
/// the umask is stricter: a KV cache reveals its prompt.
class AtomicFile {
 public:
  /// Follows symbolic links. Errors: io (what is there is no regular file, or the folder is missing), disk_full.
  static Result<AtomicFile> create(const fs::path& path);

  AtomicFile() = default;
  AtomicFile(AtomicFile&& other) noexcept { swap(other); }
  AtomicFile& operator=(AtomicFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~AtomicFile();

  Result<void> write_at(std::span<const std::byte> bytes, std::int64_t offset);
  Result<void> append(std::span<const std::byte> bytes);
  /// Cuts or extends with zeros.
  Result<void> resize(std::int64_t size);
  Result<void> commit();
  const fs::path& path() const noexcept { return path_; }

 private:
  void swap(AtomicFile& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(temporary_, other.temporary_);
    std::swap(file_, other.file_);
    std::swap(size_, other.size_);
  }
  fs::path path_;
  fs::path temporary_;
  Descriptor file_;
  std::int64_t size_ = 0;
};

/// The whole file as a string. Errors: file_not_found, io, limit_exceeded (above `limit` bytes).
Result<std::string> read_file(const fs::path& path, std::int64_t limit);

/// Writes a whole file through AtomicFile.
Result<void> write_file(const fs::path& path, std::span<const std::byte> bytes);

}  // namespace seqkv::io
