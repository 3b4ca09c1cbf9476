// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "cli/arguments.hpp"
#include "seqkv/kv_file.hpp"

namespace seqkv::cli {
namespace {

struct CompareArguments {
  std::string reference;
  std::string other;
  double tolerance = -1;
};

/// What the keys, or the values, of two caches differ by.
struct Difference {
  double squares = 0;            ///< of the differences
  double reference_squares = 0;  ///< of the reference's finite numbers
  double largest = 0;
  bool identical = true;

  void add(const float* a, const float* b, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      if (std::isfinite(a[i])) reference_squares += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      // NaN and infinity equal themselves here, and are infinitely far from all else.
      if (std::bit_cast<std::uint32_t>(a[i]) == std::bit_cast<std::uint32_t>(b[i])) continue;
      identical = false;
      const bool finite = std::isfinite(a[i]) && std::isfinite(b[i]);
      const double error =
          finite ? static_cast<double>(b[i]) - static_cast<double>(a[i]) : std::numeric_limits<double>::infinity();
      squares += error * error;
      largest = std::max(largest, std::abs(error));
    }
  }
  /// Root mean square of the differences over that of the reference.
  double relative() const { return squares == 0 ? 0 : std::sqrt(squares / reference_squares); }
};

Result<void> check_same_tokens(const KvFile& reference, const KvFile& other, const std::string& name) {
  const TokenSpan a = reference.tokens();
  const TokenSpan b = other.tokens();
  const auto differ = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  if (differ == a.end() && a.size() == b.size()) return {};
  return Error(ErrorCode::shape_mismatch, fmt::format("{} and {} tokens, which differ from position {} on", a.size(),
                                                      b.size(), differ - a.begin()))
      .in_file(name)
      .at_field("input_ids");
}

/// A part of a file in the shape `as`, whose f32 has a place for every number of bf16, f16 and f32.
Result<KvCache> widened(const KvFile& file, std::int64_t first, std::int64_t count, const KvShape& as) {
  auto stored = KvCache::create(file.shape(), count);
  if (!stored) return stored;
  if (auto status = file.read(first, stored->view()); !status) return std::move(status).error();
  auto cache = KvCache::create(as, count);
  if (!cache) return cache;
  if (auto status = copy(stored->view(), cache->view()); !status) return std::move(status).error();
  return cache;
}

Result<int> run(const CompareArguments& arguments, const Options& options) {
  auto reference = KvFile::open(arguments.reference);
  if (!reference) return std::move(reference).error();
  auto other = KvFile::open(arguments.other);
  if (!other) return std::move(other).error();
  if (auto status = check_same_tokens(*reference, *other, arguments.other); !status) return std::move(status).error();

  Difference difference[2];
  Progress progress(options, "compare");
  constexpr std::int64_t step = 1024;
  const std::int64_t tokens = reference->view().tokens;
  KvShape shape = reference->shape();
  shape.dtype = DType::f32;
  for (std::int64_t first = 0; first < tokens; first += step) {
    const std::int64_t count = std::min(step, tokens - first);
    const auto a = widened(*reference, first, count, shape);
    if (!a) return Error(a.error()).in_file(arguments.reference);
    const auto b = widened(*other, first, count, shape);
    if (!b) return Error(b.error()).in_file(arguments.other);
    const std::size_t values = a->raw().size() / sizeof(float) / a->view().tensors.size();
    for (std::size_t i = 0; i < a->view().tensors.size(); ++i) {
      difference[i % 2].add(reinterpret_cast<const float*>(a->view().tensors[i]),
                            reinterpret_cast<const float*>(b->view().tensors[i]), values);
    }
    progress.update(first + count, tokens);
  }
  const auto& [keys, values] = difference;
  const bool within =
      arguments.tolerance < 0 || (keys.relative() <= arguments.tolerance && values.relative() <= arguments.tolerance);
  print(options, {{"tokens", tokens},
                  {"identical", keys.identical && values.identical},
                  {"key_error", keys.relative()},
                  {"value_error", values.relative()},
                  {"key_max_abs", keys.largest},
                  {"value_max_abs", values.largest}});
  if (within) return 0;
  say(options, fmt::format("seqkv: the caches differ by more than {}", arguments.tolerance));
  return exit_code(ErrorCode::corrupt);
}

}  // namespace

Action declare_compare(CLI::App& app) {
  auto arguments = std::make_shared<CompareArguments>();
  app.add_option("reference", arguments->reference, "KV file (.safetensors)")->required();
  app.add_option("other", arguments->other, "KV file of the same tokens")->required();
  app.add_option("--tolerance", arguments->tolerance,
                 "Largest relative error of keys and of values; above it the exit code is 5")
      ->check(CLI::NonNegativeNumber);
  app.footer(R"(Number types may differ. key_error and value_error are root mean squares, relative to the reference's;
where one cache has NaN or infinity and the other has not, they are infinite (null in JSON).
Example:
  seqkv compare exact.safetensors restored.safetensors --tolerance 0.1)");
  return [arguments](const Options& options) { return run(*arguments, options); };
}

}  // namespace seqkv::cli
