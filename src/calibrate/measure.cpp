// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/measure.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/detmath.hpp"
#include "core/execution_spaces.hpp"
#include "core/try.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/quality.hpp"
#include "seqkv/transfer.hpp"

namespace seqkv::calibration {
namespace {

/// Steps of the curve: 2^(k/2).
constexpr int first_half_octave = 3;
constexpr int last_half_octave = -4;

struct Point {
  Codec codec;
  double bytes = 0;
  QualityMeter quality;
};

Result<std::vector<Point>> points_of(const std::shared_ptr<const Profile>& profile) {
  std::vector<Point> points;
  for (int k = first_half_octave; k >= last_half_octave; --k) {
    const auto step = static_cast<float>(detmath::exp2(k / 2.0));
    SEQKV_ASSIGN(const Codec codec, Codec::parse(fmt::format("linear+ecsq:step={}", step)));
    SEQKV_ASSIGN(const Codec with_profile, codec.with_profile(profile));
    points.push_back({with_profile, 0, {}});
  }
  return points;
}

/// Logits as they must be, whoever made them.
Result<std::vector<float>> checked(Result<std::vector<float>> logits, std::size_t rows, std::int64_t vocabulary) {
  if (!logits) return logits;
  if (logits->size() != rows * static_cast<std::size_t>(vocabulary)) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("{} logits of {} tokens, the vocabulary is {}", logits->size(), rows, vocabulary));
  }
  for (const float x : *logits) {
    if (!std::isfinite(x)) return Error(ErrorCode::not_finite, "the model gives no finite logits");
  }
  return logits;
}

/// Codes a cache into a frame in memory, and decodes it.
template <class ExecutionSpace>
Result<KvCache> there_and_back(const ExecutionSpace& space, const KvCache& cache, TokenSpan tokens, const Digest& model,
                               std::int64_t block_tokens, Point& point) {
  const Codec& codec = point.codec;
  SEQKV_ASSIGN(const std::vector<CodedBlock> blocks, encode(space, codec, cache.view(), tokens, 0, block_tokens));
  const FrameInfo info{cache.shape(), cache.tokens(), block_tokens, codec.spec(), model, codec.profile_fingerprint()};
  SEQKV_ASSIGN(const std::vector<std::byte> bytes, make_frame(info, blocks));
  point.bytes += static_cast<double>(bytes.size());
  SEQKV_ASSIGN(const FrameReader frame, FrameReader::parse(bytes, "frame in memory"));
  return decode(space, frame, codec.profile());
}

}  // namespace

template <class ExecutionSpace>
Result<std::vector<RatePoint>> measure(const ExecutionSpace& space, CalibrationModel& model, const Plan& plan,
                                       const std::shared_ptr<const Profile>& profile, const CalibrateOptions& options) {
  SEQKV_ASSIGN(std::vector<Point> points, points_of(profile));
  const std::int64_t vocabulary = model.config().vocabulary;
  const auto all = static_cast<std::int64_t>(plan.held_out.size() * points.size());
  std::int64_t done = 0;
  for (const std::vector<Token>& document : plan.held_out) {
    const TokenSpan context = TokenSpan(document).first(static_cast<std::size_t>(plan.context));
    const TokenSpan continuation =
        TokenSpan(document).subspan(context.size(), static_cast<std::size_t>(plan.continuation));
    std::vector<std::optional<Token>> next(continuation.begin() + 1, continuation.end());
    next.emplace_back();  // what follows the last one is not known
    SEQKV_TRY(model.start(context));
    SEQKV_ASSIGN(KvCache cache, KvCache::create(plan.shape, plan.context));
    SEQKV_TRY(model.read(cache.view()));
    SEQKV_ASSIGN(const std::vector<float> exact, checked(model.go_on(continuation), continuation.size(), vocabulary));
    for (Point& point : points) {
      SEQKV_ASSIGN(const KvCache restored,
                   there_and_back(space, cache, context, model.fingerprint(), options.block_tokens, point));
      SEQKV_ASSIGN(const std::vector<float> logits,
                   checked(model.go_on_from(restored.view(), continuation), continuation.size(), vocabulary));
      point.quality.add(exact, logits, next);
      if (options.progress) options.progress("measure", ++done, all);
    }
  }
  const double components =
      static_cast<double>(plan.held_out.size()) * static_cast<double>(plan.context * plan.shape.components_per_token());
  std::vector<RatePoint> curve;
  for (const Point& point : points) {
    const double step = std::get<EcsqSpec>(point.codec.quantizer()).step;
    const double bits = 8 * point.bytes / components;
    const double kl = point.quality.result().kl_mean;
    if (bits > 0 && kl > 0) curve.push_back({step, bits, kl});
  }
  return curve;
}

#define SEQKV_INSTANTIATE(Space)                                                                \
  template Result<std::vector<RatePoint>> measure(const Space&, CalibrationModel&, const Plan&, \
                                                  const std::shared_ptr<const Profile>&, const CalibrateOptions&);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv::calibration
