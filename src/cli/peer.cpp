// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/peer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cli/peer_bytes.hpp"
#include "seqkv/kv_file.hpp"

namespace seqkv::cli {
namespace {

namespace fs = std::filesystem;

/// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_((fs::temp_directory_path() / "seqkv-peer-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  bool exists() const { return !path_.empty(); }
  fs::path file(const char* name) const { return fs::path(path_) / name; }

 private:
  std::string path_;
};

Error failed(const std::string& command, const std::string& what) {
  return Error(ErrorCode::io, fmt::format("'{}': {}", command, what));
}

/// What the command prints. Paths are arguments of the shell, not part of its text.
Result<std::string> run_command(const std::string& command, const fs::path& in, const fs::path& out) {
  ::setenv("SEQKV_PEER_IN", in.c_str(), 1);
  ::setenv("SEQKV_PEER_OUT", out.c_str(), 1);
  const std::string line = command + " \"$SEQKV_PEER_IN\" \"$SEQKV_PEER_OUT\"";
  std::FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return failed(command, "cannot be run");
  std::string printed;
  char part[4096];
  for (std::size_t got = 0; (got = std::fread(part, 1, sizeof(part), pipe)) > 0;) printed.append(part, got);
  const int status = ::pclose(pipe);
  if (status != 0) return failed(command, fmt::format("ended with status {}", status));
  return printed;
}

Result<void> write(const fs::path& path, const KvCache& cache, TokenSpan tokens, const Digest& model) {
  auto writer = KvFileWriter::create(path, cache.shape(), tokens, model);
  if (!writer) return std::move(writer).error();
  if (auto status = writer->write(cache.view(), 0); !status) return status;
  return writer->commit();
}

Result<Recoded> recode(const std::string& command, const Digest& model, const KvCache& cache, TokenSpan tokens) {
  const TemporaryFolder folder;
  if (!folder.exists()) return failed(command, "no temporary folder can be made");
  const fs::path in = folder.file("in.safetensors");
  const fs::path out = folder.file("out.safetensors");
  if (auto status = write(in, cache, tokens, model); !status) return std::move(status).error();
  auto printed = run_command(command, in, out);
  if (!printed) return std::move(printed).error();
  const auto bytes = bytes_in(*printed);
  if (!bytes) return failed(command, "printed no JSON object with an integer 'bytes'");
  auto file = KvFile::open(out);
  if (!file) return std::move(file).error();
  auto restored = KvCache::create(cache.shape(), cache.tokens());
  if (!restored) return std::move(restored).error();
  if (!(file->shape() == cache.shape()) || file->tokens().size() != tokens.size()) {
    return failed(command, "wrote a cache of another shape");
  }
  if (auto status = file->read(0, restored->view()); !status) return std::move(status).error();
  return Recoded{std::move(*restored), *bytes};
}

}  // namespace

Result<Peer> parse_peer(const std::string& text, const Digest& model) {
  const auto at = text.find('=');
  if (at == std::string::npos || at == 0 || at + 1 == text.size()) {
    return Error(ErrorCode::invalid_argument, fmt::format("--peer takes NAME=COMMAND, not '{}'", text));
  }
  Peer peer;
  peer.name = text.substr(0, at);
  peer.recode = [command = text.substr(at + 1), model](const KvCache& cache, TokenSpan tokens) {
    return recode(command, model, cache, tokens);
  };
  return peer;
}

}  // namespace seqkv::cli
