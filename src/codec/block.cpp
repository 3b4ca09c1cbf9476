// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "codec/predict/ecsq_arguments.hpp"
#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::codec {
namespace {

constexpr std::uint32_t raw_flag = 1U << 31U;
constexpr std::size_t alignment = 8;
constexpr std::size_t hashed_from = 8;  // the coded hash covers all that follows it; first of it is the decoded hash
constexpr std::size_t table_at = 40;
constexpr std::int64_t reference_bytes = 16;

Error corrupt(const std::string& what, std::size_t position) {
  return Error(ErrorCode::corrupt, what).at_byte(static_cast<std::int64_t>(position));
}

std::size_t packed_size(std::int64_t tokens, int bits) {
  return static_cast<std::size_t>(divide_up<std::int64_t>(tokens * bits, 8));
}

/// Whether the bits behind the last token are zero.
bool packing_is_clean(std::span<const std::byte> packed, std::int64_t tokens, int bits) {
  const auto used = static_cast<unsigned>(tokens * bits % 8);
  return used == 0 || packed.empty() || std::to_integer<unsigned>(packed.back()) >> used == 0;
}

void pack_tokens(TokenSpan tokens, int bits, ByteWriter& out) {
  std::uint64_t pending = 0;
  int filled = 0;
  for (Token token : tokens) {
    pending |= static_cast<std::uint64_t>(token) << static_cast<unsigned>(filled);
    for (filled += bits; filled >= 8; filled -= 8, pending >>= 8U) out.put(static_cast<std::uint8_t>(pending));
  }
  if (filled > 0) out.put(static_cast<std::uint8_t>(pending));
}

/// What the block is predicted from: pieces of it, one behind the other.
Result<void> read_references(ByteReader& reader, std::uint32_t count, BlockParts& parts) {
  std::int64_t end = 0;
  for (std::uint32_t i = 0; i < count && reader.ok(); ++i) {
    BlockReference reference;
    reference.hash = reader.get<std::uint64_t>();
    reference.first = reader.get<std::uint16_t>();
    reference.count = reader.get<std::uint16_t>();
    reference.source = reader.get<std::uint16_t>();
    const auto reserved = reader.get<std::uint16_t>();
    if (reserved != 0 || reference.first < end || reference.count < 1 ||
        reference.first + reference.count > parts.tokens ||
        reference.source + reference.count > limits::max_block_tokens) {
      return corrupt("a reference of tokens that the block cannot have", reader.position());
    }
    end = reference.first + reference.count;
    parts.references.push_back(reference);
  }
  return {};
}

}  // namespace

bool SubblockPayload::refers() const {
  return !raw && bytes.size() >= 2 && (load_le<std::uint16_t>(bytes.data()) & referring_flag) != 0;
}

std::int64_t raw_bytes(const KvShape& shape, std::int64_t tokens) {
  return shape.kv_heads * tokens * shape.head_dim * static_cast<std::int64_t>(size_of(shape.dtype));
}

std::uint64_t combine_hashes(std::span<const std::uint64_t> hashes) { return xxh3_64(std::as_bytes(hashes)); }

Result<void> check_block_size(const KvShape& shape, std::int64_t block_tokens) {
  if (block_tokens < limits::min_block_tokens || block_tokens > limits::max_block_tokens) {
    return Error(ErrorCode::invalid_argument, fmt::format("blocks of {} tokens, expected {} to {}", block_tokens,
                                                          limits::min_block_tokens, limits::max_block_tokens));
  }
  if (raw_bytes(shape, block_tokens) > limits::max_subblock_bytes) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("a block of {} tokens of {} is too large", block_tokens, shape.describe()));
  }
  return {};
}

Result<void> check_references(const KvShape& shape, std::span<const ReferenceBlock> references) {
  for (const ReferenceBlock& block : references) {
    KvShape expected = shape;
    expected.dtype = block.values.shape.dtype;
    if (block.values.shape != expected) {
      return Error(ErrorCode::shape_mismatch,
                   fmt::format("a reference of {} for caches of {}", block.values.shape.describe(), shape.describe()));
    }
    if (block.values.memory != MemorySpace::host || block.values.tokens > limits::max_block_tokens ||
        block.first_position < 0 || block.first_position > limits::max_tokens - block.values.tokens) {
      return Error(ErrorCode::invalid_argument, "references are blocks in host memory");
    }
  }
  return {};
}

std::int64_t most_overhead(const KvShape& shape, std::int64_t tokens) {
  const std::int64_t subblocks = 2 * shape.layers;
  const auto padding = static_cast<std::int64_t>(alignment);
  const std::int64_t references = tokens * reference_bytes;  // of one token each
  return static_cast<std::int64_t>(table_at) + subblocks * 4 + references + tokens * 4 + (subblocks + 2) * padding;
}

void BlockWriter::put_head(std::int64_t first_position, std::int64_t tokens, std::int64_t subblocks, int token_bits,
                           std::size_t more) {
  out_.put(std::uint64_t{0});  // the hashes are known at the end
  out_.put(std::uint64_t{0});
  out_.put(static_cast<std::uint64_t>(first_position));
  out_.put(static_cast<std::uint32_t>(tokens));
  out_.put(static_cast<std::uint32_t>(subblocks));
  out_.put(static_cast<std::uint32_t>(token_bits));
  out_.put(static_cast<std::uint32_t>(more));
  entry_ = table_at;
  for (std::int64_t i = 0; i < subblocks; ++i) out_.put(std::uint32_t{0});
  out_.pad_to(alignment);
}

void BlockWriter::start(CodedBlock memory, std::int64_t first_position, TokenSpan tokens,
                        std::span<const BlockReference> references, std::int64_t subblocks) {
  const Token largest = tokens.empty() ? 0 : *std::max_element(tokens.begin(), tokens.end());
  const int token_bits = std::bit_width(largest);
  out_ = ByteWriter(std::move(memory));
  put_head(first_position, static_cast<std::int64_t>(tokens.size()), subblocks, token_bits, references.size());
  for (const BlockReference& reference : references) {
    out_.put(reference.hash);
    out_.put(static_cast<std::uint16_t>(reference.first));
    out_.put(static_cast<std::uint16_t>(reference.count));
    out_.put(static_cast<std::uint16_t>(reference.source));
    out_.put(std::uint16_t{0});
  }
  pack_tokens(tokens, token_bits, out_);
  out_.pad_to(alignment);
}

void BlockWriter::start(std::int64_t first_position, std::int64_t tokens, std::span<const std::byte> coded_tokens,
                        std::int64_t subblocks) {
  out_ = ByteWriter();
  put_head(first_position, tokens, subblocks, BlockParts::coded_token_bits, coded_tokens.size());
  out_.put(coded_tokens);
  out_.pad_to(alignment);
}

void BlockWriter::reserve(std::int64_t payload_bytes) {
  out_.reserve(out_.size() + static_cast<std::size_t>(payload_bytes));
}

void BlockWriter::append(const SubblockPayload& payload) {
  store_le(out_.data() + entry_, static_cast<std::uint32_t>(payload.bytes.size()) | (payload.raw ? raw_flag : 0U));
  entry_ += sizeof(std::uint32_t);
  out_.put(payload.bytes);
  out_.pad_to(alignment);
}

CodedBlock BlockWriter::finish(std::uint64_t decoded_hash) {
  store_le(out_.data() + hashed_from, decoded_hash);
  store_le(out_.data(), xxh3_64(std::span<const std::byte>(out_.data(), out_.size()).subspan(hashed_from)));
  return std::move(out_).take();
}

Result<BlockParts> parse_block(const KvShape& shape, CodedBlockView block) {
  SEQKV_TRY(shape.check());
  ByteReader reader(block);
  const auto hash = reader.get<std::uint64_t>();
  if (!reader.ok()) return corrupt("a coded block shorter than its checksum", 0);
  if (hash != xxh3_64(block.subspan(hashed_from))) {
    return Error(ErrorCode::checksum_mismatch, "the coded bytes do not have the checksum stored with them").at_byte(0);
  }
  BlockParts parts;
  parts.hash = hash;
  parts.decoded_hash = reader.get<std::uint64_t>();
  const auto position = reader.get<std::uint64_t>();
  parts.tokens = reader.get<std::uint32_t>();
  const auto subblocks = reader.get<std::uint32_t>();
  const auto token_bits = reader.get<std::uint32_t>();
  const auto more = reader.get<std::uint32_t>();  // references, or bytes of coded tokens
  const bool by_model = token_bits == static_cast<std::uint32_t>(BlockParts::coded_token_bits);
  const bool more_fits = by_model ? more <= block.size() : more <= limits::max_block_tokens && token_bits <= 32;
  if (!reader.ok() || !more_fits || position > static_cast<std::uint64_t>(limits::max_tokens)) {
    return corrupt("the head of the block is impossible", reader.position());
  }
  if (parts.tokens < 1 || parts.tokens > limits::max_block_tokens) {
    return corrupt(fmt::format("{} tokens, expected 1 to {}", parts.tokens, limits::max_block_tokens), 24);
  }
  if (subblocks != 2 * shape.layers) {
    return corrupt(fmt::format("{} sub-blocks, the shape has {}", subblocks, 2 * shape.layers), 28);
  }
  parts.first_position = static_cast<std::int64_t>(position);
  parts.token_bits = static_cast<int>(token_bits);

  std::vector<std::uint32_t> table(subblocks);
  for (auto& entry : table) entry = reader.get<std::uint32_t>();
  bool padding_is_zero = reader.skip_padding(alignment);
  SEQKV_TRY(read_references(reader, by_model ? 0 : more, parts));
  parts.packed_tokens = reader.get_bytes(by_model ? more : packed_size(parts.tokens, parts.token_bits));
  const bool clean = by_model || packing_is_clean(parts.packed_tokens, parts.tokens, parts.token_bits);
  padding_is_zero = padding_is_zero && clean && reader.skip_padding(alignment);
  const std::int64_t whole = raw_bytes(shape, parts.tokens);
  if (whole > limits::max_subblock_bytes) {
    return corrupt(fmt::format("sub-blocks of {} bytes, at most {} fit", whole, limits::max_subblock_bytes), 24);
  }
  for (std::uint32_t entry : table) {
    const bool raw = (entry & raw_flag) != 0;
    const std::int64_t size = entry & ~raw_flag;
    if (raw ? size != whole : size >= whole) {
      return corrupt(
          fmt::format("a {} sub-block of {} bytes where raw values have {}", raw ? "raw" : "coded", size, whole),
          reader.position());
    }
    parts.subblocks.push_back({reader.get_bytes(static_cast<std::size_t>(size)), raw});
    padding_is_zero = padding_is_zero && reader.skip_padding(alignment);
  }
  if (!reader.ok() || !padding_is_zero || reader.remaining() != 0) {
    return corrupt("the parts of the block do not add up to its size, or padding is not zero", reader.position());
  }
  return parts;
}

std::vector<Token> unpack_tokens(const BlockParts& parts) {
  std::vector<Token> tokens(static_cast<std::size_t>(parts.tokens));
  const auto mask = (std::uint64_t{1} << static_cast<unsigned>(parts.token_bits)) - 1;
  std::uint64_t pending = 0;
  int filled = 0;
  std::size_t next = 0;
  for (Token& token : tokens) {
    for (; filled < parts.token_bits; filled += 8) {
      pending |= std::to_integer<std::uint64_t>(parts.packed_tokens[next++]) << static_cast<unsigned>(filled);
    }
    token = static_cast<Token>(pending & mask);
    pending >>= static_cast<unsigned>(parts.token_bits);
    filled -= parts.token_bits;
  }
  return tokens;
}

}  // namespace seqkv::codec

namespace seqkv {

Result<CodedBlockInfo> inspect_block(const KvShape& shape, CodedBlockView block) {
  SEQKV_ASSIGN(const codec::BlockParts parts, codec::parse_block(shape, block));
  const auto raw = std::ranges::count_if(parts.subblocks, &codec::SubblockPayload::raw);
  const auto referring =
      std::ranges::count_if(parts.subblocks, [&](const auto& s) { return !parts.references.empty() && s.refers(); });
  CodedBlockInfo info{parts.hash, parts.first_position, parts.tokens, {}, parts.references, referring,
                      raw,        parts.decoded_hash};
  if (parts.token_bits != codec::BlockParts::coded_token_bits) info.tokens = codec::unpack_tokens(parts);
  return info;
}

Result<void> check_block(const KvShape& shape, CodedBlockView block) {
  SEQKV_ASSIGN(const codec::BlockParts parts, codec::parse_block(shape, block));
  (void)parts;
  return {};
}

}  // namespace seqkv
