// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Every bound on a size that comes from outside, in one place. Sizes are checked against these before
/// anything is allocated. "Format" says whether raising the bound lets older readers refuse the file.
#pragma once

#include <cstdint>

namespace seqkv::limits {

// Shapes.
inline constexpr std::int64_t max_layers = 1024;           ///< format
inline constexpr std::int64_t max_kv_heads = 1024;         ///< format
inline constexpr std::int64_t max_head_dim = 512;          ///< format; kernels keep one vector on the stack
inline constexpr std::int64_t max_block_tokens = 4096;     ///< format
inline constexpr std::int64_t min_block_tokens = 16;       ///< format
inline constexpr std::int64_t max_tokens = 1LL << 31;      ///< of one session; format
inline constexpr std::int64_t max_vocabulary = 1LL << 24;  ///< of a model; not in the format

// Models.
inline constexpr std::int64_t max_hidden = 1 << 17;    ///< width of the residual stream; not in the format
inline constexpr std::int64_t max_query_heads = 4096;  ///< not in the format

// Tries.
inline constexpr std::int64_t max_window_depth = 31;       ///< tokens of a window; format
inline constexpr std::int64_t max_windows = 1LL << 31;     ///< of one build; larger tries by merging; not in the format
inline constexpr std::int64_t max_trie_bytes = 1LL << 46;  ///< of a trie's arrays; not in the format
inline constexpr std::int64_t max_coded_vocabulary = (1LL << 27) - 1;  ///< of a token coder; format

// Codecs.
inline constexpr std::int64_t max_tables = 1024;              ///< of a family for entropy coding; not in the format
inline constexpr std::int64_t max_classes = 256;              ///< tables of a profile; format of profiles
inline constexpr std::int64_t max_slope = 1 << 12;            ///< of scales over grades; format of profiles
inline constexpr std::int64_t max_predicted_width = 1 << 14;  ///< numbers of a token and kind; not in the format

// Files.
inline constexpr std::int64_t max_safetensors_header = 100'000'000;  ///< as the reference implementation
inline constexpr std::int64_t max_json_bytes = 256LL << 20;          ///< config, tokenizer, index, manifest line
inline constexpr std::int64_t max_text_bytes = 16LL << 30;           ///< a text file after decompression
inline constexpr std::int64_t max_codec_spec = 255;                  ///< bytes of a codec string; format
inline constexpr std::int64_t max_session_name = 1024;               ///< bytes; format of packs
inline constexpr std::int64_t max_pack = 99'999'999;                 ///< number of a pack; its name has 8 digits
inline constexpr std::int64_t max_subblock_bytes = (1LL << 31) - 1;  ///< raw bytes of one sub-block; format
inline constexpr std::int64_t max_coded_block = 1LL << 40;           ///< bytes of one coded block; not in the format
inline constexpr std::int64_t max_block_sources = 16;           ///< that a block is predicted from; format of packs
inline constexpr std::int64_t max_searched_tokens = 1LL << 27;  ///< of a store, for references; 0.6 GB

}  // namespace seqkv::limits
