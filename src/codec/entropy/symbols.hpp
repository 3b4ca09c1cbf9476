// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Blocks of symbols coded with tables that all blocks share: what the portable kernel (backends/kokkos) and its
/// specializations (backends/cpu) have in common. No Kokkos here. The format is in spec.md, "Symbol block".
#pragma once

#include "codec/entropy/bit_planes.hpp"
#include "codec/entropy/rans.hpp"
#include "core/move_bytes.hpp"

namespace seqkv::codec {

/// Costs of symbols are in this part of a bit.
inline constexpr std::uint32_t cost_of_bit = 256;

inline constexpr int most_choices = 256;

/// A family of tables in the memory of the kernel. A table has symbols 0 ... alphabet - 1. If these are not all 256,
/// the last one is its escape: it stands for itself and every symbol above; a byte behind the stream says by how much.
struct SymbolTables {
  const rans::Slot* slots;           ///< [tables][4096]
  const rans::Code* codes;           ///< [tables][256]
  const rans::Intervals* intervals;  ///< [tables]
  const std::uint32_t* costs;        ///< [tables][256], escapes included
  const std::uint16_t* alphabets;    ///< [tables], 2 to 256
  int tables;

  /// Symbols from here on are escaped.
  SEQKV_INLINE unsigned escape(std::int64_t table) const {
    return alphabets[table] < rans::symbols ? alphabets[table] - 1U : rans::symbols;
  }
};

/// Runs of symbols that are coded together. Each run has a class; the block chooses a number that is added to all of
/// them, which gives the run's table. Classes say what is known beforehand, the choice what this block is like.
struct SymbolBlock {
  std::uint8_t* symbols;  ///< [runs][run_symbols]. Decoded: written, encoded: read
  std::int64_t runs;
  std::int64_t run_symbols;
  const std::uint8_t* classes;  ///< [runs]
  int least_choice;             ///< choices are least_choice ... least_choice + choices - 1
  int choices;                  ///< 1 to 256
  std::byte* coded;             ///< decoding: the coded bytes. Encoding: room of most_bytes()
  std::int64_t bytes;  ///< decoding: before, of `coded`; after, -1 if they are no block. Encoding: after, of `coded`

  SEQKV_INLINE std::int64_t count() const { return runs * run_symbols; }
  SEQKV_INLINE std::uint8_t* run(std::int64_t r) const { return symbols + r * run_symbols; }
  SEQKV_INLINE std::int64_t table_of(const SymbolTables& tables, std::int64_t r, int choice) const {
    return table_of_class(tables, classes[r], choice);
  }
  SEQKV_INLINE std::int64_t table_of_class(const SymbolTables& tables, int of_class, int choice) const {
    const int table = of_class + least_choice + choice;
    return table < 0 ? 0 : table < tables.tables ? table : tables.tables - 1;
  }

  static constexpr std::int64_t head_bytes = 2;
  static constexpr std::int64_t escape_count_bytes = 4;
  /// Head, a stream, and as many bytes as there are symbols: for escapes, and for a clamped copy of the symbols before.
  SEQKV_INLINE std::int64_t most_bytes() const {
    return head_bytes + escape_count_bytes + rans::most_bytes(count()) + count();
  }
};

/// The first byte of a block.
namespace block_kind {
inline constexpr unsigned rans = 1;     ///< else packed
inline constexpr unsigned escapes = 2;  ///< there are some
}  // namespace block_kind

SEQKV_INLINE std::uint8_t largest_symbol(const std::uint8_t* symbols, std::int64_t count) {
  std::uint8_t largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = symbols[i] > largest ? symbols[i] : largest;
  return largest;
}

/// Calls found(i) for the symbols from `escape` on. They are few: most of a run is passed over many at a time.
template <std::int64_t Stride = 256, class Found>
SEQKV_INLINE void for_each_escape(const std::uint8_t* symbols, std::int64_t first, std::int64_t end, unsigned escape,
                                  const Found& found) {
  if constexpr (Stride == 1) {
    for (std::int64_t i = first; i < end; ++i) {
      if (symbols[i] >= escape) found(i);
    }
  } else {
    std::int64_t i = first;
    for (; i + Stride <= end; i += Stride) {
      if (largest_symbol(symbols + i, Stride) < escape) continue;
      for_each_escape<(Stride > 32 ? 32 : 1)>(symbols, i, i + Stride, escape, found);
    }
    for_each_escape<(Stride > 32 ? 32 : 1)>(symbols, i, end, escape, found);
  }
}

// ---- choosing a table -------------------------------------------------------------------------------------------

/// Runs from this size on are judged by every fourth group of their symbols.
inline constexpr std::int64_t sampled_run = 4096;

/// Calls part(first, count) for the parts of a run's sample.
template <class Part>
SEQKV_INLINE void for_each_sample(std::int64_t run_symbols, const Part& part) {
  const std::int64_t stride = run_symbols >= sampled_run ? 4 * rans::group : rans::group;
  for (std::int64_t i = 0; i < run_symbols; i += stride) {
    part(i, run_symbols - i < rans::group ? run_symbols - i : rans::group);
  }
}

/// The choice whose tables cost the sample of the block least, the lowest of equals. count(symbols, counts) counts the
/// sample of a run, for all 256 symbols.
template <class Count>
SEQKV_INLINE int cheapest_choice(const SymbolTables& tables, const SymbolBlock& block, const Count& count) {
  std::uint32_t counts[rans::symbols];
  std::uint64_t costs[most_choices];
  for (int c = 0; c < block.choices; ++c) costs[c] = 0;
  for (std::int64_t r = 0; r < block.runs && block.choices > 1; ++r) {
    if (block.run_symbols <= rans::group) {  // not worth counting; most are 0
      const std::uint8_t* symbols = block.run(r);
      std::uint8_t others[rans::group];
      std::int64_t found = 0;
      for (std::int64_t i = 0; i < block.run_symbols; ++i) {
        others[found] = symbols[i];
        found += symbols[i] != 0 ? 1 : 0;
      }
      for (int c = 0; c < block.choices; ++c) {
        const std::uint32_t* of_table = tables.costs + block.table_of(tables, r, c) * rans::symbols;
        std::uint64_t cost = static_cast<std::uint64_t>(block.run_symbols - found) * of_table[0];
        for (std::int64_t i = 0; i < found; ++i) cost += of_table[others[i]];
        costs[c] += cost;
      }
      continue;
    }
    count(block.run(r), counts);
    int present = rans::symbols;
    while (present > 0 && counts[present - 1] == 0) --present;
    for (int c = 0; c < block.choices; ++c) {
      const std::uint32_t* of_table = tables.costs + block.table_of(tables, r, c) * rans::symbols;
      std::uint64_t cost = 0;
      for (int s = 0; s < present; ++s) cost += std::uint64_t{counts[s]} * of_table[s];
      costs[c] += cost;
    }
  }
  int cheapest = 0;
  for (int c = 1; c < block.choices; ++c) {
    if (costs[c] < costs[cheapest]) cheapest = c;
  }
  return cheapest;
}

// ---- encoding ---------------------------------------------------------------------------------------------------

/// Where an encoder lets the stream of a block end; close_block() moves it to its place.
SEQKV_INLINE std::byte* end_of_stream(const SymbolBlock& block) { return block.coded + block.most_bytes(); }

/// The symbols of a run as its table codes them: the run itself, or a copy with escapes in the room of the block.
SEQKV_INLINE std::uint8_t* coded_symbols(const SymbolTables& tables, const SymbolBlock& block, std::int64_t r,
                                         std::int64_t table) {
  const unsigned escape = tables.escape(table);
  const std::int64_t count = block.run_symbols;  // a local: bytes that are written might be anything else
  std::uint8_t* symbols = block.run(r);
  if (largest_symbol(symbols, count) < escape) return symbols;
  auto* clamped = reinterpret_cast<std::uint8_t*>(block.coded) + r * count;
  const auto last = static_cast<std::uint8_t>(escape);
  for (std::int64_t i = 0; i < count; ++i) clamped[i] = symbols[i] < last ? symbols[i] : last;
  return clamped;
}

/// Writes a byte for each escape to `to`, if it is not null; returns how many there are.
SEQKV_INLINE std::int64_t write_escapes(const SymbolTables& tables, const SymbolBlock& block, int choice,
                                        std::byte* to) {
  std::int64_t escapes = 0;
  for (std::int64_t r = 0; r < block.runs; ++r) {
    const unsigned escape = tables.escape(block.table_of(tables, r, choice));
    const std::uint8_t* symbols = block.run(r);
    for_each_escape(symbols, 0, block.run_symbols, escape, [&](std::int64_t i) {
      if (to != nullptr) to[escapes] = static_cast<std::byte>(symbols[i] - escape);
      ++escapes;
    });
  }
  return escapes;
}

/// Puts the parts of a block together: the stream that an encoder has left in its room and the escapes, or the symbols
/// packed if that is not larger.
SEQKV_INLINE void close_block(const SymbolTables& tables, SymbolBlock& block, int choice, const std::byte* stream) {
  const std::int64_t stream_bytes = end_of_stream(block) - stream;
  const std::int64_t escapes = write_escapes(tables, block, choice, nullptr);
  const int bits = packed_bits(block.symbols, block.count());
  std::byte* at = block.coded + SymbolBlock::head_bytes;
  if (packed_bytes(bits, block.count()) <= stream_bytes + escapes) {
    block.coded[0] = std::byte{0};
    block.coded[1] = static_cast<std::byte>(bits);
    pack_planes(block.symbols, block.count(), bits, at);
    block.bytes = SymbolBlock::head_bytes + packed_bytes(bits, block.count());
    return;
  }
  block.coded[0] = static_cast<std::byte>(block_kind::rans | (escapes > 0 ? block_kind::escapes : 0U));
  block.coded[1] = static_cast<std::byte>(choice);
  if (escapes > 0) {
    rans::store16(at, static_cast<std::uint32_t>(escapes));
    rans::store16(at + 2, static_cast<std::uint32_t>(escapes >> 16));
    at += SymbolBlock::escape_count_bytes;
  }
  move_bytes_down(at, stream, stream_bytes);
  at += stream_bytes;
  if (escapes > 0) write_escapes(tables, block, choice, at);
  block.bytes = at + escapes - block.coded;
}

// ---- decoding ---------------------------------------------------------------------------------------------------

/// A block taken apart.
struct SymbolParts {
  bool is_packed;
  int argument;  ///< bits of a packed symbol, or the choice
  std::byte* payload;
  std::int64_t payload_bytes;
  const std::byte* escapes;
  std::int64_t escape_count;
};

/// False if the sizes do not fit.
SEQKV_INLINE bool open_block(const SymbolBlock& block, SymbolParts& parts) {
  if (block.bytes < SymbolBlock::head_bytes) return false;
  const auto kind = static_cast<unsigned>(block.coded[0]);
  parts.is_packed = kind == 0;
  parts.argument = static_cast<int>(block.coded[1]);
  parts.payload = block.coded + SymbolBlock::head_bytes;
  parts.payload_bytes = block.bytes - SymbolBlock::head_bytes;
  parts.escape_count = 0;
  if (parts.is_packed) return parts.argument <= 8 && parts.payload_bytes == packed_bytes(parts.argument, block.count());
  if ((kind & block_kind::rans) == 0 || kind > (block_kind::rans | block_kind::escapes)) return false;
  if ((kind & block_kind::escapes) != 0) {
    if (parts.payload_bytes < SymbolBlock::escape_count_bytes) return false;
    parts.escape_count = rans::load16(parts.payload) | std::int64_t{rans::load16(parts.payload + 2)} << 16U;
    parts.payload += SymbolBlock::escape_count_bytes;
    parts.payload_bytes -= SymbolBlock::escape_count_bytes + parts.escape_count;
    if (parts.escape_count == 0 || parts.payload_bytes < 0) return false;
  }
  parts.escapes = parts.payload + parts.payload_bytes;
  return parts.argument < block.choices;
}

/// Adds the escapes to decoded symbols; false if there are not as many as the symbols ask for, or a sum is beyond 255.
SEQKV_INLINE bool add_escapes(const SymbolTables& tables, const SymbolBlock& block, const SymbolParts& parts) {
  std::int64_t used = 0;
  bool fits = true;
  for (std::int64_t r = 0; r < block.runs; ++r) {
    const unsigned escape = tables.escape(block.table_of(tables, r, parts.argument));
    std::uint8_t* symbols = block.run(r);
    for_each_escape(symbols, 0, block.run_symbols, escape, [&](std::int64_t i) {
      const unsigned more = used < parts.escape_count ? static_cast<unsigned>(parts.escapes[used]) : rans::symbols;
      ++used;
      fits = fits && escape + more < rans::symbols;
      symbols[i] = static_cast<std::uint8_t>(escape + more);
    });
  }
  return fits && used == parts.escape_count;
}

// ---- the scalar coder, which portable kernels run --------------------------------------------------------------

SEQKV_INLINE void encode_block(const SymbolTables& tables, SymbolBlock& block) {
  const int choice = cheapest_choice(tables, block, [&](const std::uint8_t* symbols, std::uint32_t* counts) {
    for (int s = 0; s < rans::symbols; ++s) counts[s] = 0;
    for_each_sample(block.run_symbols, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t j = first; j < first + count; ++j) ++counts[symbols[j]];
    });
  });
  rans::Encoder encoder;
  encoder.start(end_of_stream(block));
  for (std::int64_t r = block.runs - 1; r >= 0; --r) {
    const std::int64_t table = block.table_of(tables, r, choice);
    encoder.encode(tables.codes + table * rans::symbols, coded_symbols(tables, block, r, table), block.run_symbols);
  }
  close_block(tables, block, choice, encoder.finish());
}

SEQKV_INLINE void decode_block(const SymbolTables& tables, SymbolBlock& block) {
  SymbolParts parts;
  bool whole = open_block(block, parts);
  if (whole && parts.is_packed) {
    unpack_planes(parts.payload, block.count(), parts.argument, block.symbols);
  } else if (whole) {
    rans::Decoder decoder;
    decoder.start(parts.payload, parts.payload_bytes);
    for (std::int64_t r = 0; r < block.runs; ++r) {
      const std::int64_t table = block.table_of(tables, r, parts.argument);
      decoder.decode(tables.slots + table * rans::total, block.run(r), block.run_symbols);
    }
    whole = decoder.finished() && add_escapes(tables, block, parts);
  }
  if (!whole) block.bytes = -1;
}

}  // namespace seqkv::codec
