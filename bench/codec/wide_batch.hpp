// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// linear+ecsq on a cache of the shape of Llama 3 8B that lies in the memory of the device.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "codec/batch.hpp"
#include "codec/kernel.hpp"
#include "codec/predict/coder.hpp"
#include "support/device_memory.hpp"
#include "support/value.hpp"
#include "support/wide_profile.hpp"

namespace seqkv::bench {

struct Wide {
  std::shared_ptr<const Profile> profile;
  KvCache cache;  ///< 2,048 tokens, which longer caches repeat
};

inline const Wide& wide() {
  static const Wide made = [] {
    const WideModel model(llama3_8b(), {});
    const auto path = std::filesystem::temp_directory_path() / "seqkv-bench-device-profile.safetensors";
    model.write_profile(path);
    Wide out{value_of(Profile::load(path)), model.cache(number_of("SEQKV_CACHE_TOKENS", 2048))};
    std::filesystem::remove(path);
    return out;
  }();
  return made;
}

/// Blocks of the cache in the memory of the device, and the coder that takes them, a sub-block of all at a time.
class WideBatch {
 public:
  WideBatch(const char* step, std::int64_t most_blocks)
      : codec_(value_of(value_of(Codec::parse(std::string("linear+ecsq:step=") + step)).with_profile(wide().profile))),
        blocks_(std::min(number_of("SEQKV_TOKENS", 131072) / block_tokens, most_blocks)),
        owner_(value_of(codec::KernelOwner<Space>::create(space_, codec_, shape()))),
        coder_(space_, codec_, owner_.kernel()),
        place_((coder_.payload_bytes(block_tokens, DType::bf16) + 15) / 16 * 16),
        values_(room<std::byte>("values", sub_blocks() * blocks_ * bytes())),
        coded_(room<std::byte>("coded", blocks_ * place_)),
        decoded_(room<std::byte>("decoded", blocks_ * bytes())),
        tasks_(static_cast<std::size_t>(sub_blocks())),
        ids_(static_cast<std::size_t>(blocks_ * block_tokens)) {
    coder_.reserve(block_tokens, blocks_);
    fill_values();
    for (std::size_t i = 0; i < ids_.size(); ++i) ids_[i] = static_cast<Token>((1000 + i) % 128'000);
    restored_.reserve("restored", blocks_);
    for (std::int64_t i = 0; i < blocks_; ++i) restored_[i] = decoded_.data() + i * bytes();
    restored_.to_device(space_, blocks_);
    for (std::int64_t n = 0; n < sub_blocks(); ++n) make_tasks(n);
    space_.fence();
  }

  std::int64_t all_bytes() const { return sub_blocks() * blocks_ * bytes(); }

  /// Payloads of a sub-block are written over those of the one before.
  void encode() {
    start();
    for (codec::Tasks<Space>& list : tasks_) coder_.encode(number_of_list(list), list.device(), restored_.device());
    coder_.join();
    space_.fence();
  }
  /// Of what keep_payloads() has kept.
  void decode() {
    start();
    for (codec::Tasks<Space>& list : tasks_) coder_.decode(number_of_list(list), list.device());
    coder_.join();
    space_.fence();
  }

  /// Encodes and, for decoding, keeps all payloads; returns their bytes.
  std::int64_t keep_payloads(bool for_decoding) {
    std::int64_t all = 0;
    start();
    for (codec::Tasks<Space>& list : tasks_) {
      coder_.encode(number_of_list(list), list.device(), restored_.device());
      coder_.join();
      list.to_host(space_, blocks_);
      space_.fence();
      for (std::int64_t i = 0; i < blocks_; ++i) all += list[i].bytes == codec::not_codable ? bytes() : list[i].bytes;
      if (for_decoding) keep(list);
    }
    return all;
  }

 private:
  static constexpr std::int64_t block_tokens = 256;
  using Bytes = Kokkos::View<std::byte*, Space::memory_space, Kokkos::MemoryUnmanaged>;

  static const KvShape& shape() { return wide().cache.shape(); }
  static std::int64_t sub_blocks() { return 2 * shape().layers; }
  static codec::Subblock subblock() { return {shape().kv_heads, block_tokens, shape().head_dim, DType::bf16, true, 0}; }
  static std::int64_t bytes() { return 2 * subblock().values(); }

  std::int64_t number_of_list(const codec::Tasks<Space>& list) const { return &list - tasks_.data(); }
  Bytes values_of(std::int64_t n, std::int64_t block) const {
    return Bytes(values_.data() + (n * blocks_ + block) * bytes(), static_cast<std::size_t>(bytes()));
  }
  void start() { coder_.start({block_tokens, blocks_ * block_tokens, blocks_}, ids_.data(), 0); }

  /// Those of the cache on the host, again and again.
  void fill_values() {
    const std::int64_t of_cache = wide().cache.tokens() / block_tokens;
    const KvCache& whole = wide().cache;
    KvCache part = value_of(KvCache::create(shape(), block_tokens));
    for (std::int64_t block = 0; block < blocks_; ++block) {
      if (block < of_cache) check(copy(whole.view().slice(block * block_tokens, block_tokens), part.view()));
      for (std::int64_t n = 0; n < sub_blocks(); ++n) {
        if (block < of_cache) {
          const Kokkos::View<const std::byte*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(
              part.view().tensors[static_cast<std::size_t>(n)], static_cast<std::size_t>(bytes()));
          Kokkos::deep_copy(values_of(n, block), host);
        } else {
          Kokkos::deep_copy(space_, values_of(n, block), values_of(n, block % of_cache));
        }
      }
    }
  }

  void make_tasks(std::int64_t n) {
    codec::Tasks<Space>& list = tasks_[static_cast<std::size_t>(n)];
    list.reserve("tasks", blocks_);
    for (std::int64_t i = 0; i < blocks_; ++i) {
      codec::Subblock of = subblock();
      of.is_key = n % 2 == 0;
      of.batch_token = i * block_tokens;
      list[i] = {of, static_cast<std::uint64_t>(n), values_of(n, i).data(), coded_.data() + i * place_, place_, false};
    }
    list.to_device(space_, blocks_);
  }

  void keep(codec::Tasks<Space>& list) {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < blocks_; ++i) sum += std::max<std::int64_t>(list[i].bytes, 0) + 8;
    std::byte* at = kept_.emplace_back(room<std::byte>("payloads", sum)).data();
    for (std::int64_t i = 0; i < blocks_; ++i) {
      codec::Task& task = list[i];
      task.raw = task.bytes == codec::not_codable;
      if (task.raw) task.bytes = 0;
      const auto size = static_cast<std::size_t>(task.bytes);
      Kokkos::deep_copy(space_, Bytes(at, size), Bytes(task.coded, size));
      task.coded = at;
      at += (task.bytes + 7) / 8 * 8;
    }
    list.to_device(space_, blocks_);
    space_.fence();
  }

  Space space_;
  Codec codec_;
  std::int64_t blocks_;
  codec::KernelOwner<Space> owner_;
  codec::PredictiveCoder<Space> coder_;
  std::int64_t place_;
  Array<std::byte> values_, coded_, decoded_;
  std::vector<codec::Tasks<Space>> tasks_;
  std::vector<Token> ids_;
  Mirrored<Space, std::byte*> restored_;
  std::vector<Array<std::byte>> kept_;
};

}  // namespace seqkv::bench
