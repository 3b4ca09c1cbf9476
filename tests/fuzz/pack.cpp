// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Any bytes as a pack: every record is read whole or refused, and a walk comes to the end. Bits of the first byte: 1,
// checksums are put right, without which nothing but the checks of checksums would be tried; 2, the store has a key; 4,
// and is encrypted.
#include "store/pack.hpp"

#include <cstring>
#include <vector>

#include "checksums.hpp"
#include "memory_file.hpp"

using namespace seqkv;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> pack(size - 1);
  if (!pack.empty()) std::memcpy(pack.data(), data + 1, pack.size());
  const Protection protection = (data[0] & 2U) == 0   ? Protection::none
                                : (data[0] & 4U) == 0 ? Protection::authentic
                                                      : Protection::encrypted;
  const std::vector<std::byte> key(32);
  const store::Seal seal = protection == Protection::none ? store::Seal() : store::Seal(protection, key, {});
  if ((data[0] & 1U) != 0) fuzz::sign_records(pack, seal.bytes());
  (void)store::check_pack_header(pack, {});
  std::int64_t end = 0;
  for (const store::PackItem& item : store::walk_pack(pack, static_cast<std::int64_t>(pack.size()))) {
    if (item.offset < end) __builtin_trap();
    end = item.offset + item.bytes;
    if (end > static_cast<std::int64_t>(pack.size())) __builtin_trap();
    if (item.damaged) continue;
    const auto bytes = store::bytes_at(pack, item.offset, item.bytes);
    if (!bytes) __builtin_trap();
    const auto record = store::read_record(seal, *bytes, item.offset);
    if (!record) {
      if (record.error().message.empty()) __builtin_trap();
      continue;
    }
    if (!fuzz::is_clean(store::block_head(*record, 0)) || !fuzz::is_clean(store::session_head(*record, 0)) ||
        !fuzz::is_clean(store::removal_head(*record, 0)) || !fuzz::is_clean(store::parameters_text(*record, 0))) {
      __builtin_trap();
    }
  }
  return 0;
}
