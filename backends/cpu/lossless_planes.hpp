// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Splitting numbers into exponents and planes of sign and mantissa, and joining them: plain loops that the compiler
/// turns into vector code. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/formats.hpp"

namespace seqkv::cpu::SEQKV_ISA {

namespace rans = codec::rans;

/// symbols[i] = exponent of words[i], less the smallest exponent, which is returned.
template <class F>
inline int split_exponents(const typename F::Word* words, std::int64_t count, std::uint8_t* symbols) {
  std::uint8_t smallest = 0xff;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto exponent = static_cast<std::uint8_t>(F::layout.exponent(words[i]));
    symbols[i] = exponent;
    smallest = exponent < smallest ? exponent : smallest;
  }
  for (std::int64_t i = 0; i < count; ++i) symbols[i] = static_cast<std::uint8_t>(symbols[i] - smallest);
  return smallest;
}

/// One plane; false if it is all zero.
template <class F>
inline bool write_plane(const codec::Planes& planes, unsigned plane, const typename F::Word* words, std::int64_t count,
                        std::byte* out) {
  const unsigned shift = planes.shift(plane);
  unsigned any = 0;
  if (plane < planes.bytes) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(out);
    for (std::int64_t i = 0; i < count; ++i) {
      bytes[i] = static_cast<std::uint8_t>(F::layout.rest(words[i]) >> shift);
      any |= bytes[i];
    }
    return any != 0;
  }
  for (std::int64_t i = 0; i < count; i += 8) {
    const std::int64_t some = count - i < 8 ? count - i : 8;
    unsigned byte = 0;
    for (std::int64_t j = 0; j < some; ++j) {
      byte |= (F::layout.rest(words[i + j]) >> shift & 1U) << static_cast<unsigned>(j);
    }
    out[i / 8] = static_cast<std::byte>(byte);
    any |= byte;
  }
  return any != 0;
}

/// Planes that are not all zero, from the lowest; moves `out` behind them and returns which they are.
template <class F>
inline unsigned write_planes(const codec::Task& task, std::byte*& out) {
  const codec::Planes planes(F::layout);
  const std::int64_t count = task.subblock.values();
  unsigned stored = 0;
  for (unsigned plane = 0; plane < planes.count(); ++plane) {
    if (!write_plane<F>(planes, plane, reinterpret_cast<const typename F::Word*>(task.values), count, out)) continue;
    out += planes.size(plane, count);
    stored |= 1U << plane;
  }
  return stored;
}

/// words[i] |= the bits of a plane, for values [first, first + count) of its sub-block.
template <class F>
inline void add_plane(const codec::Planes& planes, unsigned plane, const std::byte* bytes, std::int64_t first,
                      std::int64_t count, typename F::Word* words) {
  using Word = typename F::Word;
  const unsigned shift = planes.shift(plane);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = first + i;
    const std::uint32_t bits = plane < planes.bytes
                                   ? static_cast<std::uint32_t>(bytes[at])
                                   : static_cast<std::uint32_t>(bytes[at / 8]) >> static_cast<unsigned>(at % 8) & 1U;
    words[i] = static_cast<Word>(words[i] | F::layout.join(0, bits << shift));
  }
}

/// Values [first, first + count) of a sub-block with `total`, from their exponents less `smallest` and its planes.
template <class F>
inline void join_exponents(const codec::LosslessParts& parts, std::int64_t total, std::int64_t first,
                           std::int64_t count, const std::uint8_t* symbols, std::uint32_t smallest, std::byte* values) {
  auto* words = reinterpret_cast<typename F::Word*>(values) + first;
  for (std::int64_t i = 0; i < count; ++i) {
    words[i] = static_cast<typename F::Word>((symbols[i] + smallest) << F::layout.mantissa_bits);
  }
  const codec::Planes planes(F::layout);
  const std::byte* bytes = parts.planes;
  for (unsigned plane = 0; plane < planes.count(); ++plane) {
    if ((parts.stored >> plane & 1U) == 0) continue;
    add_plane<F>(planes, plane, bytes, first, count, words);
    bytes += planes.size(plane, total);
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
