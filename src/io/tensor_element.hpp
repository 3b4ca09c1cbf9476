// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Numbers of tensors as they stand in a file: a header of any length is before them, so that they need not be aligned.
#pragma once

#include <cstdint>

#include "core/bytes.hpp"
#include "core/float16.hpp"
#include "seqkv/safetensors.hpp"

namespace seqkv::io {

/// Element i as float (exact). `dtype` is the tensor's.
inline float tensor_element(const TensorView& tensor, DType dtype, std::int64_t i) {
  const std::byte* at = tensor.bytes.data() + i * static_cast<std::int64_t>(size_of(dtype));
  if (dtype == DType::f32) return load_le<float>(at);
  const auto half = load_le<std::uint16_t>(at);
  return dtype == DType::bf16 ? bf16_to_float(half) : f16_to_float(half);
}

}  // namespace seqkv::io
