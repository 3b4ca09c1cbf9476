// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/stored.hpp"

#include "core/float16.hpp"

namespace seqkv::calibration {

Stored Stored::round(std::vector<float> values) {
  Stored out{DType::f16, values};
  double error = 0;
  double power = 0;
  for (float& x : out.values) {
    const float exact = x;
    x = f16_to_float(float_to_f16(x));
    error += (double{x} - exact) * (double{x} - exact);
    power += double{exact} * exact;
  }
  // What normal numbers lose is 2^-12.8 of the whole; more would be what is too large, or too small. NaN is more.
  constexpr double most = 0x1p-23;
  if (error <= most * power) return out;
  return {DType::f32, std::move(values)};
}

void Stored::append(const Stored& other) {
  if (other.dtype == DType::f32) dtype = DType::f32;
  values.insert(values.end(), other.values.begin(), other.values.end());
}

}  // namespace seqkv::calibration
