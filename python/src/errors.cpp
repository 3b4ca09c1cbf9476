// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <nanobind/stl/string.h>
#include <exception>

#include <map>

#include "runtime.hpp"

namespace seqkv::python {
namespace {

/// By code; the classes are those of errors.py. Never freed: exceptions may outlive the module.
std::map<int, nb::object>& classes() {
  static auto* all = new std::map<int, nb::object>();
  return *all;
}

nb::object or_none(bool known, const auto& value) { return known ? nb::cast(value) : nb::none(); }

void raise(const Error& error) {
  const auto found = classes().find(static_cast<int>(error.code));
  if (found == classes().end()) {
    PyErr_SetString(PyExc_RuntimeError, error.describe().c_str());
    return;
  }
  nb::object exception = found->second(error.describe());
  exception.attr("file") = or_none(!error.file.empty(), error.file);
  exception.attr("field") = or_none(!error.field.empty(), error.field);
  exception.attr("offset") = or_none(error.offset >= 0, error.offset);
  exception.attr("block") = or_none(error.block >= 0, error.block);
  PyErr_SetObject(found->second.ptr(), exception.ptr());
}

void translate(const std::exception_ptr& problem, void*) {
  try {
    std::rethrow_exception(problem);
  } catch (const Failure& failure) {
    raise(failure.error);
  }
}

}  // namespace

void bind_errors(nb::module_& module) {
  nb::register_exception_translator(translate);
  module.def(
      "set_error_class",
      [](int code, nb::object type) {
        if (to_string(static_cast<ErrorCode>(code)) == "unknown") fail(ErrorCode::invalid_argument, "no such code");
        classes().insert_or_assign(code, std::move(type));
      },
      nb::arg("code"), nb::arg("type"));
  module.def(
      "error_name", [](int code) { return std::string(to_string(static_cast<ErrorCode>(code))); }, nb::arg("code"));
}

}  // namespace seqkv::python
