// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Appending records behind the committed end of the packs.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
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

  const Store::State& state_;
  Begin begin_;
  std::vector<Pack> packs_;
  bool kept_ = false;
};

}  // namespace seqkv::store
