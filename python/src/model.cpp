// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/model.hpp"

#include <fmt/format.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/replay.hpp"

namespace seqkv::python {
namespace {

using ModelHere = Model<Space>;

/// Fills the arrays, [kv_heads, tokens, head_dim] each.
void prefill(const std::shared_ptr<const ModelHere>& model, const ReadTokens& tokens,
             const std::vector<WriteArray>& arrays, const std::string& dtype) {
  const KvView out = view_of(arrays, model->config().rope, dtype);
  released([&]() {
    auto forward = value_of(Forward<Space>::create(Space(), model));
    value_of(regenerate(Space(), forward, span_of(tokens), out));
    return true;
  });
}

}  // namespace

void bind_model(nb::module_& module) {
  // Held as a pointer to const: nothing here changes a model.
  nb::class_<ModelHere>(module, "Model",
                        "A model of the Llama family from a Hugging Face folder, with seqkv's own forward pass: the\n"
                        "same bits on every machine, which is what `replay` codecs rest on.")
      .def_static(
          "load",
          [](const std::filesystem::path& folder) {
            return released(
                [&]() { return std::const_pointer_cast<ModelHere>(value_of(ModelHere::load(Space(), folder))); });
          },
          nb::arg("folder"))
      .def_prop_ro(
          "fingerprint", [](const ModelHere& model) { return model.fingerprint().combined().hex(); },
          "SHA-256 over configuration, tokenizer and weights, in hex: what frames and stores name a model by.")
      .def(
          "shape",
          [](const ModelHere& model, const std::string& dtype) { return model.config().kv_shape(dtype_of(dtype)); },
          nb::arg("dtype") = "bfloat16", "Of its caches in a dtype.")
      .def_prop_ro("max_positions", [](const ModelHere& model) { return model.config().max_positions; })
      .def_prop_ro("vocabulary", [](const ModelHere& model) { return model.config().vocabulary; })
      .def(
          "encode",
          [](const ModelHere& model, const std::string& text) { return value_of(model.encode_document(text)); },
          nb::arg("text"), "The tokens of a document, the model's first token in front.")
      .def(
          "decode",
          [](const ModelHere& model, const std::vector<Token>& tokens) {
            const std::string text = value_of(value_of(model.tokenizer())->decode(tokens));
            return nb::bytes(text.data(), text.size());
          },
          nb::arg("tokens"), "The bytes of tokens, which need not be whole characters.");
  module.def("prefill", &prefill, nb::arg("model"), nb::arg("tokens"), nb::arg("arrays"), nb::arg("dtype"));
}

}  // namespace seqkv::python
