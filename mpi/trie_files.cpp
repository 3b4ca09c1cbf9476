// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Sharded tries in a folder: a trie file a rank, and shards.json, which names them and is replaced last.
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "mpi/trie_files.hpp"
#include "seqkv/text_file.hpp"

namespace seqkv::mpi {
namespace {

std::filesystem::path index_path(const std::filesystem::path& folder) { return folder / "shards.json"; }

/// Files of other saves, whole or not. Who cannot remove one leaves it.
void remove_others(const std::filesystem::path& folder, const std::vector<std::string>& files) {
  const std::set<std::string> keep(files.begin(), files.end());
  std::error_code problem;
  for (std::filesystem::directory_iterator entry(folder, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    const auto name = entry->path().filename().string();
    if (entry->path().extension() == ".trie" && name.starts_with("shard-") && !keep.contains(name)) {
      std::error_code ignored;
      std::filesystem::remove(entry->path(), ignored);
    }
  }
}

Result<void> write_index(const std::filesystem::path& folder, const std::vector<std::string>& files) {
  const nlohmann::json index = {{"version", 1}, {"files", files}};
  const std::string text = index.dump() + "\n";
  return io::write_file(index_path(folder), as_bytes(std::string_view(text)));
}

Result<std::vector<std::string>> read_index(const std::filesystem::path& folder) {
  SEQKV_ASSIGN(const std::string text, read_text_file(index_path(folder)));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto bad = [&](const char* what) {
    return Error(ErrorCode::corrupt, what).in_file(index_path(folder).string());
  };
  if (!json.is_object() || !json.contains("version") || !json.contains("files") || !json["files"].is_array()) {
    return Error(bad("not an index of a sharded trie"));
  }
  if (json["version"] != 1) {
    return Error(ErrorCode::unsupported_version, "a sharded trie of another version")
        .in_file(index_path(folder).string());
  }
  std::vector<std::string> files;
  for (const auto& name : json["files"]) {
    if (!name.is_string() || name.get<std::string>().find('/') != std::string::npos) {
      return Error(bad("a name that is not that of a file here"));
    }
    files.push_back(name.get<std::string>());
  }
  return files;
}

}  // namespace

Result<void> save_shard(const Communicator& communicator, const Trie& local, const std::filesystem::path& folder) {
  // A name of this save, the same for all ranks.
  std::vector<std::byte> stamp(sizeof(std::uint64_t));
  const auto begin = [&]() -> Result<void> {
    std::error_code problem;
    std::filesystem::create_directories(folder, problem);
    if (problem) return io::system_error("cannot create", folder, problem.value());
    store_le<std::uint64_t>(stamp.data(),
                            static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()));
    return {};
  };
  SEQKV_TRY(communicator.agree(communicator.rank() == 0 ? begin() : Result<void>()));
  SEQKV_TRY(communicator.broadcast(stamp, 0));
  const auto name_of = [&stamp](int rank) {
    return fmt::format("shard-{:016x}-{:06}.trie", load_le<std::uint64_t>(stamp.data()), rank);
  };
  SEQKV_TRY(communicator.agree(local.save(folder / name_of(communicator.rank()))));
  const auto publish = [&]() -> Result<void> {
    std::vector<std::string> files;
    for (int r = 0; r < communicator.size(); ++r) files.push_back(name_of(r));
    SEQKV_TRY(write_index(folder, files));
    remove_others(folder, files);
    return {};
  };
  return communicator.agree(communicator.rank() == 0 ? publish() : Result<void>());
}

Result<std::vector<Trie>> load_shards(const Communicator& communicator, const std::filesystem::path& folder) {
  std::vector<std::byte> list;
  const auto read = [&]() -> Result<void> {
    SEQKV_ASSIGN(const auto files, read_index(folder));
    ByteWriter out;
    for (const std::string& file : files) {
      out.put_text(file);
    }
    list = std::move(out).take();
    return {};
  };
  SEQKV_TRY(communicator.agree(communicator.rank() == 0 ? read() : Result<void>()));
  SEQKV_TRY(communicator.broadcast(list, 0));
  const auto open = [&]() -> Result<std::vector<Trie>> {
    std::vector<Trie> tries;
    int number = 0;
    for (ByteReader in(list); in.ok() && in.remaining() > 0;) {
      const std::string name = in.get_text();
      if (number++ % communicator.size() != communicator.rank()) continue;
      SEQKV_ASSIGN(Trie trie, Trie::open(folder / name));
      if (trie.shape().kind != TrieKind::sessions) {
        return Error(ErrorCode::corrupt, "not a trie of sessions").in_file((folder / name).string());
      }
      tries.push_back(std::move(trie));
    }
    return tries;
  };
  return communicator.agree(open());
}

}  // namespace seqkv::mpi
