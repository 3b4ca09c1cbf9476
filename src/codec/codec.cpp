// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "codec/predict/rate_control.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

constexpr std::string_view known =
    "known: raw, none+lossless, none+turboquant:BITS (1 to 5) with the option keys=unrotated, linear+lossless, "
    "linear+turboquant:BITS, linear+ecsq:step=STEP, linear+ecsq:kl=NATS, linear+ecsq:bits=BITS, linear+ref+ecsq:..., "
    "ref:recode=TOKENS+ecsq:..., replay, replay+lossless:engine=ENGINE (eager, sdpa or none), replay:LAYERS+QUANTIZER";

Error invalid(std::string_view spec, const std::string& what) {
  return Error(ErrorCode::invalid_codec_spec,
               fmt::format("'{}': {}; {}", spec.substr(0, limits::max_codec_spec), what, known));
}

/// Takes the text up to `separator` off the front; all of it if there is none.
std::string_view take_until(std::string_view& rest, char separator) {
  const auto at = rest.find(separator);
  const auto part = rest.substr(0, at);
  rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
  return part;
}

Result<QuantizerSpec> parse_turboquant(std::string_view spec, std::string_view arguments) {
  TurboQuantSpec out;
  const auto bits = take_until(arguments, ',');
  const auto [end, problem] = std::from_chars(bits.data(), bits.data() + bits.size(), out.bits);
  if (problem != std::errc() || end != bits.data() + bits.size() || out.bits < 1 || out.bits > 5) {
    return invalid(spec, fmt::format("turboquant takes 1 to 5 bits, not '{}'", bits));
  }
  if (spec.ends_with(',')) return invalid(spec, "nothing follows the last comma");
  while (!arguments.empty()) {
    const auto option = take_until(arguments, ',');
    if (option != "keys=unrotated") return invalid(spec, fmt::format("turboquant has no option '{}'", option));
    out.unrotated_keys = true;
  }
  return QuantizerSpec(out);
}

/// A number in [least, most], nothing behind it.
template <class Number>
bool parse_number(std::string_view text, double least, double most, Number& out) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  return problem == std::errc() && end == text.data() + text.size() && out >= least && out <= most;
}

Result<QuantizerSpec> parse_ecsq(std::string_view spec, std::string_view arguments) {
  EcsqSpec out;
  std::string_view number = arguments;
  const auto key = take_until(number, '=');
  if (key == "step") {
    if (parse_number(number, codec::least_step, codec::most_step, out.step)) return QuantizerSpec(out);
    return invalid(spec, fmt::format("'{}' is no step from 2^-20 to 2^20", number));
  }
  if (key == "kl") {
    if (parse_number(number, 1e-9, 100, out.kl)) return QuantizerSpec(out);
    return invalid(spec, fmt::format("'{}' is no KL from 1e-9 to 100 nats", number));
  }
  if (key == "bits") {
    if (parse_number(number, 1e-3, 32, out.bits)) return QuantizerSpec(out);
    return invalid(spec, fmt::format("'{}' is no number of bits from 0.001 to 32", number));
  }
  return invalid(spec, "ecsq takes step=STEP, kl=NATS or bits=BITS");
}

using Engine = LosslessSpec::Engine;
constexpr std::array<std::pair<std::string_view, Engine>, 3> engines = {
    {{"eager", Engine::eager}, {"sdpa", Engine::sdpa}, {"none", Engine::none}}};

Result<QuantizerSpec> parse_engine(std::string_view spec, std::string_view arguments) {
  std::string_view value = arguments;
  const auto key = take_until(value, '=');
  if (key == "engine") {
    for (const auto& [name, engine] : engines) {
      if (value == name) return QuantizerSpec(LosslessSpec{engine, {}});
    }
    return invalid(spec, fmt::format("unknown engine '{}'", value));
  }
  if (key == "rounding") {
    const auto dtype = take_until(value, '.');
    const auto points = take_until(value, '.');
    int set = 0, weights = 0;
    const bool numbers = parse_number(points, 0, 31, set) && parse_number(value, 0, 2, weights);
    if (numbers && (dtype == "bf16" || dtype == "f16")) {
      const DType type = dtype == "bf16" ? DType::bf16 : DType::f16;
      return QuantizerSpec(LosslessSpec{Engine::described, Rounding::of(type, static_cast<unsigned>(set), weights)});
    }
    return invalid(spec, "rounding takes DTYPE.POINTS.WEIGHTS: bf16 or f16, 0 to 31, 0 to 2");
  }
  return invalid(spec, "replay+lossless takes engine=ENGINE or rounding=DTYPE.POINTS.WEIGHTS");
}

std::string print(const LosslessSpec& lossless) {
  if (lossless.engine == Engine::unknown) return "lossless";
  if (lossless.engine == Engine::described) {
    const Rounding& of = lossless.described;
    return fmt::format("lossless:rounding={}.{}.{}", to_string(of.dtype), of.points(),
                       static_cast<int>(of.probabilities));
  }
  const auto* const known_one = std::ranges::find(engines, lossless.engine, [](const auto& e) { return e.second; });
  return fmt::format("lossless:engine={}", known_one->first);
}

std::string print(const EcsqSpec& ecsq) {
  if (ecsq.kl > 0) return fmt::format("ecsq:kl={}", ecsq.kl);
  if (ecsq.bits > 0) return fmt::format("ecsq:bits={}", ecsq.bits);
  return fmt::format("ecsq:step={}", ecsq.step);
}

std::string print(Predictor predictor, std::int64_t layers, std::int64_t recode, const QuantizerSpec& quantizer) {
  if (std::holds_alternative<RawSpec>(quantizer)) return "raw";
  if (std::holds_alternative<RecomputeSpec>(quantizer)) return "replay";
  constexpr std::array<std::string_view, 5> prefixes = {"none+", "linear+", "linear+ref+", "replay+", "ref"};
  std::string prefix(prefixes[static_cast<std::size_t>(predictor)]);
  if (layers > 0) prefix = fmt::format("replay:{}+", layers);
  if (predictor == Predictor::ref) prefix = fmt::format("ref:recode={}+", recode);
  if (const auto* ecsq = std::get_if<EcsqSpec>(&quantizer)) return prefix + print(*ecsq);
  if (const auto* lossless = std::get_if<LosslessSpec>(&quantizer)) return prefix + print(*lossless);
  const auto& turboquant = std::get<TurboQuantSpec>(quantizer);
  return fmt::format("{}turboquant:{}{}", prefix, turboquant.bits, turboquant.unrotated_keys ? ",keys=unrotated" : "");
}

/// What goes with what. Errors: invalid_codec_spec.
Result<void> check_pair(std::string_view spec, Predictor predictor, std::int64_t layers,
                        const QuantizerSpec& quantizer) {
  const auto* turboquant = std::get_if<TurboQuantSpec>(&quantizer);
  if (predictor == Predictor::replay && layers == 0) {
    if (std::holds_alternative<LosslessSpec>(quantizer)) return {};
    return invalid(spec, "replay goes alone or with lossless, or with a number of layers");
  }
  if (predictor == Predictor::none) {
    if (std::holds_alternative<EcsqSpec>(quantizer)) return invalid(spec, "ecsq goes with the predictor linear");
    return {};
  }
  if (predictor == Predictor::linear_ref || predictor == Predictor::ref) {
    if (std::holds_alternative<EcsqSpec>(quantizer)) return {};
    return invalid(spec, "the predictors linear+ref and ref go with ecsq");
  }
  if (turboquant != nullptr && turboquant->unrotated_keys) {
    return invalid(spec, "residuals of keys are unrotated without keys=unrotated");
  }
  if (predictor == Predictor::replay && std::holds_alternative<LosslessSpec>(quantizer)) {
    return invalid(spec, "replay:LAYERS goes with ecsq and turboquant");
  }
  if (!std::holds_alternative<RawSpec>(quantizer)) return {};
  return invalid(spec, "linear and replay:LAYERS go with ecsq, lossless and turboquant");
}

}  // namespace

Codec::Codec(Predictor predictor, const QuantizerSpec& quantizer, std::int64_t layers, std::int64_t recode)
    : predictor_(predictor),
      layers_(layers),
      recode_(recode),
      quantizer_(quantizer),
      spec_(print(predictor, layers, recode, quantizer)) {}

Codec Codec::of_the_rest() const {
  Codec out(Predictor::linear, quantizer_);
  out.profile_ = profile_;
  return out;
}

Rounding LosslessSpec::rounding(DType dtype) const noexcept {
  switch (engine) {
    case Engine::eager:
      return Rounding::transformers_eager(dtype);
    case Engine::sdpa:
      return Rounding::transformers_sdpa(dtype);
    case Engine::described:
      return described;
    default:
      return Rounding::none();
  }
}

Result<Codec> Codec::with_profile(std::shared_ptr<const Profile> profile) const {
  if (!needs_profile()) return *this;
  Codec out = *this;
  out.profile_ = std::move(profile);
  const auto* ecsq = std::get_if<EcsqSpec>(&quantizer_);
  if (out.profile_ == nullptr || ecsq == nullptr || ecsq->kl == 0) return out;
  SEQKV_ASSIGN(const float step, codec::step_of_kl(*out.profile_, ecsq->kl));
  return out.with_step(step);
}

bool Codec::uses_references() const noexcept {
  const bool says_so = predictor_ == Predictor::linear_ref || predictor_ == Predictor::ref;
  return says_so && profile_ != nullptr && profile_->has_references();
}

Digest Codec::profile_fingerprint() const noexcept { return profile_ == nullptr ? Digest{} : profile_->fingerprint(); }

bool Codec::is_settled() const noexcept {
  const auto* ecsq = std::get_if<EcsqSpec>(&quantizer_);
  return ecsq == nullptr || ecsq->step > 0;
}

Codec Codec::with_step(float step) const {
  Codec out(predictor_, EcsqSpec{step, 0, 0}, layers_, recode_);
  out.profile_ = profile_;
  return out;
}

Result<Codec> Codec::parse(std::string_view spec) {
  std::string_view rest = spec;
  if (static_cast<std::int64_t>(spec.size()) > limits::max_codec_spec) return invalid(spec, "too long");
  if (spec == "replay") return Codec(Predictor::replay, RecomputeSpec{});
  Predictor predictor = Predictor::none;
  std::int64_t layers = 0;
  std::int64_t recode = 0;
  if (rest.find('+') != std::string_view::npos) {
    const auto name = take_until(rest, '+');
    if (name == "linear" && rest.starts_with("ref+")) {
      take_until(rest, '+');
      predictor = Predictor::linear_ref;
    } else if (name == "linear") {
      predictor = Predictor::linear;
    } else if (name == "replay") {
      predictor = Predictor::replay;
    } else if (name.starts_with("replay:")) {
      predictor = Predictor::replay;
      if (!parse_number(name.substr(7), 1, limits::max_layers, layers)) {
        return invalid(spec, fmt::format("'{}' is no number of layers from 1 on", name.substr(7)));
      }
    } else if (name.starts_with("ref:recode=")) {
      predictor = Predictor::ref;
      if (!parse_number(name.substr(11), 0, limits::max_tokens, recode)) {
        return invalid(spec, fmt::format("'{}' is no number of tokens from 0 on", name.substr(11)));
      }
    } else if (name != "none") {
      return invalid(spec, fmt::format("unknown predictor '{}'", name));
    }
  }
  const bool has_arguments = rest.find(':') != std::string_view::npos;
  const auto name = take_until(rest, ':');
  QuantizerSpec quantizer;
  if (name == "ecsq") {
    SEQKV_ASSIGN(quantizer, parse_ecsq(spec, rest));
  } else if (name == "turboquant") {
    SEQKV_ASSIGN(quantizer, parse_turboquant(spec, rest));
  } else if (name == "lossless" && predictor == Predictor::replay && layers == 0) {
    SEQKV_ASSIGN(quantizer, parse_engine(spec, has_arguments ? rest : "engine=eager"));
  } else if (name != "raw" && name != "lossless") {
    return invalid(spec, fmt::format("unknown quantizer '{}'", name));
  } else if (has_arguments) {
    return invalid(spec, fmt::format("{} takes no arguments", name));
  } else if (name == "lossless") {
    quantizer = LosslessSpec{};
  }
  SEQKV_TRY(check_pair(spec, predictor, layers, quantizer));
  return Codec(predictor, quantizer, layers, recode);
}

Result<Codec> Codec::parse_stored(std::string_view spec) {
  auto codec = parse(spec);
  if (!codec) return Error(ErrorCode::unsupported, "this version does not know codec " + codec.error().message);
  if (!codec->is_settled()) return Error(ErrorCode::corrupt, "a target where a step must be: " + codec->spec());
  return codec;
}

int Codec::least_bits(DType dtype) const noexcept {
  if (const auto* turboquant = std::get_if<TurboQuantSpec>(&quantizer_)) return turboquant->bits;
  if (std::holds_alternative<RawSpec>(quantizer_)) return static_cast<int>(8 * size_of(dtype));
  return 0;  // exponents that are all the same cost nothing, and planes of zeros are left out
}

Result<void> check_sizes(const Codec& codec, const KvShape& shape, std::span<const CodedBlockView> blocks,
                         std::int64_t tokens) {
  std::int64_t bytes = 0;
  for (const CodedBlockView& block : blocks) bytes += static_cast<std::int64_t>(block.size());
  return check_sizes(codec, shape, bytes, tokens);
}

Result<void> check_sizes(const Codec& codec, const KvShape& shape, std::int64_t bytes, std::int64_t tokens) {
  // In floating point, where no product of limits overflows.
  const double components = static_cast<double>(tokens) * static_cast<double>(shape.components_per_token());
  if (8.0 * static_cast<double>(bytes) >= components * codec.least_bits(shape.dtype)) return {};
  return Error(ErrorCode::corrupt, fmt::format("{} coded bytes are too few for {} tokens of {} with {}", bytes, tokens,
                                               shape.describe(), codec.spec()));
}

}  // namespace seqkv
