// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// A profile in memory, packed for the kernels. The file is specified in docs/profile.md.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "codec/entropy/tables.hpp"
#include "codec/predict/ecsq_arguments.hpp"
#include "core/gemm.hpp"
#include "io/file.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/profile.hpp"

namespace seqkv {

/// Matrices of floats of one size in panels (kernels::PackedMatrix), one behind the other: usually a single one.
struct PackedFloats {
  std::int64_t outputs = 0;  ///< of each
  std::int64_t inputs = 0;
  std::int64_t blocks = 1;
  std::vector<float> panels;

  /// `values` is [blocks][outputs][inputs].
  static PackedFloats pack(std::int64_t outputs, std::int64_t inputs, const std::vector<float>& values,
                           std::int64_t blocks = 1);
  kernels::PackedMatrix view(const float* memory) const { return {memory, false, outputs, inputs}; }
};

struct Profile::Data {
  /// From what a prediction leaves to numbers, and back.
  struct Transform {
    PackedFloats forward;  ///< [coefficients][width] by blocks along the diagonal, rows of zeros fill up tiles
    PackedFloats inverse;  ///< [width][coefficients] by the same blocks
    std::vector<std::int16_t> scales;  ///< [coefficients]
    std::int32_t slope = 0;
  };
  /// Of one (layer, kind).
  struct Subblock : Transform {
    PackedFloats squeeze;                ///< [rank][inputs]; no outputs: `predict` takes the features themselves
    PackedFloats predict;                ///< [width + 1][inputs or rank]: values and the weight
    std::optional<Transform> reference;  ///< of what is left of tokens that another context predicts
    std::array<float, codec::distance_knots> knots{};
    std::vector<float> first_row;  ///< [width]
    // For coding without loss; empty in profiles that are not made for it.
    PackedFloats below;   ///< [width][width]: by the residuals of the sub-block below; empty for the first
    PackedFloats within;  ///< [width][width]: by those of the sub-block itself that are known before
    std::vector<std::int16_t> lossless_scales;  ///< [width]
  };

  io::MappedFile file;
  KvShape shape;
  Digest model;
  Digest fingerprint;
  std::vector<RatePoint> curve;
  std::int64_t layers_below = 0;     ///< layers whose decoded values predict one above
  std::optional<Token> first_token;  ///< with which sequences usually begin
  std::int64_t vocabulary = 0;
  std::int64_t token_width = 0;
  std::vector<float> tokens;  ///< [vocabulary][token_width]
  std::int32_t least_class = 0;
  std::optional<codec::TableFamily> tables;
  std::optional<codec::TableFamily> lossless_tables;
  std::vector<Subblock> subblocks;  ///< [layers][K|V]
  bool has_references = false;      ///< some of them can be predicted from one

  std::int64_t width() const { return shape.kv_heads * shape.head_dim; }
  /// Sub-blocks below `number` that it is predicted from: the last of them, up to where its layer starts and before.
  std::int64_t window(std::int64_t number) const {
    const std::int64_t layer = number / 2;
    return number - 2 * std::max<std::int64_t>(0, layer - layers_below);
  }
  /// Features before `number`: the constant, the token, the values below.
  std::int64_t inputs(std::int64_t number) const { return 1 + token_width + window(number) * width(); }
};

/// Whether the codec has a profile that fits the shape.
/// Errors: invalid_argument (there is none), shape_mismatch, missing_field (it is not made for this codec).
Result<void> check_profile(const Codec& codec, const KvShape& shape);

/// The codec that a file names, with its profile. `fingerprint` is of the profile that coded; zero: none.
/// Errors: unsupported, wrong_profile (none is given, or another one).
namespace codec {
Result<Codec> find_codec(const std::string& spec, const Digest& fingerprint,
                         const std::shared_ptr<const Profile>& profile);
}

}  // namespace seqkv
