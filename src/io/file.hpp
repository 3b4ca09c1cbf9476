// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Files: read-only mappings, and files that appear under their name only when they are whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "io/early_flush.hpp"
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

/// Whether a symbolic link at the end of a path is followed. Names that the library makes up itself are never links.
enum class Links : std::uint8_t { follow, refuse };

/// Opens a regular file for reading. Errors: file_not_found, io (a folder, a pipe, no permission).
Result<Descriptor> open_for_reading(const fs::path& path, Links links = Links::follow);
/// Opens a file of the library's own for reading and writing, mode 0600 if it is made.
enum class Existing : std::uint8_t { keep, empty, need };  ///< an old one: goes on, is cut to nothing, must be there
Result<Descriptor> open_for_writing(const fs::path& path, Existing existing);

Result<void> write_all(const Descriptor& file, const fs::path& path, std::span<const std::byte> bytes,
                       std::int64_t offset);
Result<void> read_all(const Descriptor& file, const fs::path& path, std::span<std::byte> bytes, std::int64_t offset);
/// Has the system read these bytes into its cache, and does not wait for them.
void prefetch(const Descriptor& file, std::int64_t offset, std::int64_t bytes) noexcept;
/// The same of a part of a mapped file.
void prefetch(std::span<const std::byte> mapped) noexcept;
/// Gives the pages of a part of a mapped file back, which are read again where they are used again: what goes through
/// a large file once does not keep all of it in the memory of the process.
void forget(std::span<const std::byte> mapped) noexcept;
Result<void> sync(const Descriptor& file, const fs::path& path);
Result<void> truncate(const Descriptor& file, const fs::path& path, std::int64_t size);
Result<std::int64_t> file_size(const Descriptor& file, const fs::path& path);
Result<void> rename(const fs::path& from, const fs::path& to);
/// No error if it is not there.
Result<void> remove(const fs::path& path);
/// Makes the names in a folder durable.
Result<void> sync_directory(const fs::path& directory);

/// A whole file mapped read-only. The mapping follows the file: do not truncate it while it is in use. What is used of
/// it stays in the memory of the process as long as the system likes; what is large, and used once, is better read.
class MappedFile {
 public:
  static Result<MappedFile> open(const fs::path& path, Links links = Links::follow);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  bool holds(std::span<const std::byte> part) const noexcept {
    return part.data() >= bytes_.data() && part.data() + part.size() <= bytes_.data() + bytes_.size();
  }

  /// Reads a part of bytes() into other memory. Errors: io, truncated (the file has become shorter).
  Result<void> read(std::span<const std::byte> part, std::byte* to) const {
    return read_all(file_, path_, {to, part.size()}, part.data() - bytes_.data());
  }
  /// Has the system read a part into its cache, and does not wait.
  void prefetch(std::span<const std::byte> part) const noexcept {
    io::prefetch(file_, part.data() - bytes_.data(), static_cast<std::int64_t>(part.size()));
  }
  /// Gives up the descriptor, and with it reading: for those who have many files mapped.
  void close() { file_ = Descriptor(); }

 private:
  void swap(MappedFile& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(file_, other.file_);
    std::swap(path_, other.path_);
  }
  std::span<const std::byte> bytes_;
  Descriptor file_;
  fs::path path_;
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
  /// Takes disk space for so many bytes, in one piece where the file system can; it may not be able to.
  Result<void> reserve(std::int64_t size);
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
    std::swap(unflushed_, other.unflushed_);
    std::swap(flush_, other.flush_);
  }
  fs::path path_;
  fs::path temporary_;
  Descriptor file_;
  std::int64_t size_ = 0;
  std::int64_t unflushed_ = 0;  ///< bytes written since the disk was last told to start
  std::unique_ptr<EarlyFlush> flush_;
};

/// The whole file as a string. Errors: file_not_found, io, limit_exceeded (above `limit` bytes).
Result<std::string> read_file(const fs::path& path, std::int64_t limit);

/// Writes a whole file through AtomicFile.
Result<void> write_file(const fs::path& path, std::span<const std::byte> bytes);

}  // namespace seqkv::io
