// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Kernels for particular CPU instruction sets, chosen at run time.
#pragma once

#include <cstdint>

#include "codec/entropy/rans.hpp"
#include "codec/entropy/symbols.hpp"
#include "codec/predict/ecsq_arguments.hpp"
#include "codec/predict/lossless_arguments.hpp"
#include "codec/subblock.hpp"
#include "codec/transform/transform.hpp"
#include "codec/turboquant/arguments.hpp"
#include "model/kernels.hpp"
#include "model/rounded.hpp"
#include "replay/frequencies.hpp"

namespace seqkv::cpu {

inline constexpr std::int64_t attention_block_rows = 24;

/// Queries of one sequence whose heads share a KV head: at most attention_block_rows (row, head) pairs.
struct AttentionBlock {
  std::int64_t first_row, last_row;
  std::int64_t first_head, last_head;  ///< query heads
};

/// Whether this machine's gathers are worth using, measured once; SEQKV_GATHER (on, off) overrules.
bool gather_is_fast();

/// A kernel that looks tables up: with the machine's gather instructions, and with scalar loads. Some machines have
/// slow gathers; the results are the same.
template <class Function>
struct Lookups {
  Function* with_gather;
  Function* without_gather;

  /// The faster one on this machine.
  Function* best() const { return gather_is_fast() ? with_gather : without_gather; }
};

/// Steps of predictive coding (steps.hpp, ecsq_steps.hpp and lossless_steps.hpp of codec/predict), for a range of rows,
/// slots or blocks.
struct PredictiveKernels {
  using Rows = void(const codec::PredictiveStep&, std::int64_t first, std::int64_t last);
  using Ecsq = void(const codec::EcsqStep&, std::int64_t first, std::int64_t last);
  using Lossless = void(const codec::LosslessStep&, std::int64_t first, std::int64_t last);
  Rows* grade_rows;
  Ecsq* residual_slots;
  Ecsq* pack_blocks;
  Ecsq* unpack_blocks;
  Ecsq* restore_slots;
  Lossless* settle_rows;
  Lossless* lossless_residuals;
  Lossless* pack_lossless;
  Lossless* unpack_lossless;
};

/// Steps of a forward pass that rounds as an engine does, for a range of rows.
struct RoundedKernels {
  void (*norm)(const kernels::RoundedNorm&, std::int64_t first, std::int64_t last);
  void (*gate)(const kernels::RoundedGate&, std::int64_t first, std::int64_t last);
  void (*rope)(const kernels::RoundedRope&, std::int64_t first, std::int64_t last);
  void (*softmax)(const kernels::RoundedSoftmax&, std::int64_t first, std::int64_t last);
  void (*head)(const kernels::RoundedHead&, std::int64_t first, std::int64_t last);
};

struct Kernels {
  const char* name;
  void (*gemm_panels)(const kernels::Gemm&, std::int64_t first_panel, std::int64_t last_panel, std::int64_t first_row,
                      std::int64_t last_row);
  void (*norm_rows)(const kernels::Norm&, std::int64_t first, std::int64_t last);
  void (*gated_rows)(const kernels::GatedActivation&, std::int64_t first, std::int64_t last);
  void (*rope_rows)(const kernels::Rope&, std::int64_t first, std::int64_t last);
  void (*attention_block)(const kernels::Attention&, const AttentionBlock&);
  void (*frequency_rows)(const kernels::Frequencies&, std::int64_t first, std::int64_t last);
  /// Streams as they are in codec/entropy/rans.hpp; best given in batches of a multiple of rans_streams.
  std::int64_t rans_streams;
  Lookups<void(const codec::rans::DecodeTables&, codec::rans::Stream*, std::int64_t count)> rans_decode;
  Lookups<void(const codec::rans::EncodeTables&, codec::rans::Stream*, std::int64_t count)> rans_encode;
  /// Blocks as they are in codec/entropy/symbols.hpp, with 64-byte aligned memory of this many bytes.
  std::int64_t (*symbols_memory)(std::int64_t blocks, std::int64_t runs);
  Lookups<void(const codec::SymbolTables&, codec::SymbolBlock*, std::int64_t count, std::byte* memory)> symbols_encode;
  Lookups<void(const codec::SymbolTables&, codec::SymbolBlock*, std::int64_t count, std::byte* memory)> symbols_decode;
  void (*forward_transform)(const codec::ForwardTransform&, std::int64_t panel, std::int64_t first_row,
                            std::int64_t last_row);
  void (*inverse_transform)(const codec::InverseTransform&, std::int64_t first_row, std::int64_t last_row);
  /// Several tasks of one dtype at a time, with 64-byte aligned memory of this many bytes.
  std::int64_t (*lossless_memory)(std::int64_t tasks, std::int64_t heads, std::int64_t values);
  Lookups<void(codec::Task*, std::int64_t count, std::byte* memory)> lossless_encode;
  Lookups<void(codec::Task*, std::int64_t count, std::byte* memory)> lossless_decode;
  /// Rows of `size` numbers, a power of two from 16 on, one behind the other; in place, not normalized.
  void (*hadamard_rows)(float* x, std::int64_t rows, std::int64_t size);
  /// A task whose head_dim is a multiple of 16.
  void (*turboquant_encode)(const codec::TurboQuant&, codec::Task&);
  void (*turboquant_decode)(const codec::TurboQuant&, codec::Task&);
  PredictiveKernels predict;
  RoundedKernels rounded;
};

/// The best kernels this machine can run, or null where only the portable ones fit. The environment variable
/// SEQKV_CPU (portable, avx2, avx512), read once, asks for lesser ones.
const Kernels* kernels();

/// From now on these, or null for the portable ones: for tests that compare them, while nothing else runs.
void use_kernels(const Kernels* kernels);

/// By name, for tests and benchmarks; null if not built or not supported by this machine.
const Kernels* kernels(const char* name);

}  // namespace seqkv::cpu
