// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Appending records behind the committed end of the packs.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "io/early_flush.hpp"
#include "store/store_state.hpp"

namespace seqkv::store {

/// Records are durable with sync() and belong to the store once write_rows() has been committed; then keep() says so.
/// Without it the destructor gives the space back, as the next writer would. The state must outlive the object.
class PackWriter {
 public:
  enum class Begin { in_last_pack, in_new_pack };
  explicit PackWriter(const Store::State& state, Begin begin = Begin::in_last_pack) : state_(state), begin_(begin) {}
  ~PackWriter();
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;

  /// Errors: io, disk_full, truncated (the last pack is shorter than the index says).
  Result<Place> append(const RecordBytes& record);
  /// A record as it stands in another pack.
  Result<Place> append(std::span<const std::byte> record);
  Result<void> sync();
  /// Into the caller's transaction.
  Result<void> write_rows(Database& database) const;
  void keep();
  /// The same, and more will follow: what is appended from now on is given back without keep() or another go_on().
  void go_on();
  /// New packs have these numbers from now on: `first` and every `step` further. Processes that write at once have
  /// numbers of their own.
  void number_packs(std::int64_t first, std::int64_t step);

  /// Numbers and ends of the packs written to.
  std::vector<std::pair<std::int64_t, std::int64_t>> ends() const;
  const Seal& seal() const noexcept { return state_.seal; }

  std::int64_t packs_begun() const noexcept;

 private:
  struct Pack {
    std::int64_t number = 0;
    std::filesystem::path path;
    io::Descriptor file;
    std::int64_t committed = 0;
    std::int64_t end = 0;
    bool is_new = false;
    std::int64_t unflushed = 0;  ///< bytes written since the disk was last told to start
    std::unique_ptr<io::EarlyFlush> flush;
  };
  /// Writes the parts of a record one behind the other.
  Result<Place> write(std::span<const std::byte> head, std::span<const std::byte> body);
  /// Where `bytes` more go.
  Result<Place> make_room(std::int64_t bytes);
  Result<void> open_last();
  Result<void> begin_pack();
  Result<std::int64_t> new_number();

  const Store::State& state_;
  Begin begin_;
  std::vector<Pack> packs_;
  bool kept_ = false;
  std::int64_t next_number_ = 0;  ///< 0: what the store says
  std::int64_t number_step_ = 1;
};

/// A number for a new pack. Numbers are never used again: a reader may hold an old row, and a lost index may have known
/// more packs.
Result<std::int64_t> next_pack(const Store::State& state);

}  // namespace seqkv::store
