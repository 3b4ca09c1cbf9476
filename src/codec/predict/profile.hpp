// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A profile in memory, packed for the kernels. The file is specified in docs/profile.md.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "codec/entropy/tables.hpp"
#include "codec/predict/ecsq_arguments.hpp"
#include "core/gemm.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/profile.hpp"

namespace seqkv {

/// A matrix of floats in panels (kernels::PackedMatrix).
struct PackedFloats {
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  std::vector<float> panels;

  /// `values` is [outputs][inputs], row by row.
  static PackedFloats pack(std::int64_t outputs, std::int64_t inputs, const std::vector<float>& values);
  kernels::PackedMatrix view(const float* memory) const { return {memory, false, outputs, inputs}; }
};

struct Profile::Data {
  /// Of one (layer, kind).
  struct Subblock {
    PackedFloats predict;  ///< [width + 1][1 + token_width + inputs]: values and the weight
    PackedFloats forward;  ///< [coefficients][width], rows of zeros fill up the last tile
    PackedFloats inverse;  ///< [width][coefficients]
    std::array<float, codec::distance_knots> knots{};
    std::vector<std::int16_t> scales;  ///< [coefficients]
    std::int32_t slope = 0;
    std::vector<float> first_row;  ///< [width]
  };

  KvShape shape;
  Digest model;
  Digest fingerprint;
  std::int64_t bytes = 0;
  std::vector<RatePoint> curve;
  std::int64_t layers_below = 0;     ///< layers whose decoded values predict one above
  std::optional<Token> first_token;  ///< with which sequences usually begin
  std::int64_t vocabulary = 0;
  std::int64_t token_width = 0;
  std::vector<float> tokens;  ///< [vocabulary][token_width]
  std::int32_t least_class = 0;
  std::optional<codec::TableFamily> tables;
  std::vector<Subblock> subblocks;  ///< [layers][K|V]

  std::int64_t width() const { return shape.kv_heads * shape.head_dim; }
  /// Sub-blocks below `number` that it is predicted from: the last of them, up to where its layer starts and before.
  std::int64_t window(std::int64_t number) const {
    const std::int64_t layer = number / 2;
    return number - 2 * std::max<std::int64_t>(0, layer - layers_below);
  }
};

/// Whether the codec has a profile that fits the shape.
/// Errors: invalid_argument (there is none), shape_mismatch.
Result<void> check_profile(const Codec& codec, const KvShape& shape);

/// The codec that a file names, with its profile. `fingerprint` is of the profile that coded; zero: none.
/// Errors: unsupported, wrong_profile (none is given, or another one).
namespace codec {
Result<Codec> find_codec(const std::string& spec, const Digest& fingerprint,
                         const std::shared_ptr<const Profile>& profile);
}

}  // namespace seqkv
