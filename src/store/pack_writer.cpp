// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/pack_writer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::store {

PackWriter::~PackWriter() {
  if (kept_) return;
  for (const Pack& pack : packs_) {
    state_.packs.erase(pack.number);  // another file may come to have its name
    if (pack.is_new) {
      (void)io::remove(pack.path);
    } else {
      (void)io::truncate(pack.file, pack.path, pack.committed);
    }
  }
}

Result<Place> PackWriter::append(const RecordBytes& record) { return write(record.head, record.body); }
Result<Place> PackWriter::append(std::span<const std::byte> record) { return write(record, {}); }

Result<Place> PackWriter::write(std::span<const std::byte> head, std::span<const std::byte> body) {
  const auto bytes = static_cast<std::int64_t>(head.size() + body.size());
  SEQKV_ASSIGN(const Place place, make_room(bytes));
  Pack& pack = packs_.back();
  SEQKV_TRY(io::write_all(pack.file, pack.path, head, place.offset));
  SEQKV_TRY(io::write_all(pack.file, pack.path, body, place.offset + static_cast<std::int64_t>(head.size())));
  pack.end = place.offset + bytes;  // what a write that failed has left does not count
  // The disk works while the next blocks are coded.
  pack.unflushed += bytes;
  if (pack.unflushed >= io::worth_a_flush) {
    if (pack.flush == nullptr) pack.flush = std::make_unique<io::EarlyFlush>(pack.file.get());
    pack.flush->request();
    pack.unflushed = 0;
  }
  return place;
}

Result<Place> PackWriter::make_room(std::int64_t bytes) {
  if (packs_.empty() && begin_ == Begin::in_last_pack) SEQKV_TRY(open_last());
  if (packs_.empty() || packs_.back().end >= pack_full) SEQKV_TRY(begin_pack());
  const Pack& pack = packs_.back();
  return Place{pack.number, round_up(pack.end, pack_alignment), bytes};
}

/// The last pack, if there is one. What lies behind its committed end is cut off.
Result<void> PackWriter::open_last() {
  SEQKV_ASSIGN(Statement query, state_.database.prepare("SELECT id, bytes FROM packs ORDER BY id DESC LIMIT 1"));
  SEQKV_ASSIGN(const bool there, query.step());
  if (!there || query.integer(1) >= pack_full) return {};
  Pack pack;
  pack.number = query.integer(0);
  pack.path = pack_path(state_.folder, pack.number);
  pack.committed = pack.end = query.integer(1);
  if (pack.number < 1 || pack.number > limits::max_pack || pack.committed < pack_header_bytes) {
    return Error(ErrorCode::corrupt, "the index gives an impossible pack").in_file(state_.index_path().string());
  }
  SEQKV_ASSIGN(pack.file, io::open_for_writing(pack.path, io::Existing::need));
  SEQKV_ASSIGN(const std::int64_t size, io::file_size(pack.file, pack.path));
  if (size < pack.committed) {
    return Error(ErrorCode::truncated, fmt::format("the pack has {} bytes, the index says {}", size, pack.committed))
        .in_file(pack.path.string());
  }
  if (size > pack.committed) SEQKV_TRY(io::truncate(pack.file, pack.path, pack.committed));
  packs_.push_back(std::move(pack));
  return {};
}

Result<std::int64_t> PackWriter::new_number() {
  if (next_number_ > 0) return std::exchange(next_number_, next_number_ + number_step_);
  return next_pack(state_);
}

Result<void> PackWriter::begin_pack() {
  SEQKV_ASSIGN(const std::int64_t number, new_number());
  if (number < 1 || number > limits::max_pack) return Error(ErrorCode::limit_exceeded, "no number for another pack");
  if (!packs_.empty()) {
    packs_.back().flush.reset();
    SEQKV_TRY(io::sync(packs_.back().file, packs_.back().path));
  }
  Pack pack;
  pack.number = number;
  pack.path = pack_path(state_.folder, number);
  pack.is_new = true;
  SEQKV_ASSIGN(pack.file, io::open_for_writing(pack.path, io::Existing::empty));
  packs_.push_back(std::move(pack));
  Pack& begun = packs_.back();
  SEQKV_TRY(io::write_all(begun.file, begun.path, pack_header(state_.id), 0));
  SEQKV_ASSIGN(const RecordBytes parameters, parameters_record(state_.parameters_text));
  SEQKV_TRY(io::write_all(begun.file, begun.path, parameters.head, pack_header_bytes));
  begun.end = pack_header_bytes + parameters.size();
  return {};
}

Result<void> PackWriter::sync() {
  bool begun = false;
  for (Pack& pack : packs_) {
    pack.flush.reset();
    SEQKV_TRY(io::sync(pack.file, pack.path));
    begun = begun || pack.is_new;
  }
  if (begun) SEQKV_TRY(io::sync_directory(state_.folder / "packs"));
  return {};
}

Result<void> PackWriter::write_rows(Database& database) const {
  SEQKV_ASSIGN(Statement row, database.prepare("INSERT INTO packs (id, bytes) VALUES (?1, ?2) "
                                               "ON CONFLICT (id) DO UPDATE SET bytes = excluded.bytes"));
  SEQKV_ASSIGN(Statement next, database.prepare("UPDATE state SET next_pack = max(next_pack, ?)"));
  for (const Pack& pack : packs_) {
    SEQKV_TRY(row.bind(1, pack.number).bind(2, pack.end).run());
    SEQKV_TRY(next.bind(1, pack.number + 1).run());
  }
  return {};
}

void PackWriter::keep() { kept_ = true; }

void PackWriter::go_on() {
  if (packs_.size() > 1) packs_.erase(packs_.begin(), packs_.end() - 1);
  for (Pack& pack : packs_) {
    pack.committed = pack.end;
    pack.is_new = false;
  }
}

void PackWriter::number_packs(std::int64_t first, std::int64_t step) {
  next_number_ = first;
  number_step_ = step;
}

std::vector<std::pair<std::int64_t, std::int64_t>> PackWriter::ends() const {
  std::vector<std::pair<std::int64_t, std::int64_t>> ends;
  for (const Pack& pack : packs_) ends.emplace_back(pack.number, pack.end);
  return ends;
}

std::int64_t PackWriter::packs_begun() const noexcept {
  return std::ranges::count_if(packs_, [](const Pack& pack) { return pack.is_new; });
}

Result<std::int64_t> next_pack(const Store::State& state) {
  SEQKV_ASSIGN(Statement query, state.database.prepare("SELECT next_pack FROM state"));
  SEQKV_ASSIGN(const bool there, query.step());
  const std::int64_t number = there ? query.integer(0) : 1;
  SEQKV_ASSIGN(const std::vector<std::int64_t> files, pack_files(state.folder));
  return files.empty() ? number : std::max(number, files.back() + 1);
}

}  // namespace seqkv::store
