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

/// Numbers of one panel of coefficients, rows [first, last).
inline void forward_transform(const codec::ForwardTransform& args, std::int64_t panel, std::int64_t first,
                              std::int64_t last) {
  using kernels::panel_width;
  const auto* weights = static_cast<const float*>(args.matrix.data) + panel * panel_width * args.matrix.inputs;
  const std::int64_t first_coefficient = panel * panel_width;
  const std::int64_t left = args.matrix.outputs - first_coefficient;
  const std::int64_t coefficients = left < panel_width ? left : panel_width;
  const QuantizerPanel quantizers(args.quantizers + first_coefficient, coefficients);
  alignas(64) float sums[tile_rows * panel_width];
  alignas(64) std::int16_t tile[tile_rows * panel_width];
  for (std::int64_t row = first; row < last; row += tile_rows) {
    const std::int64_t rows = last - row < tile_rows ? last - row : tile_rows;
    multiply(rows, panel_width, args.matrix.inputs, args.in + row * args.ld_in, args.ld_in, weights, panel_width, sums,
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

/// Outputs of rows [first, last).
inline void inverse_transform(const codec::InverseTransform& args, std::int64_t first, std::int64_t last) {
  using kernels::panel_width;
  constexpr std::int64_t piece = 128;  // coefficients: the values of a tile and a panel fit the first-level cache
  alignas(64) float values[tile_rows * piece];
  const std::int64_t depth = args.matrix.inputs;
  for (std::int64_t row = first; row < last; row += tile_rows) {
    const std::int64_t rows = last - row < tile_rows ? last - row : tile_rows;
    for (std::int64_t k = 0; k < depth; k += piece) {
      const std::int64_t some = depth - k < piece ? depth - k : piece;
      for (std::int64_t c = 0; c < some; ++c) {
        dequantize_row(args.quantizers[k + c], args.numbers + (k + c) * args.ld_numbers + row, rows, values + c, piece);
      }
      for (std::int64_t n = 0; n < args.matrix.outputs; n += panel_width) {
        const auto* weights = static_cast<const float*>(args.matrix.data) + n * depth + k * panel_width;
        multiply(rows, panel_width, some, values, piece, weights, panel_width, args.out + row * args.ld_out + n,
                 args.ld_out, true);
      }
    }
  }
}

}  // namespace seqkv::cpu::SEQKV_ISA
