// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Calibration of a model that Python runs (seqkv/hf/calibrate.py).

#include "seqkv/calibrate.hpp"

#include <fmt/format.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "arrays.hpp"
#include "seqkv/cache_gradient.hpp"

namespace seqkv::python {
namespace {

using Embedding = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

/// The methods of a Python object. The interpreter's lock is taken for each; what one raises ends the calibration, and
/// is raised again by rethrow().
class PythonModel final : public CalibrationModel {
 public:
  PythonModel(nb::object runner, ModelConfig config, const Digest& fingerprint, Embedding embedding)
      : runner_(std::move(runner)),
        config_(std::move(config)),
        fingerprint_(fingerprint),
        embedding_(std::move(embedding)) {
    if (static_cast<std::int64_t>(embedding_.shape(0)) < config_.vocabulary ||
        static_cast<std::int64_t>(embedding_.shape(1)) != config_.hidden) {
      fail(ErrorCode::shape_mismatch,
           fmt::format("an embedding [{}, {}] of a model of {} tokens, {} wide", embedding_.shape(0),
                       embedding_.shape(1), config_.vocabulary, config_.hidden));
    }
  }

  const ModelConfig& config() const override { return config_; }
  Digest fingerprint() const override { return fingerprint_; }
  void embedding(Token token, float* out) const override {
    const float* row = embedding_.data() + std::int64_t{token} * config_.hidden;
    std::copy(row, row + config_.hidden, out);
  }

  Result<void> start(TokenSpan tokens) override {
    return call([&] { runner_.attr("start")(ids(tokens)); });
  }
  Result<void> read(const KvView& out) override {
    return call([&] { runner_.attr("read")(array(out), name_of(out.shape.dtype)); });
  }
  Result<void> gradient(TokenSpan continuation, std::uint64_t seed, const KvView& out) override {
    std::vector<float> draws;
    for (std::size_t i = 0; i < continuation.size(); ++i) {
      draws.push_back(drawing_number(seed, static_cast<std::int64_t>(i)));
    }
    return call([&] { runner_.attr("gradient")(ids(continuation), draws, array(out)); });
  }
  Result<std::vector<float>> go_on(TokenSpan continuation) override {
    std::vector<float> logits;
    const auto done = call([&] { logits = values(runner_.attr("go_on")(ids(continuation))); });
    if (!done) return done.error();
    return logits;
  }
  Result<std::vector<float>> go_on_from(const ConstKvView& restored, TokenSpan continuation) override {
    std::vector<float> logits;
    // Python only reads it.
    const KvView view{restored.shape, restored.tokens, {const_cast<std::byte*>(restored.tensors.front())}, {}};
    const auto done = call([&] {
      logits = values(runner_.attr("go_on_from")(array(view), name_of(restored.shape.dtype), ids(continuation)));
    });
    if (!done) return done.error();
    return logits;
  }

  void rethrow() {
    if (raised_) throw std::move(*raised_);
  }

 private:
  template <class Work>
  Result<void> call(const Work& work) {
    const nb::gil_scoped_acquire acquire;
    try {
      work();
      return {};
    } catch (nb::python_error& error) {
      raised_.emplace(std::move(error));
    } catch (const nb::cast_error&) {
      return Error(ErrorCode::invalid_argument, "the model gives no array of float32 [tokens, vocabulary]");
    }
    return Error(ErrorCode::interrupted, "by an exception of the model");
  }

  static nb::object ids(TokenSpan tokens) { return nb::cast(std::vector<Token>(tokens.begin(), tokens.end())); }

  /// A cache as [2 * layers, kv_heads, tokens, head_dim], of 16-bit integers where numbers have 16 bits.
  static nb::object array(const KvView& view) {
    const std::size_t shape[] = {static_cast<std::size_t>(2 * view.shape.layers),
                                 static_cast<std::size_t>(view.shape.kv_heads), static_cast<std::size_t>(view.tokens),
                                 static_cast<std::size_t>(view.shape.head_dim)};
    void* memory = view.tensors.front();
    // Of the calling function alone, whose memory it is.
    if (size_of(view.shape.dtype) == 4) {
      return nb::cast(nb::ndarray<nb::numpy, float>(memory, 4, shape, nb::handle()), nb::rv_policy::reference);
    }
    return nb::cast(nb::ndarray<nb::numpy, std::uint16_t>(memory, 4, shape, nb::handle()), nb::rv_policy::reference);
  }

  static std::vector<float> values(const nb::object& logits) {
    const auto found = nb::cast<Logits>(logits);
    return {found.data(), found.data() + found.size()};
  }

  nb::object runner_;
  ModelConfig config_;
  Digest fingerprint_;
  Embedding embedding_;
  std::optional<nb::python_error> raised_;
};

ModelConfig config_of(const nb::dict& facts, const RopeConfig& rope) {
  const auto number = [&](const char* name) {
    if (!facts.contains(name)) fail(ErrorCode::missing_field, std::string("the model's ") + name);
    return nb::cast<std::int64_t>(facts[name]);
  };
  ModelConfig config;
  config.type = "captured";
  config.hidden = number("hidden");
  config.intermediate = number("intermediate");
  config.layers = number("layers");
  config.query_heads = number("query_heads");
  config.kv_heads = number("kv_heads");
  config.head_dim = number("head_dim");
  config.vocabulary = number("vocabulary");
  config.max_positions = number("max_positions");
  config.tied_embeddings = number("tied_embeddings") != 0;
  config.norm_epsilon = nb::cast<double>(facts["norm_epsilon"]);
  config.rope = rope;
  if (const std::int64_t bos = number("first_token"); bos >= 0) config.bos = static_cast<Token>(bos);
  return config;
}

nb::tuple calibrate_captured(nb::object runner, const nb::dict& facts, const RopeConfig& rope,
                             const std::string& fingerprint, const Embedding& embedding,
                             const std::vector<std::vector<Token>>& documents, const nb::dict& settings,
                             const std::filesystem::path& out, nb::object progress) {
  CalibrateOptions options;
  options.effort = nb::cast<int>(settings["effort"]);
  options.context = nb::cast<std::int64_t>(settings["context"]);
  options.continuation = nb::cast<std::int64_t>(settings["continuation"]);
  options.block_tokens = nb::cast<std::int64_t>(settings["block_tokens"]);
  options.references = nb::cast<bool>(settings["references"]);
  options.dtype = dtype_of(nb::cast<std::string>(settings["dtype"]));
  options.work = nb::cast<std::string>(settings["work"]);
  const Interrupt interrupt;
  options.stop = interrupt.stop();
  Progress talk(std::move(progress));
  if (auto tell = talk.function()) {
    options.progress = [tell](std::string_view, std::int64_t done, std::int64_t all) { tell(done, all); };
  }
  PythonModel model(std::move(runner), config_of(facts, rope), digest_of(fingerprint), embedding);
  const CalibrateReport done = [&]() {
    try {
      return released([&]() { return value_of(calibrate(Space(), model, documents, options, out)); });
    } catch (const Failure&) {
      model.rethrow();
      throw;
    }
  }();
  talk.rethrow();
  nb::dict figures;
  figures["chunks"] = done.chunks;
  figures["resumed_chunks"] = done.resumed;
  figures["sampled_tokens"] = done.rows;
  figures["held_out"] = done.held_out;
  figures["collect_seconds"] = done.collect_seconds;
  figures["fit_seconds"] = done.fit_seconds;
  figures["measure_seconds"] = done.measure_seconds;
  return nb::make_tuple(done.profile, figures);
}

}  // namespace

void bind_calibrate(nb::module_& module) {
  module.def("calibrate_captured", &calibrate_captured, nb::arg("runner"), nb::arg("facts"), nb::arg("rope"),
             nb::arg("fingerprint"), nb::arg("embedding"), nb::arg("documents"), nb::arg("settings"), nb::arg("out"),
             nb::arg("progress").none());
}

}  // namespace seqkv::python
