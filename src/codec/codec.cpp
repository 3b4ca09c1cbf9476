// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/codec.hpp"

#include <fmt/format.h>

#include <charconv>

#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

constexpr std::string_view known =
    "known: raw, none+lossless, none+turboquant:BITS (1 to 5) with the option keys=unrotated, linear+ecsq:step=STEP";

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

Result<QuantizerSpec> parse_ecsq(std::string_view spec, std::string_view arguments) {
  constexpr std::string_view key = "step=";
  EcsqSpec out;
  if (!arguments.starts_with(key)) return invalid(spec, "ecsq takes step=STEP");
  const std::string_view number = arguments.substr(key.size());
  const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), out.step);
  if (problem != std::errc() || end != number.data() + number.size() ||
      !(out.step >= 0x1p-20F && out.step <= 0x1p20F)) {
    return invalid(spec, fmt::format("'{}' is no step from 2^-20 to 2^20", number));
  }
  return QuantizerSpec(out);
}

std::string print(const QuantizerSpec& quantizer) {
  if (const auto* ecsq = std::get_if<EcsqSpec>(&quantizer)) return fmt::format("linear+ecsq:step={}", ecsq->step);
  if (std::holds_alternative<RawSpec>(quantizer)) return "raw";
  if (std::holds_alternative<LosslessSpec>(quantizer)) return "none+lossless";
  const auto& turboquant = std::get<TurboQuantSpec>(quantizer);
  return fmt::format("none+turboquant:{}{}", turboquant.bits, turboquant.unrotated_keys ? ",keys=unrotated" : "");
}

}  // namespace

Codec::Codec(Predictor predictor, const QuantizerSpec& quantizer)
    : predictor_(predictor), quantizer_(quantizer), spec_(print(quantizer)) {}

Codec Codec::with_profile(std::shared_ptr<const Profile> profile) const {
  Codec out = *this;
  if (needs_profile()) out.profile_ = std::move(profile);
  return out;
}

Result<Codec> Codec::parse(std::string_view spec) {
  std::string_view rest = spec;
  if (static_cast<std::int64_t>(spec.size()) > limits::max_codec_spec) return invalid(spec, "too long");
  Predictor predictor = Predictor::none;
  if (rest.find('+') != std::string_view::npos) {
    const auto name = take_until(rest, '+');
    if (name != "none" && name != "linear") return invalid(spec, fmt::format("unknown predictor '{}'", name));
    if (name == "linear") predictor = Predictor::linear;
  }
  const bool has_arguments = rest.find(':') != std::string_view::npos;
  const auto name = take_until(rest, ':');
  if ((name == "ecsq") != (predictor == Predictor::linear)) {
    return invalid(spec, "the predictor linear goes with the quantizer ecsq, and ecsq with it");
  }
  if (name == "ecsq") {
    SEQKV_ASSIGN(const QuantizerSpec quantizer, parse_ecsq(spec, rest));
    return Codec(predictor, quantizer);
  }
  if (name == "turboquant") {
    SEQKV_ASSIGN(const QuantizerSpec quantizer, parse_turboquant(spec, rest));
    return Codec(predictor, quantizer);
  }
  if (name != "raw" && name != "lossless") return invalid(spec, fmt::format("unknown quantizer '{}'", name));
  if (has_arguments) return invalid(spec, fmt::format("{} takes no arguments", name));
  return name == "raw" ? Codec(predictor, RawSpec{}) : Codec(predictor, LosslessSpec{});
}

Result<Codec> Codec::parse_stored(std::string_view spec) {
  auto codec = parse(spec);
  if (!codec) return Error(ErrorCode::unsupported, "this version does not know codec " + codec.error().message);
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
