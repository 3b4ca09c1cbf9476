// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Predictive coding beside its matrix products, portable: weights and order of tokens, residuals, runs of symbols, and
/// the way back. The maths is in src/codec/predict/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "backends/kokkos/rope.hpp"
#include "codec/predict/arguments.hpp"

namespace seqkv::kokkos {

inline constexpr std::int64_t most_head_dim = 512;

/// 2^(grade / 8).
KOKKOS_INLINE_FUNCTION float weight_of(int grade) {
  constexpr float eighths[8] = {0x1p0F,        0x1.172b84p0F, 0x1.306fep0F,  0x1.4bfdaep0F,
                                0x1.6a09e6p0F, 0x1.8ace54p0F, 0x1.ae89fap0F, 0x1.d5818ep0F};
  const int shifted = grade + 8 * 16;
  return eighths[shifted % 8] * detmath::from_bits(static_cast<std::uint32_t>(shifted / 8 - 16 + 127) << 23U);
}

/// The knots' curve at `behind` + 1 tokens: linear between powers of two.
KOKKOS_INLINE_FUNCTION float knots_at(const float* knots, std::int64_t behind) {
  int octave = 0;
  const std::int64_t distance = behind + 1;
  while (octave + 2 < codec::distance_knots && std::int64_t{2} << octave <= distance) ++octave;
  const float part = static_cast<float>(distance - (std::int64_t{1} << octave)) *
                     detmath::from_bits(static_cast<std::uint32_t>(127 - octave) << 23U);
  return detmath::fma(part < 1.0F ? part : 1.0F, knots[octave + 1] - knots[octave], knots[octave]);
}

/// The constant 1 and what the profile knows of a token, in the first columns of its row.
struct StartRow {
  float* features;
  std::int64_t ld_features;
  const Token* tokens;
  const float* table;  ///< [vocabulary][width]
  std::int64_t vocabulary, width;

  KOKKOS_FUNCTION void operator()(const std::int64_t row) const {
    float* out = features + row * ld_features;
    out[0] = 1.0F;
    const bool known = tokens[row] < vocabulary;
    for (std::int64_t i = 0; i < width; ++i) out[1 + i] = known ? table[tokens[row] * width + i] : 0.0F;
  }
};

/// Grades from the weights that have been predicted.
struct GradeRow {
  codec::PredictiveStep step;

  KOKKOS_FUNCTION void operator()(const std::int64_t row) const {
    const std::int64_t block = row / step.grid.block_tokens;
    const std::int64_t behind = step.grid.tokens_of(block) - 1 - (row - block * step.grid.block_tokens);
    const float* predicted = step.predicted + row * step.ld_predicted;
    const float weight = (predicted[step.model.width] + knots_at(step.model.knots, behind)) * codec::grades_of_octave;
    constexpr auto most = static_cast<float>(codec::most_grade);
    const float bounded = weight < -most ? -most : weight > most ? most : weight == weight ? weight : 0.0F;
    step.grade[row] = static_cast<std::int8_t>(static_cast<int>(bounded + (most + 0.5F)) - codec::most_grade);
  }
};

/// Tokens of a block by falling grade, those of one grade as they come: a counting sort.
struct OrderBlock {
  codec::PredictiveStep step;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    const std::int64_t first = block * step.grid.block_tokens;
    const std::int64_t tokens = step.grid.tokens_of(block);
    const std::int64_t slots = step.grid.slots();
    std::int32_t* order = step.order + block * slots;
    std::int32_t starts[codec::grades + 1] = {};
    const auto place = [this](std::int64_t row) { return codec::most_grade - step.grade[row]; };
    for (std::int64_t t = 0; t < tokens; ++t) ++starts[place(first + t) + 1];
    for (int g = 0; g < codec::grades; ++g) starts[g + 1] += starts[g];
    for (std::int64_t t = 0; t < tokens; ++t) order[starts[place(first + t)]++] = static_cast<std::int32_t>(first + t);
    for (std::int64_t s = tokens; s < slots; ++s) order[s] = -1;
    for (std::int64_t group = 0; group < step.grid.groups(); ++group) {
      std::int32_t sum = 0;
      std::int32_t count = 0;
      for (std::int64_t s = group * codec::tile_slots; s < (group + 1) * codec::tile_slots && s < tokens;
           ++s, ++count) {
        sum += step.grade[order[s]];
      }
      // In sixteenths; the offset keeps the division of positive numbers.
      const std::int32_t offset = 16 * codec::most_grade;
      step.group_grade[block * step.grid.groups() + group] =
          count == 0 ? 0 : (16 * sum + offset * count + count / 2) / count - offset;
    }
  }
};

/// One head of a token: values, keys turned back to position 0.
KOKKOS_INLINE_FUNCTION void load_head(const codec::PredictiveStep& step, std::int64_t row, std::int64_t head,
                                      float* x) {
  const std::int64_t block = row / step.grid.block_tokens;
  const codec::Task& task = step.tasks[block];
  const std::int64_t dim = task.subblock.dim;
  const std::int64_t at = (head * task.subblock.tokens + row - block * step.grid.block_tokens) * dim;
  for (std::int64_t i = 0; i < dim; ++i) x[i] = load_as_float(task.values, task.subblock.dtype, at + i);
  const float* c = step.cosine + row * step.rope_pairs;
  const float* s = step.sine + row * step.rope_pairs;
  for (std::int64_t i = 0; i < step.rope_pairs; ++i) rotate(x[i], x[i + step.rope_pairs], c[i], -s[i]);
}

/// What is predicted of a row.
KOKKOS_INLINE_FUNCTION const float* predicted_row(const codec::PredictiveStep& step, std::int64_t row) {
  return row == 0 && step.has_first_token ? step.model.first_row : step.predicted + row * step.ld_predicted;
}

/// Weighted residuals of one head of a slot.
struct ResidualHead {
  codec::PredictiveStep step;
  std::int64_t heads;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t slot = at / heads;
    const std::int64_t head = at % heads;
    const std::int64_t dim = step.model.width / heads;
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
};

/// Calls tile(run, quad, group, class) for the tiles of a block that are coded, and skipped(quad, group) for the
/// others; returns how many are coded.
template <class Tile, class Skipped>
KOKKOS_INLINE_FUNCTION std::int64_t for_each_tile(const codec::PredictiveStep& step, std::int64_t block,
                                                  const Tile& tile, const Skipped& skipped) {
  const std::int64_t groups = step.grid.groups();
  std::int64_t coded = 0;
  for (std::int64_t quad = 0; quad < step.quads(); ++quad) {
    for (std::int64_t group = 0; group < step.grid.groups_of(block); ++group) {
      const int of_tile = codec::class_of_tile(step, quad, step.group_grade[block * groups + group]);
      if (of_tile < 0) {
        skipped(quad, group);
      } else {
        tile(coded++, quad, group, of_tile < step.tables ? of_tile : step.tables - 1);
      }
    }
  }
  return coded;
}

/// Number i of a tile, i as symbols of a run are counted: four of each slot.
struct TileNumbers {
  std::int16_t* first;
  std::int64_t ld;

  KOKKOS_FUNCTION TileNumbers(const codec::PredictiveStep& step, std::int64_t block, std::int64_t quad,
                              std::int64_t group)
      : first(step.numbers + quad * codec::tile_coefficients * step.all_slots() + block * step.grid.slots() +
              group * codec::tile_slots),
        ld(step.all_slots()) {}
  KOKKOS_INLINE_FUNCTION std::int16_t& operator[](std::int64_t i) const {
    return first[i % codec::tile_coefficients * ld + i / codec::tile_coefficients];
  }
};

/// Sets up the block of symbols; its bytes stand behind those that are taken.
KOKKOS_INLINE_FUNCTION void start_symbols(const codec::PredictiveStep& step, std::int64_t block, std::int64_t runs,
                                          std::byte* coded, std::int64_t bytes) {
  codec::SymbolBlock& symbols = step.coded[block];
  symbols.symbols = step.symbols + block * step.runs() * codec::rans::group;
  symbols.runs = runs;
  symbols.run_symbols = codec::rans::group;
  symbols.classes = step.classes + block * step.runs();
  symbols.least_choice = codec::least_choice;
  symbols.choices = codec::choices;
  symbols.coded = coded;
  symbols.bytes = bytes;
}

/// From numbers to symbols, and to the list of those too large for one. Numbers that are not coded become 0.
struct PackBlock {
  codec::PredictiveStep step;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    codec::Task& task = step.tasks[block];
    std::uint8_t* symbols = step.symbols + block * step.runs() * codec::rans::group;
    std::uint8_t* classes = step.classes + block * step.runs();
    std::byte* large = task.coded + 2;
    std::int64_t larges = 0;
    bool codable = true;
    const auto pack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int of_tile) {
      classes[run] = static_cast<std::uint8_t>(of_tile);
      const TileNumbers numbers(step, block, quad, group);
      for (int i = 0; i < codec::rans::group; ++i) {
        codable = codable && numbers[i] != codec::no_number;
        const unsigned symbol = codec::zigzag(numbers[i]);
        symbols[run * codec::rans::group + i] =
            static_cast<std::uint8_t>(symbol < codec::large_symbol ? symbol : codec::large_symbol);
        if (symbol < codec::large_symbol) continue;
        if (larges < codec::most_large) codec::rans::store16(large + 2 * larges, symbol - codec::large_symbol);
        ++larges;
      }
    };
    const auto clear = [&](std::int64_t quad, std::int64_t group) {
      const TileNumbers numbers(step, block, quad, group);
      for (int i = 0; i < codec::rans::group; ++i) {
        codable = codable && numbers[i] != codec::no_number;
        numbers[i] = 0;
      }
    };
    const std::int64_t runs = for_each_tile(step, block, pack, clear);
    step.status[block] = codable && larges <= codec::most_large ? codec::block_status::good : codec::block_status::raw;
    if (larges > codec::most_large) larges = 0;
    codec::rans::store16(task.coded, static_cast<std::uint32_t>(larges));
    start_symbols(step, block, runs, large + 2 * larges, 0);
  }
};

/// The size of a payload, when its symbols have been coded.
struct CloseBlock {
  codec::PredictiveStep step;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    codec::Task& task = step.tasks[block];
    const std::int64_t raw = task.subblock.values() * static_cast<std::int64_t>(size_of(task.subblock.dtype));
    task.bytes = step.coded[block].coded - task.coded + step.coded[block].bytes;
    if (task.bytes >= raw) step.status[block] = codec::block_status::raw;
    if (step.status[block] == codec::block_status::raw) task.bytes = codec::not_codable;
  }
};

/// Takes a payload apart.
struct OpenBlock {
  codec::PredictiveStep step;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    const codec::Task& task = step.tasks[block];
    std::uint8_t* classes = step.classes + block * step.runs();
    const auto classify = [&](std::int64_t run, std::int64_t, std::int64_t, int of_tile) {
      classes[run] = static_cast<std::uint8_t>(of_tile);
    };
    const std::int64_t runs = for_each_tile(step, block, classify, [](std::int64_t, std::int64_t) {});
    step.status[block] = task.raw ? codec::block_status::raw : codec::block_status::good;
    start_symbols(step, block, 0, task.coded, 0);  // nothing is decoded where the payload is none
    if (task.raw) return;
    const std::int64_t larges = task.bytes < 2 ? 0 : codec::rans::load16(task.coded);
    if (task.bytes < 2 + 2 * larges || larges > codec::most_large) {
      step.status[block] = codec::block_status::broken;
      return;
    }
    start_symbols(step, block, runs, task.coded + 2 + 2 * larges, task.bytes - 2 - 2 * larges);
  }
};

/// From symbols to numbers.
struct UnpackBlock {
  codec::PredictiveStep step;

  KOKKOS_FUNCTION void operator()(const std::int64_t block) const {
    codec::Task& task = step.tasks[block];
    const bool is_coded = step.status[block] == codec::block_status::good && step.coded[block].bytes >= 0;
    const std::uint8_t* symbols = step.coded[block].symbols;
    const std::byte* large = task.coded + 2;
    const std::int64_t larges = is_coded ? codec::rans::load16(task.coded) : 0;
    std::int64_t used = 0;
    bool fits = true;
    const auto clear = [&](std::int64_t quad, std::int64_t group) {
      const TileNumbers numbers(step, block, quad, group);
      for (int i = 0; i < codec::rans::group; ++i) numbers[i] = 0;
    };
    const auto unpack = [&](std::int64_t run, std::int64_t quad, std::int64_t group, int) {
      if (!is_coded) return clear(quad, group);
      const TileNumbers numbers(step, block, quad, group);
      for (int i = 0; i < codec::rans::group; ++i) {
        unsigned symbol = symbols[run * codec::rans::group + i];
        if (symbol == codec::large_symbol) {
          symbol += used < larges ? codec::rans::load16(large + 2 * used) : 0U;
          ++used;
          fits = fits && symbol <= 2U * codec::largest_number;
        }
        numbers[i] = codec::unzigzag(symbol);
      }
    };
    for_each_tile(step, block, unpack, clear);
    if (task.raw) return;
    if (is_coded && fits && used == larges) return;
    step.status[block] = codec::block_status::broken;
    task.bytes = codec::not_codable;
  }
};

/// One head of a token as a decoder has it: into the features of the sub-blocks above and, in the cache's own type, to
/// `values`. `residuals` hold the restored weighted residuals.
struct RestoreHead {
  codec::PredictiveStep step;
  std::byte* const* values;  ///< [blocks]; null: where the tasks say
  std::int64_t heads;

  KOKKOS_FUNCTION void operator()(const std::int64_t at) const {
    const std::int64_t slot = at / heads;
    const std::int64_t head = at % heads;
    const std::int64_t row = step.order[slot];
    if (row < 0) return;
    const std::int64_t block = row / step.grid.block_tokens;
    const codec::Task& task = step.tasks[block];
    const std::int64_t dim = task.subblock.dim;
    const std::int64_t first = (head * task.subblock.tokens + row - block * step.grid.block_tokens) * dim;
    const DType dtype = task.subblock.dtype;
    std::byte* out = values == nullptr ? task.values : values[block];
    float x[most_head_dim];
    if (step.status[block] == codec::block_status::raw) {
      load_head(step, row, head, x);
      const auto size = static_cast<std::int64_t>(size_of(dtype));
      for (std::int64_t i = first * size; out != task.values && i < (first + dim) * size; ++i) out[i] = task.values[i];
      keep(row, head, x, dim);
      return;
    }
    const float* residual = step.residuals + slot * step.ld_residuals + head * dim;
    const float* predicted = predicted_row(step, row) + head * dim;
    const float inverse = weight_of(-step.grade[row]);
    for (std::int64_t i = 0; i < dim; ++i) x[i] = detmath::fma(residual[i], inverse, predicted[i]);
    keep(row, head, x, dim);
    const float* c = step.cosine + row * step.rope_pairs;
    const float* s = step.sine + row * step.rope_pairs;
    for (std::int64_t i = 0; i < step.rope_pairs; ++i) rotate(x[i], x[i + step.rope_pairs], c[i], s[i]);
    for (std::int64_t i = 0; i < dim; ++i) store_from_float(out, dtype, first + i, x[i]);
  }

  /// Sub-blocks above must not be spoilt by what is no number, or too large to be the sum of anything.
  KOKKOS_FUNCTION void keep(std::int64_t row, std::int64_t head, const float* x, std::int64_t dim) const {
    constexpr float most = 0x1p60F;
    float* feature = step.features + row * step.ld_features + step.column + head * dim;
    for (std::int64_t i = 0; i < dim; ++i) feature[i] = x[i] < most && x[i] > -most ? x[i] : 0.0F;
  }
};

}  // namespace seqkv::kokkos
