// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/pack.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::store {
namespace {

constexpr std::array<char, 8> pack_magic = {'\x89', 'S', 'Q', 'K', 'P', '\r', '\n', '\x1a'};
constexpr std::uint32_t pack_version = 3;
constexpr std::uint32_t record_magic = 0x524b5153;  // "SQKR"
constexpr std::size_t signed_bytes = 24;            // of a record's head: magic, type and sizes
constexpr std::size_t head_bytes = 32;              // with the checksum
constexpr std::uint64_t most_payload = 4096;        // names and codec strings have limits
constexpr auto most_body = static_cast<std::uint64_t>(limits::max_coded_block);

Error corrupt(const std::string& what, std::int64_t position) {
  return Error(ErrorCode::corrupt, what).at_byte(position);
}

/// Of a record's signed bytes, its seal and its payload: all that stands before the body but the checksum itself.
std::uint64_t head_checksum(std::span<const std::byte> record, std::size_t seal_and_payload) {
  std::array<std::byte, signed_bytes + seal_bytes + most_payload> buffer;
  std::copy_n(record.begin(), signed_bytes, buffer.begin());
  std::copy_n(record.begin() + head_bytes, seal_and_payload, buffer.begin() + signed_bytes);
  return xxh3_64(std::span(buffer).first(signed_bytes + seal_and_payload));
}

/// magic, type, bytes of payload and body, a checksum over these, seal and payload; then seal and payload.
Result<RecordBytes> make_record(const Seal& seal, RecordType type, ByteWriter& payload,
                                std::span<const std::byte> body) {
  const std::size_t payload_at = head_bytes + seal.bytes();
  if (payload.size() > most_payload) return Error(ErrorCode::internal, "a record with too long a head");
  RecordBytes out;
  out.head.resize(round_up(payload_at + payload.size(), static_cast<std::size_t>(pack_alignment)));
  const std::span head(out.head);
  store_le(head.data(), record_magic);
  store_le(head.data() + 4, static_cast<std::uint32_t>(type));
  store_le(head.data() + 8, static_cast<std::uint64_t>(payload.size()));
  store_le(head.data() + 16, static_cast<std::uint64_t>(body.size()));
  std::copy_n(payload.data(), payload.size(), head.data() + payload_at);
  out.body = body;
  if (seal.active()) {
    if (seal.encrypts()) {
      out.encrypted.assign(body.begin(), body.end());
      out.body = out.encrypted;
    }
    // A body that is only signed is not written to.
    const std::span signed_body(const_cast<std::byte*>(out.body.data()), out.body.size());
    SEQKV_TRY(seal.close(head.first(signed_bytes), head.subspan(head_bytes, seal_bytes),
                         head.subspan(payload_at, payload.size()), signed_body));
  }
  store_le(head.data() + signed_bytes, head_checksum(head, seal.bytes() + payload.size()));
  return out;
}

/// Sizes of the record that `bytes` begin with, by its own head; nothing if it cannot be one.
struct Sizes {
  std::size_t payload = 0;
  std::size_t body = 0;
};
std::optional<Sizes> sizes_of(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  const bool magic = reader.get<std::uint32_t>() == record_magic;
  (void)reader.get<std::uint32_t>();
  const auto payload = reader.get<std::uint64_t>();
  const auto body = reader.get<std::uint64_t>();
  if (!reader.ok() || !magic || payload > most_payload || body > most_body) return std::nullopt;
  return Sizes{static_cast<std::size_t>(payload), static_cast<std::size_t>(body)};
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

Digest get_digest(ByteReader& reader) {
  Digest out;
  std::ranges::copy(reader.get_bytes(out.bytes.size()), out.bytes.begin());
  return out;
}

/// Whether a payload of this type was read to its end.
Result<void> check_payload(const Record& record, RecordType type, const ByteReader& reader, std::int64_t offset) {
  if (record.type != type) return corrupt("a record of another type than expected", offset);
  if (!reader.ok() || reader.remaining() != 0) return corrupt("the head of the record does not add up", offset);
  return {};
}

}  // namespace

std::vector<std::byte> pack_header(const Digest& store_id) {
  ByteWriter out;
  out.put(std::as_bytes(std::span(pack_magic)));
  out.put(pack_version);
  out.put(std::uint32_t{0});
  out.put(store_id.bytes);
  out.put(xxh3_64({out.data(), out.size()}));
  out.pad_to(pack_header_bytes);
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

Result<RecordBytes> block_record(const Seal& seal, const BlockHead& head, CodedBlockView block) {
  ByteWriter payload;
  payload.put(head.identity.bytes);
  payload.put(head.parent.bytes);
  payload.put(head.profile.bytes);
  payload.put(static_cast<std::uint64_t>(head.position));
  payload.put(static_cast<std::uint32_t>(head.tokens));
  payload.put_text(head.codec);
  payload.put(static_cast<std::uint32_t>(head.sources.size()));
  for (const Digest& source : head.sources) payload.put(source.bytes);
  return make_record(seal, RecordType::block, payload, block);
}

Result<RecordBytes> session_record(const Seal& seal, const SessionHead& head) {
  ByteWriter payload;
  payload.put(static_cast<std::uint64_t>(head.sequence));
  payload.put(head.tenant.bytes);
  payload.put(head.nonce.bytes);
  payload.put(head.last_block.bytes);
  payload.put(head.profile.bytes);
  payload.put(static_cast<std::uint64_t>(head.tokens));
  payload.put(static_cast<std::uint64_t>(head.created));
  payload.put(static_cast<std::uint64_t>(head.expires));
  payload.put(static_cast<std::uint32_t>(head.pinned ? 1 : 0));
  payload.put_text(head.codec);
  payload.put_text(head.name);
  return make_record(seal, RecordType::session, payload, {});
}

Result<RecordBytes> removal_record(const Seal& seal, const RemovalHead& head) {
  ByteWriter payload;
  payload.put(static_cast<std::uint64_t>(head.sequence));
  payload.put(head.tenant.bytes);
  payload.put_text(head.name);
  return make_record(seal, RecordType::removal, payload, {});
}

Result<RecordBytes> parameters_record(const std::string& text) {
  ByteWriter payload;
  payload.put_text(text);
  return make_record(Seal(), RecordType::parameters, payload, {});
}

Result<Record> read_record(const Seal& seal, std::span<const std::byte> bytes, std::int64_t offset) {
  const auto sizes = sizes_of(bytes);
  if (!sizes) return corrupt("no record starts here", offset);
  Record record;
  record.type = static_cast<RecordType>(load_le<std::uint32_t>(bytes.data() + 4));
  // The parameters tell how to read all else, and carry a signature of their own.
  const bool sealed = seal.active() && record.type != RecordType::parameters;
  const std::size_t payload_at = head_bytes + (sealed ? seal_bytes : 0);
  const std::size_t body_at = round_up(payload_at + sizes->payload, static_cast<std::size_t>(pack_alignment));
  if (body_at + sizes->body != bytes.size()) return corrupt("a record of another size than the index says", offset);
  if (load_le<std::uint64_t>(bytes.data() + signed_bytes) !=
      head_checksum(bytes, payload_at - head_bytes + sizes->payload)) {
    return Error(ErrorCode::checksum_mismatch, "the head of the record does not have the checksum stored with it")
        .at_byte(offset);
  }
  if (!all_zero(bytes.subspan(payload_at + sizes->payload, body_at - payload_at - sizes->payload))) {
    return corrupt("padding is not zero", offset);
  }
  record.payload = bytes.subspan(payload_at, sizes->payload);
  record.body = bytes.subspan(body_at);
  if (!sealed) return record;
  const auto head = bytes.first(signed_bytes);
  const auto tag = bytes.subspan(head_bytes, seal_bytes);
  bool good = false;
  if (seal.encrypts()) {
    record.opened.assign(record.payload.begin(), record.payload.end());
    record.opened.insert(record.opened.end(), record.body.begin(), record.body.end());
    const std::span opened(record.opened);
    good = seal.open(head, tag, opened.first(sizes->payload), opened.subspan(sizes->payload));
    record.payload = opened.first(sizes->payload);
    record.body = opened.subspan(sizes->payload);
  } else {
    good = seal.is_authentic(head, tag, record.payload, record.body);
  }
  if (!good) return Error(ErrorCode::forged, "the record was not sealed with the store's key").at_byte(offset);
  return record;
}

Result<BlockHead> block_head(const Record& record, std::int64_t offset) {
  ByteReader reader(record.payload);
  BlockHead head;
  head.identity = get_digest(reader);
  head.parent = get_digest(reader);
  head.profile = get_digest(reader);
  head.position = static_cast<std::int64_t>(reader.get<std::uint64_t>());
  head.tokens = reader.get<std::uint32_t>();
  head.codec = reader.get_text();
  const auto sources = reader.get<std::uint32_t>();
  if (sources > limits::max_block_sources) return corrupt("too many blocks that it is predicted from", offset);
  for (std::uint32_t i = 0; i < sources; ++i) head.sources.push_back(get_digest(reader));
  SEQKV_TRY(check_payload(record, RecordType::block, reader, offset));
  return head;
}

Result<SessionHead> session_head(const Record& record, std::int64_t offset) {
  ByteReader reader(record.payload);
  SessionHead head;
  head.sequence = static_cast<std::int64_t>(reader.get<std::uint64_t>());
  head.tenant = get_digest(reader);
  head.nonce = get_digest(reader);
  head.last_block = get_digest(reader);
  head.profile = get_digest(reader);
  head.tokens = static_cast<std::int64_t>(reader.get<std::uint64_t>());
  head.created = static_cast<std::int64_t>(reader.get<std::uint64_t>());
  head.expires = static_cast<std::int64_t>(reader.get<std::uint64_t>());
  head.pinned = reader.get<std::uint32_t>() != 0;
  head.codec = reader.get_text();
  head.name = reader.get_text();
  SEQKV_TRY(check_payload(record, RecordType::session, reader, offset));
  return head;
}

Result<RemovalHead> removal_head(const Record& record, std::int64_t offset) {
  ByteReader reader(record.payload);
  RemovalHead head;
  head.sequence = static_cast<std::int64_t>(reader.get<std::uint64_t>());
  head.tenant = get_digest(reader);
  head.name = reader.get_text();
  SEQKV_TRY(check_payload(record, RecordType::removal, reader, offset));
  return head;
}

Result<std::string> parameters_text(const Record& record, std::int64_t offset) {
  ByteReader reader(record.payload);
  std::string text = reader.get_text();
  SEQKV_TRY(check_payload(record, RecordType::parameters, reader, offset));
  return text;
}

Result<std::span<const std::byte>> bytes_at(std::span<const std::byte> pack, std::int64_t offset, std::int64_t bytes) {
  const auto size = static_cast<std::int64_t>(pack.size());
  if (offset < pack_header_bytes || offset % pack_alignment != 0 || bytes < static_cast<std::int64_t>(head_bytes) ||
      bytes > INT64_MAX - offset) {
    return corrupt("the index gives an impossible place for a record", offset);
  }
  if (offset + bytes > size) {
    return Error(ErrorCode::truncated,
                 fmt::format("the pack has {} bytes, the record should end at {}", size, offset + bytes))
        .at_byte(size);
  }
  return pack.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes));
}

std::optional<std::size_t> whole_record(std::span<const std::byte> bytes) {
  const auto sizes = sizes_of(bytes);
  if (!sizes) return std::nullopt;
  // Whether there is a seal shows in the checksum alone.
  for (const std::size_t seal : {std::size_t{0}, seal_bytes}) {
    const std::size_t payload_end = head_bytes + seal + sizes->payload;
    const std::size_t body_at = round_up(payload_end, static_cast<std::size_t>(pack_alignment));
    if (body_at > bytes.size() || sizes->body > bytes.size() - body_at) break;
    if (!all_zero(bytes.subspan(payload_end, body_at - payload_end))) continue;
    if (load_le<std::uint64_t>(bytes.data() + signed_bytes) != head_checksum(bytes, seal + sizes->payload)) continue;
    return body_at + sizes->body;
  }
  return std::nullopt;
}

}  // namespace seqkv::store
