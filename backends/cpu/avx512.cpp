// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Built for avx512 alone: includes no header that leaves inline functions behind (see simd.hpp).
#define SEQKV_ISA avx512

#include "backends/cpu/activation.hpp"
#include "backends/cpu/attention.hpp"
#include "backends/cpu/frequencies.hpp"
#include "backends/cpu/gemm.hpp"
#include "backends/cpu/hadamard.hpp"
#include "backends/cpu/kernels.hpp"
#include "backends/cpu/lossless.hpp"
#include "backends/cpu/norm.hpp"
#include "backends/cpu/predict.hpp"
#include "backends/cpu/rope.hpp"
#include "backends/cpu/rounded.hpp"
#include "backends/cpu/symbols.hpp"
#include "backends/cpu/transform.hpp"
#include "backends/cpu/turboquant.hpp"

namespace seqkv::cpu::SEQKV_ISA {

extern const Kernels table;
const Kernels table = {
    .name = "avx512",
    .gemm_panels = gemm_panels,
    .norm_rows = norm_rows,
    .gated_rows = gated_rows,
    .rope_rows = rope_rows,
    .attention_block = attention_block,
    .frequency_rows = frequency_rows,
    .rans_streams = streams_together,
    .rans_decode = {rans_decode, rans_decode_without_gather},
    .rans_encode = {rans_encode, rans_encode_without_gather},
    .symbols_memory = symbols_memory,
    .symbols_encode = {encode_symbols<HardwareGather>, encode_symbols<ScalarGather>},
    .symbols_decode = {decode_symbols<HardwareGather>, decode_symbols<ScalarGather>},
    .forward_transform = forward_transform,
    .inverse_transform = inverse_transform,
    .lossless_memory = lossless_memory,
    .lossless_encode = {lossless_encode, lossless_encode_without_gather},
    .lossless_decode = {lossless_decode, lossless_decode_without_gather},
    .hadamard_rows = hadamard_rows,
    .turboquant_encode = turboquant_encode,
    .turboquant_decode = turboquant_decode,
    .predict = {grade_rows, residual_slots, pack_blocks, unpack_blocks, restore_slots, settle_rows, lossless_residuals,
                pack_lossless, unpack_lossless},
    .rounded = {rounded_norm, rounded_gate, rounded_rope, rounded_softmax, rounded_heads},
};

}  // namespace seqkv::cpu::SEQKV_ISA
