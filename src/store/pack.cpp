// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/pack.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::store {
namespace {

constexpr std::array<char, 8> pack_magic = {'\x89', 'S', 'Q', 'K', 'P', '\r', '\n', '\x1a'};
constexpr std::uint32_t pack_version = 1;
constexpr std::uint32_t record_magic = 0x524b5153;  // "SQKR"
constexpr std::size_t record_head_bytes = 32;

Error corrupt(const std::string& what, std::int64_t position) {
  return Error(ErrorCode::corrupt, what).at_byte(position);
}

/// magic, type, bytes of the payload and of what follows it, and checksums of head and payload; then the payload.
std::vector<std::byte> make_record(RecordType type, std::span<const std::byte> payload, std::size_t following) {
  ByteWriter out;
  out.put(record_magic);
  out.put(static_cast<std::uint32_t>(type));
  out.put(static_cast<std::uint64_t>(payload.size()));
  out.put(static_cast<std::uint64_t>(following));
  ByteWriter hashed;
  hashed.put({out.data(), out.size()});
  hashed.put(payload);
  out.put(xxh3_64({hashed.data(), hashed.size()}));
  out.put(payload);
  out.pad_to(pack_alignment);
  return std::move(out).take();
}

struct RecordView {
  RecordType type;
  std::span<const std::byte> payload;
  std::span<const std::byte> following;
};

Result<RecordView> read_record(std::span<const std::byte> bytes, std::int64_t offset) {
  ByteReader reader(bytes);
  const auto magic = reader.get<std::uint32_t>();
  const auto type = reader.get<std::uint32_t>();
  const auto payload_bytes = reader.get<std::uint64_t>();
  const auto following_bytes = reader.get<std::uint64_t>();
  const auto hash = reader.get<std::uint64_t>();
  if (!reader.ok() || magic != record_magic) return corrupt("no record starts here", offset);
  const auto payload = reader.get_bytes(payload_bytes);
  if (!reader.ok()) return corrupt("a record longer than the index says", offset);
  ByteWriter hashed;
  hashed.put(bytes.first(record_head_bytes - 8));
  hashed.put(payload);
  if (hash != xxh3_64({hashed.data(), hashed.size()})) {
    return Error(ErrorCode::checksum_mismatch, "the head of the record does not have the checksum stored with it")
        .at_byte(offset);
  }
  if (!reader.skip_padding(pack_alignment)) return corrupt("padding is not zero, or the record ends too early", offset);
  const auto following = reader.get_bytes(following_bytes);
  if (!reader.ok() || reader.remaining() != 0) return corrupt("a record of another size than the index says", offset);
  return RecordView{static_cast<RecordType>(type), payload, following};
}

/// Bytes of the record that `bytes` start with, from its own head.
Result<std::size_t> record_bytes(std::span<const std::byte> bytes, std::int64_t offset) {
  ByteReader reader(bytes);
  (void)reader.get<std::uint64_t>();  // magic and type
  const auto payload = reader.get<std::uint64_t>();
  const auto following = reader.get<std::uint64_t>();
  if (!reader.ok() || payload > bytes.size() || following > bytes.size())
    return corrupt("no record starts here", offset);
  const std::size_t size = round_up(record_head_bytes + payload, std::size_t{pack_alignment}) + following;
  if (size > bytes.size()) return corrupt("a record longer than the pack", offset);
  return size;
}

Digest get_digest(ByteReader& reader) {
  Digest out;
  std::ranges::copy(reader.get_bytes(out.bytes.size()), out.bytes.begin());
  return out;
}

void put_string(ByteWriter& out, const std::string& text) {
  out.put(static_cast<std::uint32_t>(text.size()));
  out.put(as_bytes(std::string_view(text)));
}

}  // namespace

std::vector<std::byte> pack_header(const Digest& store_id) {
  ByteWriter out;
  out.put(std::as_bytes(std::span(pack_magic)));
  out.put(pack_version);
  out.put(std::uint32_t{0});
  out.put(store_id.bytes);
  out.put(xxh3_64({out.data(), out.size()}));
  out.pad_to(pack_alignment);
  return std::move(out).take();
}

Result<void> check_pack_header(std::span<const std::byte> pack, const Digest& store_id) {
  const std::vector<std::byte> expected = pack_header(store_id);
  if (pack.size() < expected.size()) {
    return Error(ErrorCode::truncated, "ends inside its header").at_byte(static_cast<std::int64_t>(pack.size()));
  }
  if (!std::ranges::equal(pack.first(expected.size()), expected)) {
    return corrupt("the header is not that of a pack of this store", 0);
  }
  return {};
}

std::vector<std::byte> block_record_head(const BlockHead& head, CodedBlockView block) {
  ByteWriter payload;
  payload.put(head.identity.bytes);
  payload.put(head.parent.bytes);
  payload.put(head.profile.bytes);
  put_string(payload, head.codec);
  return make_record(RecordType::block, {payload.data(), payload.size()}, block.size());
}

std::vector<std::byte> session_record(const SessionHead& head) {
  ByteWriter payload;
  payload.put(head.last_block.bytes);
  payload.put(static_cast<std::uint64_t>(head.tokens));
  payload.put(head.profile.bytes);
  put_string(payload, head.codec);
  put_string(payload, head.name);
  return make_record(RecordType::session, {payload.data(), payload.size()}, 0);
}

Result<BlockRecord> read_block_record(std::span<const std::byte> pack, std::int64_t offset, std::int64_t bytes) {
  const auto size = static_cast<std::int64_t>(pack.size());
  if (offset < pack_alignment || bytes < static_cast<std::int64_t>(record_head_bytes) || offset > size ||
      bytes > size - offset) {
    return Error(ErrorCode::truncated,
                 fmt::format("the pack has {} bytes, the record should end at {}", size, offset + bytes))
        .at_byte(size);
  }
  SEQKV_ASSIGN(const RecordView record,
               read_record(pack.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes)), offset));
  if (record.type != RecordType::block) return corrupt("the record is not one of a block", offset);
  ByteReader reader(record.payload);
  BlockRecord out;
  out.head.identity = get_digest(reader);
  out.head.parent = get_digest(reader);
  out.head.profile = get_digest(reader);
  out.head.codec = reader.get_string(reader.get<std::uint32_t>());
  if (!reader.ok() || reader.remaining() != 0) return corrupt("the head of the record does not add up", offset);
  out.block = record.following;
  return out;
}

Result<std::vector<SessionHead>> read_session_records(std::span<const std::byte> pack, std::int64_t end) {
  if (end < 0 || end > static_cast<std::int64_t>(pack.size())) {
    return Error(ErrorCode::truncated, fmt::format("the pack has {} bytes, the index says {}", pack.size(), end))
        .at_byte(static_cast<std::int64_t>(pack.size()));
  }
  pack = pack.first(static_cast<std::size_t>(end));
  std::vector<SessionHead> sessions;
  for (std::size_t at = pack_alignment; at < pack.size(); at = round_up(at, std::size_t{pack_alignment})) {
    const auto offset = static_cast<std::int64_t>(at);
    SEQKV_ASSIGN(const std::size_t size, record_bytes(pack.subspan(at), offset));
    SEQKV_ASSIGN(const RecordView record, read_record(pack.subspan(at, size), offset));
    for (at += size; at % pack_alignment != 0 && at < pack.size(); ++at) {
      if (pack[at] != std::byte{0}) return corrupt("padding is not zero", static_cast<std::int64_t>(at));
    }
    if (record.type == RecordType::block) continue;
    if (record.type != RecordType::session) return corrupt("an unknown type of record", offset);
    ByteReader reader(record.payload);
    SessionHead& head = sessions.emplace_back();
    head.last_block = get_digest(reader);
    head.tokens = static_cast<std::int64_t>(reader.get<std::uint64_t>());
    head.profile = get_digest(reader);
    head.codec = reader.get_string(reader.get<std::uint32_t>());
    head.name = reader.get_string(reader.get<std::uint32_t>());
    if (!reader.ok() || reader.remaining() != 0) return corrupt("the head of the record does not add up", offset);
  }
  return sessions;
}

std::filesystem::path pack_path(const std::filesystem::path& folder, std::int64_t number) {
  return folder / "packs" / fmt::format("{:08}.pack", number);
}

}  // namespace seqkv::store
