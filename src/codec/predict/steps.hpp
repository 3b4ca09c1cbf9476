// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products, a row, a slot or a block at a time: what the portable kernels
/// (backends/kokkos) and those for CPUs (backends/cpu) run. No Kokkos here. The maths is in spec.md.
#pragma once

#include "codec/predict/arguments.hpp"
#include "core/detmath.hpp"
#include "core/float16.hpp"

namespace seqkv::codec {

inline constexpr std::int64_t most_head_dim = 512;

/// 2^(grade / 8).
SEQKV_INLINE float weight_of(int grade) {
  constexpr float eighths[8] = {0x1p0F,        0x1.172b84p0F, 0x1.306fep0F,  0x1.4bfdaep0F,
                                0x1.6a09e6p0F, 0x1.8ace54p0F, 0x1.ae89fap0F, 0x1.d5818ep0F};
  const int shifted = grade + 8 * 16;
  return eighths[shifted % 8] * detmath::from_bits(static_cast<std::uint32_t>(shifted / 8 - 16 + 127) << 23U);
}

/// The knots' curve at `behind` + 1 tokens: linear between powers of two.
SEQKV_INLINE float knots_at(const float* knots, std::int64_t behind) {
  int octave = 0;
  const std::int64_t distance = behind + 1;
  while (octave + 2 < distance_knots && std::int64_t{2} << octave <= distance) ++octave;
  const float part = static_cast<float>(distance - (std::int64_t{1} << octave)) *
                     detmath::from_bits(static_cast<std::uint32_t>(127 - octave) << 23U);
  return detmath::fma(part < 1.0F ? part : 1.0F, knots[octave + 1] - knots[octave], knots[octave]);
}

/// The grade of a row from the weight that has been predicted.
SEQKV_INLINE void grade_row(const PredictiveStep& step, std::int64_t row) {
  const std::int64_t block = row / step.grid.block_tokens;
  const std::int64_t behind = step.grid.tokens_of(block) - 1 - (row - block * step.grid.block_tokens);
  const float* predicted = step.predicted + row * step.ld_predicted;
  const float weight = (predicted[step.model.width] + knots_at(step.model.knots, behind)) * grades_of_octave;
  constexpr auto most = static_cast<float>(most_grade);
  const float bounded = weight < -most ? -most : weight > most ? most : weight == weight ? weight : 0.0F;
  step.grade[row] = static_cast<std::int8_t>(static_cast<int>(bounded + (most + 0.5F)) - most_grade);
}

/// Tokens of a block by falling grade, those of one grade as they come: a counting sort.
SEQKV_INLINE void order_block(const PredictiveStep& step, std::int64_t block) {
  const std::int64_t first = block * step.grid.block_tokens;
  const std::int64_t tokens = step.grid.tokens_of(block);
  const std::int64_t slots = step.grid.slots();
  std::int32_t* order = step.order + block * slots;
  std::int32_t starts[grades + 1] = {};
  for (std::int64_t t = 0; t < tokens; ++t) ++starts[most_grade - step.grade[first + t] + 1];
  for (int g = 0; g < grades; ++g) starts[g + 1] += starts[g];
  for (std::int64_t t = 0; t < tokens; ++t) {
    order[starts[most_grade - step.grade[first + t]]++] = static_cast<std::int32_t>(first + t);
  }
  for (std::int64_t s = tokens; s < slots; ++s) order[s] = -1;
  for (std::int64_t group = 0; group < step.grid.groups(); ++group) {
    std::int32_t sum = 0;
    std::int32_t count = 0;
    for (std::int64_t s = group * tile_slots; s < (group + 1) * tile_slots && s < tokens; ++s, ++count) {
      sum += step.grade[order[s]];
    }
    // In sixteenths; the offset keeps the division of positive numbers.
    constexpr std::int32_t offset = 16 * most_grade;
    step.group_grade[block * step.grid.groups() + group] =
        count == 0 ? 0 : (16 * sum + offset * count + count / 2) / count - offset;
  }
}

// ---- values and residuals -----------------------------------------------------------------------------------------

/// Each pair (i, i + pairs) by an angle: back to position 0 with direction -1, on with 1.
SEQKV_INLINE void turn_head(const PredictiveStep& step, std::int64_t row, float direction, float* x) {
  const std::int64_t pairs = step.rope_pairs;
  const float* cosine = step.cosine + row * pairs;
  const float* sine = step.sine + row * pairs;
  for (std::int64_t i = 0; i < pairs; ++i) {
    const float a = x[i];
    const float b = x[i + pairs];
    const float s = direction * sine[i];
    x[i] = detmath::fma(a, cosine[i], -(b * s));
    x[i + pairs] = detmath::fma(b, cosine[i], a * s);
  }
}

/// Where a head of a row stands in its task, in elements.
SEQKV_INLINE std::int64_t head_at(const PredictiveStep& step, const Task& task, std::int64_t row, std::int64_t head) {
  return (head * task.subblock.tokens + row % step.grid.block_tokens) * task.subblock.dim;
}

/// One head of a token: values, keys turned back to position 0.
SEQKV_INLINE void load_head(const PredictiveStep& step, std::int64_t row, std::int64_t head, float* x) {
  const Task& task = step.tasks[row / step.grid.block_tokens];
  const std::int64_t dim = task.subblock.dim;
  const std::int64_t at = head_at(step, task, row, head);
  if (task.subblock.dtype == DType::bf16) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(task.values) + at;
    for (std::int64_t i = 0; i < dim; ++i) x[i] = bf16_to_float(from[i]);
  } else {
    for (std::int64_t i = 0; i < dim; ++i) x[i] = load_as_float(task.values, task.subblock.dtype, at + i);
  }
  turn_head(step, row, -1.0F, x);
}

/// What is predicted of a row.
SEQKV_INLINE const float* predicted_row(const PredictiveStep& step, std::int64_t row) {
  return row == 0 && step.has_first_token ? step.model.first_row : step.predicted + row * step.ld_predicted;
}

/// Weighted residuals of one head of a slot.
SEQKV_INLINE void residual_head(const PredictiveStep& step, std::int64_t slot, std::int64_t head) {
  const std::int64_t dim = step.model.width / step.heads;
  float* out = step.residuals + slot * step.ld_residuals + head * dim;
  const std::int64_t row = step.order[slot];
  if (row < 0) {
    for (std::int64_t i = 0; i < dim; ++i) out[i] = 0.0F;
    return;
  }
  float x[most_head_dim];
  load_head(step, row, head, x);
  const float* predicted = predicted_row(step, row) + head * dim;
  const float weight = weight_of(step.grade[row]);
  for (std::int64_t i = 0; i < dim; ++i) out[i] = weight * (x[i] - predicted[i]);
}

/// Sub-blocks above must not be spoilt by what is no number, or too large to be the sum of anything.
SEQKV_INLINE void keep_features(const PredictiveStep& step, std::int64_t row, std::int64_t head, const float* x,
                                std::int64_t dim) {
  constexpr float most = 0x1p60F;
  float* feature = step.features + row * step.ld_features + step.column + head * dim;
  for (std::int64_t i = 0; i < dim; ++i) feature[i] = x[i] < most && x[i] > -most ? x[i] : 0.0F;
}

/// One head of a token as a decoder has it: into the features of the sub-blocks above and, in the cache's own type, to
/// `step.restored`. `step.residuals` hold the restored weighted residuals.
SEQKV_INLINE void restore_head(const PredictiveStep& step, std::int64_t slot, std::int64_t head) {
  const std::int64_t row = step.order[slot];
  if (row < 0) return;
  const std::int64_t block = row / step.grid.block_tokens;
  const Task& task = step.tasks[block];
  const std::int64_t dim = task.subblock.dim;
  const std::int64_t first = head_at(step, task, row, head);
  const DType dtype = task.subblock.dtype;
  std::byte* out = step.restored == nullptr ? task.values : step.restored[block];
  float x[most_head_dim];
  if (step.status[block] == block_status::raw) {
    load_head(step, row, head, x);
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    for (std::int64_t i = first * size; out != task.values && i < (first + dim) * size; ++i) out[i] = task.values[i];
    keep_features(step, row, head, x, dim);
    return;
  }
  const float* residual = step.residuals + slot * step.ld_residuals + head * dim;
  const float* predicted = predicted_row(step, row) + head * dim;
  const float inverse = weight_of(-step.grade[row]);
  for (std::int64_t i = 0; i < dim; ++i) x[i] = detmath::fma(residual[i], inverse, predicted[i]);
  keep_features(step, row, head, x, dim);
  turn_head(step, row, 1.0F, x);
  if (dtype == DType::bf16) {
    auto* to = reinterpret_cast<std::uint16_t*>(out) + first;
    for (std::int64_t i = 0; i < dim; ++i) to[i] = float_to_bf16(x[i]);
  } else {
    for (std::int64_t i = 0; i < dim; ++i) store_from_float(out, dtype, first + i, x[i]);
  }
}

// ---- numbers and symbols ------------------------------------------------------------------------------------------

/// Calls tile(run, quad, group, class) for the tiles of a block that are coded, and skipped(quad, group) for the
/// others; returns how many are coded.
template <class Tile, class Skipped>
SEQKV_INLINE std::int64_t for_each_tile(const PredictiveStep& step, std::int64_t block, const Tile& tile,
                                        const Skipped& skipped) {
  const std::int64_t groups = step.grid.groups();
  std::int64_t coded = 0;
  for (std::int64_t quad = 0; quad < step.quads(); ++quad) {
    for (std::int64_t group = 0; group < step.grid.groups_of(block); ++group) {
      const int of_tile = class_of_tile(step, quad, step.group_grade[block * groups + group]);
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
SEQKV_INLINE std::int16_t* tile_at(const PredictiveStep& step, std::int64_t block, std::int64_t quad,
                                   std::int64_t group) {
  return step.numbers + quad * tile_coefficients * step.all_slots() + block * step.grid.slots() + group * tile_slots;
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
SEQKV_INLINE void start_symbols(const PredictiveStep& step, std::int64_t block, std::int64_t runs, std::byte* coded,
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

/// From numbers to symbols, and to the list of those too large for one. Numbers that are not coded become 0.
SEQKV_INLINE void pack_block(const PredictiveStep& step, std::int64_t block) {
  Task& task = step.tasks[block];
  const std::int64_t ld = step.all_slots();
  std::uint8_t* symbols = step.symbols + block * step.runs() * rans::group;
  std::uint8_t* classes = step.classes + block * step.runs();
  std::byte* large = task.coded + 2;
  std::int64_t larges = 0;
  unsigned largest = 0;
  const auto pack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int of_tile) {
    classes[run] = static_cast<std::uint8_t>(of_tile);
    std::uint16_t wide[rans::group];
    const unsigned most = symbols_of_tile(tile_at(step, block, quad, group), ld, wide);
    largest = most > largest ? most : largest;
    std::uint8_t* out = symbols + run * rans::group;
    for (int i = 0; i < rans::group; ++i)
      out[i] = static_cast<std::uint8_t>(wide[i] < large_symbol ? wide[i] : large_symbol);
    for (int i = 0; most >= large_symbol && i < rans::group; ++i) {
      if (wide[i] < large_symbol) continue;
      if (larges < most_large) rans::store16(large + 2 * larges, wide[i] - large_symbol);
      ++larges;
    }
  };
  const auto clear = [&](std::int64_t quad, std::int64_t group) {
    std::int16_t* numbers = tile_at(step, block, quad, group);
    std::uint16_t wide[rans::group];
    const unsigned most = symbols_of_tile(numbers, ld, wide);
    largest = most > largest ? most : largest;
    clear_tile(numbers, ld);
  };
  const std::int64_t runs = for_each_tile(step, block, pack, clear);
  const bool codable = largest < zigzag(no_number) && larges <= most_large;
  step.status[block] = codable ? block_status::good : block_status::raw;
  if (larges > most_large) larges = 0;
  rans::store16(task.coded, static_cast<std::uint32_t>(larges));
  start_symbols(step, block, runs, large + 2 * larges, 0);
}

/// The size of a payload, when its symbols have been coded.
SEQKV_INLINE void close_payload(const PredictiveStep& step, std::int64_t block) {
  Task& task = step.tasks[block];
  const std::int64_t raw = task.subblock.values() * static_cast<std::int64_t>(size_of(task.subblock.dtype));
  task.bytes = step.coded[block].coded - task.coded + step.coded[block].bytes;
  if (task.bytes >= raw) step.status[block] = block_status::raw;
  if (step.status[block] == block_status::raw) task.bytes = not_codable;
}

/// Takes a payload apart. A raw sub-block becomes the task's values.
SEQKV_INLINE void open_payload(const PredictiveStep& step, std::int64_t block) {
  const Task& task = step.tasks[block];
  std::uint8_t* classes = step.classes + block * step.runs();
  const auto classify = [&](std::int64_t run, std::int64_t, std::int64_t, int of_tile) {
    classes[run] = static_cast<std::uint8_t>(of_tile);
  };
  const std::int64_t runs = for_each_tile(step, block, classify, [](std::int64_t, std::int64_t) {});
  step.status[block] = task.raw ? block_status::raw : block_status::good;
  start_symbols(step, block, 0, task.coded, 0);  // nothing is decoded where the payload is none
  if (task.raw) {
    for (std::int64_t i = 0; i < task.bytes; ++i) task.values[i] = task.coded[i];
    return;
  }
  const std::int64_t larges = task.bytes < 2 ? 0 : rans::load16(task.coded);
  if (task.bytes < 2 + 2 * larges || larges > most_large) {
    step.status[block] = block_status::broken;
    return;
  }
  start_symbols(step, block, runs, task.coded + 2 + 2 * larges, task.bytes - 2 - 2 * larges);
}

/// From symbols to numbers.
SEQKV_INLINE void unpack_block(const PredictiveStep& step, std::int64_t block) {
  Task& task = step.tasks[block];
  const bool is_coded = step.status[block] == block_status::good && step.coded[block].bytes >= 0;
  const std::int64_t ld = step.all_slots();
  const std::uint8_t* symbols = step.coded[block].symbols;
  const std::byte* large = task.coded + 2;
  const std::int64_t larges = is_coded ? rans::load16(task.coded) : 0;
  std::int64_t used = 0;
  bool fits = true;
  const auto clear = [&](std::int64_t quad, std::int64_t group) { clear_tile(tile_at(step, block, quad, group), ld); };
  const auto unpack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int) {
    std::int16_t* numbers = tile_at(step, block, quad, group);
    if (!is_coded) return clear_tile(numbers, ld);
    const std::uint8_t* from = symbols + run * rans::group;
    for (std::int64_t c = 0; c < tile_coefficients; ++c) {
      for (std::int64_t s = 0; s < tile_slots; ++s) numbers[c * ld + s] = unzigzag(from[s * tile_coefficients + c]);
    }
    if (largest_symbol(from, rans::group) < large_symbol) return;
    for (int i = 0; i < rans::group; ++i) {
      if (from[i] != large_symbol) continue;
      const unsigned symbol = large_symbol + (used < larges ? rans::load16(large + 2 * used) : 0U);
      ++used;
      fits = fits && symbol <= 2U * largest_number;
      numbers[i % tile_coefficients * ld + i / tile_coefficients] = unzigzag(symbol);
    }
  };
  for_each_tile(step, block, unpack, clear);
  // Slots behind the last group of a short block.
  for (std::int64_t quad = 0; quad < step.quads(); ++quad) {
    for (std::int64_t group = step.grid.groups_of(block); group < step.grid.groups(); ++group) clear(quad, group);
  }
  if (task.raw || (is_coded && fits && used == larges)) return;
  step.status[block] = block_status::broken;
  task.bytes = not_codable;
}

}  // namespace seqkv::codec
