// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/codec.hpp"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <tuple>

#include "arrays.hpp"
#include "seqkv/profile.hpp"

namespace seqkv::python {
namespace {

RopeScaling scaling_of(const std::string& name) {
  if (name == "none") return RopeScaling::none;
  if (name == "linear") return RopeScaling::linear;
  if (name == "llama3") return RopeScaling::llama3;
  fail(ErrorCode::unsupported, "rope scaling '" + name + "': there are none, linear and llama3");
}

std::string name_of(RopeScaling scaling) {
  switch (scaling) {
    case RopeScaling::none:
      return "none";
    case RopeScaling::linear:
      return "linear";
    case RopeScaling::llama3:
      return "llama3";
  }
  return "unknown";
}

void bind_rope(nb::module_& module) {
  nb::class_<RopeConfig>(module, "Rope",
                         "Rotary position embedding of a model's keys: what predictive codecs turn back.\n\n"
                         "`dim` components of every head turn (0: none); pairs are (i, i + dim / 2).")
      .def(
          "__init__",
          [](RopeConfig* self, double theta, std::int64_t dim, const std::string& scaling, double factor,
             double low_freq_factor, double high_freq_factor, std::int64_t original_max_positions) {
            new (self) RopeConfig{
                theta, scaling_of(scaling), factor, low_freq_factor, high_freq_factor, original_max_positions, dim};
          },
          nb::arg("theta") = 10000.0, nb::arg("dim") = 0, nb::kw_only(), nb::arg("scaling") = "none",
          nb::arg("factor") = 1.0, nb::arg("low_freq_factor") = 1.0, nb::arg("high_freq_factor") = 4.0,
          nb::arg("original_max_positions") = 8192)
      .def_ro("theta", &RopeConfig::theta)
      .def_ro("dim", &RopeConfig::dim)
      .def_prop_ro("scaling", [](const RopeConfig& rope) { return name_of(rope.scaling); })
      .def_ro("factor", &RopeConfig::factor)
      .def_ro("low_freq_factor", &RopeConfig::low_freq_factor)
      .def_ro("high_freq_factor", &RopeConfig::high_freq_factor)
      .def_ro("original_max_positions", &RopeConfig::original_max_positions)
      .def(
          "__eq__", [](const RopeConfig& a, const RopeConfig& b) { return a == b; }, nb::is_operator())
      .def("__repr__", [](const RopeConfig& rope) {
        return "Rope(theta=" + nb::cast<std::string>(nb::str(nb::cast(rope.theta))) +
               ", dim=" + std::to_string(rope.dim) + ", scaling='" + name_of(rope.scaling) + "')";
      });
}

void bind_shape(nb::module_& module) {
  nb::class_<KvShape>(module, "Shape", "What two caches must have in common to be exchanged.")
      .def(
          "__init__",
          [](KvShape* self, std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim, const std::string& dtype,
             const RopeConfig& rope) {
            const KvShape shape{layers, kv_heads, head_dim, rope, dtype_of(dtype)};
            value_of(shape.check());
            new (self) KvShape(shape);
          },
          nb::arg("layers"), nb::arg("kv_heads"), nb::arg("head_dim"), nb::arg("dtype") = "bfloat16",
          nb::arg("rope") = RopeConfig())
      .def_ro("layers", &KvShape::layers)
      .def_ro("kv_heads", &KvShape::kv_heads)
      .def_ro("head_dim", &KvShape::head_dim)
      .def_prop_ro("dtype", [](const KvShape& shape) { return python::name_of(shape.dtype); })
      .def_ro("rope", &KvShape::rope)
      .def_prop_ro("components_per_token", &KvShape::components_per_token)
      .def(
          "__eq__", [](const KvShape& a, const KvShape& b) { return a == b; }, nb::is_operator())
      .def("__repr__", [](const KvShape& shape) { return "Shape(" + shape.describe() + ")"; });
}

void bind_profile(nb::module_& module) {
  nb::class_<Profile>(module, "Profile",
                      "What predictive codecs know of a model; made by calibrate, needed to code and to decode.\n\n"
                      "The file stays mapped: do not truncate it meanwhile.")
      .def_static(
          "load",
          [](const std::filesystem::path& path) { return released([&]() { return value_of(Profile::load(path)); }); },
          nb::arg("path"), "Reads and checks a profile file.")
      .def_prop_ro("shape", [](const Profile& profile) { return profile.shape(); })
      .def_prop_ro(
          "model", [](const Profile& profile) { return profile.model().hex(); }, "Fingerprint of the model, in hex.")
      .def_prop_ro("fingerprint", [](const Profile& profile) { return profile.fingerprint().hex(); })
      .def_prop_ro("bytes", &Profile::bytes)
      .def_prop_ro("has_references", &Profile::has_references)
      .def_prop_ro(
          "curve",
          [](const Profile& profile) {
            std::vector<std::tuple<double, double, double>> points;
            for (const RatePoint& point : profile.curve()) points.emplace_back(point.step, point.bits, point.kl);
            return points;
          },
          "Of calibration text: (step, bits a component, KL in nats a token), by falling step.");
}

void bind_codec_class(nb::module_& module) {
  nb::class_<Codec>(module, "Codec",
                    "A codec string, taken apart: a predictor and a quantizer, such as 'linear+ecsq:kl=0.01'.")
      .def(
          "__init__",
          [](Codec* self, const std::string& spec, std::shared_ptr<const Profile> profile) {
            Codec codec = value_of(Codec::parse(spec));
            if (profile) codec = value_of(codec.with_profile(std::move(profile)));
            new (self) Codec(std::move(codec));
          },
          nb::arg("spec"), nb::arg("profile").none() = nb::none())
      .def_prop_ro("spec", &Codec::spec, "The canonical string.")
      .def_prop_ro("is_exact", &Codec::is_exact, "Whether every bit comes back.")
      .def_prop_ro("needs_profile", &Codec::needs_profile)
      .def_prop_ro("needs_model", &Codec::needs_model)
      .def_prop_ro("is_settled", &Codec::is_settled, "Whether it says how to code; a target of bits does not.")
      .def_prop_ro("profile", [](const Codec& codec) { return codec.profile(); })
      .def(
          "__eq__", [](const Codec& a, const Codec& b) { return a == b; }, nb::is_operator())
      .def("__repr__", [](const Codec& codec) { return "Codec('" + codec.spec() + "')"; });
}

}  // namespace

void bind_codec(nb::module_& module) {
  bind_rope(module);
  bind_shape(module);
  bind_profile(module);
  bind_codec_class(module);
}

}  // namespace seqkv::python
