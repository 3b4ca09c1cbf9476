// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Transforms with quantizers: a tile of rows and coefficients goes through the register-blocked product (gemm.hpp)
/// while it is in the first-level cache. Only for the translation units that define SEQKV_ISA (see simd.hpp).
#pragma once

#include "backends/cpu/gemm.hpp"
#include "codec/transform/transform.hpp"

namespace seqkv::cpu::SEQKV_ISA {

inline constexpr std::int64_t tile_rows = 4 * most_rows;

/// The quantizers of a panel, each of their numbers side by side.
struct QuantizerPanel {
  alignas(64) float inverse_step[kernels::panel_width] = {};
  alignas(64) float rounding[kernels::panel_width] = {};

  QuantizerPanel(const codec::Quantizer* quantizers, std::int64_t count) {
    for (std::int64_t c = 0; c < count; ++c) {
      inverse_step[c] = quantizers[c].inverse_step;
      rounding[c] = quantizers[c].rounding;
    }
  }

  /// codec::quantize of a row, in a form that the compiler turns into vector code.
  SEQKV_INLINE void quantize(const float* sums, std::int16_t* numbers) const {
    for (std::int64_t c = 0; c < kernels::panel_width; ++c) {
      const float y = sums[c] * inverse_step[c];
      const float magnitude = detmath::from_bits(detmath::bits(y) & 0x7fffffffU) + rounding[c];
      const bool has_number = magnitude < static_cast<float>(codec::largest_number) + 1.0F;
      const auto number = static_cast<std::int32_t>(has_number ? magnitude : 0.0F);
      const std::int32_t with_sign = detmath::bits(y) >> 31U != 0 ? -number : number;
      numbers[c] = static_cast<std::int16_t>(has_number ? with_sign : codec::no_number);
    }
  }
};

/// Numbers of one panel of coefficients, counted over all blocks, rows [first, last).
inline void forward_transform(const codec::ForwardTransform& args, std::int64_t panel, std::int64_t first,
                              std::int64_t last) {
  using kernels::panel_width;
  const codec::DiagonalMatrix& matrix = args.matrix;
  const std::int64_t block = panel / matrix.panels();
  const std::int64_t in_block = panel % matrix.panels() * panel_width;
  const float* weights = matrix.panel(block, panel % matrix.panels());
  const float* in = args.in + block * matrix.block.inputs;
  const std::int64_t first_coefficient = block * matrix.block.outputs + in_block;
  const std::int64_t left = matrix.block.outputs - in_block;
  const std::int64_t coefficients = left < panel_width ? left : panel_width;
  const std::int64_t columns = left <= lanes ? lanes : panel_width;
  const QuantizerPanel quantizers(args.quantizers + first_coefficient, coefficients);
  alignas(64) float sums[tile_rows * panel_width] = {};
  alignas(64) std::int16_t tile[tile_rows * panel_width];
  for (std::int64_t row = first; row < last; row += tile_rows) {
    const std::int64_t rows = last - row < tile_rows ? last - row : tile_rows;
    multiply(rows, columns, matrix.block.inputs, in + row * args.ld_in, args.ld_in, weights, panel_width, sums,
             panel_width, false);
    for (std::int64_t r = 0; r < rows; ++r) quantizers.quantize(sums + r * panel_width, tile + r * panel_width);
    for (std::int64_t c = 0; c < coefficients; ++c) {
      std::int16_t* numbers = args.numbers + (first_coefficient + c) * args.ld_numbers + row;
      for (std::int64_t r = 0; r < rows; ++r) numbers[r] = tile[r * panel_width + c];
    }
  }
}

/// codec::dequantize of `count` numbers of one coefficient to every `stride`-th element of `values`, in a form that the
/// compiler turns into vector code.
SEQKV_INLINE void dequantize_row(const codec::Quantizer& quantizer, const std::int16_t* numbers, std::int64_t count,
                                 float* values, std::int64_t stride) {
  const float step = quantizer.step;
  const float one = quantizer.shift[0];
  const float two = quantizer.shift[1];
  const float more = quantizer.shift[2];
  alignas(64) float restored[tile_rows];
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int32_t number = numbers[r];
    const std::int32_t magnitude = number < 0 ? -number : number;
    const float shift = magnitude == 1 ? one : magnitude == 2 ? two : more;
    const float value = (static_cast<float>(magnitude) + shift) * step;
    const std::uint32_t sign = static_cast<std::uint32_t>(number) & 0x80000000U;
    const std::uint32_t keep = number == 0 ? 0U : ~0U;
    restored[r] = detmath::from_bits((detmath::bits(value) ^ sign) & keep);
  }
  for (std::int64_t r = 0; r < count; ++r) values[r * stride] = restored[r];
}

SEQKV_INLINE bool all_zero(const std::int16_t* numbers, std::int64_t count) {
  std::int16_t any = 0;
  for (std::int64_t r = 0; r < count; ++r) any = static_cast<std::int16_t>(any | numbers[r]);
  return any == 0;
}

/// The coefficients [first, first + count) of a tile that are not all 0, restored: their places in `used`, their values
/// side by side in `values`; returns how many.
inline std::int64_t restore_some(const codec::InverseTransform& args, std::int64_t first, std::int64_t count,
                                 std::int64_t row, std::int64_t rows, std::int32_t* used, float* values,
                                 std::int64_t ld_values) {
  std::int64_t found = 0;
  for (std::int64_t c = 0; c < count; ++c) {
    const std::int16_t* numbers = args.numbers + (first + c) * args.ld_numbers + row;
    if (all_zero(numbers, rows)) continue;
    dequantize_row(args.quantizers[first + c], numbers, rows, values + found, ld_values);
    used[found++] = static_cast<std::int32_t>(c);
  }
  return found;
}

/// out = in + 0.
SEQKV_INLINE void add_zero(std::int64_t rows, std::int64_t columns, const float* in, std::int64_t ld_in, float* out,
                           std::int64_t ld_out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < columns; ++i) out[r * ld_out + i] = in[r * ld_in + i] + 0.0F;
  }
}

/// Outputs of rows [first, last). Where bits are few, most coefficients of a tile are 0 and cost nothing.
inline void inverse_transform(const codec::InverseTransform& args, std::int64_t first, std::int64_t last) {
  using kernels::panel_width;
  constexpr std::int64_t piece = 128;  // coefficients: the values of a tile and a panel fit the first-level cache
  const codec::DiagonalMatrix& matrix = args.matrix;
  const std::int64_t depth = matrix.block.inputs;
  const std::int64_t outputs = matrix.block.outputs;
  alignas(64) float values[tile_rows * piece];
  alignas(64) float sums[tile_rows * panel_width];
  std::int32_t used[piece];
  for (std::int64_t row = first; row < last; row += tile_rows) {
    const std::int64_t rows = last - row < tile_rows ? last - row : tile_rows;
    for (std::int64_t block = 0; block < matrix.blocks; ++block) {
      float* out = args.out + row * args.ld_out + block * outputs;
      for (std::int64_t k = 0; k < depth; k += piece) {
        const std::int64_t some = depth - k < piece ? depth - k : piece;
        const std::int64_t found = restore_some(args, block * depth + k, some, row, rows, used, values, piece);
        for (std::int64_t n = 0; n < outputs; n += panel_width) {
          // Summed aside: a panel may reach beyond its block.
          const std::int64_t columns = outputs - n < panel_width ? outputs - n : panel_width;
          if (k > 0) add_zero(rows, columns, out + n, args.ld_out, sums, panel_width);
          multiply(rows, panel_width, found, values, piece, matrix.panel(block, n / panel_width) + k * panel_width,
                   panel_width, sums, panel_width, k > 0, SomeRows{used});
          add_zero(rows, columns, sums, panel_width, out + n, args.ld_out);
        }
      }
    }
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
