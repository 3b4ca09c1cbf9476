// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/host_range.hpp"
#include "seqkv/span_index.hpp"

namespace seqkv {

template <class ExecutionSpace>
Result<std::vector<std::vector<SharedSpan>>> find_spans(const ExecutionSpace& space, const SpanIndex& index,
                                                        std::span<const TokenSpan> queries, std::int64_t least,
                                                        bool within) {
  return guard_memory("for spans", [&]() -> Result<std::vector<std::vector<SharedSpan>>> {
    std::vector<std::vector<SharedSpan>> out(queries.size());
    for_each_allocating("seqkv::trie::find_spans", host_range(space, static_cast<std::int64_t>(queries.size())),
                        [&](std::int64_t i) {
                          const auto at = static_cast<std::size_t>(i);
                          out[at] = index.find(queries[at], least, within);
                        });
    return out;
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                   \
  template Result<std::vector<std::vector<SharedSpan>>> find_spans(const Space&, const SpanIndex&, \
                                                                   std::span<const TokenSpan>, std::int64_t, bool);
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
