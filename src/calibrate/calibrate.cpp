// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/calibrate.hpp"

#include <fmt/format.h>

#include <chrono>
#include <system_error>

#include "calibrate/collect.hpp"
#include "calibrate/measure.hpp"
#include "calibrate/own_model.hpp"
#include "calibrate/token_features.hpp"
#include "calibrate/write_profile.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"

namespace seqkv {
namespace {

using namespace calibration;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// [vocabulary][hidden]
Rows embedding_of(const CalibrationModel& model) {
  return {model.config().vocabulary, model.config().hidden,
          [&model](std::int64_t token, float* out) { model.embedding(static_cast<Token>(token), out); }};
}

/// What is run is what the caller says it is; what it is run on is checked here.
Result<void> check_input(const ModelConfig& config, const std::vector<std::vector<Token>>& documents) {
  const auto positive = [](const char* name, std::int64_t n) -> Result<void> {
    if (n > 0) return {};
    return Error(ErrorCode::invalid_argument, fmt::format("a model whose {} is {}", name, n));
  };
  SEQKV_TRY(config.kv_shape(DType::f32).check());
  SEQKV_TRY(positive("hidden size", config.hidden));
  SEQKV_TRY(positive("vocabulary", config.vocabulary));
  for (std::size_t d = 0; d < documents.size(); ++d) {
    for (const Token token : documents[d]) {
      if (std::int64_t{token} >= config.vocabulary) {
        return Error(ErrorCode::token_out_of_range,
                     fmt::format("token {} in document {}, the vocabulary has {}", token, d, config.vocabulary));
      }
    }
  }
  return {};
}

template <class ExecutionSpace>
class Calibration {
 public:
  Calibration(const ExecutionSpace& space, CalibrationModel& model, const CalibrateOptions& options,
              const fs::path& out)
      : space_(space), model_(model), options_(options), out_(out) {}

  Result<CalibrateReport> run(const std::vector<std::vector<Token>>& documents) {
    const Digest fingerprint = model_.fingerprint();
    SEQKV_TRY(check_input(model_.config(), documents));
    SEQKV_ASSIGN(plan_, make_plan(model_.config(), fingerprint, documents, options_));
    report_.chunks = static_cast<std::int64_t>(plan_.chunks.size());
    report_.rows = plan_.rows_in_all();
    report_.pairs = static_cast<std::int64_t>(plan_.pairs.size());
    report_.held_out = static_cast<std::int64_t>(plan_.held_out.size());
    SEQKV_TRY(make_folder());
    auto start = Clock::now();
    SEQKV_ASSIGN(report_.resumed, collect(model_, plan_, options_, folder_));
    report_.collect_seconds = seconds_since(start);
    start = Clock::now();
    SEQKV_TRY(fit());
    report_.fit_seconds = seconds_since(start);
    start = Clock::now();
    SEQKV_ASSIGN(const std::vector<RatePoint> curve, measure_draft());
    report_.measure_seconds = seconds_since(start);
    SEQKV_TRY(write_profile(out_, plan_, fingerprint, contents_, curve));
    SEQKV_ASSIGN(report_.profile, Profile::load(out_));
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
    if (options_.work.empty()) fs::remove(folder_.parent_path(), ignored);
    return std::move(report_);
  }

 private:
  /// Samples of one text and one set of options have a folder of their own.
  Result<void> make_folder() {
    fs::path work = options_.work;
    if (work.empty()) (work = out_) += ".work";
    constexpr std::size_t digits = 16;
    folder_ = work / plan_.key.hex().substr(0, digits);
    std::error_code problem;
    fs::create_directories(folder_, problem);
    if (problem) return Error(ErrorCode::io, "cannot make the folder: " + problem.message()).in_file(folder_.string());
    return {};
  }

  Result<void> check_stop(const char* stage) const {
    if (options_.stop == nullptr || !*options_.stop) return {};
    return Error(ErrorCode::interrupted, fmt::format("while {}; the samples are in {}, the same command goes on there",
                                                     stage, folder_.string()));
  }

  Result<void> fit() {
    SEQKV_ASSIGN(Floats tokens,
                 token_features(plan_, folder_, normalized(embedding_of(model_), model_.config().norm_epsilon)));
    std::vector<float> values;
    for (std::int64_t t = 0; t < tokens.rows; ++t)
      values.insert(values.end(), tokens.row(t), tokens.row(t) + tokens.columns);
    contents_.tokens = Stored::round(std::move(values));
    contents_.vocabulary = tokens.rows;
    for (std::int64_t t = 0; t < tokens.rows; ++t) {
      const auto from = contents_.tokens.values.begin() + t * tokens.columns;
      std::copy(from, from + tokens.columns, tokens.row(t));
    }
    Fit fit(plan_, folder_, tokens);
    for (std::int64_t b = 0; b < plan_.subblocks(); ++b) {
      SEQKV_TRY(check_stop("fitting"));
      SEQKV_ASSIGN(Fitted fitted, fit.next());
      contents_.subblocks.push_back(std::move(fitted));
      if (options_.progress) options_.progress("fit", b + 1, plan_.subblocks());
    }
    contents_.tables = fit.make_tables();
    contents_.lossless_tables = fit.make_lossless_tables();
    return {};
  }

  /// What the profile costs and does on documents that it has not seen.
  Result<std::vector<RatePoint>> measure_draft() {
    const fs::path draft = folder_ / "draft.safetensors";
    SEQKV_TRY(write_profile(draft, plan_, model_.fingerprint(), contents_, {}));
    SEQKV_ASSIGN(const std::shared_ptr<const Profile> profile, Profile::load(draft));
    SEQKV_ASSIGN(std::vector<RatePoint> curve, measure(space_, model_, plan_, profile, options_));
    SEQKV_TRY(check_stop("measuring"));
    return curve;
  }

  const ExecutionSpace& space_;
  CalibrationModel& model_;
  const CalibrateOptions& options_;
  fs::path out_;
  fs::path folder_;
  Plan plan_;
  Contents contents_;
  CalibrateReport report_;
};

}  // namespace

template <class ExecutionSpace>
Result<CalibrateReport> calibrate(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
                                  const std::vector<std::vector<Token>>& documents, const CalibrateOptions& options,
                                  const std::filesystem::path& out) {
  return guard_memory("for calibration", [&]() -> Result<CalibrateReport> {
    SEQKV_ASSIGN(OwnModel<ExecutionSpace> own, OwnModel<ExecutionSpace>::create(space, std::move(model)));
    return Calibration<ExecutionSpace>(space, own, options, out).run(documents);
  });
}

template <class ExecutionSpace>
Result<CalibrateReport> calibrate(const ExecutionSpace& space, CalibrationModel& model,
                                  const std::vector<std::vector<Token>>& documents, const CalibrateOptions& options,
                                  const std::filesystem::path& out) {
  return guard_memory("for calibration", [&]() -> Result<CalibrateReport> {
    return Calibration<ExecutionSpace>(space, model, options, out).run(documents);
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                                      \
  template Result<CalibrateReport> calibrate(const Space&, std::shared_ptr<const Model<Space>>,                       \
                                             const std::vector<std::vector<Token>>&, const CalibrateOptions&,         \
                                             const std::filesystem::path&);                                           \
  template Result<CalibrateReport> calibrate(const Space&, CalibrationModel&, const std::vector<std::vector<Token>>&, \
                                             const CalibrateOptions&, const std::filesystem::path&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
