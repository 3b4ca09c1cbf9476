// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/uses.hpp"

#include <chrono>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/retention.hpp"

namespace seqkv::store {

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::int64_t use_key(const Digest& identity, std::int64_t codec) {
  constexpr std::uint64_t spread = 0x9e3779b97f4a7c15;  // 2^64 over the golden ratio
  return static_cast<std::int64_t>(load_le<std::uint64_t>(identity.bytes.data()) ^
                                   (static_cast<std::uint64_t>(codec) * spread));
}

Result<void> count_uses(Database& database, std::span<const Digest> identities, std::int64_t codec) {
  SEQKV_ASSIGN(Statement counters, database.prepare("SELECT half_life, floor FROM state"));
  SEQKV_ASSIGN(const bool there, counters.step());
  const double half = there ? counters.real(0) : 0.0;
  const double floor = there ? counters.real(1) : 0.0;
  if (!(half > 0.0)) return Error(ErrorCode::corrupt, "the index has lost its counters");
  SEQKV_ASSIGN(Statement find, database.prepare("SELECT hits, weight, last_use FROM uses WHERE key = ?"));
  SEQKV_ASSIGN(
      Statement put,
      database.prepare("INSERT OR REPLACE INTO uses (key, hits, weight, last_use, floor) VALUES (?, ?, ?, ?, ?)"));
  for (const Digest& identity : identities) {
    const std::int64_t key = use_key(identity, codec);
    SEQKV_ASSIGN(const bool known, find.bind(1, key).step());
    RetentionState state = first_use({1, 1.0, 0.0}, now(), half);
    if (known) {
      RetentionState before;
      before.hits = find.integer(0);
      before.weight = find.real(1);
      before.last_use = find.real(2);
      // A clock that was set back would make time run backwards.
      state = next_use(before, std::max(now(), before.last_use), half);
    }
    find.reset();
    SEQKV_TRY(put.bind(1, key).bind(2, state.hits).bind(3, state.weight).bind(4, state.last_use).bind(5, floor).run());
  }
  return {};
}

}  // namespace seqkv::store
