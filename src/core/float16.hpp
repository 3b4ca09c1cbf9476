// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Conversions between float and the 16-bit formats, in integer arithmetic: round to nearest even, NaN stays
/// NaN, the same bits everywhere.
#pragma once

#include "core/detmath.hpp"
#include "seqkv/dtype.hpp"

namespace seqkv {

SEQKV_INLINE float bf16_to_float(std::uint16_t h) { return detmath::from_bits(static_cast<std::uint32_t>(h) << 16U); }

SEQKV_INLINE std::uint16_t float_to_bf16(float x) {
  const std::uint32_t u = detmath::bits(x);
  if ((u & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((u >> 16U) | 0x40U);
  return static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16U) & 1U)) >> 16U);
}

SEQKV_INLINE float f16_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16U;
  const std::uint32_t magnitude = h & 0x7fffU;
  if (magnitude >= 0x7c00U) return detmath::from_bits(sign | 0x7f800000U | (magnitude & 0x3ffU) << 13U);
  if (magnitude >= 0x0400U) return detmath::from_bits(sign | ((magnitude << 13U) + 0x38000000U));
  // Subnormal: magnitude * 2^-24, exact in float.
  return detmath::from_bits(sign | detmath::bits(static_cast<float>(magnitude) * 0x1p-24F));
}

SEQKV_INLINE std::uint16_t float_to_f16(float x) {
  const std::uint32_t u = detmath::bits(x);
  const std::uint32_t sign = (u >> 16U) & 0x8000U;
  const std::uint32_t magnitude = u & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<std::uint16_t>(sign | 0x7e00U | ((magnitude >> 13U) & 0x3ffU));
  if (magnitude >= 0x477ff000U) return static_cast<std::uint16_t>(sign | 0x7c00U);  // rounds to infinity
  if (magnitude >= 0x38800000U) {
    const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13U) & 1U);
    return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13U));
  }
  // Subnormal result: adding 1/2 puts the bits where float's own rounding cuts them at 2^-24.
  const float shifted = detmath::from_bits(magnitude) + 0.5F;
  return static_cast<std::uint16_t>(sign | (detmath::bits(shifted) - 0x3f000000U));
}

/// Element `i` of an array of `dtype`, as float (exact).
SEQKV_INLINE float load_as_float(const void* values, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::bf16:
      return bf16_to_float(static_cast<const std::uint16_t*>(values)[i]);
    case DType::f16:
      return f16_to_float(static_cast<const std::uint16_t*>(values)[i]);
    default:
      return static_cast<const float*>(values)[i];
  }
}

/// Stores a float as element `i` of an array of `dtype` (rounded).
SEQKV_INLINE void store_from_float(void* values, DType dtype, std::int64_t i, float x) {
  switch (dtype) {
    case DType::bf16:
      static_cast<std::uint16_t*>(values)[i] = float_to_bf16(x);
      break;
    case DType::f16:
      static_cast<std::uint16_t*>(values)[i] = float_to_f16(x);
      break;
    default:
      static_cast<float*>(values)[i] = x;
      break;
  }
}

/// Element to element; without change of dtype bit for bit, NaN payloads included.
SEQKV_INLINE void copy_element(const void* from, DType from_dtype, std::int64_t i, void* to, DType to_dtype,
                               std::int64_t j) {
  if (from_dtype != to_dtype) {
    store_from_float(to, to_dtype, j, load_as_float(from, from_dtype, i));
  } else if (from_dtype == DType::f32) {
    static_cast<std::uint32_t*>(to)[j] = static_cast<const std::uint32_t*>(from)[i];
  } else {
    static_cast<std::uint16_t*>(to)[j] = static_cast<const std::uint16_t*>(from)[i];
  }
}

}  // namespace seqkv
