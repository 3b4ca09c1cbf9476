// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/evaluate.hpp"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.hpp"
#include "seqkv/calibrate.hpp"

namespace seqkv::python {
namespace {

using SharedModel = std::shared_ptr<const Model<Space>>;
using Documents = std::vector<std::vector<Token>>;

nb::dict dict_of(const EvaluateRow& row) {
  nb::dict out;
  out["codec"] = row.codec;
  out["bits_per_component"] = row.bits_per_component;
  out["bits_per_token"] = row.bits_per_token;
  out["ratio_bf16"] = row.ratio_bf16;
  out["kl_mean"] = row.quality.kl_mean;
  out["kl_p99"] = row.quality.kl_p99;
  out["top1"] = row.quality.top1;
  out["delta_nll"] = row.quality.delta_nll;
  out["attn_out_err"] = row.attn_out_err;
  out["encode_GBps"] = row.encode_GBps;
  out["decode_GBps"] = row.decode_GBps;
  out["profile_bytes"] = row.profile_bytes;
  return out;
}

nb::list evaluate_all(const SharedModel& model, const Documents& documents, const std::vector<Codec>& codecs,
                      std::int64_t context, std::int64_t continuation, const std::string& dtype, nb::object progress) {
  EvaluateOptions options;
  options.context = context;
  options.continuation = continuation;
  options.dtype = dtype_of(dtype);
  Progress talk(std::move(progress));
  const EvaluateReport report =
      released([&]() { return value_of(evaluate(Space(), model, documents, codecs, options, talk.function())); });
  talk.rethrow();
  nb::list rows;
  for (const EvaluateRow& row : report.rows) rows.append(dict_of(row));
  return rows;
}

std::shared_ptr<const Profile> calibrate_model(const SharedModel& model, const Documents& documents, int effort,
                                               bool references, const std::string& dtype, std::int64_t context,
                                               std::int64_t continuation, const std::filesystem::path& out,
                                               nb::object progress) {
  CalibrateOptions options;
  options.effort = effort;
  options.references = references;
  options.context = context;
  options.continuation = continuation;
  options.dtype = dtype_of(dtype);
  const Interrupt interrupt;
  options.stop = interrupt.stop();
  Progress talk(std::move(progress));
  if (auto tell = talk.function()) {
    options.progress = [tell](std::string_view, std::int64_t done, std::int64_t all) { tell(done, all); };
  }
  auto report = released([&]() { return value_of(calibrate(Space(), model, documents, options, out)); });
  talk.rethrow();
  return report.profile;
}

}  // namespace

void bind_evaluate(nb::module_& module) {
  module.def("evaluate", &evaluate_all, nb::arg("model"), nb::arg("documents"), nb::arg("codecs"), nb::arg("context"),
             nb::arg("continuation"), nb::arg("dtype"), nb::arg("progress").none());
  module.def("calibrate", &calibrate_model, nb::arg("model"), nb::arg("documents"), nb::arg("effort"),
             nb::arg("references"), nb::arg("dtype"), nb::arg("context"), nb::arg("continuation"), nb::arg("out"),
             nb::arg("progress").none());
}

}  // namespace seqkv::python
