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

/// SHA-256 of all other parameters, for no block depends on those of the rotation.
std::string checksum(const Pairs& pairs) {
  Sha256 hash;
  for (const auto& [name, value] : pairs) {
    if (name != checksum_name) hash.update(fmt::format("{}={}\n", name, value));
  }
  return hash.finish().hex();
}

Error bad(const std::string& name) {
  return Error(ErrorCode::corrupt, "missing from the index, or not what it should be")
      .at_field(fmt::format("parameter '{}'", name));
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

Result<void> write_parameters(Database& database, const StoreParameters& parameters, const Digest& id) {
  SEQKV_ASSIGN(Statement insert, database.prepare("INSERT INTO parameters (name, value) VALUES (?, ?)"));
  Pairs pairs = to_pairs(parameters, id);
  pairs.emplace(checksum_name, checksum(pairs));
  for (const auto& [name, value] : pairs) {
    SEQKV_TRY(insert.bind(1, std::string_view(name)).bind(2, std::string_view(value)).run());
  }
  return {};
}

Result<void> read_parameters(const Database& database, StoreParameters& parameters, Digest& id) {
  Pairs pairs;
  SEQKV_ASSIGN(Statement query, database.prepare("SELECT name, value FROM parameters"));
  for (;;) {
    SEQKV_ASSIGN(const bool there, query.step());
    if (!there) break;
    pairs.emplace(query.text(0), query.text(1));
  }
  const PairReader reader(pairs);
  SEQKV_ASSIGN(const std::int64_t version, reader.integer("version"));
  if (version != store_version) {
    return Error(ErrorCode::unsupported_version,
                 fmt::format("store version {}, this library reads {}", version, store_version));
  }
  if (const auto stored = pairs.find(checksum_name); stored == pairs.end() || stored->second != checksum(pairs)) {
    return Error(ErrorCode::checksum_mismatch, "the parameters do not have the checksum stored with them");
  }
  KvShape& shape = parameters.shape;
  RopeConfig& rope = shape.rope;
  SEQKV_ASSIGN(id, reader.digest("id"));
  SEQKV_ASSIGN(parameters.model, reader.digest("model"));
  SEQKV_ASSIGN(parameters.block_tokens, reader.integer("block_tokens"));
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
