// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "calibrate/plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/try.hpp"
#include "seqkv/limits.hpp"

namespace seqkv::calibration {
namespace {

/// Numbers with which a file of samples, and so the key, changes.
constexpr std::uint64_t version = 1;

struct Amount {
  std::int64_t chunks;
  std::int64_t rows_of_chunk;
  int draws;
  std::int64_t held_out;
};

constexpr Amount amounts[] = {{60, 128, 1, 4},    {120, 128, 1, 6},   {200, 128, 1, 8},
                              {350, 128, 2, 12},  {600, 128, 2, 16},  {800, 160, 2, 16},
                              {1000, 192, 2, 24}, {1500, 256, 2, 24}, {3000, 384, 2, 32}};

/// Fewer rows than that per column of the largest regression do not determine it.
constexpr std::int64_t rows_per_column = 4;

/// How often a token is sampled, beside its own like: those close to an end of the context or of a block matter most,
/// and are the fewest.
std::vector<double> sampling_density(std::int64_t context, std::int64_t block) {
  std::vector<double> density(static_cast<std::size_t>(context), 0.45 / static_cast<double>(context));
  const auto add = [&](std::int64_t first, std::int64_t last, double mass) {
    for (std::int64_t t = first; t < last; ++t) {
      density[static_cast<std::size_t>(t)] += mass / static_cast<double>(last - first);
    }
  };
  add(std::max<std::int64_t>(0, context - context / 12 - 1), context, 0.25);
  add(std::max<std::int64_t>(0, context - context / 3 - 1), context, 0.15);
  const std::int64_t blocks = (context + block - 1) / block;
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t last = std::min(context, (b + 1) * block);
    add(std::max(b * block, last - block / 4 - 1), last, 0.15 / static_cast<double>(blocks));
  }
  density[0] = 0;  // the first token is known beforehand
  return density;
}

/// Probabilities of being among `count` sampled tokens, in proportion to `density` but at most 1.
std::vector<double> inclusion(const std::vector<double>& density, std::int64_t count) {
  std::vector<double> out(density.size());
  double scale = 0;
  double rest = static_cast<double>(count);
  double mass = 0;
  for (const double d : density) mass += d;
  std::vector<bool> certain(density.size(), false);
  for (bool changed = true; changed;) {
    changed = false;
    scale = rest / mass;
    for (std::size_t t = 0; t < density.size(); ++t) {
      if (certain[t] || density[t] * scale < 1) continue;
      certain[t] = changed = true;
      rest -= 1;
      mass -= density[t];
    }
  }
  for (std::size_t t = 0; t < density.size(); ++t) out[t] = certain[t] ? 1 : density[t] * scale;
  return out;
}

/// Systematic sampling: exactly the given probabilities, and tokens spread over the context.
std::vector<std::int64_t> sample(const std::vector<double>& probability, std::int64_t count, double offset) {
  std::vector<std::int64_t> out;
  double sum = 0;
  for (std::size_t t = 0; t < probability.size() && static_cast<std::int64_t>(out.size()) < count; ++t) {
    sum += probability[t];
    if (sum > static_cast<double>(out.size()) + offset) out.push_back(static_cast<std::int64_t>(t));
  }
  for (std::int64_t t = static_cast<std::int64_t>(probability.size()) - 1;
       static_cast<std::int64_t>(out.size()) < count; --t) {  // where rounding has lost one
    if (std::find(out.begin(), out.end(), t) == out.end()) out.push_back(t);
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// Documents that are long enough for a chunk, some of them set aside, evenly over the text.
void choose_held_out(Plan& plan, const std::vector<std::vector<Token>>& documents, std::int64_t wanted,
                     std::vector<bool>& is_held_out) {
  const std::int64_t length = plan.context + plan.continuation;
  std::vector<std::size_t> candidates;
  for (std::size_t d = 0; d < documents.size(); ++d) {
    if (static_cast<std::int64_t>(documents[d].size()) >= length) candidates.push_back(d);
  }
  const auto count =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(candidates.size()) / 8, candidates.size() > 1 ? 1 : 0, wanted);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::size_t d =
        candidates[(2 * static_cast<std::size_t>(i) + 1) * candidates.size() / (2 * static_cast<std::size_t>(count))];
    is_held_out[d] = true;
    plan.held_out.emplace_back(documents[d].begin(), documents[d].begin() + length);
  }
}

/// The starts of all documents, then what follows in each, as long as there is text and a wish for more.
void cut_chunks(Plan& plan, const std::vector<std::vector<Token>>& documents, const std::optional<Token>& bos,
                const std::vector<bool>& is_held_out, std::int64_t wanted) {
  const std::int64_t length = plan.context + plan.continuation;
  const std::int64_t front = bos ? 1 : 0;
  bool more = true;
  for (std::int64_t part = 0; more; ++part) {
    more = false;
    for (std::size_t d = 0; d < documents.size(); ++d) {
      if (static_cast<std::int64_t>(plan.chunks.size()) == wanted) return;
      const auto& document = documents[d];
      const std::int64_t first = front + (length - front) * part;
      if (is_held_out[d] || static_cast<std::int64_t>(document.size()) < first + length - front) continue;
      Chunk chunk;
      if (bos) chunk.push_back(part == 0 ? document[0] : *bos);
      chunk.insert(chunk.end(), document.begin() + first, document.begin() + first + length - front);
      plan.chunks.push_back(std::move(chunk));
      more = true;
    }
  }
}

Result<void> check_amount(const Plan& plan) {
  std::int64_t columns = 0;
  for (std::int64_t b = 0; b < plan.subblocks(); ++b) {
    columns = std::max(columns, plan.inputs(b));
  }
  const std::int64_t needed = (rows_per_column * columns + plan.rows_of_chunk - 1) / plan.rows_of_chunk;
  const auto found = static_cast<std::int64_t>(plan.chunks.size());
  if (found >= needed && !plan.held_out.empty()) return {};
  const std::int64_t length = plan.context + plan.continuation;
  return Error(ErrorCode::empty_input,
               fmt::format("too little text: {} pieces of {} tokens beside {} documents held out; this model needs {} "
                           "pieces and a document held out, about {} tokens in documents of {} and more",
                           found, length, plan.held_out.size(), needed, (needed + needed / 7 + 1) * length, length));
}

void place_rows(Plan& plan, std::int64_t block_tokens) {
  const auto probability = inclusion(sampling_density(plan.context, block_tokens), plan.rows_of_chunk);
  double sum = 0;
  for (std::size_t c = 0; c < plan.chunks.size(); ++c) {
    Random random(c);
    plan.positions.push_back(sample(probability, plan.rows_of_chunk, random.uniform()));
    for (const std::int64_t t : plan.positions.back()) {
      const std::int64_t block_end = std::min(plan.context, (t / block_tokens + 1) * block_tokens);
      const double weight = 1 / probability[static_cast<std::size_t>(t)];
      sum += weight;
      plan.rows.push_back({plan.chunks[c][static_cast<std::size_t>(t)], static_cast<float>(plan.context - t),
                           static_cast<float>(block_end - t), static_cast<float>(weight)});
    }
  }
  const auto mean = static_cast<float>(sum / static_cast<double>(plan.rows.size()));
  for (Row& row : plan.rows) row.weight /= mean;
}

/// The first tokens of a document attend to what is before it most: they are few, and must not lead.
constexpr std::int64_t unlike_others = 4;

/// Each chunk is a document behind the beginnings of two others.
void make_pairs(Plan& plan, std::int64_t block_tokens) {
  const std::int64_t tokens = plan.context * 2 / 3;
  const std::int64_t most = plan.context * 2 / 3;
  const std::int64_t least = plan.context / 12;
  const std::vector<double> probability(
      static_cast<std::size_t>(tokens - unlike_others),
      static_cast<double>(plan.rows_of_chunk) / static_cast<double>(tokens - unlike_others));
  const std::size_t chunks = plan.chunks.size();
  for (std::size_t c = 0; c < chunks; ++c) {
    Random random(chunks + c);
    Pair pair;
    for (std::size_t i = 0; i < 2; ++i) {
      const auto other = static_cast<std::size_t>(random.uniform() * static_cast<double>(chunks - 1));
      const Chunk& before = plan.chunks[(c + 1 + other) % chunks];
      pair.starts[i] = 1 + least + static_cast<std::int64_t>(random.uniform() * static_cast<double>(most - least + 1));
      pair.contexts[i].assign(before.begin(), before.begin() + pair.starts[i]);
      pair.contexts[i].insert(pair.contexts[i].end(), plan.chunks[c].begin() + 1, plan.chunks[c].begin() + 1 + tokens);
    }
    pair.positions = sample(probability, plan.rows_of_chunk, random.uniform());
    for (std::int64_t& position : pair.positions) {
      position += unlike_others;
      for (const std::size_t i : {0, 1}) {
        const auto end = static_cast<std::int64_t>(pair.contexts[i].size());
        const std::int64_t t = pair.starts[i] + position;
        const std::int64_t block_end = std::min(end, (t / block_tokens + 1) * block_tokens);
        const Row row{pair.contexts[i][static_cast<std::size_t>(t)], static_cast<float>(end - t),
                      static_cast<float>(block_end - t), 1.0F};
        (i == 0 ? plan.predicted_rows : plan.source_rows).push_back(row);
      }
    }
    plan.pairs.push_back(std::move(pair));
  }
}

Digest key_of(const Plan& plan, const Digest& model, const CalibrateOptions& options) {
  Sha256 hash;
  hash.update(std::span(model.bytes)).update(version).update(static_cast<std::uint64_t>(options.dtype));
  for (const std::int64_t n : {plan.context, plan.continuation, std::int64_t{plan.draws}, plan.rows_of_chunk,
                               options.block_tokens, static_cast<std::int64_t>(plan.chunks.size())}) {
    hash.update(static_cast<std::uint64_t>(n));
  }
  for (const Chunk& chunk : plan.chunks) hash.update(std::as_bytes(std::span(chunk)));
  return hash.finish();
}

Result<void> check_options(const ModelConfig& config, const CalibrateOptions& options) {
  if (options.effort < 1 || options.effort > 9) {
    return Error(ErrorCode::invalid_argument, fmt::format("an effort of {}, not 1 to 9", options.effort));
  }
  if (options.context < 16 || options.continuation < 1) {
    return Error(ErrorCode::invalid_argument,
                 "a context of at least 16 and a continuation of at least 1 token are needed");
  }
  if (options.block_tokens < limits::min_block_tokens || options.block_tokens > limits::max_block_tokens) {
    return Error(ErrorCode::invalid_argument, fmt::format("blocks of {} tokens, not {} to {}", options.block_tokens,
                                                          limits::min_block_tokens, limits::max_block_tokens));
  }
  if (options.context + options.continuation > config.max_positions) {
    return Error(
        ErrorCode::invalid_argument,
        fmt::format("a context of {} and a continuation of {} tokens are more than the {} positions of the model",
                    options.context, options.continuation, config.max_positions));
  }
  if (options.references && options.context * 4 / 3 + 1 > config.max_positions) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("references are learned from contexts of up to {} tokens, the model has {} positions",
                             options.context * 4 / 3 + 1, config.max_positions));
  }
  if (options.layers_below.value_or(0) < 0 || options.token_width.value_or(0) < 0 || options.profile_bytes < 0) {
    return Error(ErrorCode::invalid_argument, "a number of layers, a width or a size below 0");
  }
  if (config.kv_heads * config.head_dim > limits::max_predicted_width) {
    return Error(ErrorCode::limit_exceeded,
                 fmt::format("{} numbers a token and kind, at most {} can be predicted",
                             config.kv_heads * config.head_dim, limits::max_predicted_width));
  }
  return {};
}

}  // namespace

Result<Plan> make_plan(const ModelConfig& config, const Digest& model, const std::vector<std::vector<Token>>& documents,
                       const CalibrateOptions& options) {
  SEQKV_TRY(check_options(config, options));
  const Amount& amount = amounts[options.effort - 1];
  Plan plan;
  plan.shape = config.kv_shape(options.dtype);
  plan.context = options.context;
  plan.continuation = options.continuation;
  SEQKV_ASSIGN(plan.sizes, choose_sizes(config, options));
  plan.draws = amount.draws;
  plan.rows_of_chunk = std::min(amount.rows_of_chunk, options.context / 2);
  std::vector<bool> is_held_out(documents.size(), false);
  choose_held_out(plan, documents, amount.held_out, is_held_out);
  // Small contexts give few rows a chunk.
  const std::int64_t wanted = amount.chunks * amount.rows_of_chunk / plan.rows_of_chunk;
  cut_chunks(plan, documents, config.bos, is_held_out, wanted);
  SEQKV_TRY(check_amount(plan));
  const Token first = plan.chunks.front().front();
  if (std::all_of(plan.chunks.begin(), plan.chunks.end(), [&](const Chunk& chunk) { return chunk[0] == first; })) {
    plan.first_token = first;
  }
  place_rows(plan, options.block_tokens);
  if (options.references) make_pairs(plan, options.block_tokens);
  plan.key = key_of(plan, model, options);
  return plan;
}

}  // namespace seqkv::calibration
