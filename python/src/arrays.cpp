// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "arrays.hpp"

#include <fmt/format.h>

namespace seqkv::python {
namespace {

constexpr std::array names = {std::pair{DType::bf16, "bfloat16"}, std::pair{DType::f16, "float16"},
                              std::pair{DType::f32, "float32"}};

[[noreturn]] void fail_at(ErrorCode code, std::size_t tensor, std::string message) {
  throw Failure{Error(code, std::move(message))
                    .at_field(fmt::format("layer {}, {}", tensor / 2, tensor % 2 == 0 ? "key" : "value"))};
}

DType dtype_of_array(nb::dlpack::dtype type, const std::string& name, std::size_t tensor) {
  using Code = nb::dlpack::dtype_code;
  const auto code = static_cast<Code>(type.code);
  if (!name.empty()) {
    const DType wanted = python::dtype_of(name);
    if (type.bits == 8 * size_of(wanted) && type.lanes == 1) return wanted;
  } else if (type.lanes == 1) {
    if (code == Code::Bfloat && type.bits == 16) return DType::bf16;
    if (code == Code::Float && type.bits == 16) return DType::f16;
    if (code == Code::Float && type.bits == 32) return DType::f32;
  }
  fail_at(ErrorCode::unsupported, tensor, "the elements are not bfloat16, float16 or float32");
}

template <class Byte, class Array>
BasicKvView<Byte> view_of_arrays(const std::vector<Array>& arrays, const RopeConfig& rope, const std::string& dtype) {
  if (arrays.empty() || arrays.size() % 2 != 0) {
    fail(ErrorCode::invalid_argument, "a cache is a key and a value for every layer");
  }
  BasicKvView<Byte> view;
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Array& array = arrays[i];
    if (array.ndim() != 3) {
      fail_at(ErrorCode::shape_mismatch, i,
              fmt::format("{} dimensions, not [kv_heads, tokens, head_dim]", array.ndim()));
    }
    const auto size = [&array](std::size_t axis) { return static_cast<std::int64_t>(array.shape(axis)); };
    const KvShape shape{static_cast<std::int64_t>(arrays.size() / 2), size(0), size(2), rope,
                        dtype_of_array(array.dtype(), dtype, i)};
    if (i == 0) {
      view.shape = shape;
      view.tokens = size(1);
    }
    if (!(shape == view.shape) || size(1) != view.tokens) {
      fail_at(
          ErrorCode::shape_mismatch, i,
          fmt::format("[{}, {}, {}] of {} beside [{}, {}, {}] of {}", size(0), size(1), size(2), name_of(shape.dtype),
                      view.shape.kv_heads, view.tokens, view.shape.head_dim, name_of(view.shape.dtype)));
    }
    // Distances along an axis of one element say nothing.
    const auto stride = [&](std::size_t axis) { return size(axis) > 1 ? array.stride(axis) : std::int64_t{0}; };
    const KvStrides strides{stride(0), stride(1), stride(2)};
    KvStrides& known = view.strides[i % 2];
    if (i < 2) known = strides;
    if (strides.head != known.head || strides.token != known.token || strides.component != known.component) {
      fail_at(ErrorCode::unsupported, i, "its strides are not those of the layers before");
    }
    if constexpr (!std::is_const_v<Byte>) {
      for (std::size_t axis = 0; axis < 3; ++axis) {
        if (size(axis) > 1 && array.stride(axis) == 0) fail_at(ErrorCode::invalid_argument, i, "its elements overlap");
      }
    }
    view.tensors.push_back(static_cast<Byte*>(array.data()));
  }
  value_of(view.shape.check());
  return view;
}

}  // namespace

DType dtype_of(const std::string& name) {
  for (const auto& [dtype, known] : names) {
    if (name == known) return dtype;
  }
  fail(ErrorCode::unsupported, fmt::format("dtype '{}': there are bfloat16, float16 and float32", name));
}

std::string name_of(DType dtype) {
  for (const auto& [known, name] : names) {
    if (known == dtype) return name;
  }
  return "unknown";
}

ConstKvView view_of(const std::vector<ReadArray>& arrays, const RopeConfig& rope, const std::string& dtype) {
  return view_of_arrays<const std::byte>(arrays, rope, dtype);
}

KvView view_of(const std::vector<WriteArray>& arrays, const RopeConfig& rope, const std::string& dtype) {
  return view_of_arrays<std::byte>(arrays, rope, dtype);
}

}  // namespace seqkv::python
