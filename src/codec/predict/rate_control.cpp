// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/rate_control.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace seqkv::codec {
namespace {

constexpr double near_enough = 0.004;  ///< of the wanted bits; 0.01 is promised
constexpr int most_tries = 16;

/// A parabola through logarithms by least squares: y over x. Measured rates and KLs are close to it, and single
/// points of few documents are noisy.
struct LogParabola {
  double constant = 0, slope = 0, bend = 0;
  double middle = 0;  ///< of the logarithms of x

  double operator()(double log_x) const {
    const double x = log_x - middle;
    return constant + x * (slope + x * bend);
  }

  template <class Of>
  static LogParabola fit(const std::vector<RatePoint>& curve, const Of& of) {
    LogParabola out;
    const auto count = static_cast<double>(curve.size());
    for (const RatePoint& point : curve) out.middle += std::log(point.step) / count;
    // Normal equations, steps being centered; their powers up to x^4.
    double power[5] = {};
    double right[3] = {};
    for (const RatePoint& point : curve) {
      const double x = std::log(point.step) - out.middle;
      const double y = std::log(of(point));
      double to = 1;
      for (int k = 0; k < 5; ++k, to *= x) {
        power[k] += to;
        if (k < 3) right[k] += to * y;
      }
    }
    if (curve.size() < 4) {
      out.constant = right[0] / power[0];
      out.slope = power[2] > 0 ? right[1] / power[2] : 0;
      return out;
    }
    // Cramer's rule: power[1] is 0.
    const double a = power[0];
    const double b = power[2];
    const double c = power[3];
    const double d = power[4];
    const double determinant = a * b * d - a * c * c - b * b * b;
    out.constant = (right[0] * (b * d - c * c) + right[1] * b * c - right[2] * b * b) / determinant;
    out.slope = (right[0] * b * c + right[1] * (a * d - b * b) - right[2] * a * c) / determinant;
    out.bend = (-right[0] * b * b - right[1] * a * c + right[2] * a * b) / determinant;
    return out;
  }
};

/// The logarithm of the step in [low, high] at which the curve, which rises or falls all along, is nearest to `wanted`.
double solve(const LogParabola& curve, double low, double high, double wanted) {
  const bool rises = curve(high) > curve(low);
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    ((curve(middle) < wanted) == rises ? low : high) = middle;
  }
  return (low + high) / 2;
}

/// Four digits are enough to hit a target, and make short codec strings.
float round_step(double step) {
  const double unit = std::pow(10.0, std::floor(std::log10(step)) - 3);
  return static_cast<float>(std::clamp(std::round(step / unit) * unit, least_step, most_step));
}

}  // namespace

Result<float> step_of_kl(const Profile& profile, double kl) {
  const auto& curve = profile.curve();
  if (curve.size() < 2) {
    return Error(ErrorCode::invalid_argument, "the profile has no curve of KL: name a step instead");
  }
  const auto fitted = LogParabola::fit(curve, [](const RatePoint& point) { return point.kl; });
  const double low = std::log(curve.back().step);
  const double high = std::log(curve.front().step);
  const double least = std::exp(fitted(low));
  const double most = std::exp(fitted(high));
  if (!(kl >= least && kl <= most)) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("the profile's curve reaches a KL from {:.2g} to {:.2g}, not {}", least, most, kl));
  }
  return round_step(std::exp(solve(fitted, low, high, std::log(kl))));
}

StepSearch::StepSearch(const Profile& profile, double bits) : wanted_(std::log(bits)), step_(1) {
  const auto& curve = profile.curve();
  if (curve.size() < 2) return;
  const auto fitted = LogParabola::fit(curve, [](const RatePoint& point) { return point.bits; });
  step_ = round_step(std::exp(solve(fitted, std::log(curve.back().step), std::log(curve.front().step), wanted_)));
}

bool StepSearch::tell(double bits) {
  const Point point{std::log(static_cast<double>(step_)), std::log(bits)};
  const double error = std::abs(point.bits - wanted_);
  if (tried_++ == 0 || error < std::abs(std::log(best_bits_) - wanted_)) {
    best_step_ = step_;
    best_bits_ = bits;
  }
  if (error < near_enough || tried_ == most_tries) return true;
  (point.bits > wanted_ ? fine_ : coarse_) = point;
  double next = 0;
  if (fine_ && coarse_) {
    // Between the two where a line says, yet not at their ends, where it would stay.
    const double part = std::clamp((fine_->bits - wanted_) / (fine_->bits - coarse_->bits), 0.05, 0.95);
    next = fine_->step + part * (coarse_->step - fine_->step);
  } else {
    // A slope as at usual rates, and a little farther, to have it between two soon.
    constexpr double farther = 1.1;
    next = point.step + farther * std::clamp(point.bits - wanted_, -3.0, 3.0);
  }
  const float step = round_step(std::exp(next));
  const bool tried = step == step_ || (fine_ && std::log(static_cast<double>(step)) <= fine_->step) ||
                     (coarse_ && std::log(static_cast<double>(step)) >= coarse_->step);
  if (tried) return true;
  step_ = step;
  return false;
}

}  // namespace seqkv::codec
