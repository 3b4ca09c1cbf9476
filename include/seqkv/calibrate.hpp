// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Making a profile: what predictive codecs know of a model, learned from text (docs/calibrate.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "seqkv/calibration_model.hpp"
#include "seqkv/model.hpp"
#include "seqkv/profile.hpp"

namespace seqkv {

struct CalibrateOptions {
  int effort = 5;                            ///< 1 to 9: how much of the text is used; time grows with it
  std::int64_t context = 768;                ///< tokens whose cache a chunk of text gives
  std::int64_t continuation = 128;           ///< tokens behind them that say how much each number of the cache matters
  DType dtype = DType::bf16;                 ///< in which engines hold the cache
  std::int64_t block_tokens = 256;           ///< of the stores and frames that the profile is made for; others work too
  std::optional<std::int64_t> layers_below;  ///< whose decoded values predict one above (2)
  std::optional<std::int64_t> token_width;  ///< numbers that are known of a token (as many as the profile has room for)
  std::int64_t profile_bytes = 0;           ///< the largest profile; 0: by effort, a share of the model
  bool references = false;                  ///< also how tokens that stand elsewhere, too, are predicted from there
  std::filesystem::path work;               ///< folder for samples; empty: beside the profile, removed when it is done
  const std::atomic<bool>* stop = nullptr;  ///< when it becomes true calibrate ends: interrupted
  /// What is done, and how much of it: collect (chunks), fit (sub-blocks), measure (documents times steps).
  std::function<void(std::string_view stage, std::int64_t done, std::int64_t all)> progress;
};

struct CalibrateReport {
  std::int64_t chunks = 0;    ///< pieces of text that the fit saw
  std::int64_t rows = 0;      ///< tokens sampled from them
  std::int64_t pairs = 0;     ///< documents behind two preambles each
  std::int64_t resumed = 0;   ///< chunks that an earlier run had left in the work folder
  std::int64_t held_out = 0;  ///< documents that the curve was measured on
  double collect_seconds = 0;
  double fit_seconds = 0;
  double measure_seconds = 0;
  std::shared_ptr<const Profile> profile;  ///< as it was written
};

/// Learns a profile from `documents` (token sequences as Model::encode_document makes them) and writes it to `out`,
/// which appears whole or not at all. Samples are kept in a folder, so that a run that was stopped goes on where it was
/// when it is called again with the same text and options. The same bytes for every thread count and execution space.
/// Errors: invalid_argument, empty_input (too little text, with the amount that is needed), limit_exceeded,
/// interrupted, io, disk_full, not_finite, out_of_memory, token_out_of_range, those of Forward.
template <class ExecutionSpace>
Result<CalibrateReport> calibrate(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                  const std::vector<std::vector<Token>>& documents, const CalibrateOptions& options,
                                  const std::filesystem::path& out);

/// The same from a model that the caller runs. Errors: also token_out_of_range, shape_mismatch (it gives other logits
/// than it should), those of the model. `space` codes and decodes.
template <class ExecutionSpace>
Result<CalibrateReport> calibrate(const ExecutionSpace& space, CalibrationModel& model,
                                  const std::vector<std::vector<Token>>& documents, const CalibrateOptions& options,
                                  const std::filesystem::path& out);

}  // namespace seqkv
