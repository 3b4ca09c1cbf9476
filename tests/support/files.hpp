// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Scratch folders and files for tests.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace seqkv::test {

/// A folder that is removed with its contents when the object goes.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Writes a file into the folder and returns its path.
  std::filesystem::path write(const std::string& name, std::string_view content) const;
  /// Names in the folder.
  std::size_t entries() const;

 private:
  std::filesystem::path path_;
};

std::string read_all(const std::filesystem::path& path);

}  // namespace seqkv::test
