// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/collect.hpp"

#include <fmt/format.h>

#include <cmath>

#include "backends/kokkos/rope.hpp"
#include "calibrate/samples.hpp"
#include "core/bytes.hpp"
#include "core/float16.hpp"
#include "core/rope_table.hpp"
#include "core/try.hpp"
#include "io/file.hpp"

namespace seqkv::calibration {
namespace {

class Collector {
 public:
  Collector(CalibrationModel& model, const Plan& plan)
      : model_(model),
        plan_(plan),
        layout_(plan),
        frequencies_(inverse_frequencies(plan.shape.rope)),
        bytes_(static_cast<std::size_t>(layout_.file())) {}

  Result<void> reserve() {
    KvShape exact = plan_.shape;
    exact.dtype = DType::f32;
    SEQKV_ASSIGN(cache_, KvCache::create(plan_.shape, plan_.context));
    SEQKV_ASSIGN(gradients_, KvCache::create(exact, plan_.context));
    return {};
  }

  /// The file of a chunk, in memory.
  Result<std::span<const std::byte>> run(std::int64_t number) {
    const Chunk& chunk = plan_.chunks[static_cast<std::size_t>(number)];
    positions_ = &plan_.positions[static_cast<std::size_t>(number)];
    const TokenSpan context = TokenSpan(chunk).first(static_cast<std::size_t>(plan_.context));
    const TokenSpan continuation = TokenSpan(chunk).subspan(static_cast<std::size_t>(plan_.context));
    SEQKV_TRY(model_.start(context));
    SEQKV_TRY(model_.read(cache_.view()));
    for (std::int64_t b = 0; b < layout_.subblocks; ++b) {
      std::byte* to = bytes_.data() + b * layout_.subblock();
      SEQKV_TRY(store_row<float>(cache_, b, 0, to));
      for (const std::int64_t t : *positions_) SEQKV_TRY(store_row<float>(cache_, b, t, to));
    }
    for (std::int64_t draw = 0; draw < layout_.draws; ++draw) {
      const auto seed = static_cast<std::uint64_t>(number * layout_.draws + draw);
      SEQKV_TRY(model_.gradient(continuation, seed, gradients_.view()));
      for (std::int64_t b = 0; b < layout_.subblocks; ++b) {
        std::byte* to =
            bytes_.data() + b * layout_.subblock() + layout_.values() + draw * layout_.rows * layout_.width * 2;
        for (const std::int64_t t : *positions_) SEQKV_TRY(store_row<std::uint16_t>(gradients_, b, t, to));
      }
    }
    return std::span<const std::byte>(bytes_);
  }

  /// The file of a pair, in memory.
  Result<std::span<const std::byte>> run_pair(std::int64_t number) {
    const Pair& pair = plan_.pairs[static_cast<std::size_t>(number)];
    bytes_.resize(static_cast<std::size_t>(layout_.pair_file()));
    for (std::size_t i = 0; i < pair.contexts.size(); ++i) {
      SEQKV_TRY(model_.start(pair.contexts[i]));
      SEQKV_ASSIGN(KvCache cache, KvCache::create(plan_.shape, static_cast<std::int64_t>(pair.contexts[i].size())));
      SEQKV_TRY(model_.read(cache.view()));
      for (std::int64_t b = 0; b < layout_.subblocks; ++b) {
        const std::int64_t of_context = layout_.pair_subblock() / 2;
        std::byte* to = bytes_.data() + b * layout_.pair_subblock() + static_cast<std::int64_t>(i) * of_context;
        for (const std::int64_t t : pair.positions) SEQKV_TRY(store_row<float>(cache, b, pair.starts[i] + t, to));
      }
    }
    return std::span<const std::byte>(bytes_);
  }

 private:
  /// All heads of a token, as float or bf16; keys, and gradients of keys, as if they were at position 0.
  template <class T>
  Result<void> store_row(const KvCache& cache, std::int64_t subblock, std::int64_t token, std::byte*& to) {
    const std::int64_t dim = plan_.shape.head_dim;
    const auto pairs = subblock % 2 == 0 ? static_cast<std::int64_t>(frequencies_.size()) : 0;
    std::vector<float> x(static_cast<std::size_t>(dim));
    std::vector<float> cosine(static_cast<std::size_t>(pairs));
    std::vector<float> sine(static_cast<std::size_t>(pairs));
    if (pairs > 0) rope_angles(frequencies_, token, cosine.data(), sine.data());
    const ConstKvView view = cache.view();
    for (std::int64_t head = 0; head < plan_.shape.kv_heads; ++head) {
      const std::int64_t at = (head * cache.tokens() + token) * dim;
      for (std::int64_t i = 0; i < dim; ++i) {
        x[static_cast<std::size_t>(i)] =
            load_as_float(view.tensors[static_cast<std::size_t>(subblock)], view.shape.dtype, at + i);
        if (!std::isfinite(x[static_cast<std::size_t>(i)])) {
          return Error(ErrorCode::not_finite, fmt::format("the model gives no finite {} in layer {}",
                                                          subblock % 2 == 0 ? "key" : "value", subblock / 2));
        }
      }
      for (std::int64_t i = 0; i < pairs; ++i) {
        const auto p = static_cast<std::size_t>(i);
        kokkos::rotate(x[p], x[p + static_cast<std::size_t>(pairs)], cosine[p], -sine[p]);
      }
      for (const float value : x) {
        if constexpr (sizeof(T) == 4) {
          store_le<std::uint32_t>(to, detmath::bits(value));
        } else {
          store_le<std::uint16_t>(to, float_to_bf16(value));
        }
        to += sizeof(T);
      }
    }
    return {};
  }

  CalibrationModel& model_;
  const Plan& plan_;
  SampleLayout layout_;
  std::vector<float> frequencies_;
  const std::vector<std::int64_t>* positions_ = nullptr;
  KvCache cache_, gradients_;
  std::vector<std::byte> bytes_;
};

bool is_there(const std::filesystem::path& path, std::int64_t size) {
  std::error_code problem;
  const auto found = std::filesystem::file_size(path, problem);
  return !problem && found == static_cast<std::uintmax_t>(size);
}

}  // namespace

Result<std::int64_t> collect(CalibrationModel& model, const Plan& plan, const CalibrateOptions& options,
                             const std::filesystem::path& folder) {
  Collector collector(model, plan);
  SEQKV_TRY(collector.reserve());
  const auto chunks = static_cast<std::int64_t>(plan.chunks.size());
  const std::int64_t all = chunks + static_cast<std::int64_t>(plan.pairs.size());
  std::int64_t resumed = 0;
  for (std::int64_t done = 0; done < all; ++done) {
    if (options.stop != nullptr && *options.stop) {
      return Error(ErrorCode::interrupted, fmt::format("{} of {} chunks are in {}; the same command goes on there",
                                                       done, all, folder.string()));
    }
    const bool is_pair = done >= chunks;
    const auto path = is_pair ? pair_file(folder, done - chunks) : sample_file(folder, done);
    if (is_there(path, is_pair ? SampleLayout(plan).pair_file() : SampleLayout(plan).file())) {
      ++resumed;
    } else {
      SEQKV_ASSIGN(const std::span<const std::byte> bytes,
                   is_pair ? collector.run_pair(done - chunks) : collector.run(done));
      SEQKV_TRY(io::write_file(path, bytes));
    }
    if (options.progress) options.progress("collect", done + 1, all);
  }
  return resumed;
}

}  // namespace seqkv::calibration
