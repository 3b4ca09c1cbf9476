// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/quantize/lloyd_max.hpp"

#include <algorithm>
#include <cmath>

namespace seqkv::codec {
namespace {

/// x^(n / 2).
double half_power(double x, std::int64_t n) {
  double result = n % 2 == 0 ? 1.0 : std::sqrt(x);
  double square = x;
  for (n /= 2; n > 0; n /= 2) {
    if (n % 2 != 0) result *= square;
    square *= square;
  }
  return result;
}

/// Mass and first moment of the density (not normalized) on [0, t].
class Density {
 public:
  explicit Density(std::int64_t dim) : dim_(dim), mass_(intervals + 1, 0.0) {
    for (int i = 0; i < intervals; ++i) mass_[i + 1] = mass_[i] + simpson(i * width, (i + 1) * width);
  }

  double mass(double t) const {
    const int i = std::min(static_cast<int>(t / width), intervals - 1);
    return mass_[i] + simpson(i * width, t);
  }
  /// The integral of x f(x) has a closed form.
  double moment(double t) const { return (1.0 - half_power(1.0 - t * t, dim_ - 1)) / static_cast<double>(dim_ - 1); }

 private:
  static constexpr int intervals = 1 << 14;
  static constexpr double width = 1.0 / intervals;

  double value(double x) const { return half_power(std::max(1.0 - x * x, 0.0), dim_ - 3); }
  double simpson(double a, double b) const {
    return (b - a) / 6.0 * (value(a) + 4.0 * value(0.5 * (a + b)) + value(b));
  }

  std::int64_t dim_;
  std::vector<double> mass_;
};

}  // namespace

std::vector<double> lloyd_max_centroids(int bits, std::int64_t dim) {
  // The density is even: the positive half of the codebook, with a threshold at 0, is enough.
  const Density density(dim);
  const int count = 1 << (bits - 1);
  std::vector<double> half(count);
  const double reach = std::min(1.0, 3.0 / std::sqrt(static_cast<double>(dim)));
  for (int k = 0; k < count; ++k) half[k] = reach * (k + 0.5) / count;
  constexpr int most_iterations = 20000;
  constexpr double tolerance = 1e-14;
  double change = 1.0;
  for (int iteration = 0; iteration < most_iterations && change > tolerance; ++iteration) {
    change = 0.0;
    double low = 0.0;
    for (int k = 0; k < count; ++k) {
      const double high = k + 1 < count ? 0.5 * (half[k] + half[k + 1]) : 1.0;
      const double mass = density.mass(high) - density.mass(low);
      // A cell so far out that its mass vanishes keeps its centroid.
      const double moment = density.moment(high) - density.moment(low);
      const double centroid = mass > 0.0 ? std::clamp(moment / mass, low, high) : half[k];
      change = std::max(change, std::abs(centroid - half[k]));
      half[k] = centroid;
      low = high;
    }
  }
  std::vector<double> all;
  for (auto k = half.rbegin(); k != half.rend(); ++k) all.push_back(-*k);
  all.insert(all.end(), half.begin(), half.end());
  return all;
}

}  // namespace seqkv::codec
