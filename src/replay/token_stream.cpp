// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "replay/token_stream.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "core/varint.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::replay {
namespace {

constexpr std::string_view magic = "SQRT";
constexpr std::uint8_t version = 1;
constexpr std::uint8_t independent_flag = 1;
constexpr std::size_t checksum_bytes = 4;

Error corrupt(const std::string& what) { return {ErrorCode::corrupt, what}; }
Error early(const std::string& what) { return {ErrorCode::truncated, what + " ends early"}; }

std::uint32_t low_half(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }

Result<TokenStreamHeader> parse_header(ByteReader& in) {
  TokenStreamHeader header;
  const std::string found_magic = in.get_string(magic.size());
  const auto found = in.get<std::uint8_t>();
  if (!in.ok()) return early("the header");
  if (found_magic != magic) return corrupt("not a stream of tokens coded by a model").at_byte(0);
  if (found != version) {
    return Error(ErrorCode::unsupported_version, fmt::format("streams of version {} are not known here", found))
        .at_byte(magic.size());
  }
  const auto flags = in.get<std::uint8_t>();
  header.independent = (flags & independent_flag) != 0;
  header.fingerprint = in.get<std::uint64_t>();
  bool good = flags <= independent_flag;
  header.segment_tokens = get_varint(in, good);
  if (!in.ok()) return early("the header");
  if (!good || header.segment_tokens > UINT32_MAX) return corrupt("the header breaks its own rules");
  return header;
}

/// Every session takes a byte of the index and every segment five: neither number can be larger than the stream.
Result<void> parse_lengths(ByteReader& in, std::uint64_t max_tokens, TokenStream& stream) {
  bool good = true;
  const std::uint64_t sessions = get_varint(in, good);
  if (sessions > in.remaining()) return early("the index");
  std::uint64_t tokens = 0;
  std::uint64_t segments = 0;
  for (std::uint64_t i = 0; i < sessions; ++i) {
    const std::uint64_t count = get_varint(in, good);
    const std::uint64_t first = count > 0 ? get_varint(in, good) : 0;
    if (!in.ok()) return early("the index");
    good = good && count <= static_cast<std::uint64_t>(limits::max_tokens) && first < limits::max_vocabulary;
    if (!good) return corrupt(fmt::format("session {} is longer than any, or starts with no token", i));
    tokens += count;
    if (tokens > max_tokens) {
      return Error(ErrorCode::limit_exceeded, fmt::format("the stream has more than {} tokens", max_tokens));
    }
    const std::uint64_t step = stream.header.segment_tokens;
    segments += step == 0 ? std::uint64_t{count > 0} : divide_up(count, step);
    if (segments > in.remaining() / (1 + checksum_bytes)) return early("the index");
    add_session(stream, count, static_cast<Token>(first));
  }
  if (!good) return corrupt("the index breaks its own rules");
  return {};
}

}  // namespace

void add_session(TokenStream& stream, std::uint64_t tokens, Token first) {
  const std::uint64_t session = stream.sessions.size();
  stream.sessions.push_back({tokens, first, stream.segments.size()});
  const std::uint64_t step = stream.header.segment_tokens == 0 ? tokens : stream.header.segment_tokens;
  for (std::uint64_t at = 0; at < tokens; at += step) {
    stream.segments.push_back({session, at, std::min(step, tokens - at), 0, {}});
  }
}

std::vector<std::byte> write(const TokenStream& stream) {
  ByteWriter out;
  out.put(as_bytes(magic));
  out.put(version);
  out.put(stream.header.independent ? independent_flag : std::uint8_t{0});
  out.put(stream.header.fingerprint);
  put_varint(out, stream.header.segment_tokens);
  put_varint(out, stream.sessions.size());
  for (const auto& session : stream.sessions) {
    put_varint(out, session.tokens);
    if (session.tokens > 0) put_varint(out, session.first);
  }
  for (const Segment& segment : stream.segments) {
    out.put(segment.checksum);
    put_varint(out, segment.payload.size());
  }
  out.put(low_half(xxh3_64({out.data(), out.size()})));
  for (const Segment& segment : stream.segments) out.put(segment.payload);
  return std::move(out).take();
}

Result<TokenStream> parse_token_stream(std::span<const std::byte> bytes, std::uint64_t max_tokens) {
  ByteReader in(bytes);
  TokenStream stream;
  SEQKV_ASSIGN(stream.header, parse_header(in));
  SEQKV_TRY(parse_lengths(in, max_tokens, stream));
  bool good = true;
  std::vector<std::uint64_t> sizes;
  sizes.reserve(stream.segments.size());
  for (Segment& segment : stream.segments) {
    segment.checksum = in.get<std::uint32_t>();
    sizes.push_back(get_varint(in, good));
  }
  const std::size_t index_bytes = in.position();
  const auto checksum = in.get<std::uint32_t>();
  if (!in.ok()) return early("the index");
  if (checksum != low_half(xxh3_64(bytes.first(index_bytes)))) {
    return Error(ErrorCode::checksum_mismatch, "the checksum of the index is another")
        .at_byte(static_cast<std::int64_t>(index_bytes));
  }
  if (!good) return corrupt("the index breaks its own rules");
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto payload = in.get_bytes(sizes[i]);
    if (!in.ok()) return early("a payload").in_block(static_cast<std::int64_t>(i));
    stream.segments[i].payload.assign(payload.begin(), payload.end());
  }
  if (in.remaining() > 0) return corrupt("bytes follow the payload").at_byte(static_cast<std::int64_t>(in.position()));
  return stream;
}

}  // namespace seqkv::replay
