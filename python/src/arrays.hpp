// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Views of the arrays that callers hand in: nothing is copied, all is checked.
#pragma once

#include <nanobind/ndarray.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "runtime.hpp"
#include "seqkv/kv.hpp"

namespace seqkv::python {

using ReadArray = nb::ndarray<nb::ro, nb::device::cpu>;
using WriteArray = nb::ndarray<nb::device::cpu>;
using ReadTokens = nb::ndarray<const Token, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using WriteTokens = nb::ndarray<Token, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

/// "bfloat16", "float16", "float32". Errors: unsupported.
DType dtype_of(const std::string& name);
std::string name_of(DType dtype);

/// The keys and values of all layers, [kv_heads, tokens, head_dim] each, as key, value, key, ... `dtype` names the type
/// of elements that the array interface has no name for (bfloat16 as 16-bit integers); empty: that of the arrays.
/// Errors: shape_mismatch, unsupported (dtype; arrays of one kind with different strides), invalid_argument.
ConstKvView view_of(const std::vector<ReadArray>& arrays, const RopeConfig& rope, const std::string& dtype);
KvView view_of(const std::vector<WriteArray>& arrays, const RopeConfig& rope, const std::string& dtype);

inline TokenSpan span_of(const ReadTokens& tokens) { return {tokens.data(), tokens.size()}; }

}  // namespace seqkv::python
