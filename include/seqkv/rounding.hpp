// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Where an engine rounds numbers on their way through the layers: what a forward pass needs to give nearly the bits of
/// that engine. A wrong description costs bits of a lossless replay, never exactness.
#pragma once

#include <cstdint>

#include "seqkv/dtype.hpp"

namespace seqkv {

/// Results of linear layers (bias included), norms, rotary embedding, attention, gated products and sums with the
/// residual stream are rounded to `dtype` always; the rest as it says. Products are summed up in float.
struct Rounding {
  /// What becomes of softmax weights before they multiply values. The numbers are part of the format.
  enum class Probabilities : std::uint8_t {
    kept = 0,        ///< float
    normalized = 1,  ///< rounded when they sum to one
    relative = 2,    ///< exp(score - largest), rounded; the sum divides the result
  };

  DType dtype = DType::f32;      ///< f32: nothing is rounded anywhere
  bool norm_scaled = false;      ///< x / rms(x), before the weight
  bool rotary_table = false;     ///< sines and cosines
  bool rotary_products = false;  ///< both products, before they are added
  bool scores = false;           ///< query times key, and once more when scaled
  bool activation = false;       ///< silu(gate), before it multiplies
  Probabilities probabilities = Probabilities::kept;

  /// Hugging Face transformers 4 and 5, attention "eager".
  static constexpr Rounding transformers_eager(DType dtype) {
    return {dtype, true, true, true, true, true, Probabilities::normalized};
  }
  /// The same with attention "sdpa", by the flash kernel of torch for CPUs.
  static constexpr Rounding transformers_sdpa(DType dtype) {
    return {dtype, true, true, true, false, true, Probabilities::relative};
  }
  /// seqkv's own forward pass.
  static constexpr Rounding none() { return {}; }

  /// As a file has it: 1 norm_scaled, 2 rotary_table, 4 rotary_products, 8 scores, 16 activation.
  constexpr unsigned points() const {
    return unsigned{norm_scaled} | unsigned{rotary_table} << 1U | unsigned{rotary_products} << 2U |
           unsigned{scores} << 3U | unsigned{activation} << 4U;
  }
  /// The other way round. Preconditions: below 32; 0 to 2.
  static constexpr Rounding of(DType dtype, unsigned points, int probabilities) {
    const auto has = [points](unsigned bit) { return (points >> bit & 1U) != 0; };
    return {dtype, has(0), has(1), has(2), has(3), has(4), static_cast<Probabilities>(probabilities)};
  }

  friend bool operator==(const Rounding&, const Rounding&) = default;
};

}  // namespace seqkv
