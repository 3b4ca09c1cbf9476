// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Numbers as a profile stores them: what is fitted is what a decoder will read.
#pragma once

#include <vector>

#include "calibrate/solve.hpp"
#include "seqkv/dtype.hpp"

namespace seqkv::calibration {

/// All are of that type.
struct Stored {
  DType dtype = DType::f16;
  std::vector<float> values;

  /// Rounded to f16 where that is precise enough.
  static Stored round(std::vector<float> values);
  static Stored round(const Dense& values) { return round({values.values.begin(), values.values.end()}); }
  /// Another one behind it, in the wider type of both.
  void append(const Stored& other);
};

}  // namespace seqkv::calibration
