// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/parameters.hpp"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <map>

#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::store {
namespace {

using Pairs = std::map<std::string, std::string>;

/// Doubles as hexadecimal bits: text that gives the same number back.
std::string print(double number) { return fmt::format("{:016x}", std::bit_cast<std::uint64_t>(number)); }

Pairs to_pairs(const StoreParameters& parameters, const Digest& id) {
  const KvShape& shape = parameters.shape;
  const RopeConfig& rope = shape.rope;
  return {{"version", std::to_string(store_version)},
          {"id", id.hex()},
          {"model", parameters.model.hex()},
          {"block_tokens", std::to_string(parameters.block_tokens)},
          {"protection", std::string(to_string(parameters.protection))},
          {"layers", std::to_string(shape.layers)},
          {"kv_heads", std::to_string(shape.kv_heads)},
          {"head_dim", std::to_string(shape.head_dim)},
          {"dtype", std::string(to_string(shape.dtype))},
          {"rope_dim", std::to_string(rope.dim)},
          {"rope_scaling", std::to_string(static_cast<int>(rope.scaling))},
          {"rope_original_max_positions", std::to_string(rope.original_max_positions)},
          {"rope_theta", print(rope.theta)},
          {"rope_factor", print(rope.factor)},
          {"rope_low_freq_factor", print(rope.low_freq_factor)},
          {"rope_high_freq_factor", print(rope.high_freq_factor)}};
}

constexpr const char* checksum_name = "checksum";
constexpr int most_parameters = 100;

Error bad(const std::string& name) {
  return Error(ErrorCode::corrupt, "missing from the index, or not what it should be")
      .at_field(fmt::format("parameter '{}'", name));
}

bool parse(std::string_view name, Protection& out) {
  for (const Protection protection : {Protection::none, Protection::authentic, Protection::encrypted}) {
    if (name != to_string(protection)) continue;
    out = protection;
    return true;
  }
  return false;
}

Result<Pairs> split(const std::string& text) {
  Pairs pairs;
  for (std::size_t at = 0; at < text.size();) {
    const auto equals = text.find('=', at);
    const auto end = text.find('\n', at);
    if (end == std::string::npos || equals > end) return bad(text.substr(at, 64));
    pairs.emplace(text.substr(at, equals - at), text.substr(equals + 1, end - equals - 1));
    at = end + 1;
  }
  return pairs;
}

class PairReader {
 public:
  explicit PairReader(const Pairs& pairs) : pairs_(pairs) {}

  Result<std::int64_t> integer(const std::string& name, int base = 10) const {
    const auto found = pairs_.find(name);
    if (found == pairs_.end()) return bad(name);
    const std::string& text = found->second;
    std::uint64_t value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (problem != std::errc() || end != text.data() + text.size()) return bad(name);
    return static_cast<std::int64_t>(value);
  }
  Result<double> number(const std::string& name) const {
    SEQKV_ASSIGN(const std::int64_t raw, integer(name, 16));
    const auto value = std::bit_cast<double>(raw);
    if (!std::isfinite(value)) return bad(name);
    return value;
  }
  Result<Digest> digest(const std::string& name) const {
    const auto found = pairs_.find(name);
    Digest digest;
    if (found == pairs_.end() || !Digest::parse(found->second, digest)) return bad(name);
    return digest;
  }
  Result<DType> dtype(const std::string& name) const {
    const auto found = pairs_.find(name);
    DType dtype{};
    if (found == pairs_.end() || !parse(found->second, dtype)) return bad(name);
    return dtype;
  }

 private:
  const Pairs& pairs_;
};

}  // namespace

Result<void> check_parameters(const StoreParameters& parameters) {
  SEQKV_TRY(parameters.shape.check());
  if (parameters.block_tokens < limits::min_block_tokens || parameters.block_tokens > limits::max_block_tokens) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("blocks of {} tokens, expected {} to {}", parameters.block_tokens,
                             limits::min_block_tokens, limits::max_block_tokens));
  }
  return {};
}

std::string to_text(const StoreParameters& parameters, const Digest& id) {
  std::string text;
  for (const auto& [name, value] : to_pairs(parameters, id)) text += fmt::format("{}={}\n", name, value);
  return text;
}

std::string signed_text(const std::string& text, const Seal& seal) {
  return fmt::format("{}{}={}\n", text, checksum_name, seal.sign(text).hex());
}

Result<void> check_signature(const std::string& text, const Seal& seal) {
  const auto at = text.rfind(fmt::format("{}=", checksum_name));
  if (at == std::string::npos) return bad(checksum_name);
  if (signed_text(text.substr(0, at), seal) == text) return {};
  if (seal.active()) return Error(ErrorCode::wrong_key, "the parameters are not signed with this key");
  return Error(ErrorCode::checksum_mismatch, "the parameters do not have the checksum stored with them");
}

Result<void> write_parameters(Database& database, const std::string& text) {
  SEQKV_ASSIGN(Statement insert, database.prepare("INSERT INTO parameters (name, value) VALUES (?, ?)"));
  SEQKV_ASSIGN(const Pairs pairs, split(text));
  for (const auto& [name, value] : pairs) {
    SEQKV_TRY(insert.bind(1, std::string_view(name)).bind(2, std::string_view(value)).run());
  }
  return {};
}

Result<std::string> read_parameters(const Database& database) {
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT name, value FROM parameters ORDER BY name"));
  std::string text;
  std::string checksum;
  for (int rows = 0; rows < most_parameters; ++rows) {
    SEQKV_ASSIGN(const bool there, query.step());
    if (!there) return text + checksum;
    const std::string name = query.text(0);
    (name == checksum_name ? checksum : text) += fmt::format("{}={}\n", name, query.text(1));
  }
  return Error(ErrorCode::corrupt, "more parameters than a store has");
}

Result<void> parse_text(const std::string& text, StoreParameters& parameters, Digest& id) {
  SEQKV_ASSIGN(const Pairs pairs, split(text));
  const PairReader reader(pairs);
  SEQKV_ASSIGN(const std::int64_t version, reader.integer("version"));
  if (version != store_version) {
    return Error(ErrorCode::unsupported_version,
                 fmt::format("store version {}, this library reads {}", version, store_version));
  }
  KvShape& shape = parameters.shape;
  RopeConfig& rope = shape.rope;
  SEQKV_ASSIGN(id, reader.digest("id"));
  SEQKV_ASSIGN(parameters.model, reader.digest("model"));
  SEQKV_ASSIGN(parameters.block_tokens, reader.integer("block_tokens"));
  const auto protection = pairs.find("protection");
  if (protection == pairs.end() || !parse(protection->second, parameters.protection)) return bad("protection");
  SEQKV_ASSIGN(shape.layers, reader.integer("layers"));
  SEQKV_ASSIGN(shape.kv_heads, reader.integer("kv_heads"));
  SEQKV_ASSIGN(shape.head_dim, reader.integer("head_dim"));
  SEQKV_ASSIGN(shape.dtype, reader.dtype("dtype"));
  SEQKV_ASSIGN(rope.dim, reader.integer("rope_dim"));
  SEQKV_ASSIGN(const std::int64_t scaling, reader.integer("rope_scaling"));
  if (scaling < 0 || scaling > 2) return bad("rope_scaling");
  rope.scaling = static_cast<RopeScaling>(scaling);
  SEQKV_ASSIGN(rope.original_max_positions, reader.integer("rope_original_max_positions"));
  SEQKV_ASSIGN(rope.theta, reader.number("rope_theta"));
  SEQKV_ASSIGN(rope.factor, reader.number("rope_factor"));
  SEQKV_ASSIGN(rope.low_freq_factor, reader.number("rope_low_freq_factor"));
  SEQKV_ASSIGN(rope.high_freq_factor, reader.number("rope_high_freq_factor"));
  if (auto status = check_parameters(parameters); !status)
    return Error(ErrorCode::corrupt, status.error().message).at_field("parameters");
  return {};
}

Result<void> compare_parameters(const StoreParameters& stored, const StoreParameters& given,
                                const std::filesystem::path& index) {
  if (stored.model != given.model) {
    return Error(ErrorCode::wrong_model, fmt::format("the store holds caches of model {}, this is model {}",
                                                     stored.model.hex().substr(0, 16), given.model.hex().substr(0, 16)))
        .in_file(index.string());
  }
  if (stored.block_tokens != given.block_tokens) {
    return Error(ErrorCode::wrong_store, fmt::format("the store has blocks of {} tokens, {} are asked for",
                                                     stored.block_tokens, given.block_tokens))
        .in_file(index.string());
  }
  if (stored.protection != given.protection) {
    return Error(ErrorCode::wrong_store, fmt::format("the protection of the store is '{}', '{}' is asked for",
                                                     to_string(stored.protection), to_string(given.protection)))
        .in_file(index.string());
  }
  if (!(stored.shape == given.shape)) {
    return Error(ErrorCode::wrong_store,
                 fmt::format("the store holds caches of {}, this one is {}{}", stored.shape.describe(),
                             given.shape.describe(),
                             stored.shape.rope == given.shape.rope ? "" : " with another rotary embedding"))
        .in_file(index.string());
  }
  return {};
}

}  // namespace seqkv::store
