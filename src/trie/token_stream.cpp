// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "trie/token_stream.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"
#include "core/token_checksum.hpp"
#include "core/try.hpp"
#include "core/varint.hpp"
#include "seqkv/hash.hpp"

namespace seqkv::trie {
namespace {

constexpr std::string_view magic = "SQTK";
constexpr std::uint8_t version = 1;
constexpr std::uint8_t adaptive_flag = 1;
constexpr std::size_t index_checksum_bytes = 8;
constexpr std::size_t checksum_bytes = 4;

Error corrupt(const std::string& what) { return {ErrorCode::corrupt, what}; }

Result<StreamHeader> parse_header(ByteReader& in) {
  StreamHeader header;
  const std::string found_magic = in.get_string(magic.size());
  const auto found = in.get<std::uint8_t>();
  if (!in.ok()) return Error(ErrorCode::truncated, "the header ends early");
  if (found_magic != magic) return corrupt("not a token stream").at_byte(0);
  if (found != version) {
    return Error(ErrorCode::unsupported_version, fmt::format("token streams of version {} are not known here", found))
        .at_byte(magic.size());
  }
  const auto flags = in.get<std::uint8_t>();
  header.adaptive = (flags & adaptive_flag) != 0;
  header.fingerprint = in.get<std::uint64_t>();
  bool good = flags <= adaptive_flag;
  header.vocabulary = get_varint(in, good);
  header.block_tokens = get_varint(in, good);
  if (!in.ok()) return Error(ErrorCode::truncated, "the header ends early");
  good = good && header.vocabulary > 0 && header.vocabulary <= limits::max_coded_vocabulary;
  if (!good || header.block_tokens > UINT32_MAX) return corrupt("the header breaks its own rules");
  return header;
}

/// Every sequence takes a byte of the index and every block five: neither number can be larger than the stream.
Result<void> parse_lengths(ByteReader& in, std::uint64_t max_tokens, Stream& stream) {
  bool good = true;
  const std::uint64_t sequences = get_varint(in, good);
  if (sequences > in.remaining()) return Error(ErrorCode::truncated, "the index ends early");
  std::uint64_t blocks = 0;
  std::uint64_t tokens = 0;
  for (std::uint64_t i = 0; i < sequences; ++i) {
    const std::uint64_t count = get_varint(in, good);
    if (!in.ok()) return Error(ErrorCode::truncated, "the index ends early");
    if (count > static_cast<std::uint64_t>(limits::max_tokens)) return corrupt("a sequence is too long");
    stream.tokens.push_back(count);
    stream.first_block.push_back(blocks);
    tokens += count;
    blocks += blocks_of(count, stream.header.block_tokens);
    if (tokens > max_tokens) {
      return Error(ErrorCode::limit_exceeded, fmt::format("the stream has more than {} tokens", max_tokens));
    }
    if (blocks > in.remaining() / (1 + checksum_bytes)) return Error(ErrorCode::truncated, "the index ends early");
  }
  if (!good) return corrupt("the index breaks its own rules");
  stream.blocks.reserve(blocks);
  for (std::uint64_t i = 0; i < sequences; ++i) {
    const std::uint64_t step = stream.header.block_tokens == 0 ? stream.tokens[i] : stream.header.block_tokens;
    for (std::uint64_t first = 0; first < stream.tokens[i]; first += step) {
      stream.blocks.push_back({i, first, std::min(step, stream.tokens[i] - first), 0, {}});
    }
  }
  return {};
}

}  // namespace

std::vector<std::byte> write_stream(const StreamHeader& header, std::span<const std::uint64_t> tokens,
                                    std::span<const CodedBlock> blocks) {
  ByteWriter out;
  out.put(as_bytes(magic));
  out.put(version);
  out.put(header.adaptive ? adaptive_flag : std::uint8_t{0});
  out.put(header.fingerprint);
  put_varint(out, header.vocabulary);
  put_varint(out, header.block_tokens);
  put_varint(out, tokens.size());
  for (const std::uint64_t count : tokens) put_varint(out, count);
  for (const CodedBlock& block : blocks) {
    out.put(block.checksum);
    put_varint(out, block.payload.size());
  }
  out.put(xxh3_64({out.data(), out.size()}));
  for (const CodedBlock& block : blocks) out.put(block.payload);
  return std::move(out).take();
}

Result<Stream> parse_stream(std::span<const std::byte> bytes, std::uint64_t max_tokens) {
  ByteReader in(bytes);
  Stream stream;
  SEQKV_ASSIGN(stream.header, parse_header(in));
  SEQKV_TRY(parse_lengths(in, max_tokens, stream));
  bool good = true;
  std::vector<std::uint64_t> sizes;
  sizes.reserve(stream.blocks.size());
  for (Stream::Block& block : stream.blocks) {
    block.checksum = in.get<std::uint32_t>();
    sizes.push_back(get_varint(in, good));
  }
  const std::size_t index_bytes = in.position();
  const auto checksum = in.get<std::uint64_t>();
  if (!in.ok()) return Error(ErrorCode::truncated, "the index ends early");
  if (checksum != xxh3_64(bytes.first(index_bytes))) {
    return Error(ErrorCode::checksum_mismatch, "the checksum of the index is another")
        .at_byte(static_cast<std::int64_t>(index_bytes));
  }
  if (!good) return corrupt("the index breaks its own rules");
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    stream.blocks[i].payload = in.get_bytes(sizes[i]);
    if (!in.ok()) return Error(ErrorCode::truncated, "the payload ends early").in_block(static_cast<std::int64_t>(i));
  }
  if (in.remaining() > 0) return corrupt("bytes follow the payload").at_byte(static_cast<std::int64_t>(in.position()));
  return stream;
}

CodedBlock encode_block(Predictor& predictor, TokenSpan tokens) {
  RangeEncoder coder;
  predictor.restart();
  for (const Token token : tokens) {
    coder.put(predictor.interval_of(token), interval_one);
    predictor.advance(token);
  }
  return {std::move(coder).finish(), token_checksum(tokens)};
}

Result<std::vector<Token>> decode_block(Predictor& predictor, const Stream::Block& block) {
  RangeDecoder coder(block.payload);
  std::vector<Token> tokens;
  // Likely tokens take less than a bit; what a damaged index claims beyond that is not believed before it is decoded.
  tokens.reserve(std::min(block.tokens, 8 * std::uint64_t{block.payload.size()} + 64));
  predictor.restart();
  while (tokens.size() < block.tokens && !coder.overran()) {
    Interval interval;
    const Token token = predictor.token_at(coder.point(interval_one), interval);
    coder.take(interval);
    predictor.advance(token);
    tokens.push_back(token);
  }
  if (!coder.at_end()) return corrupt("the payload does not hold so many tokens");
  if (token_checksum(tokens) != block.checksum) {
    return Error(ErrorCode::checksum_mismatch, "the checksum of the tokens is another");
  }
  return tokens;
}

}  // namespace seqkv::trie
