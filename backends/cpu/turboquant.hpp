// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// TurboQuant of a sub-block whose head_dim is a multiple of 16, a few vectors at a time: each step runs over all of
/// them before the next begins, and what they hand on stays in the first-level cache. The bytes and values of
/// backends/kokkos/turboquant.hpp. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/formats.hpp"
#include "backends/cpu/rope.hpp"
#include "backends/cpu/rotation.hpp"
#include "backends/cpu/turboquant_planes.hpp"
#include "codec/turboquant/arguments.hpp"

namespace seqkv::cpu::SEQKV_ISA {

/// A number known to the compiler.
template <int Bits>
struct BitsOf {
  static constexpr int value = Bits;
};

template <class Work>
SEQKV_INLINE void with_bits(int bits, const Work& work) {
  if (bits == 1) return work(BitsOf<1>());
  if (bits == 2) return work(BitsOf<2>());
  if (bits == 3) return work(BitsOf<3>());
  if (bits == 4) return work(BitsOf<4>());
  work(BitsOf<5>());
}

template <class F>
class TurboQuantTask {
 public:
  TurboQuantTask(const codec::TurboQuant& codec, codec::Task& task)
      : codec_(codec),
        task_(task),
        rotation_(codec.rotation_of(task.number)),
        dim_(rotation_.dim),
        turned_(codec.turns(task.subblock)),
        words_(reinterpret_cast<typename F::Word*>(task.values)),
        coded_(reinterpret_cast<std::uint8_t*>(task.coded)) {}

  void encode() {
    const int e = codec::TurboQuant::exponent_of(largest_magnitude());
    task_.bytes = codec::not_codable;
    if (e > codec::TurboQuant::most_exponent) return;
    task_.bytes = codec_.size(task_.subblock);
    codec::TurboQuant::write_header(task_.coded, e);
    power_ = codec::TurboQuant::power_of_two(-e);
    fill_signs(rotation_, turned_ ? 1.0F : power_, signs_);
    const Decisions decisions(codec_);
    for_each_rows([&](std::int64_t first, std::int64_t count) {
      for (std::int64_t r = 0; r < count; ++r) squares_[r] = load_row(first + r, x_ + r * dim_);
      write_norms(first, count);
      spread_rows(rotation_, x_, count);
      with_bits(codec_.bits, [&](auto bits) { write_planes<bits.value>(decisions, first, count); });
    });
  }

  void decode() {
    int e = 0;
    if (!codec_.read_header(task_.subblock, task_.coded, task_.bytes, e) || !has_norms()) {
      task_.bytes = codec::not_codable;
      return;
    }
    power_ = codec::TurboQuant::power_of_two(e);
    fill_signs(rotation_, rotation_.scale, signs_);
    for_each_rows([&](std::int64_t first, std::int64_t count) {
      with_bits(codec_.bits, [&](auto bits) { look_up_centroids<bits.value>(first, count); });
      spread_rows(rotation_, x_, count);
      read_norms(first, count);
      // Numbers of rotated unit vectors are below 2^5 and norms below 2^16: below 2^most_safe nothing becomes infinite.
      if (e <= most_safe) {
        store_rows(first, count, [](auto* word, f32x16 a) { store_number(F(), word, a); });
      } else {
        store_rows(first, count, [](auto* word, f32x16 a) { store(F(), word, a); });
      }
    });
  }

 private:
  static constexpr std::int64_t most_rows = lanes;  ///< their norms fill a vector
  static constexpr std::int64_t most_numbers = 4096;
  static constexpr int most_safe = 100;

  /// Calls work(first, count) for all vectors of the task.
  template <class Work>
  SEQKV_INLINE void for_each_rows(const Work& work) {
    const std::int64_t together = most_numbers / dim_ < most_rows ? most_numbers / dim_ : most_rows;
    const std::int64_t vectors = task_.subblock.vectors();
    for (std::int64_t v = 0; v < vectors; v += together) work(v, vectors - v < together ? vectors - v : together);
  }

  std::uint32_t largest_magnitude() const {
    using Word = typename F::Word;
    Word largest = 0;
    const std::int64_t count = task_.subblock.values();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto magnitude = static_cast<Word>(words_[i] & static_cast<Word>(~Word{0}) >> 1U);
      largest = magnitude > largest ? magnitude : largest;
    }
    return detmath::bits(to_float(F(), largest));
  }

  /// A vector scaled, turned back and with its random signs; returns the sum of its squares.
  SEQKV_INLINE float load_row(std::int64_t vector, float* x) const {
    const auto* words = words_ + vector * dim_;
    if (!turned_) {
      return sign_row([words](std::int64_t i) { return load(F(), words + i); }, x);
    }
    for (std::int64_t i = 0; i < dim_; i += lanes) store(x + i, load(F(), words + i) * splat(power_));
    turn_row(vector, x + codec_.rope_pairs, x);
    return sign_row([x](std::int64_t i) { return load(x + i); }, x);
  }

  template <class Load>
  SEQKV_INLINE float sign_row(const Load& load_, float* x) const {
    f32x16 squares = splat(0.0F);
    for (std::int64_t i = 0; i < dim_; i += lanes) {
      const f32x16 value = load_(i) * load(signs_ + i);
      squares = fma(value, value, squares);
      store(x + i, value);
    }
    return fold_sum(squares);
  }

  /// Turns a key on by the angles of its position. Turning back is turning with the two parts exchanged.
  void turn_row(std::int64_t vector, float* first, float* second) const {
    const std::int64_t pairs = codec_.rope_pairs;
    const std::int64_t angles = (task_.subblock.batch_token + vector % task_.subblock.tokens) * pairs;
    for_each_vector(pairs, [&](std::int64_t i, auto load_, auto store_) {
      f32x16 a = load_(first + i);
      f32x16 b = load_(second + i);
      turn(a, b, load_(codec_.cosine + angles + i), load_(codec_.sine + angles + i));
      store_(first + i, a);
      store_(second + i, b);
    });
  }

  std::uint8_t* coded_norms(std::int64_t vector) const { return coded_ + codec::TurboQuant::norm_at(vector); }

  /// Of vectors with the sums squares_; inverse norms, 0 for 0, to norms_.
  SEQKV_INLINE void write_norms(std::int64_t first, std::int64_t count) {
    std::uint16_t halves[lanes];
    store(F16(), halves, sqrt(load(squares_)));
    __builtin_memcpy(coded_norms(first), halves, static_cast<std::size_t>(2 * count));
    const f32x16 zero = splat(0.0F);
    const f32x16 norms = load(F16(), halves);
    store(norms_, select_less(zero, norms, splat(1.0F) / norms, zero));
  }

  /// To norms_.
  SEQKV_INLINE void read_norms(std::int64_t first, std::int64_t count) {
    std::uint16_t halves[lanes] = {};
    __builtin_memcpy(halves, coded_norms(first), static_cast<std::size_t>(2 * count));
    store(norms_, load(F16(), halves));
  }
  bool has_norms() const {
    bool all = true;
    for (std::int64_t v = 0; v < task_.subblock.vectors(); ++v) {
      all = all && codec::TurboQuant::is_norm(codec::TurboQuant::load16(task_.coded + codec::TurboQuant::norm_at(v)));
    }
    return all;
  }

  PlaneRows coded_planes(std::int64_t vector) const {
    return {coded_ + codec::TurboQuant::planes_at(task_.subblock) + vector * codec_.plane_row(),
            task_.subblock.vectors() * codec_.plane_row()};
  }

  template <int Bits>
  void write_planes(const Decisions& of_task, std::int64_t first, std::int64_t count) const {
    const Decisions decisions = of_task;  // stays in registers: no byte of the planes can be part of it
    const f32x16 scale = splat(rotation_.scale);
    PlaneRows planes = coded_planes(first);
    const float* x = x_;
    for (std::int64_t r = 0; r < count; ++r) {
      const f32x16 inverse = splat(norms_[r]);
      for (std::int64_t i = 0; i < dim_; i += lanes, x += lanes, planes.lowest += lanes / 8) {
        store_indices<Bits>(decisions, load(x) * scale * inverse, planes);
      }
    }
  }

  template <int Bits>
  void look_up_centroids(std::int64_t first, std::int64_t count) {
    const NumberTable<Bits> centroids(codec_.centroids);
    alignas(64) std::uint8_t indices[most_numbers + 64];
    load_indices<Bits>(coded_planes(first), count * dim_, indices);
    for (std::int64_t i = 0; i < count * dim_; i += lanes) store(x_ + i, centroids[load_indices(indices + i)]);
  }

  /// Scales and turns vectors; `put` stores 16 numbers.
  template <class Put>
  void store_rows(std::int64_t first, std::int64_t count, const Put& put) {
    for (std::int64_t r = 0; r < count; ++r) {
      float* x = x_ + r * dim_;
      auto* words = words_ + (first + r) * dim_;
      const f32x16 norm = splat(norms_[r]);
      const auto value = [&](std::int64_t i) { return load(x + i) * load(signs_ + i) * norm * splat(power_); };
      // Out of cache, getting the memory that is to be written takes longer than decoding.
      constexpr std::int64_t cache_line = 64 / sizeof(*words);
      for (std::int64_t i = 0; i < dim_; i += cache_line) __builtin_prefetch(words + most_rows * dim_ + i);
      if (!turned_) {
        for (std::int64_t i = 0; i < dim_; i += lanes) put(words + i, value(i));
        continue;
      }
      for (std::int64_t i = 0; i < dim_; i += lanes) store(x + i, value(i));
      turn_row(first + r, x, x + codec_.rope_pairs);
      for (std::int64_t i = 0; i < dim_; i += lanes) put(words + i, load(x + i));
    }
  }

  const codec::TurboQuant& codec_;
  codec::Task& task_;
  const codec::Rotation rotation_;
  const std::int64_t dim_;
  const bool turned_;
  typename F::Word* const words_;
  std::uint8_t* const coded_;
  float power_ = 1;                                     ///< of two: from values to x and back
  alignas(64) float signs_[codec::Rotation::most_dim];  ///< times a factor
  alignas(64) float squares_[lanes] = {};
  alignas(64) float norms_[lanes];
  alignas(64) float x_[most_numbers];  ///< the vectors, one behind the other
};

inline void turboquant_encode(const codec::TurboQuant& codec, codec::Task& task) {
  with_format(task.subblock.dtype, [&](auto format) { TurboQuantTask<decltype(format)>(codec, task).encode(); });
}

/// Sets task.bytes to not_codable where the payload is broken.
inline void turboquant_decode(const codec::TurboQuant& codec, codec::Task& task) {
  if (task.raw) {
    __builtin_memcpy(task.values, task.coded, static_cast<std::size_t>(task.bytes));
    return;
  }
  with_format(task.subblock.dtype, [&](auto format) { TurboQuantTask<decltype(format)>(codec, task).decode(); });
}

}  // namespace seqkv::cpu::SEQKV_ISA
