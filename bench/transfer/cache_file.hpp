// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A large KV file to move, and its frames, in a folder of their own that goes with the object.
#pragma once

#include <unistd.h>

#include <Kokkos_Core.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "seqkv/transfer.hpp"
#include "support/value.hpp"

namespace seqkv::bench {

/// bf16 of 8 layers of 8 heads of 128: normal numbers, every channel with a scale of its own, as in caches.
class CacheFile {
 public:
  CacheFile() {
    const char* folder = std::getenv("SEQKV_FOLDER");
    const char* mebibytes = std::getenv("SEQKV_MIB");
    folder_ = folder != nullptr ? std::filesystem::path(folder) : std::filesystem::temp_directory_path();
    folder_ /= "seqkv-bench-" + std::to_string(::getpid());
    std::filesystem::create_directory(folder_);
    shape_ = {8, 8, 128, {}, DType::bf16};
    tokens_ = (mebibytes != nullptr ? std::atoll(mebibytes) : 1024) / 8 * part_tokens;  // 8 MiB a part
    write();
  }
  ~CacheFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  CacheFile(const CacheFile&) = delete;
  CacheFile& operator=(const CacheFile&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path kv() const { return folder_ / "kv.safetensors"; }
  std::int64_t bytes() const { return 2 * tokens_ * shape_.components_per_token(); }

  /// Made when it is first asked for.
  std::filesystem::path frame(const std::string& codec) const {
    const auto path = folder_ / (codec + ".sqkv");
    if (std::filesystem::exists(path)) return path;
    const KvFile file = value_of(KvFile::open(kv()));
    auto writer = value_of(FrameWriter::create(path, {shape_, tokens_, 256, codec, {}, {}}));
    value_of(compress(Kokkos::DefaultExecutionSpace(), source_of(file), writer));
    check(writer.commit());
    return path;
  }

 private:
  static constexpr std::int64_t part_tokens = 256;

  void write() const {
    constexpr std::int64_t part = part_tokens;
    std::vector<Token> ids(static_cast<std::size_t>(tokens_));
    std::iota(ids.begin(), ids.end(), 0U);
    auto writer = value_of(KvFileWriter::create(kv(), shape_, ids, {}));
    KvShape exact = shape_;
    exact.dtype = DType::f32;
    KvCache numbers = value_of(KvCache::create(exact, part));
    KvCache rounded = value_of(KvCache::create(shape_, part));
    std::mt19937_64 engine(1);
    std::normal_distribution<float> normal;
    std::vector<float> scales(static_cast<std::size_t>(shape_.components_per_token()));
    for (float& scale : scales) scale = std::exp(normal(engine));
    const auto count = static_cast<std::size_t>(numbers.components());
    auto* values = reinterpret_cast<float*>(numbers.view().tensors[0]);
    const std::size_t run = part * static_cast<std::size_t>(shape_.head_dim);  // of one layer, kind and head
    for (std::size_t i = 0; i < count; ++i) values[i] = normal(engine) * scales[i / run * 128 + i % 128];
    check(copy(numbers.view(), rounded.view()));
    // The same numbers in another order for every part: they are moved, not looked at.
    for (std::int64_t first = 0; first < tokens_; first += part) {
      const std::int64_t turn = first / part % (part - 1);
      check(writer.write(rounded.view().slice(turn, part - turn), first));
      if (turn > 0) check(writer.write(rounded.view().slice(0, turn), first + part - turn));
    }
    check(writer.commit());
  }

  std::filesystem::path folder_;
  KvShape shape_;
  std::int64_t tokens_ = 0;
};

}  // namespace seqkv::bench
