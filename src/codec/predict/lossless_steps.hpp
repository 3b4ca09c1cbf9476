// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Residuals without loss beside their matrix products, a row or a block at a time: what the portable kernels
/// (backends/kokkos) and those for CPUs (backends/cpu) run. No Kokkos here. The maths is in lossless.md.
#pragma once

#include "codec/predict/float_bins.hpp"
#include "codec/predict/lossless_units.hpp"
#include "codec/predict/steps.hpp"
#include "core/move_bytes.hpp"

namespace seqkv::codec {

/// What is expected of a row, now that the sub-block below has had its say.
SEQKV_INLINE void settle_row(const LosslessStep& step, std::int64_t row) {
  float* out = step.predicted + row * step.ld_predicted;
  const float* correction = step.corrections + row * step.ld_residuals;
  const float* expected = predicted_row(step, row);
  const bool is_known = expected != out;  // the usual first token
  for (std::int64_t i = 0; i < step.model.width; ++i) {
    out[i] = plain(step.has_below && !is_known ? expected[i] + correction[i] : expected[i]);
  }
}

/// One head of a row whose values are there: into the features and residuals.
SEQKV_INLINE void residual_row(const LosslessStep& step, std::int64_t row, std::int64_t head) {
  const std::int64_t dim = step.model.width / step.heads;
  float x[most_head_dim];
  load_head(step, row, head, x);
  keep_features(step, row, head, x, dim);
  const float* feature = step.features + row * step.ld_features + step.column + head * dim;
  const float* predicted = step.predicted + row * step.ld_predicted + head * dim;
  float* out = step.residuals + row * step.ld_residuals + head * dim;
  for (std::int64_t i = 0; i < dim; ++i) out[i] = feature[i] - predicted[i];
}

// ---- bins and tables ----------------------------------------------------------------------------------------------

SEQKV_INLINE std::int32_t log2_bin(std::int32_t scale) { return (scale >> 4) - log2_bins_of_scale; }

/// The table for a number of this scale that is expected to be about `expected`: where neighboring numbers are farther
/// apart than bins, that is what counts.
SEQKV_INLINE int lossless_table(DType dtype, std::int32_t scale, float expected, std::int32_t tables) {
  const FloatLayout layout = layout_of(dtype);
  const std::int32_t least = 2 - (1 << (layout.exponent_bits - 1U));
  const auto exponent = static_cast<std::int32_t>(detmath::bits(expected) >> 23U & 0xffU) - 127;
  const std::int32_t distance = (exponent > least ? exponent : least) - static_cast<std::int32_t>(layout.mantissa_bits);
  const std::int32_t bin = log2_bin(scale);
  const std::int32_t of_scale = (scale - 16 * (bin > distance ? bin : distance)) >> 2;
  const std::int32_t table = tables - 1 - largest_lossless_class + of_scale;
  return table < 0 ? 0 : table;
}

/// The bits of a number of the cache's type that is nearest.
SEQKV_INLINE std::uint32_t rounded_bits(DType dtype, float x) {
  if (dtype == DType::bf16) return float_to_bf16(x);
  if (dtype == DType::f16) return float_to_f16(x);
  return detmath::bits(x);
}

/// 0, -1, 1, -2, 2, ... as 0, 1, 2, 3, 4, ...; large ones all as listed_symbol.
SEQKV_INLINE unsigned lossless_symbol(std::int64_t difference) {
  constexpr std::int64_t most = (listed_symbol - 1) / 2;
  if (difference > most || difference < -most) return listed_symbol;
  return static_cast<unsigned>(difference < 0 ? -2 * difference - 1 : 2 * difference);
}
SEQKV_INLINE std::int64_t lossless_difference(unsigned symbol) {
  const auto half = static_cast<std::int64_t>(symbol >> 1U);
  return (symbol & 1U) != 0 ? -half - 1 : half;
}

/// Where symbols go: by table, then in the order of units, rows and components. Fills starts[table] and the classes of
/// the runs, a run's being that of its first symbol.
SEQKV_INLINE void place_symbols(const LosslessStep& step, std::int64_t block, std::int32_t* starts) {
  const DType dtype = step.tasks[block].subblock.dtype;
  const std::int64_t first = block * step.grid.block_tokens;
  const std::int64_t tokens = step.grid.tokens_of(block);
  for (int t = 0; t <= step.tables; ++t) starts[t] = 0;
  for (std::int64_t n = 0; n < units_of(step); ++n) {
    const Unit unit = unit_at(step, n);
    for (std::int64_t row = first; row < first + tokens; ++row) {
      float x[2];
      expect_unit(step, row, unit, x);
      for (int m = 0; m < unit.count; ++m) {
        ++starts[lossless_table(dtype, step.scales[unit.component[m]], x[m], step.tables) + 1];
      }
    }
  }
  std::uint8_t* classes = step.classes + block * step.runs();
  std::int64_t run = 0;
  for (int t = 0; t < step.tables; ++t) {
    starts[t + 1] += starts[t];
    for (; run * rans::group < starts[t + 1]; ++run) classes[run] = static_cast<std::uint8_t>(t);
  }
}

SEQKV_INLINE std::uint8_t* symbols_of(const LosslessStep& step, std::int64_t block) {
  return step.symbols + block * step.runs() * rans::group;
}

SEQKV_INLINE void start_symbols(const LosslessStep& step, std::int64_t block, std::byte* coded, std::int64_t bytes,
                                std::int64_t runs) {
  SymbolBlock& symbols = step.coded[block];
  symbols.symbols = symbols_of(step, block);
  symbols.runs = runs;
  symbols.run_symbols = rans::group;
  symbols.classes = step.classes + block * step.runs();
  symbols.least_choice = 0;
  symbols.choices = 1;
  symbols.coded = coded;
  symbols.bytes = bytes;
}

// ---- blocks -------------------------------------------------------------------------------------------------------

/// Room behind the places, and behind the list.
SEQKV_INLINE std::int64_t lossless_part_bytes(std::int64_t raw_bytes) { return raw_bytes + 16; }

/// What a block that is coded writes on.
struct LosslessWriter {
  std::uint8_t* symbols;
  BitWriter places;
  std::byte* list;
  std::int64_t listed = 0;

  SEQKV_INLINE void put(DType dtype, std::int32_t scale, std::int32_t at, float refined, std::uint32_t u) {
    const FloatBins bins(layout_of(dtype), log2_bin(scale));
    const unsigned symbol = lossless_symbol(bins.bin_of(u) - bins.bin_of(rounded_bits(dtype, refined)));
    symbols[at] = static_cast<std::uint8_t>(symbol);
    if (symbol < listed_symbol) return bins.put_place(u, places);
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    for (std::int64_t i = 0; i < size; ++i) {
      list[listed * size + i] = static_cast<std::byte>(u >> static_cast<unsigned>(8 * i) & 0xffU);
    }
    ++listed;
  }
};

/// From values and corrections to symbols, places and the list.
SEQKV_INLINE void encode_units(const LosslessStep& step, std::int64_t block, LosslessWriter& writer) {
  const Task& task = step.tasks[block];
  const DType dtype = task.subblock.dtype;
  const std::int64_t first = block * step.grid.block_tokens;
  std::int32_t at[rans::symbols + 1];
  place_symbols(step, block, at);
  for (std::int64_t n = 0; n < units_of(step); ++n) {
    const Unit unit = unit_at(step, n);
    for (std::int64_t row = first; row < first + step.grid.tokens_of(block); ++row) {
      const std::int64_t head = head_at(step, task, row, unit.head) - unit.head * task.subblock.dim;
      const float* corrections = step.corrections + row * step.ld_residuals;
      const float correction[2] = {corrections[unit.component[0]], corrections[unit.component[1]]};
      float expected[2];
      float refined[2];
      expect_unit(step, row, unit, expected);
      refine_unit(step, row, unit, correction, refined);
      for (int m = 0; m < unit.count; ++m) {
        const std::int32_t scale = step.scales[unit.component[m]];
        const int table = lossless_table(dtype, scale, expected[m], step.tables);
        writer.put(dtype, scale, at[table]++, refined[m], load_bits(task.values, dtype, head + unit.component[m]));
      }
    }
  }
}

SEQKV_INLINE void pack_lossless(const LosslessStep& step, std::int64_t block) {
  const Task& task = step.tasks[block];
  const std::int64_t raw = raw_bytes_of(task);
  const std::int64_t tokens = step.grid.tokens_of(block);
  std::byte* const first = task.coded + lossless_head_bytes;
  LosslessWriter writer{symbols_of(step, block), {first, raw}, first + lossless_part_bytes(raw)};
  encode_units(step, block, writer);
  for (std::int64_t i = step.model.width * tokens; i < step.runs_of(tokens) * rans::group; ++i) writer.symbols[i] = 0;
  BitWriter& places = writer.places;
  places.finish();
  step.status[block] = places.overflow ? block_status::raw : block_status::good;
  if (places.overflow) places.bytes = 0;
  store_u32(task.coded, static_cast<std::uint32_t>(writer.listed));
  store_u32(task.coded + 4, static_cast<std::uint32_t>(places.bytes));
  const std::int64_t list = writer.listed * static_cast<std::int64_t>(size_of(task.subblock.dtype));
  move_bytes_down(first + places.bytes, writer.list, list);
  start_symbols(step, block, first + places.bytes + list, 0, step.runs_of(tokens));
}

/// The size of a payload, when its symbols have been coded.
SEQKV_INLINE void close_lossless(const LosslessStep& step, std::int64_t block) {
  Task& task = step.tasks[block];
  task.bytes = step.coded[block].coded - task.coded + step.coded[block].bytes;
  if (step.status[block] == block_status::raw || task.bytes >= raw_bytes_of(task)) task.bytes = not_codable;
}

/// Takes a payload apart. A raw sub-block becomes the task's values.
SEQKV_INLINE void open_lossless(const LosslessStep& step, std::int64_t block) {
  const Task& task = step.tasks[block];
  step.status[block] = task.raw ? block_status::raw : block_status::good;
  start_symbols(step, block, task.coded, 0, 0);  // nothing is decoded where the payload is none
  if (task.raw) return copy_raw(task);
  const bool has_head = task.bytes >= lossless_head_bytes;
  const std::int64_t list =
      has_head ? load_u32(task.coded) * static_cast<std::int64_t>(size_of(task.subblock.dtype)) : 0;
  const std::int64_t places = has_head ? load_u32(task.coded + 4) : 0;
  const std::int64_t before = lossless_head_bytes + places + list;
  if (task.bytes < before) {
    step.status[block] = block_status::broken;
    return;
  }
  std::int32_t starts[rans::symbols + 1];
  place_symbols(step, block, starts);
  start_symbols(step, block, task.coded + before, task.bytes - before, step.runs_of(step.grid.tokens_of(block)));
}

/// What residuals [first, last) of all rows of a block say of a component, added to its column.
SEQKV_INLINE void add_residuals(const LosslessStep& step, std::int64_t component, std::int64_t first, std::int64_t last,
                                std::int64_t tokens, float* columns) {
  constexpr std::int64_t panel = kernels::panel_width;
  const auto* weights =
      static_cast<const float*>(step.within.data) + component / panel * panel * step.model.width + component % panel;
  const std::int64_t ld = step.grid.block_tokens;
  float* out = columns + component * ld;
  for (std::int64_t k = first; k < last; ++k) {
    const float weight = weights[k * panel];
    const float* residual = columns + k * ld;
    for (std::int64_t t = 0; t < tokens; ++t) out[t] = detmath::fma(residual[t], weight, out[t]);
  }
}

/// Corrections of a unit's components in all rows of a block, in their columns.
SEQKV_INLINE void correct_columns(const LosslessStep& step, const Unit& unit, std::int64_t tokens, float* columns) {
  const Known known = known_before(step, unit);
  for (int m = 0; m < unit.count; ++m) {
    float* out = columns + unit.component[m] * step.grid.block_tokens;
    for (std::int64_t t = 0; t < tokens; ++t) out[t] = 0.0F;
    add_residuals(step, unit.component[m], 0, known.end, tokens, columns);
    add_residuals(step, unit.component[m], known.second, known.second_end, tokens, columns);
  }
}

/// What a block that is decoded reads on.
struct LosslessReader {
  const std::uint8_t* symbols;
  BitReader places;
  const std::byte* list;
  std::int64_t listed;
  std::int64_t used = 0;
  bool fits = true;

  SEQKV_INLINE std::uint32_t take(DType dtype, std::int32_t scale, std::int32_t at, float refined) {
    const unsigned symbol = symbols[at];
    std::uint32_t u = 0;
    if (symbol == listed_symbol) {
      const auto size = static_cast<std::int64_t>(size_of(dtype));
      for (std::int64_t i = 0; used < listed && i < size; ++i) {
        u |= static_cast<std::uint32_t>(list[used * size + i]) << static_cast<unsigned>(8 * i);
      }
      ++used;
      return u;
    }
    const FloatBins bins(layout_of(dtype), log2_bin(scale));
    const std::int64_t bin = bins.bin_of(rounded_bits(dtype, refined)) + lossless_difference(symbol);
    fits = bins.take(bin, places, u) && fits;
    return u;
  }
  SEQKV_INLINE bool finished() const { return fits && used == listed && places.finished(); }
};

/// One unit of a row: its values, features and residuals.
SEQKV_INLINE void restore_unit(const LosslessStep& step, std::int64_t row, const Unit& unit, const std::uint32_t* u,
                               float* column, std::int64_t between) {
  const Task& task = step.tasks[step.block_of(row)];
  const DType dtype = task.subblock.dtype;
  const std::int64_t head = head_at(step, task, row, unit.head) - unit.head * task.subblock.dim;
  float x[2];
  for (int m = 0; m < unit.count; ++m) {
    store_bits(task.values, dtype, head + unit.component[m], u[m]);
    x[m] = load_as_float(task.values, dtype, head + unit.component[m]);
  }
  turn_unit(step, row, unit, -1.0F, x);
  for (int m = 0; m < unit.count; ++m) {
    const std::int64_t c = unit.component[m];
    const float feature = feature_of(x[m]);
    const float residual = feature - step.predicted[row * step.ld_predicted + c];
    step.features[row * step.ld_features + step.column + c] = feature;
    step.residuals[row * step.ld_residuals + c] = residual;
    column[m * between] = residual;
  }
}

/// What is above a sub-block that did not decode is not to read memory that nobody has written.
SEQKV_INLINE void clear_rows(const LosslessStep& step, std::int64_t block) {
  const std::int64_t first = block * step.grid.block_tokens;
  for (std::int64_t row = first; row < first + step.grid.tokens_of(block); ++row) {
    for (std::int64_t i = 0; i < step.model.width; ++i) {
      step.features[row * step.ld_features + step.column + i] = 0.0F;
      step.residuals[row * step.ld_residuals + i] = 0.0F;
    }
  }
}

/// From symbols, places and the list to values: unit by unit, each corrected by those before.
SEQKV_INLINE void decode_units(const LosslessStep& step, std::int64_t block, LosslessReader& reader) {
  const DType dtype = step.tasks[block].subblock.dtype;
  const std::int64_t first = block * step.grid.block_tokens;
  const std::int64_t tokens = step.grid.tokens_of(block);
  std::int32_t at[rans::symbols + 1];
  place_symbols(step, block, at);
  const std::int64_t ld = step.grid.block_tokens;
  float* columns = step.columns + block * step.model.width * ld;
  for (std::int64_t n = 0; n < units_of(step); ++n) {
    const Unit unit = unit_at(step, n);
    const std::int64_t between = (unit.component[1] - unit.component[0]) * ld;
    float* column = columns + unit.component[0] * ld;
    correct_columns(step, unit, tokens, columns);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int64_t row = first + t;
      const float correction[2] = {column[t], column[t + between]};
      float expected[2];
      float refined[2];
      std::uint32_t u[2];
      expect_unit(step, row, unit, expected);
      refine_unit(step, row, unit, correction, refined);
      for (int m = 0; m < unit.count; ++m) {
        const std::int32_t scale = step.scales[unit.component[m]];
        u[m] = reader.take(dtype, scale, at[lossless_table(dtype, scale, expected[m], step.tables)]++, refined[m]);
      }
      restore_unit(step, row, unit, u, column + t, between);
    }
  }
}

SEQKV_INLINE void unpack_lossless(const LosslessStep& step, std::int64_t block) {
  Task& task = step.tasks[block];
  const std::int64_t first = block * step.grid.block_tokens;
  if (step.status[block] == block_status::raw) {
    for (std::int64_t row = first; row < first + step.grid.tokens_of(block); ++row) {
      for (std::int64_t head = 0; head < step.heads; ++head) residual_row(step, row, head);
    }
    return;
  }
  if (step.status[block] == block_status::good && step.coded[block].bytes >= 0) {
    const std::int64_t places = load_u32(task.coded + 4);
    const std::byte* from = task.coded + lossless_head_bytes;
    LosslessReader reader{symbols_of(step, block), {from, places}, from + places, load_u32(task.coded)};
    decode_units(step, block, reader);
    if (reader.finished()) return;
  }
  clear_rows(step, block);
  step.status[block] = block_status::broken;
  task.bytes = not_codable;
}

}  // namespace seqkv::codec
