// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Runs of a model, with all that they give on the host: to be compared to the bit.
#pragma once

#include <gtest/gtest.h>
#include <algorithm>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "seqkv/forward.hpp"
#include "support/result.hpp"

namespace seqkv::test {

/// Of one sequence.
struct Outcome {
  std::vector<float> kv;         ///< [layers][K|V][kv_heads][tokens][head_dim]
  std::vector<float> logits;     ///< [rows][vocabulary]
  std::vector<float> attention;  ///< [layers][tokens][query_heads * head_dim]

  friend bool operator==(const Outcome& a, const Outcome& b) {
    const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
      return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
    };
    return same(a.kv, b.kv) && same(a.logits, b.logits) && same(a.attention, b.attention);
  }
};

/// The cache of a sequence, in fp32.
template <class Space>
std::vector<float> read_kv(const Space& space, const Sequence<Space>& sequence, const ModelConfig& config) {
  KvCache cache = value_of(KvCache::create(config.kv_shape(DType::f32), sequence.tokens()));
  value_of(sequence.read(space, 0, cache.view()));
  const auto* values = reinterpret_cast<const float*>(cache.raw().data());
  return {values, values + cache.components()};
}

/// Rows [first, first + count) of a matrix.
template <class Host>
std::vector<float> rows_of(const Host& host, std::int64_t first, std::int64_t count) {
  const auto width = static_cast<std::int64_t>(host.extent(1));
  return {host.data() + first * width, host.data() + (first + count) * width};
}

/// Appends texts[i] to sequences[i], all at once; logits of the last `rows` tokens of each, or of all it has.
template <class Space>
std::vector<Outcome> run_on(const Space& space, const std::shared_ptr<const Model<Space>>& model,
                            const std::vector<Sequence<Space>*>& sequences, const std::vector<TokenSpan>& texts,
                            std::int64_t chunk, std::int64_t rows) {
  auto forward = value_of(Forward<Space>::create(space, model, chunk));
  typename Forward<Space>::Output output;
  output.want_attention = true;
  std::vector<typename Forward<Space>::Item> items;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto count = static_cast<std::int64_t>(texts[i].size());
    items.push_back({sequences[i], texts[i], std::min(rows, count)});
    total += count;
  }
  value_of(forward.run(space, items, &output));

  const auto logits = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), output.logits);
  const auto attention = Kokkos::create_mirror_view_and_copy(Kokkos::HostSpace(), output.attention);
  std::vector<Outcome> outcomes;
  std::int64_t first_row = 0;
  std::int64_t first_token = 0;
  for (const auto& item : items) {
    Outcome& outcome = outcomes.emplace_back();
    outcome.kv = read_kv(space, *item.sequence, model->config());
    outcome.logits = rows_of(logits, first_row, item.logits);
    const auto count = static_cast<std::int64_t>(item.tokens.size());
    for (std::int64_t layer = 0; layer < model->config().layers; ++layer) {
      const auto part = rows_of(attention, layer * total + first_token, count);
      outcome.attention.insert(outcome.attention.end(), part.begin(), part.end());
    }
    first_row += item.logits;
    first_token += count;
  }
  return outcomes;
}

/// The same on new sequences.
template <class Space>
std::vector<Outcome> run_batch(const Space& space, const std::shared_ptr<const Model<Space>>& model,
                               const std::vector<TokenSpan>& texts, std::int64_t chunk, std::int64_t rows) {
  std::vector<Sequence<Space>> sequences;
  for (std::size_t i = 0; i < texts.size(); ++i) sequences.emplace_back(model->config());
  std::vector<Sequence<Space>*> pointers;
  for (auto& sequence : sequences) pointers.push_back(&sequence);
  return run_on(space, model, pointers, texts, chunk, rows);
}

template <class Space>
Outcome run_alone(const Space& space, const std::shared_ptr<const Model<Space>>& model, TokenSpan text,
                  std::int64_t chunk, std::int64_t rows) {
  return std::move(run_batch(space, model, {text}, chunk, rows)[0]);
}

}  // namespace seqkv::test
