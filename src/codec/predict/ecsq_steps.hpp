// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals by transform, uniform quantizer and entropy coder, beside the transform and the entropy coder: a slot or a
/// block at a time, for the kernels of backends/kokkos and backends/cpu. No Kokkos here. The maths is in spec.md.
#pragma once

#include "codec/predict/ecsq_arguments.hpp"
#include "codec/predict/steps.hpp"

namespace seqkv::codec {

/// Whether a row is predicted with its reference.
SEQKV_INLINE bool refers(const EcsqStep& step, std::int64_t block, std::int64_t row) {
  return step.block_kinds[block].refers != 0 && step.referring[row] != 0;
}

/// Tokens of a block of one kind by falling grade, those of one grade as they come, from `slot` on: a counting sort.
/// Returns the slot behind the last group.
SEQKV_INLINE std::int64_t order_kind(const EcsqStep& step, std::int64_t block, bool kind, std::int64_t slot) {
  const std::int64_t first = block * step.grid.block_tokens;
  const std::int64_t tokens = step.grid.tokens_of(block);
  std::int32_t* order = step.order + block * step.slots();
  std::int32_t starts[grades + 1] = {};
  for (std::int64_t row = first; row < first + tokens; ++row) {
    if (refers(step, block, row) == kind) ++starts[most_grade - step.grade[row] + 1];
  }
  starts[0] = static_cast<std::int32_t>(slot);
  for (int g = 0; g < grades; ++g) starts[g + 1] += starts[g];
  const std::int64_t last = starts[grades];
  for (std::int64_t row = first; row < first + tokens; ++row) {
    if (refers(step, block, row) == kind) {
      order[starts[most_grade - step.grade[row]]++] = static_cast<std::int32_t>(row);
    }
  }
  for (slot = last; slot % tile_slots != 0; ++slot) order[slot] = -1;
  return slot;
}

/// The mean grade of a group of slots, in sixteenths.
SEQKV_INLINE void grade_group(const EcsqStep& step, std::int64_t block, std::int64_t group) {
  const std::int32_t* order = step.order + block * step.slots();
  std::int32_t sum = 0;
  std::int32_t count = 0;
  for (std::int64_t slot = group * tile_slots; slot < (group + 1) * tile_slots && order[slot] >= 0; ++slot, ++count) {
    sum += step.grade[order[slot]];
  }
  constexpr std::int32_t offset = 16 * most_grade;  // keeps the division of positive numbers
  step.group_grade[block * step.groups() + group] =
      count == 0 ? 0 : (16 * sum + offset * count + count / 2) / count - offset;
}

/// Tokens without a reference, then those with one, each in groups of their own; the mean grades of these.
SEQKV_INLINE void order_block(const EcsqStep& step, std::int64_t block) {
  std::int32_t* order = step.order + block * step.slots();
  std::int64_t slot = order_kind(step, block, false, 0);
  if (step.block_kinds[block].refers != 0) slot = order_kind(step, block, true, slot);
  for (; slot < step.slots(); ++slot) order[slot] = -1;
  for (std::int64_t group = 0; group < step.groups(); ++group) grade_group(step, block, group);
}

/// Weighted residuals of one head of a slot.
SEQKV_INLINE void residual_slot(const EcsqStep& step, std::int64_t slot, std::int64_t head) {
  const std::int64_t dim = step.model.width / step.heads;
  float* out = step.residuals + slot * step.ld_residuals + head * dim;
  const std::int64_t row = step.order[slot];
  if (row >= 0) return residual_head(step, row, head, weight_of(step.grade[row]), out);
  for (std::int64_t i = 0; i < dim; ++i) out[i] = 0.0F;
}

/// One head of a slot from its restored weighted residual.
SEQKV_INLINE void restore_slot(const EcsqStep& step, std::int64_t slot, std::int64_t head) {
  const std::int64_t row = step.order[slot];
  if (row < 0) return;
  const float* residual = step.residuals + slot * step.ld_residuals + head * (step.model.width / step.heads);
  restore_head(step, row, head, residual, weight_of(-step.grade[row]));
}

/// Calls tile(run, quad, group, class) for the tiles of a block that are coded, and skipped(quad, group) for the
/// others; returns how many are coded.
template <class Tile, class Skipped>
SEQKV_INLINE std::int64_t for_each_tile(const EcsqStep& step, std::int64_t block, const Tile& tile,
                                        const Skipped& skipped) {
  const std::int64_t groups = step.groups();
  std::int64_t coded = 0;
  for (std::int64_t quad = 0; quad < step.quads(); ++quad) {
    for (std::int64_t group = 0; group < step.groups_of(block); ++group) {
      const PredictiveModel& model = step.model_of(block, group);
      if (quad * tile_coefficients >= model.coefficients) continue;
      const int of_tile = class_of_tile(step, model, quad, step.group_grade[block * groups + group]);
      if (of_tile < 0) {
        skipped(quad, group);
      } else {
        tile(coded++, quad, group, of_tile < step.tables ? of_tile : step.tables - 1);
      }
    }
  }
  return coded;
}

/// The numbers of a tile: coefficient c of slot s at [c * ld + s].
SEQKV_INLINE std::int16_t* tile_at(const EcsqStep& step, std::int64_t block, std::int64_t quad, std::int64_t group) {
  return step.numbers + quad * tile_coefficients * step.all_slots() + block * step.slots() + group * tile_slots;
}

/// Symbols of a tile, four of each slot, before they are cut to 8 bits; returns the largest.
SEQKV_INLINE unsigned symbols_of_tile(const std::int16_t* numbers, std::int64_t ld, std::uint16_t* symbols) {
  unsigned largest = 0;
  for (std::int64_t c = 0; c < tile_coefficients; ++c) {
    for (std::int64_t s = 0; s < tile_slots; ++s) {
      const auto symbol = static_cast<std::uint16_t>(zigzag(numbers[c * ld + s]));
      symbols[s * tile_coefficients + c] = symbol;
      largest = symbol > largest ? symbol : largest;
    }
  }
  return largest;
}

SEQKV_INLINE void clear_tile(std::int16_t* numbers, std::int64_t ld) {
  for (std::int64_t c = 0; c < tile_coefficients; ++c) {
    for (std::int64_t s = 0; s < tile_slots; ++s) numbers[c * ld + s] = 0;
  }
}

/// Sets up the block of symbols; its bytes stand behind those that are taken.
SEQKV_INLINE void start_symbols(const EcsqStep& step, std::int64_t block, std::int64_t runs, std::byte* coded,
                                std::int64_t bytes) {
  SymbolBlock& symbols = step.coded[block];
  symbols.symbols = step.symbols + block * step.runs() * rans::group;
  symbols.runs = runs;
  symbols.run_symbols = rans::group;
  symbols.classes = step.classes + block * step.runs();
  symbols.least_choice = least_choice;
  symbols.choices = choices;
  symbols.coded = coded;
  symbols.bytes = bytes;
}

/// Symbols of a tile; returns the largest before they are cut to 8 bits.
SEQKV_INLINE unsigned pack_tile(const EcsqStep& step, std::int64_t block, std::int64_t quad, std::int64_t group,
                                std::uint8_t* symbols) {
  std::uint16_t wide[rans::group];
  const unsigned largest = symbols_of_tile(tile_at(step, block, quad, group), step.all_slots(), wide);
  for (int i = 0; i < rans::group; ++i) {
    symbols[i] = static_cast<std::uint8_t>(wide[i] < large_symbol ? wide[i] : large_symbol);
  }
  return largest;
}

/// Numbers that are not coded become 0; returns the largest symbol that there was.
SEQKV_INLINE unsigned clear_tile_of(const EcsqStep& step, std::int64_t block, std::int64_t quad, std::int64_t group) {
  std::int16_t* numbers = tile_at(step, block, quad, group);
  std::uint16_t wide[rans::group];
  const unsigned largest = symbols_of_tile(numbers, step.all_slots(), wide);
  clear_tile(numbers, step.all_slots());
  return largest;
}

/// Writes those of the numbers too large for a symbol that there is room for; returns how many there are.
SEQKV_INLINE std::int64_t list_large(const EcsqStep& step, std::int64_t block, std::byte* to) {
  std::int64_t larges = 0;
  const auto list = [&](std::int64_t, std::int64_t quad, std::int64_t group, int) {
    std::uint16_t wide[rans::group];
    const unsigned most = symbols_of_tile(tile_at(step, block, quad, group), step.all_slots(), wide);
    for (int i = 0; most >= large_symbol && i < rans::group; ++i) {
      if (wide[i] < large_symbol) continue;
      if (larges < most_large) rans::store16(to + 2 * larges, wide[i] - large_symbol);
      ++larges;
    }
  };
  for_each_tile(step, block, list, [](std::int64_t, std::int64_t) {});
  return larges;
}

/// The head of a payload, when its tiles are packed. `largest`: the largest symbol of all.
SEQKV_INLINE void close_packing(const EcsqStep& step, std::int64_t block, std::int64_t runs, unsigned largest,
                                bool has_large) {
  std::byte* coded = step.tasks[block].coded;
  std::int64_t larges = has_large ? list_large(step, block, coded + 2) : 0;
  const bool codable = largest < zigzag(no_number) && larges <= most_large;
  step.status[block] = codable ? block_status::good : block_status::raw;
  if (larges > most_large) larges = 0;
  rans::store16(coded,
                static_cast<std::uint32_t>(larges) | (step.block_kinds[block].refers != 0 ? referring_flag : 0U));
  start_symbols(step, block, runs, coded + 2 + 2 * larges, 0);
}

/// From numbers to symbols, and to the list of those too large for one.
SEQKV_INLINE void pack_block(const EcsqStep& step, std::int64_t block) {
  std::uint8_t* symbols = step.symbols + block * step.runs() * rans::group;
  std::uint8_t* classes = step.classes + block * step.runs();
  unsigned largest = 0;
  bool has_large = false;
  const auto pack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int of_tile) {
    classes[run] = static_cast<std::uint8_t>(of_tile);
    const unsigned most = pack_tile(step, block, quad, group, symbols + run * rans::group);
    largest = most > largest ? most : largest;
    has_large = has_large || most >= large_symbol;
  };
  const auto clear = [&](std::int64_t quad, std::int64_t group) {
    const unsigned most = clear_tile_of(step, block, quad, group);
    largest = most > largest ? most : largest;
  };
  const std::int64_t runs = for_each_tile(step, block, pack, clear);
  close_packing(step, block, runs, largest, has_large);
}

/// The size of a payload, when its symbols have been coded.
SEQKV_INLINE void close_payload(const EcsqStep& step, std::int64_t block) {
  Task& task = step.tasks[block];
  task.bytes = step.coded[block].coded - task.coded + step.coded[block].bytes;
  if (task.bytes >= raw_bytes_of(task)) step.status[block] = block_status::raw;
  if (step.status[block] == block_status::raw) task.bytes = not_codable;
}

SEQKV_INLINE std::int64_t larges_of(const Task& task) { return rans::load16(task.coded) & ~referring_flag; }

/// Takes a payload apart that is not raw, whose tiles have been classified as `runs`.
SEQKV_INLINE void open_symbols(const EcsqStep& step, std::int64_t block, std::int64_t runs) {
  const Task& task = step.tasks[block];
  step.status[block] = task.raw ? block_status::raw : block_status::good;
  start_symbols(step, block, 0, task.coded, 0);  // nothing is decoded where the payload is none
  if (task.raw) return;
  const std::int64_t larges = task.bytes < 2 ? 0 : larges_of(task);
  if (task.bytes < 2 + 2 * larges || larges > most_large) {
    step.status[block] = block_status::broken;
    return;
  }
  start_symbols(step, block, runs, task.coded + 2 + 2 * larges, task.bytes - 2 - 2 * larges);
}

/// Takes a payload apart.
SEQKV_INLINE void open_payload(const EcsqStep& step, std::int64_t block) {
  std::uint8_t* classes = step.classes + block * step.runs();
  const auto classify = [&](std::int64_t run, std::int64_t, std::int64_t, int of_tile) {
    classes[run] = static_cast<std::uint8_t>(of_tile);
  };
  const std::int64_t runs = for_each_tile(step, block, classify, [](std::int64_t, std::int64_t) {});
  if (step.tasks[block].raw) copy_raw(step.tasks[block]);
  open_symbols(step, block, runs);
}

SEQKV_INLINE bool has_symbols(const EcsqStep& step, std::int64_t block) {
  return step.status[block] == block_status::good && step.coded[block].bytes >= 0;
}

/// The numbers of a tile, but for those too large for a symbol; whether there are some.
SEQKV_INLINE bool unpack_tile(const EcsqStep& step, std::int64_t block, std::int64_t quad, std::int64_t group,
                              const std::uint8_t* symbols) {
  std::int16_t* numbers = tile_at(step, block, quad, group);
  for (std::int64_t c = 0; c < tile_coefficients; ++c) {
    for (std::int64_t s = 0; s < tile_slots; ++s) {
      numbers[c * step.all_slots() + s] = unzigzag(symbols[s * tile_coefficients + c]);
    }
  }
  return largest_symbol(symbols, rans::group) >= large_symbol;
}

/// Numbers too large for a symbol, from their list; false unless it has what the symbols ask for.
SEQKV_INLINE bool unpack_large(const EcsqStep& step, std::int64_t block) {
  const Task& task = step.tasks[block];
  const std::byte* large = task.coded + 2;
  const std::int64_t larges = larges_of(task);
  std::int64_t used = 0;
  bool fits = true;
  const auto unpack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int) {
    const std::uint8_t* from = step.coded[block].symbols + run * rans::group;
    if (largest_symbol(from, rans::group) < large_symbol) return;
    std::int16_t* numbers = tile_at(step, block, quad, group);
    for (int i = 0; i < rans::group; ++i) {
      if (from[i] != large_symbol) continue;
      const unsigned symbol = large_symbol + (used < larges ? rans::load16(large + 2 * used) : 0U);
      ++used;
      fits = fits && symbol <= 2U * largest_number;
      numbers[i % tile_coefficients * step.all_slots() + i / tile_coefficients] = unzigzag(symbol);
    }
  };
  for_each_tile(step, block, unpack, [](std::int64_t, std::int64_t) {});
  return fits && used == larges;
}

/// When the tiles of a block are unpacked.
SEQKV_INLINE void close_unpacking(const EcsqStep& step, std::int64_t block, bool is_coded, bool has_large) {
  Task& task = step.tasks[block];
  if (task.raw) return;
  if (is_coded && (has_large ? unpack_large(step, block) : larges_of(task) == 0)) return;
  step.status[block] = block_status::broken;
  task.bytes = not_codable;
}

/// From symbols to numbers.
SEQKV_INLINE void unpack_block(const EcsqStep& step, std::int64_t block) {
  const bool is_coded = has_symbols(step, block);
  bool has_large = false;
  const auto clear = [&](std::int64_t quad, std::int64_t group) {
    clear_tile(tile_at(step, block, quad, group), step.all_slots());
  };
  const auto unpack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int) {
    if (!is_coded) return clear(quad, group);
    has_large = unpack_tile(step, block, quad, group, step.coded[block].symbols + run * rans::group) || has_large;
  };
  for_each_tile(step, block, unpack, clear);
  // Slots behind the last group of a short block.
  for (std::int64_t quad = 0; quad < step.quads(); ++quad) {
    for (std::int64_t group = step.groups_of(block); group < step.groups(); ++group) clear(quad, group);
  }
  close_unpacking(step, block, is_coded, has_large);
}

}  // namespace seqkv::codec
