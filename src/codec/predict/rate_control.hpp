// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The step that a target of bits or of KL asks for.
#pragma once

#include <optional>

#include "seqkv/profile.hpp"

namespace seqkv::codec {

inline constexpr double least_step = 0x1p-20;
inline constexpr double most_step = 0x1p20;

/// By the profile's curve. Errors: invalid_argument (the curve does not reach there).
Result<float> step_of_kl(const Profile& profile, double kl);

/// Finds the step at which a cache takes the wanted bits, from the bits at steps tried so far: false position on
/// logarithms, in which rates are nearly straight.
class StepSearch {
 public:
  /// Begins where the profile's curve says, or with 1 where it has none.
  StepSearch(const Profile& profile, double bits);

  float step() const { return step_; }

  /// What the cache took at step(). True when that is the end: near enough, or no nearer step is left.
  bool tell(double bits);

  /// The step that came nearest, and what it took.
  float best_step() const { return best_step_; }
  double best_bits() const { return best_bits_; }

 private:
  struct Point {
    double step;  ///< natural logarithms
    double bits;
  };

  double wanted_;  ///< natural logarithm
  float step_;
  float best_step_ = 0;
  double best_bits_ = 0;
  int tried_ = 0;
  std::optional<Point> fine_, coarse_;  ///< the nearest steps with more, and with fewer bits
};

}  // namespace seqkv::codec
