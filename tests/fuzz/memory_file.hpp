// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Bytes as a file, for readers that take a path.
#pragma once

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace seqkv::fuzz {

class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size) : file_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    if (file_ < 0 || ::write(file_, data, size) != static_cast<ssize_t>(size)) __builtin_trap();
  }
  ~MemoryFile() {
    ::close(file_);
    if (!link_.empty()) ::unlink(link_.c_str());
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return fmt::format("/proc/self/fd/{}", file_); }
  /// By a name that ends so, for readers that look at it.
  std::string path(std::string_view extension) {
    link_ = fmt::format("{}/seqkv-fuzz-{}{}", std::filesystem::temp_directory_path().string(), ::getpid(), extension);
    ::unlink(link_.c_str());
    if (::symlink(path().c_str(), link_.c_str()) != 0) __builtin_trap();
    return link_;
  }

 private:
  int file_;
  std::string link_;
};

/// A failure says what is wrong.
template <class T>
bool is_clean(const T& result) {
  return result.ok() || !result.error().message.empty();
}

}  // namespace seqkv::fuzz
