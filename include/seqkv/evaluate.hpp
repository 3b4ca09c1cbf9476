// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Measuring codecs on real text: bits against the quality of what a model says after a restore (DESIGN 7).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "seqkv/codec.hpp"
#include "seqkv/model.hpp"
#include "seqkv/quality.hpp"

namespace seqkv {

/// What a codec of somebody else makes of a cache.
struct Recoded {
  KvCache restored;        ///< of the cache's shape and tokens
  std::int64_t bytes = 0;  ///< all that restoring needs
};

/// A codec to compare with.
struct Peer {
  std::string name;
  std::function<Result<Recoded>(const KvCache& cache, TokenSpan tokens)> recode;
};

struct EvaluateOptions {
  std::int64_t context = 768;       ///< tokens whose cache is coded and restored
  std::int64_t continuation = 128;  ///< tokens then run on the restored cache
  DType dtype = DType::bf16;        ///< in which an engine would hold the cache; codecs see it so
  std::int64_t block_tokens = 256;
  std::vector<Peer> peers;  ///< measured like the codecs, in rows behind theirs; without speeds
};

/// One codec's figures over all documents.
struct EvaluateRow {
  std::string codec;
  double bits_per_component = 0;  ///< all bytes of the frame: payload, headers, index, tokens
  double bits_per_token = 0;
  double ratio_bf16 = 0;  ///< 16 / bits_per_component
  Quality quality;
  double attn_out_err = 0;  ///< relative error of attention outputs over the continuation, all layers (Frobenius)
  double encode_GBps = 0;   ///< of the cache counted in bf16, GB = 1e9 bytes; 0 for peers
  double decode_GBps = 0;
  std::int64_t profile_bytes = 0;
};

struct EvaluateReport {
  std::int64_t documents = 0;
  double surprisal_bits_per_token = 0;  ///< of the model on the contexts, its first token excepted
  std::vector<EvaluateRow> rows;
};

/// `documents`: sequences of at least context + continuation tokens (what is longer is cut).
/// The exact cache and its continuation are in fp32. `progress(done, all)` counts documents times codecs and peers.
/// Errors: empty_input, invalid_argument (a document too short), those of Forward, encode and decode.
template <class ExecutionSpace>
Result<EvaluateReport> evaluate(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                const std::vector<std::vector<Token>>& documents, const std::vector<Codec>& codecs,
                                const EvaluateOptions& options,
                                const std::function<void(std::int64_t, std::int64_t)>& progress = {});

}  // namespace seqkv
