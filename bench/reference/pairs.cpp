// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Documents of 512 tokens behind two preambles of other documents (64 to 512 tokens), coded in the second context
// without and with what they were decoded to in the first (docs/reference.md). Prints JSON; needs SEQKV_TEXT (texts),
// SEQKV_PROFILE (calibrated with --references), SEQKV_MODEL; SEQKV_PAIRS (24), SEQKV_STEPS ("0.5 0.707 1 ...").
#include <fmt/format.h>

#include <sstream>

#include "reference/contexts.hpp"

namespace seqkv::bench {
namespace {

constexpr std::int64_t document_tokens = 512;
/// Distances from the boundary.
constexpr std::int64_t bounds[] = {0, 4, 8, 16, 32, 64, 128, 256, 384, 512};
constexpr std::size_t ranges = std::size(bounds) - 1;
/// What references spare by distance is measured for so many pairs, at the first step.
constexpr std::size_t most_by_distance = 8;

struct Pair {
  Session source, predicted;
};

std::vector<Pair> make_pairs(Runner& runner, std::int64_t count) {
  std::vector<const std::vector<Token>*> texts;
  for (const auto& document : documents()) {
    if (std::ssize(document) > document_tokens + continuation) texts.push_back(&document);
  }
  std::vector<Pair> out;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto text = [&](std::int64_t k) -> const std::vector<Token>& {
      return *texts[static_cast<std::size_t>(k) % texts.size()];
    };
    const auto length = [&](std::int64_t k) {
      return 64 + (512 - 64) * (k % count) / std::max<std::int64_t>(1, count - 1);
    };
    out.push_back({runner.run(text(i + 7), length(5 * i), text(i), document_tokens),
                   runner.run(text(i + 19), length(i), text(i), document_tokens)});
  }
  return out;
}

struct Row {
  std::int64_t bytes = 0;  ///< of the blocks of the document
  QualityMeter meter;
};

struct Step {
  std::string step;
  Row linear, reference;
  QualityMeter bare;  ///< what the source was decoded to, without a residual
  std::int64_t source_bytes = 0;
  std::int64_t spared[ranges] = {};  ///< by references of these tokens alone
};

/// One pair: the preamble as linear codes it, the document's blocks from its first token on.
void measure(Runner& runner, const Pair& pair, bool by_distance, Step& out) {
  const Codec linear = codec_of("linear+ecsq:step=" + out.step);
  const Codec with = codec_of("linear+ref+ecsq:step=" + out.step);
  const KvShape& shape = pair.source.cache.shape();
  const auto source = runner.code(with, pair.source, pair.source.start, document_tokens);
  out.source_bytes += bytes_of(source);
  KvCache source_values = value_of(KvCache::create(shape, document_tokens));
  runner.restore(with, source, source_values.view());
  const References blocks = as_references(shape, source, std::as_const(source_values).view(), pair.source.start);

  const Session& session = pair.predicted;
  KvCache restored = value_of(KvCache::create(shape, session.cache.tokens()));
  runner.restore(linear, runner.code(linear, session, 0, session.start), restored.view().slice(0, session.start));
  const KvView document = restored.view().slice(session.start, document_tokens);

  const auto alone = runner.code(linear, session, session.start, document_tokens);
  out.linear.bytes += bytes_of(alone);
  runner.restore(linear, alone, document);
  runner.measure(session, std::as_const(restored).view(), out.linear.meter);

  check(codec::reuse(std::as_const(source_values).view(), document, session.start - pair.source.start));
  runner.measure(session, std::as_const(restored).view(), out.bare);

  References references = blocks;
  refer(references, 0, document_tokens, 0);
  const auto predicted = runner.code(with, session, session.start, document_tokens, references);
  out.reference.bytes += bytes_of(predicted);
  runner.restore(with, predicted, document, references.blocks);
  runner.measure(session, std::as_const(restored).view(), out.reference.meter);

  for (std::size_t i = 0; by_distance && i < ranges; ++i) {
    References some = blocks;
    refer(some, bounds[i], bounds[i + 1] - bounds[i], bounds[i]);
    const auto coded = runner.code(with, session, session.start, document_tokens, some);
    constexpr std::int64_t named = 16;  // bytes of a reference in a head
    out.spared[i] += bytes_of(alone) - bytes_of(coded) + named;
  }
}

/// What the other context has, without a residual; the first tokens exact.
double bare_reuse(Runner& runner, const std::vector<Pair>& pairs, std::int64_t recoded) {
  QualityMeter meter;
  for (const auto& [source, session] : pairs) {
    KvCache cache = value_of(KvCache::create(session.cache.shape(), session.cache.tokens()));
    check(copy(std::as_const(session.cache).view(), cache.view()));
    const std::int64_t count = document_tokens - recoded;
    check(codec::reuse(std::as_const(source.cache).view().slice(source.start + recoded, count),
                       cache.view().slice(session.start + recoded, count), session.start - source.start));
    runner.measure(session, std::as_const(cache).view(), meter);
  }
  return meter.result().kl_mean;
}

int run() {
  Runner runner;
  const char* count = std::getenv("SEQKV_PAIRS");
  const std::vector<Pair> pairs = make_pairs(runner, count == nullptr ? 24 : std::atoll(count));
  const char* steps = std::getenv("SEQKV_STEPS");
  std::istringstream list(steps == nullptr ? "0.5 0.707 1 1.41 2 2.83" : steps);
  const double components = static_cast<double>(pairs.size()) * document_tokens *
                            static_cast<double>(pairs[0].source.cache.shape().components_per_token());
  fmt::print("{{\"pairs\": {}, \"bare_reuse_kl\": {{", pairs.size());
  for (const std::int64_t recoded : {0, 16, 64, 128}) {
    fmt::print("{}\"{}\": {:.5f}", recoded == 0 ? "" : ", ", recoded, bare_reuse(runner, pairs, recoded));
  }
  fmt::print("}}, \"rows\": [\n");
  bool first = true;
  for (Step step; list >> step.step; step = {}) {
    const std::size_t by_distance = first ? std::min(most_by_distance, pairs.size()) : 0;
    for (std::size_t i = 0; i < pairs.size(); ++i) measure(runner, pairs[i], i < by_distance, step);
    const auto bits = [&](std::int64_t bytes) { return 8.0 * static_cast<double>(bytes) / components; };
    const Quality linear = step.linear.meter.result();
    const Quality reference = step.reference.meter.result();
    fmt::print(
        "{}  {{\"step\": {}, \"linear_bits\": {:.5f}, \"linear_kl\": {:.6f}, \"linear_top1\": {:.4f}, "
        "\"reference_bits\": {:.5f}, \"reference_kl\": {:.6f}, \"reference_top1\": {:.4f}, \"bare_kl\": {:.6f}, "
        "\"source_bits\": {:.5f}, "
        "\"spared_bits\": [",
        first ? "" : ",\n", step.step, bits(step.linear.bytes), linear.kl_mean, linear.top1, bits(step.reference.bytes),
        reference.kl_mean, reference.top1, step.bare.result().kl_mean, bits(step.source_bytes));
    for (std::size_t i = 0; i < (by_distance > 0 ? ranges : 0); ++i) {
      const double share = static_cast<double>(bounds[i + 1] - bounds[i]) / document_tokens *
                           static_cast<double>(by_distance) / static_cast<double>(pairs.size());
      fmt::print("{}{:.4f}", i == 0 ? "" : ", ", bits(step.spared[i]) / share);
    }
    fmt::print("]}}");
    std::fflush(stdout);
    first = false;
  }
  fmt::print("\n], \"bounds\": [{}]}}\n", fmt::join(bounds, ", "));
  return 0;
}

}  // namespace
}  // namespace seqkv::bench

int main() {
  Kokkos::InitializationSettings settings;
  settings.set_disable_warnings(true);
  const Kokkos::ScopeGuard kokkos(settings);
  return seqkv::bench::run();
}
