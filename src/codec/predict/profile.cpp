// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/predict/profile.hpp"

#include <fmt/format.h>
#include <algorithm>

#include <charconv>
#include <cmath>

#include "codec/predict/lossless_units.hpp"
#include "core/bytes.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "io/json.hpp"
#include "io/rope_json.hpp"
#include "io/tensor_element.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/safetensors.hpp"

namespace seqkv {
namespace {

constexpr std::int64_t profile_version = 1;

using Shape = std::vector<std::int64_t>;

std::string list(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// Reads a profile; every number of the file is checked before it is used.
class Parser {
 public:
  explicit Parser(const SafetensorsFile& file) : file_(file) {}

  Result<void> run(Profile::Data& out) {
    SEQKV_TRY(parse_head(out));
    SEQKV_TRY(parse_curve(out));
    SEQKV_TRY(parse_tokens(out));
    SEQKV_TRY(parse_tables("tables", out.tables));
    if (file_.find("lossless.tables") != nullptr) SEQKV_TRY(parse_tables("lossless.tables", out.lossless_tables));
    out.subblocks.resize(static_cast<std::size_t>(2 * out.shape.layers));
    for (std::int64_t i = 0; i < 2 * out.shape.layers; ++i) SEQKV_TRY(parse_subblock(out, i));
    return {};
  }

 private:
  static Error bad(const std::string& field, const std::string& what) {
    return Error(ErrorCode::bad_format, what).at_field(field);
  }

  Result<std::string> text(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) return Error(ErrorCode::missing_field, "not in the metadata").at_field(key);
    return found->second;
  }

  Result<std::int64_t> integer(const std::string& key, std::int64_t least, std::int64_t most) const {
    SEQKV_ASSIGN(const std::string value, text(key));
    std::int64_t number = 0;
    const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (problem != std::errc() || end != value.data() + value.size() || number < least || number > most) {
      return bad(key, fmt::format("'{}' is no integer from {} to {}", value, least, most));
    }
    return number;
  }

  Result<void> parse_head(Profile::Data& out) const {
    SEQKV_ASSIGN(const std::int64_t version, integer("seqkv.profile", 0, 1 << 30));
    if (version != profile_version) {
      return Error(ErrorCode::unsupported_version,
                   fmt::format("profile version {}, this program reads {}", version, profile_version));
    }
    SEQKV_ASSIGN(const std::string model, text("seqkv.model"));
    if (!Digest::parse(model, out.model)) return bad("seqkv.model", "not 64 hexadecimal digits");
    SEQKV_ASSIGN(out.shape.layers, integer("seqkv.layers", 1, limits::max_layers));
    SEQKV_ASSIGN(out.shape.kv_heads, integer("seqkv.kv_heads", 1, limits::max_kv_heads));
    SEQKV_ASSIGN(out.shape.head_dim, integer("seqkv.head_dim", 1, limits::max_head_dim));
    SEQKV_ASSIGN(const std::string rope, text("seqkv.rope"));
    SEQKV_ASSIGN(out.shape.rope, io::rope_from_json(rope, "seqkv.rope"));
    SEQKV_TRY(out.shape.check());
    if (out.width() > limits::max_predicted_width) {
      return Error(ErrorCode::limit_exceeded, fmt::format("{} numbers a token and kind, at most {} can be predicted",
                                                          out.width(), limits::max_predicted_width));
    }
    SEQKV_ASSIGN(out.layers_below, integer("seqkv.layers_below", 0, limits::max_layers));
    SEQKV_ASSIGN(out.least_class, integer("seqkv.least_class", -1000, 1000));
    if (file_.metadata().contains("seqkv.first_token")) {
      SEQKV_ASSIGN(const std::int64_t first, integer("seqkv.first_token", 0, limits::max_vocabulary - 1));
      out.first_token = static_cast<Token>(first);
    }
    return {};
  }

  Result<void> parse_curve(Profile::Data& out) const {
    const std::string key = "seqkv.curve";
    SEQKV_ASSIGN(const std::string value, text(key));
    auto json = io::parse_json(value);
    if (!json) return std::move(json).error().at_field(key);
    if (!json->is_array()) return bad(key, "not a JSON array");
    for (const auto& row : *json) {
      if (!row.is_array() || row.size() != 3) return bad(key, "a row is not [step, bits, kl]");
      for (const auto& number : row) {
        if (!number.is_number() || !(number.get<double>() > 0)) return bad(key, "a number is not above 0");
      }
      out.curve.push_back({row[0].get<double>(), row[1].get<double>(), row[2].get<double>()});
      const std::size_t count = out.curve.size();
      if (count > 1 && !(out.curve[count - 1].step < out.curve[count - 2].step)) return bad(key, "steps do not fall");
    }
    return {};
  }

  /// A tensor of floats in any of their types, all finite.
  Result<std::vector<float>> floats(const std::string& name, const Shape& shape) const {
    SEQKV_ASSIGN(const TensorView tensor, file_.tensor(name));
    const auto dtype = dtype_from_safetensors(tensor.dtype);
    if (!dtype) return bad(name, fmt::format("has the type {}, expected BF16, F16 or F32", tensor.dtype));
    if (tensor.shape != shape)
      return bad(name, fmt::format("has the shape {}, expected {}", list(tensor.shape), list(shape)));
    std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = io::tensor_element(tensor, *dtype, static_cast<std::int64_t>(i));
      if (!std::isfinite(out[i])) return bad(name, fmt::format("number {} is not finite", i));
    }
    return out;
  }

  template <class T>
  Result<std::vector<T>> integers(const std::string& name, const char* dtype, const Shape& shape) const {
    SEQKV_ASSIGN(const TensorView tensor, file_.tensor(name));
    if (tensor.dtype != dtype) return bad(name, fmt::format("has the type {}, expected {}", tensor.dtype, dtype));
    if (tensor.shape != shape)
      return bad(name, fmt::format("has the shape {}, expected {}", list(tensor.shape), list(shape)));
    std::vector<T> out(static_cast<std::size_t>(tensor.elements()));
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = load_le<T>(tensor.bytes.data() + i * sizeof(T));
    return out;
  }

  /// The first extent of a tensor that has two.
  Result<std::int64_t> rows_of(const std::string& name, std::int64_t least, std::int64_t most) const {
    SEQKV_ASSIGN(const TensorView tensor, file_.tensor(name));
    if (tensor.shape.size() != 2 || tensor.shape[0] < least || tensor.shape[0] > most) {
      return bad(name, fmt::format("has the shape {}, expected {} to {} rows", list(tensor.shape), least, most));
    }
    return tensor.shape[0];
  }

  Result<void> parse_tokens(Profile::Data& out) const {
    SEQKV_ASSIGN(out.vocabulary, rows_of("tokens", 1, limits::max_vocabulary));
    SEQKV_ASSIGN(const TensorView tensor, file_.tensor("tokens"));
    out.token_width = tensor.shape[1];
    if (out.token_width > limits::max_hidden) return bad("tokens", "too wide");
    SEQKV_ASSIGN(out.tokens, floats("tokens", {out.vocabulary, out.token_width}));
    return {};
  }

  Result<void> parse_tables(const std::string& name, std::optional<codec::TableFamily>& out) const {
    SEQKV_ASSIGN(const std::int64_t count, rows_of(name, 1, limits::max_classes));
    SEQKV_ASSIGN(const auto numbers, integers<std::uint16_t>(name, "U16", {count, codec::rans::symbols}));
    std::vector<codec::Frequencies> tables(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < numbers.size(); ++i)
      tables[i / codec::rans::symbols][i % codec::rans::symbols] = numbers[i];
    auto family = codec::TableFamily::create(std::move(tables));
    if (!family) return bad(name, family.error().message);
    out.emplace(std::move(family).value());
    return {};
  }

  /// A whole matrix, or two whose product it is.
  Result<void> parse_predictor(const std::string& prefix, std::int64_t outputs, std::int64_t inputs,
                               Profile::Data::Subblock& model) const {
    std::string name = prefix + "predict";
    if (file_.find(prefix + "squeeze") != nullptr) {
      if (file_.find(name) != nullptr) return bad(name, "stands beside factors, squeeze and expand, of itself");
      SEQKV_ASSIGN(const std::int64_t rank, rows_of(prefix + "squeeze", 1, std::max(outputs, inputs)));
      SEQKV_ASSIGN(const auto squeeze, floats(prefix + "squeeze", {rank, inputs}));
      model.squeeze = PackedFloats::pack(rank, inputs, squeeze);
      name = prefix + "expand";
      inputs = rank;
    }
    SEQKV_ASSIGN(const auto predict, floats(name, {outputs, inputs}));
    model.predict = PackedFloats::pack(outputs, inputs, predict);
    return {};
  }

  /// Blocks [blocks][C][d] and back, or one without the first extent.
  Result<void> parse_matrices(const std::string& prefix, const KvShape& shape, Profile::Data::Transform& model) const {
    const std::string name = prefix + "forward";
    SEQKV_ASSIGN(const TensorView tensor, file_.tensor(name));
    const bool has_blocks = tensor.shape.size() == 3;
    const std::int64_t blocks = has_blocks ? tensor.shape[0] : 1;
    if (blocks < 1 || shape.kv_heads % blocks != 0) {
      return bad(name, fmt::format("{} blocks, which do not part {} heads", blocks, shape.kv_heads));
    }
    const std::int64_t dim = shape.kv_heads / blocks * shape.head_dim;
    const std::int64_t count = tensor.shape.size() < 2 ? 0 : tensor.shape[tensor.shape.size() - 2];
    if (count < codec::tile_coefficients || count > round_up(dim, codec::tile_coefficients) ||
        count % codec::tile_coefficients != 0) {
      return bad(name, fmt::format("has the shape {}, expected a multiple of {} up to {} rows", list(tensor.shape),
                                   codec::tile_coefficients, round_up(dim, codec::tile_coefficients)));
    }
    const auto extents = [&](std::int64_t rows, std::int64_t columns) {
      return has_blocks ? Shape{blocks, rows, columns} : Shape{rows, columns};
    };
    SEQKV_ASSIGN(const auto forward, floats(name, extents(count, dim)));
    model.forward = PackedFloats::pack(count, dim, forward, blocks);
    SEQKV_ASSIGN(const auto inverse, floats(prefix + "inverse", extents(dim, count)));
    model.inverse = PackedFloats::pack(dim, count, inverse, blocks);
    return {};
  }

  Result<void> parse_transform(const std::string& prefix, const KvShape& shape, Profile::Data::Transform& model) const {
    SEQKV_TRY(parse_matrices(prefix, shape, model));
    const std::int64_t count = model.forward.blocks * model.forward.outputs;
    SEQKV_ASSIGN(model.scales, integers<std::int16_t>(prefix + "scales", "I16", {count}));
    SEQKV_ASSIGN(const auto slope, integers<std::int32_t>(prefix + "slope", "I32", {1}));
    model.slope = slope.front();
    if (std::abs(static_cast<std::int64_t>(model.slope)) > limits::max_slope) return bad(prefix + "slope", "too steep");
    return {};
  }

  Result<void> parse_subblock(Profile::Data& out, std::int64_t number) const {
    Profile::Data::Subblock& model = out.subblocks[static_cast<std::size_t>(number)];
    const std::string prefix = fmt::format("layers.{}.{}.", number / 2, number % 2 == 0 ? "key" : "value");
    SEQKV_TRY(parse_predictor(prefix, out.width() + 1, out.inputs(number), model));
    SEQKV_TRY(parse_transform(prefix, out.shape, model));
    SEQKV_ASSIGN(const auto knots, floats(prefix + "knots", {codec::distance_knots}));
    std::copy(knots.begin(), knots.end(), model.knots.begin());
    SEQKV_ASSIGN(model.first_row, floats(prefix + "first_row", {out.width()}));
    const std::string reference = prefix + "reference.";
    if (file_.find(reference + "forward") != nullptr) {
      Profile::Data::Transform transform;
      SEQKV_TRY(parse_transform(reference, out.shape, transform));
      model.reference = std::move(transform);
      out.has_references = true;
    }
    return out.lossless_tables ? parse_lossless(out.shape, number, prefix + "lossless.", model) : Result<void>{};
  }

  Result<void> parse_lossless(const KvShape& shape, std::int64_t number, const std::string& prefix,
                              Profile::Data::Subblock& model) const {
    const std::int64_t width = shape.kv_heads * shape.head_dim;
    if (number > 0) {
      SEQKV_ASSIGN(const auto below, floats(prefix + "below", {width, width}));
      model.below = PackedFloats::pack(width, width, below);
    }
    SEQKV_ASSIGN(const auto within, floats(prefix + "within", {width, width}));
    model.within = PackedFloats::pack(width, width, within);
    SEQKV_ASSIGN(model.lossless_scales, integers<std::int16_t>(prefix + "scales", "I16", {width}));
    for (const std::int16_t scale : model.lossless_scales) {
      if (std::abs(scale) > codec::most_lossless_scale) return bad(prefix + "scales", "too large or too small");
    }
    // A decoder goes by the order of components, an encoder multiplies by all of the matrix.
    codec::PredictiveStep order;
    order.model.width = width;
    order.heads = shape.kv_heads;
    order.rope_pairs = number % 2 == 0 ? shape.rope.dim / 2 : 0;
    bool is_ordered = true;
    for (std::int64_t n = 0; n < codec::units_of(order); ++n) {
      const codec::Unit unit = codec::unit_at(order, n);
      const codec::Known before = codec::known_before(order, unit);
      for (std::int64_t k = 0; k < width; ++k) {
        for (int m = 0; m < unit.count && !before.has(k); ++m) {
          is_ordered = is_ordered && within[static_cast<std::size_t>(unit.component[m] * width + k)] == 0;
        }
      }
    }
    if (!is_ordered) return bad(prefix + "within", "a component depends on itself or on one that is coded later");
    return {};
  }

  const SafetensorsFile& file_;
};

}  // namespace

PackedFloats PackedFloats::pack(std::int64_t outputs, std::int64_t inputs, const std::vector<float>& values,
                                std::int64_t blocks) {
  using kernels::panel_width;
  const std::int64_t size = kernels::packed_size(outputs, inputs);
  PackedFloats out{outputs, inputs, blocks, std::vector<float>(static_cast<std::size_t>(blocks * size))};
  for (std::int64_t n = 0; n < blocks * outputs; ++n) {
    const std::int64_t row = n % outputs;
    const std::int64_t to = n / outputs * size + row / panel_width * inputs * panel_width + row % panel_width;
    for (std::int64_t k = 0; k < inputs; ++k) {
      out.panels[static_cast<std::size_t>(to + k * panel_width)] = values[static_cast<std::size_t>(n * inputs + k)];
    }
  }
  return out;
}

Result<std::shared_ptr<const Profile>> Profile::load(const std::filesystem::path& path) {
  return guard_memory("for the profile", [&]() -> Result<std::shared_ptr<const Profile>> {
    auto data = std::make_unique<Data>();
    SEQKV_ASSIGN(data->file, io::MappedFile::open(path));
    SEQKV_ASSIGN(const SafetensorsFile file, SafetensorsFile::parse(data->file.bytes(), path.string()));
    if (auto status = Parser(file).run(*data); !status) return std::move(status).error().in_file(path.string());
    data->fingerprint = Sha256().update(data->file.bytes()).finish();
    return std::shared_ptr<const Profile>(new Profile(std::move(data)));
  });
}

Result<void> check_profile(const Codec& codec, const KvShape& shape) {
  if (codec.profile() == nullptr) {
    return Error(ErrorCode::invalid_argument, fmt::format("{} needs a profile of the model", codec.spec()));
  }
  KvShape expected = codec.profile()->shape();
  expected.dtype = shape.dtype;
  if (shape.rope.dim == 0 && expected.rope.dim != 0) {
    return Error(ErrorCode::missing_field,
                 "the cache does not say how its keys were rotated, which the profile must know (docs/format.md, KV "
                 "file)")
        .at_field("seqkv.rope");
  }
  if (shape.rope != expected.rope) {
    return Error(ErrorCode::shape_mismatch, "the rotary embeddings of cache and profile differ").at_field("seqkv.rope");
  }
  if (shape != expected) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("the cache is {}, the profile is for {}", shape.describe(), expected.describe()));
  }
  if (std::holds_alternative<LosslessSpec>(codec.quantizer()) && !codec.profile()->data().lossless_tables) {
    return Error(ErrorCode::missing_field,
                 fmt::format("the profile has nothing for {} (docs/calibrate.md, Size)", codec.spec()))
        .at_field("lossless.tables");
  }
  return {};
}

Result<Codec> codec::find_codec(const std::string& spec, const Digest& fingerprint,
                                const std::shared_ptr<const Profile>& profile) {
  SEQKV_ASSIGN(const Codec codec, Codec::parse_stored(spec));
  if (!codec.needs_profile()) return codec;
  if (profile == nullptr) {
    return Error(ErrorCode::wrong_profile,
                 fmt::format("{} needs the profile that coded it, {}...", spec, fingerprint.hex().substr(0, 16)));
  }
  if (profile->fingerprint() != fingerprint) {
    return Error(ErrorCode::wrong_profile,
                 fmt::format("coded with profile {}..., given is {}...", fingerprint.hex().substr(0, 16),
                             profile->fingerprint().hex().substr(0, 16)));
  }
  return codec.with_profile(profile);
}

Profile::Profile(std::unique_ptr<const Data> data) : data_(std::move(data)) {}
Profile::~Profile() = default;
const KvShape& Profile::shape() const noexcept { return data_->shape; }
const Digest& Profile::model() const noexcept { return data_->model; }
const Digest& Profile::fingerprint() const noexcept { return data_->fingerprint; }
std::span<const std::byte> Profile::contents() const noexcept { return data_->file.bytes(); }
bool Profile::has_references() const noexcept { return data_->has_references; }
const std::vector<RatePoint>& Profile::curve() const noexcept { return data_->curve; }

}  // namespace seqkv
