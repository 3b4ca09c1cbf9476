// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "replay/replay_stream.hpp"

#include <fmt/format.h>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "core/varint.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::replay {
namespace {

constexpr std::string_view magic = "SQRL";
constexpr std::uint8_t version = 1;
constexpr std::uint8_t states_flag = 1;
constexpr std::uint8_t tokens_flag = 2;
constexpr std::size_t checksum_bytes = 4;

Error corrupt(const std::string& what) { return {ErrorCode::corrupt, what}; }
Error early(const std::string& what) { return {ErrorCode::truncated, what + " ends early"}; }

/// Bits 0 to 4 are the points in the order of the struct, bits 5 and 6 the kind of probabilities.
std::uint8_t points_of(const Rounding& rounding) {
  const std::uint8_t flags[] = {rounding.norm_scaled, rounding.rotary_table, rounding.rotary_products, rounding.scores,
                                rounding.activation};
  std::uint8_t points = 0;
  for (unsigned i = 0; i < 5; ++i) points = static_cast<std::uint8_t>(points | flags[i] << i);
  return static_cast<std::uint8_t>(points | static_cast<unsigned>(rounding.probabilities) << 5U);
}

bool parse_dtype(std::uint8_t number, DType& dtype) {
  dtype = static_cast<DType>(number);
  return number >= static_cast<std::uint8_t>(DType::bf16) && number <= static_cast<std::uint8_t>(DType::f32);
}

bool parse_points(std::uint8_t points, Rounding& rounding) {
  bool* const flags[] = {&rounding.norm_scaled, &rounding.rotary_table, &rounding.rotary_products, &rounding.scores,
                         &rounding.activation};
  for (unsigned i = 0; i < 5; ++i) *flags[i] = (points >> i & 1U) != 0;
  rounding.probabilities = static_cast<Rounding::Probabilities>(points >> 5U & 3U);
  return points < 3U << 5U;
}

Result<void> parse_header(ByteReader& in, ReplayStream& stream) {
  const std::string found_magic = in.get_string(magic.size());
  const auto found = in.get<std::uint8_t>();
  if (!in.ok()) return early("the header");
  if (found_magic != magic) return corrupt("not a replayed session").at_byte(0);
  if (found != version) {
    return Error(ErrorCode::unsupported_version,
                 fmt::format("replayed sessions of version {} are not known here", found))
        .at_byte(magic.size());
  }
  const auto flags = in.get<std::uint8_t>();
  stream.with_states = (flags & states_flag) != 0;
  stream.with_tokens = (flags & tokens_flag) != 0;
  stream.fingerprint = in.get<std::uint64_t>();
  bool good = parse_dtype(in.get<std::uint8_t>(), stream.dtype);
  good = parse_dtype(in.get<std::uint8_t>(), stream.rounding.dtype) && good;
  good = parse_points(in.get<std::uint8_t>(), stream.rounding) && good;
  stream.tokens = get_varint(in, good);
  stream.block_tokens = get_varint(in, good);
  if (!in.ok()) return early("the header");
  good = good && flags <= (states_flag | tokens_flag) &&
         stream.tokens <= static_cast<std::uint64_t>(limits::max_tokens) && stream.block_tokens > 0 &&
         stream.block_tokens <= static_cast<std::uint64_t>(limits::max_block_tokens);
  if (!good) return corrupt("the header breaks its own rules");
  return {};
}

}  // namespace

std::vector<std::byte> write(const ReplayStream& stream) {
  ByteWriter out;
  out.put(as_bytes(magic));
  out.put(version);
  out.put(static_cast<std::uint8_t>((stream.with_states ? states_flag : 0U) | (stream.with_tokens ? tokens_flag : 0U)));
  out.put(stream.fingerprint);
  out.put(static_cast<std::uint8_t>(stream.dtype));
  out.put(static_cast<std::uint8_t>(stream.rounding.dtype));
  out.put(points_of(stream.rounding));
  put_varint(out, stream.tokens);
  put_varint(out, stream.block_tokens);
  if (stream.with_tokens) {
    put_varint(out, stream.token_stream.size());
  } else {
    out.put(stream.token_checksum);
  }
  for (const ReplayStream::Block& block : stream.blocks) {
    out.put(block.checksum);
    put_varint(out, block.payload.size());
  }
  out.put(static_cast<std::uint32_t>(xxh3_64({out.data(), out.size()})));
  out.put(stream.token_stream);
  for (const ReplayStream::Block& block : stream.blocks) out.put(block.payload);
  return std::move(out).take();
}

Result<ReplayStream> parse_replay_stream(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  ReplayStream stream;
  SEQKV_TRY(parse_header(in, stream));
  bool good = true;
  const std::uint64_t token_bytes = stream.with_tokens ? get_varint(in, good) : 0;
  if (!stream.with_tokens) stream.token_checksum = in.get<std::uint32_t>();
  const std::uint64_t blocks = divide_up(stream.tokens, stream.block_tokens);
  if (blocks > in.remaining() / (1 + checksum_bytes)) return early("the index");
  std::vector<std::uint64_t> sizes;
  stream.blocks.resize(blocks);
  for (ReplayStream::Block& block : stream.blocks) {
    block.checksum = in.get<std::uint32_t>();
    sizes.push_back(get_varint(in, good));
  }
  const std::size_t index_bytes = in.position();
  const auto checksum = in.get<std::uint32_t>();
  if (!in.ok()) return early("the index");
  if (checksum != static_cast<std::uint32_t>(xxh3_64(bytes.first(index_bytes)))) {
    return Error(ErrorCode::checksum_mismatch, "the checksum of the index is another")
        .at_byte(static_cast<std::int64_t>(index_bytes));
  }
  if (!good) return corrupt("the index breaks its own rules");
  const auto tokens = in.get_bytes(token_bytes);
  if (!in.ok()) return early("the tokens");
  stream.token_stream.assign(tokens.begin(), tokens.end());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto payload = in.get_bytes(sizes[i]);
    if (!in.ok()) return early("a payload").in_block(static_cast<std::int64_t>(i));
    stream.blocks[i].payload.assign(payload.begin(), payload.end());
  }
  if (in.remaining() > 0) return corrupt("bytes follow the payload").at_byte(static_cast<std::int64_t>(in.position()));
  return stream;
}

}  // namespace seqkv::replay
