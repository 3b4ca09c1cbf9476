// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/fit.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>

#include "core/detmath.hpp"
#include "core/try.hpp"

namespace seqkv::calibration {
namespace {

constexpr double ln2 = 0.69314718055994530942;

/// A profile's unit: with a step of 1 everywhere the restored cache costs 0.02 nats a token of the continuation,
/// if every number of it is coded with an error of step^2 / 12. Many are not coded at all: it is the middle of what is
/// useful.
constexpr double nats_of_unit = 0.02;

/// Steps for which symbols are counted, as the fit is used for them.
struct CountedStep {
  float step;
  std::int32_t scale;  ///< log2 of it in 1/16
};
constexpr CountedStep counted_steps[] = {{0.25F, -32}, {0.5F, -16}, {1.0F, 0}, {2.0F, 16}};
/// The smallest step at which coefficients must still be there.
constexpr double least_step_log2 = -2.5;

/// Importance is predicted with an error; weights that followed it in full would trust it too much.
constexpr double trust = 0.85;
/// Of least squares, relative to the diagonal.
constexpr double ridge = 3e-4;
constexpr double least_slope = 0.3;
constexpr double largest_slope = 1.7;
/// Symbols of a normal distribution with which each table begins.
constexpr double prior_symbols = 64;

float exp2_of(float x) { return detmath::exp2(x); }

}  // namespace

/// What is passed along while a sub-block is learned.
struct Fit::Work {
  std::int64_t number = 0;
  std::int64_t columns = 0;  ///< features
  Floats inputs;             ///< [rows][features, then values]
  Samples samples;
  Importance importance;
  std::vector<float> log_weight;  ///< log2 g by row, as the codec rounds it
  std::vector<float> matter;      ///< by row: how much its residual's shape matters
  Floats predicted;               ///< [rows][width]
  Floats residual;
  Floats coefficients;
  Fitted out;
};

Fit::Fit(const Plan& plan, std::filesystem::path folder, const Floats& tokens)
    : plan_(plan),
      folder_(std::move(folder)),
      tokens_(tokens),
      hats_(plan.context - 1),
      lossless_(plan),
      counts_(tables) {
  for (const Row& row : plan.rows) weights_.push_back(row.weight);
}

void Fit::fill_features(Work& work, const std::vector<Floats>& below) const {
  const std::int64_t width = plan_.width();
  const std::int64_t window = plan_.window(work.number);
  work.columns = 1 + plan_.token_width + window * width;
  work.inputs = Floats(plan_.rows_in_all(), work.columns + width);
  for_row_ranges(plan_.rows_in_all(), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      float* out = work.inputs.row(r);
      *out++ = 1.0F;
      const float* token = tokens_.row(plan_.rows[static_cast<std::size_t>(r)].token);
      out = std::copy(token, token + plan_.token_width, out);
      for (std::int64_t b = work.number - window; b < work.number; ++b) {
        const float* from = below[static_cast<std::size_t>(b)].row(r);
        out = std::copy(from, from + width, out);
      }
      std::copy(work.samples.values.row(r), work.samples.values.row(r) + width, out);
    }
  });
}

/// The row of `predict` that gives log2 of a token's weight, and the weights that the codec makes of it.
void Fit::weigh(Work& work) {
  const std::int64_t window = plan_.window(work.number);
  // Where nothing stands below, the token itself says it.
  const std::int64_t first = window == 0 ? 1 : 1 + plan_.token_width;
  work.importance = fit_importance(plan_, work.samples, work.inputs, first, work.columns - first);
  Importance& importance = work.importance;
  const double unit =
      std::sqrt(24 * nats_of_unit /
                (static_cast<double>(plan_.context) * static_cast<double>(plan_.shape.components_per_token())));
  for (double& x : importance.root.values) x /= unit;
  for (double& x : importance.inverse.values) x *= unit;

  const double share = trust / (2 * ln2);
  std::vector<float> row(static_cast<std::size_t>(work.columns), 0.0F);
  row[0] = static_cast<float>(importance.constant * share);
  for (std::size_t i = 0; i < importance.inputs.size(); ++i) {
    row[static_cast<std::size_t>(first) + i] = static_cast<float>(importance.inputs[i] * share);
  }
  std::vector<double> hats = importance.hats;
  for (double& x : hats) x *= share;
  work.out.knots = hats_.knots(hats);
  work.out.predict = Stored::round(std::move(row));  // the values' rows come before it

  const Floats predicted = multiply(work.inputs, PackedFloats::pack(1, work.columns, work.out.predict.values));
  work.log_weight.resize(static_cast<std::size_t>(work.inputs.rows));
  std::vector<float> hat(static_cast<std::size_t>(hats_.count()));
  for (std::int64_t r = 0; r < work.inputs.rows; ++r) {
    hats_.write(plan_.rows[static_cast<std::size_t>(r)].block_behind, hat.data());
    float sum = predicted.row(r)[0];
    for (std::size_t k = 0; k < hat.size(); ++k) sum += hat[k] * work.out.knots[k];
    constexpr auto most = static_cast<float>(codec::most_grade);
    constexpr auto part = static_cast<float>(codec::grades_of_octave);
    work.log_weight[static_cast<std::size_t>(r)] = std::floor(std::clamp(sum * part, -most, most) + 0.5F) / part;
  }
}

/// Least squares, rows by how much their residuals will matter: those that are coded finer than they can be predicted
/// count by what they save, others by their weight.
void Fit::predict(Work& work) const {
  const std::int64_t rows = work.inputs.rows;
  const std::int64_t width = plan_.width();
  work.matter.resize(static_cast<std::size_t>(rows));
  const auto weigh_rows = [&](const auto& size_of_residual) {
    double sum = 0;
    for (std::size_t r = 0; r < work.matter.size(); ++r) {
      const float square = exp2_of(2 * work.log_weight[r]);
      work.matter[r] = weights_[r] * square / (1 + square * size_of_residual(r));
      sum += work.matter[r];
    }
    for (float& m : work.matter) m *= static_cast<float>(static_cast<double>(rows) / sum);
  };
  std::vector<float> size;
  weigh_rows([](std::size_t) { return 6.0F; });
  Stored stored;
  constexpr int rounds = 2;
  for (int round = 0; round < rounds; ++round) {
    const Dense moments = gram(work.inputs, work.matter);
    Dense normal(work.columns, work.columns);
    Dense right(work.columns, width);
    double largest = 0;
    for (std::int64_t i = 0; i < work.columns; ++i) {
      for (std::int64_t j = 0; j < work.columns; ++j) normal(i, j) = moments(i, j);
      for (std::int64_t j = 0; j < width; ++j) right(i, j) = moments(i, work.columns + j);
      largest = std::max(largest, moments(i, i));
    }
    for (std::int64_t i = 0; i < work.columns; ++i) normal(i, i) += ridge * normal(i, i) + 1e-9 * largest;
    const Dense solution = transpose(Cholesky(normal).solve(right));
    stored = Stored::round({solution.values.begin(), solution.values.end()});
    work.predicted = multiply(work.inputs, PackedFloats::pack(width, work.columns, stored.values));
    work.residual = Floats(rows, width);
    for_row_ranges(rows, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t r = first; r < last; ++r) {
        const float* exact = work.inputs.row(r) + work.columns;
        for (std::int64_t i = 0; i < width; ++i) work.residual.row(r)[i] = exact[i] - work.predicted.row(r)[i];
      }
    });
    const Floats weighted = multiply(work.residual, work.importance.root);
    size.assign(static_cast<std::size_t>(rows), 0.0F);
    double mean = 0;
    double all = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      float sum = 0;
      for (std::int64_t i = 0; i < width; ++i) sum += weighted.row(r)[i] * weighted.row(r)[i];
      size[static_cast<std::size_t>(r)] = sum / static_cast<float>(width);
      mean += double{weights_[static_cast<std::size_t>(r)]} * size[static_cast<std::size_t>(r)];
      all += weights_[static_cast<std::size_t>(r)];
    }
    const auto half = static_cast<float>(mean / all / 2);
    if (round + 1 < rounds) weigh_rows([half](std::size_t) { return half; });
  }
  weigh_rows([&](std::size_t r) { return size[r]; });
  stored.append(work.out.predict);
  work.out.predict = std::move(stored);
}

/// Principal directions of the residuals in the metric.
void Fit::transform(Work& work) const {
  const std::int64_t width = plan_.width();
  Dense covariance = gram(work.residual, work.matter);
  double all = 0;
  for (const float m : work.matter) all += m;
  for (double& x : covariance.values) x /= all;
  const Importance& metric = work.importance;
  const Eigenpairs eigen = symmetric_eigen(multiply(multiply(metric.root, covariance), metric.root));
  const Dense forward = multiply(transpose(eigen.vectors), metric.root);
  const Dense inverse = multiply(metric.inverse, eigen.vectors);
  work.out.coefficients = width;
  work.out.forward = Stored::round({forward.values.begin(), forward.values.end()});
  work.out.inverse = Stored::round({inverse.values.begin(), inverse.values.end()});
  work.coefficients = multiply(work.residual, PackedFloats::pack(width, width, work.out.forward.values));
}

/// Standard deviations of the weighted coefficients where the weight is 1, and how they grow with it.
void Fit::scale(Work& work) const {
  const std::int64_t rows = work.inputs.rows;
  const std::int64_t width = plan_.width();
  std::vector<double> variance(static_cast<std::size_t>(width));
  const auto measure = [&](double slope) {
    std::fill(variance.begin(), variance.end(), 1e-18);
    double all = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto at = static_cast<std::size_t>(r);
      const double weight = work.matter[at];
      const float factor = exp2_of(static_cast<float>(-2 * (slope - 1)) * work.log_weight[at]);
      all += weight;
      const float* z = work.coefficients.row(r);
      for (std::int64_t c = 0; c < width; ++c) variance[static_cast<std::size_t>(c)] += weight * factor * z[c] * z[c];
    }
    for (double& v : variance) v /= all;
  };
  measure(1);
  std::vector<float> share(static_cast<std::size_t>(width));
  double sum = 0;
  for (const double v : variance) sum += std::min(4 * v, 1.0);
  for (std::size_t c = 0; c < share.size(); ++c) {
    share[c] = static_cast<float>(std::min(4 * variance[c], 1.0) / sum / variance[c]);
  }
  // Regression of the residual's size on log2 g.
  std::vector<double> size(static_cast<std::size_t>(rows));
  double all = 0;
  double mean_weight = 0;
  double mean_size = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto at = static_cast<std::size_t>(r);
    double energy = 1e-3;
    for (std::int64_t c = 0; c < width; ++c) {
      energy += double{share[static_cast<std::size_t>(c)]} * work.coefficients.row(r)[c] * work.coefficients.row(r)[c];
    }
    size[at] = detmath::log2(energy) / 2;
    all += weights_[at];
    mean_weight += double{weights_[at]} * work.log_weight[at];
    mean_size += weights_[at] * size[at];
  }
  mean_weight /= all;
  mean_size /= all;
  double covariance = 0;
  double spread = 1e-6;
  for (std::size_t r = 0; r < size.size(); ++r) {
    const double x = work.log_weight[r] - mean_weight;
    covariance += weights_[r] * x * (size[r] - mean_size) / all;
    spread += weights_[r] * x * x / all;
  }
  const double slope = std::clamp(1 + covariance / spread, least_slope, largest_slope);
  work.out.slope = static_cast<std::int32_t>(std::floor(slope * 256 + 0.5));
  measure(slope);

  sort(work, variance);
}

/// The largest coefficients first, in whole tiles; what is never coded at any useful step is left out.
void Fit::sort(Work& work, const std::vector<double>& variance) const {
  const std::int64_t width = plan_.width();
  std::vector<std::int64_t> order(static_cast<std::size_t>(width));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return variance[static_cast<std::size_t>(a)] > variance[static_cast<std::size_t>(b)];
  });
  float most = -static_cast<float>(codec::most_grade);
  for (const float w : work.log_weight) most = std::max(most, w);
  const double least = least_class / 4.0 + least_step_log2 - work.out.slope / 256.0 * most;
  std::int64_t kept = 0;
  for (const std::int64_t c : order) {
    const double log_scale = detmath::log2(variance[static_cast<std::size_t>(c)]) / 2;
    if (kept % codec::tile_coefficients == 0 && kept > 0 && log_scale <= least) break;
    constexpr double bound = 20000;
    work.out.scales.push_back(
        static_cast<std::int16_t>(std::clamp(std::floor(log_scale * codec::scale_parts + 0.5), -bound, bound)));
    ++kept;
  }
  const std::int64_t padded =
      (kept + codec::tile_coefficients - 1) / codec::tile_coefficients * codec::tile_coefficients;
  work.out.scales.resize(static_cast<std::size_t>(padded), work.out.scales.back());
  std::vector<float> forward(static_cast<std::size_t>(padded * width), 0.0F);
  std::vector<float> inverse(static_cast<std::size_t>(width * padded), 0.0F);
  for (std::int64_t k = 0; k < kept; ++k) {
    const std::int64_t c = order[static_cast<std::size_t>(k)];
    for (std::int64_t i = 0; i < width; ++i) {
      forward[static_cast<std::size_t>(k * width + i)] =
          work.out.forward.values[static_cast<std::size_t>(c * width + i)];
      inverse[static_cast<std::size_t>(i * padded + k)] =
          work.out.inverse.values[static_cast<std::size_t>(i * width + c)];
    }
  }
  work.out.coefficients = padded;
  work.out.forward.values = std::move(forward);
  work.out.inverse.values = std::move(inverse);
  work.coefficients = multiply(work.residual, PackedFloats::pack(padded, width, work.out.forward.values));
}

/// The coefficients of a token as they are restored, and its symbols.
void Fit::code_row(const Work& work, std::int64_t row, float* restored, Counts& counts) const {
  const auto at = static_cast<std::size_t>(row);
  const float weight = exp2_of(work.log_weight[at]);
  const float* z = work.coefficients.row(row);
  const auto moved =
      static_cast<std::int32_t>(std::floor(work.out.slope / 256.0 * codec::scale_parts * work.log_weight[at] + 0.5));
  for (std::int64_t c = 0; c < work.out.coefficients; ++c) {
    const std::int16_t* scales = &work.out.scales[static_cast<std::size_t>(c - c % codec::tile_coefficients)];
    const std::int32_t scale = ((scales[0] + scales[1] + scales[2] + scales[3] + 2) >> 2) + moved;
    restored[c] = 0;
    for (const CountedStep& step : counted_steps) {
      const std::int32_t table = ((scale - step.scale + codec::scales_of_table / 2) >> 2) - least_class;
      if (table < 0) continue;
      constexpr float largest = 32767;
      const float number = std::nearbyint(std::clamp(z[c] * weight / step.step, -largest, largest));
      const auto symbol = std::min(codec::zigzag(static_cast<std::int16_t>(number)), codec::large_symbol);
      counts[static_cast<std::size_t>(std::min(table, tables - 1))][symbol] += weights_[at];
      if (step.scale == 0) restored[c] = number / weight;
    }
  }
}

/// Quantizes with a step of 1, counts symbols, and keeps what a decoder will have.
void Fit::code(Work& work) {
  const std::int64_t rows = work.inputs.rows;
  const std::int64_t width = plan_.width();
  const std::int64_t kept = work.out.coefficients;
  Floats restored(rows, kept);
  std::map<std::int64_t, Counts> parts;  // by their first row; added up in this order
  std::mutex mutex;
  for_row_ranges(rows, [&](std::int64_t first, std::int64_t last) {
    Counts counts(tables);
    for (std::int64_t r = first; r < last; ++r) code_row(work, r, restored.row(r), counts);
    const std::lock_guard lock(mutex);
    parts[first] = std::move(counts);
  });
  for (const auto& [first, counts] : parts) {
    for (std::size_t t = 0; t < counts.size(); ++t) {
      for (std::size_t s = 0; s < counts[t].size(); ++s) counts_[t][s] += counts[t][s];
    }
  }
  Floats decoded = multiply(restored, PackedFloats::pack(width, kept, work.out.inverse.values));
  for_row_ranges(rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      for (std::int64_t i = 0; i < width; ++i) decoded.row(r)[i] += work.predicted.row(r)[i];
    }
  });
  decoded_.push_back(std::move(decoded));
}

/// A decoder without loss has exact values below.
void Fit::fit_lossless(Work& work) {
  fill_features(work, exact_);
  const PackedFloats predict = PackedFloats::pack(plan_.width(), work.columns, work.out.predict.values);
  work.out.lossless = lossless_.next(work.number, work.samples.values, multiply(work.inputs, predict));
  exact_.push_back(std::move(work.samples.values));
}

Result<Fitted> Fit::next() {
  Work work;
  work.number = static_cast<std::int64_t>(decoded_.size());
  SEQKV_ASSIGN(work.samples, read_samples(plan_, folder_, work.number));
  fill_features(work, decoded_);
  weigh(work);
  predict(work);
  transform(work);
  scale(work);
  code(work);
  fit_lossless(work);
  work.out.first_row = work.samples.first_row;
  const std::int64_t done = work.number + 1;
  if (done < plan_.subblocks()) {
    for (std::int64_t b = 0; b < done - plan_.window(done); ++b) {
      decoded_[static_cast<std::size_t>(b)] = {};
      exact_[static_cast<std::size_t>(b)] = {};
    }
  }
  return std::move(work.out);
}

std::vector<codec::Frequencies> Fit::make_tables() const {
  const auto prior = codec::TableFamily::of_scales(tables, detmath::exp2(least_class / 4.0),
                                                   detmath::exp2((least_class + tables - 1) / 4.0));
  std::vector<codec::Frequencies> out;
  for (int t = 0; t < tables; ++t) {
    codec::Counts counts{};
    constexpr double unit = 256;  // counts are integers
    for (std::size_t s = 0; s < counts.size(); ++s) {
      const double expected = prior_symbols * prior.frequencies(t)[s] / codec::rans::total;
      counts[s] = static_cast<std::uint64_t>((counts_[static_cast<std::size_t>(t)][s] + expected) * unit);
    }
    out.push_back(codec::optimal_frequencies(counts));
  }
  return out;
}

}  // namespace seqkv::calibration
