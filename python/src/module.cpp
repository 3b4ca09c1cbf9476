// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The compiled half of the Python package: views of arrays in, library calls, exceptions out. What is pleasant to use
/// is written in Python on top of it.

#include <nanobind/stl/string.h>

#include "runtime.hpp"
#include "seqkv/backends.hpp"
#include "seqkv/version.hpp"

NB_MODULE(_core, module) {
  using namespace seqkv::python;
  module.doc() = "The compiled half of seqkv.";
  module.def("version", []() { return std::string(seqkv::version()); });
  module.def("set_threads", &set_threads, nb::arg("count"));
  module.def("threads", &threads);
  module.def("cpu_kernels", []() { return std::string(seqkv::cpu_kernels()); });
  bind_errors(module);
  bind_codec(module);
  bind_frame(module);
  bind_store(module);
  bind_model(module);
  bind_evaluate(module);
  bind_calibrate(module);
  bind_trie(module);
}
