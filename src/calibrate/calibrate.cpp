// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/calibrate.hpp"

#include <fmt/format.h>

#include <chrono>
#include <system_error>

#include "calibrate/collect.hpp"
#include "calibrate/token_features.hpp"
#include "calibrate/write_profile.hpp"
#include "core/execution_spaces.hpp"
#include "core/float16.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "model/weights.hpp"
#include "seqkv/evaluate.hpp"

namespace seqkv {
namespace {

using namespace calibration;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Steps of the curve: 2^(k/2).
constexpr int first_half_octave = 3;
constexpr int last_half_octave = -4;

/// [vocabulary][hidden], from host memory.
template <class ExecutionSpace>
Rows embedding_of(const Model<ExecutionSpace>& model) {
  const auto& panel = model.weights().embedding;
  const auto bytes = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), panel.memory);
  const DType dtype = panel.matrix.is_bf16 ? DType::bf16 : DType::f32;
  const std::int64_t hidden = model.config().hidden;
  return {model.config().vocabulary, hidden, [=](std::int64_t row, float* out) {
            for (std::int64_t i = 0; i < hidden; ++i) out[i] = load_as_float(bytes.data(), dtype, row * hidden + i);
          }};
}

template <class ExecutionSpace>
class Calibration {
 public:
  Calibration(const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model,
              const CalibrateOptions& options, const fs::path& out)
      : space_(space), model_(std::move(model)), options_(options), out_(out) {}

  Result<CalibrateReport> run(const std::vector<std::vector<Token>>& documents) {
    const Digest fingerprint = model_->fingerprint().combined();
    SEQKV_ASSIGN(plan_, make_plan(model_->config(), fingerprint, documents, options_));
    report_.chunks = static_cast<std::int64_t>(plan_.chunks.size());
    report_.rows = plan_.rows_in_all();
    report_.pairs = static_cast<std::int64_t>(plan_.pairs.size());
    report_.held_out = static_cast<std::int64_t>(plan_.held_out.size());
    SEQKV_TRY(make_folder());
    auto start = Clock::now();
    SEQKV_ASSIGN(report_.resumed, collect(space_, model_, plan_, options_, folder_));
    report_.collect_seconds = seconds_since(start);
    start = Clock::now();
    SEQKV_TRY(fit());
    report_.fit_seconds = seconds_since(start);
    start = Clock::now();
    SEQKV_ASSIGN(const std::vector<RatePoint> curve, measure());
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
                 token_features(plan_, folder_, normalized(embedding_of(*model_), model_->config().norm_epsilon)));
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
  Result<std::vector<RatePoint>> measure() {
    const fs::path draft = folder_ / "draft.safetensors";
    SEQKV_TRY(write_profile(draft, plan_, model_->fingerprint().combined(), contents_, {}));
    SEQKV_ASSIGN(const std::shared_ptr<const Profile> profile, Profile::load(draft));
    std::vector<Codec> codecs;
    for (int k = first_half_octave; k >= last_half_octave; --k) {
      SEQKV_ASSIGN(const Codec codec,
                   Codec::parse(fmt::format("linear+ecsq:step={}", static_cast<float>(detmath::exp2(k / 2.0)))));
      SEQKV_ASSIGN(const Codec with_profile, codec.with_profile(profile));
      codecs.push_back(with_profile);
    }
    EvaluateOptions evaluation;
    evaluation.context = options_.context;
    evaluation.continuation = options_.continuation;
    evaluation.dtype = options_.dtype;
    evaluation.block_tokens = options_.block_tokens;
    SEQKV_ASSIGN(const EvaluateReport measured,
                 evaluate(space_, model_, plan_.held_out, codecs, evaluation, [&](std::int64_t done, std::int64_t all) {
                   if (options_.progress) options_.progress("measure", done, all);
                 }));
    SEQKV_TRY(check_stop("measuring"));
    std::vector<RatePoint> curve;
    for (std::size_t i = 0; i < codecs.size(); ++i) {
      const EvaluateRow& row = measured.rows[i];
      const double step = std::get<EcsqSpec>(codecs[i].quantizer()).step;
      if (row.bits_per_component > 0 && row.quality.kl_mean > 0)
        curve.push_back({step, row.bits_per_component, row.quality.kl_mean});
    }
    return curve;
  }

  const ExecutionSpace& space_;
  std::shared_ptr<const Model<ExecutionSpace>> model_;
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
    return Calibration<ExecutionSpace>(space, std::move(model), options, out).run(documents);
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                              \
  template Result<CalibrateReport> calibrate(const Space&, std::shared_ptr<const Model<Space>>,               \
                                             const std::vector<std::vector<Token>>&, const CalibrateOptions&, \
                                             const std::filesystem::path&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)

}  // namespace seqkv
