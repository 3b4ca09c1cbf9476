// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Batches: from a manifest of texts to sessions in a store, each shared prefix computed and stored once.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "seqkv/manifest.hpp"
#include "seqkv/model.hpp"
#include "seqkv/quality.hpp"
#include "seqkv/store.hpp"

namespace seqkv {

/// What to do with a prefix that is in the store but not in memory.
enum class PrefixPolicy {
  exact,    ///< compute it again, once a run, unless decoding gives the same bits (an exact codec of f32): what is
            ///< stored depends on the tokens alone, whatever was stored before and wherever a run was interrupted
  restore,  ///< decode it and go on from there: nothing is computed twice, what follows sees the codec's error
};

struct BatchOptions {
  Codec codec;
  DType dtype = DType::bf16;  ///< in which sessions are coded
  std::int64_t block_tokens = 256;
  PrefixPolicy prefix = PrefixPolicy::exact;
  bool restart = false;      ///< pass over sessions that are stored, by name, without looking at their input
  std::int64_t measure = 0;  ///< measure KL over that many last tokens of each session, run on its restored cache;
                             ///< of codecs with `ref` 64 where this is 0
  const std::atomic<bool>* stop = nullptr;   ///< looked at between sessions
  StoreAccess access = {};                   ///< of the store
  Protection protection = Protection::none;  ///< of a store that is made; must be the store's
};

struct BatchRow {
  std::string session;
  bool stored_before = false;  ///< nothing was to be done
  std::int64_t tokens = 0;
  std::int64_t new_tokens = 0;       ///< that went through the model
  std::int64_t shared_tokens = 0;    ///< in blocks that the store had already
  std::int64_t bytes = 0;            ///< of the session's coded blocks
  std::int64_t new_bytes = 0;        ///< that the session added to the store
  std::int64_t reference_bytes = 0;  ///< of these, in blocks that are predicted from others
  double bits_per_component = 0;     ///< from `bytes`
  std::optional<Quality> quality;
  double seconds = 0;  ///< model and codec and store; without measuring quality
};

struct BatchReport {
  std::vector<BatchRow> rows;  ///< in the order of the manifest
  bool interrupted = false;    ///< stopped by options.stop; the rows are those that are done
};

/// Called when a session is done: how many of how many, and its row.
using BatchProgress = std::function<void(std::int64_t, std::int64_t, const BatchRow&)>;

/// Checks every line (text, tokens, shapes) before the first session is touched; then runs sessions in the order
/// of their tokens, so that neighbors share as much as there is to share, each session one transaction.
/// Errors: those of the inputs with session and line; wrong_model, wrong_store, busy, disk_full and the like.
template <class ExecutionSpace>
Result<BatchReport> run_batch(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                              const std::filesystem::path& store, const std::vector<ManifestLine>& manifest,
                              const BatchOptions& options, const BatchProgress& progress = {});

}  // namespace seqkv
