// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Every kernel, allocation, fence and region of the library carries a label "seqkv::area::what": seen through
// Kokkos Tools callbacks during a whole piece of work.
#include <gtest/gtest.h>

#include <Kokkos_Core.hpp>
#include <Kokkos_Profiling_ProfileSection.hpp>
#include <set>

#include "seqkv/batch.hpp"
#include "seqkv/cache_gradient.hpp"
#include "support/files.hpp"
#include "support/result.hpp"

namespace seqkv {
namespace {

std::set<std::string> strangers;  // labels that do not follow the rule

void look_at(const char* label) {
  const std::string text(label);
  const bool ours = text.starts_with("seqkv::") && text.find("::", 7) != std::string::npos;
  // What Kokkos does on its own behalf (initializing a View of ours, deep copies, scratch of teams, freeing).
  const bool of_kokkos = text.find("Kokkos") != std::string::npos || text.starts_with("HostSpace");
  if (!ours && !of_kokkos) strangers.insert(text);
}

void on_kernel(const char* name, std::uint32_t, std::uint64_t*) { look_at(name); }
void on_allocation(Kokkos_Profiling_SpaceHandle, const char* label, const void*, std::uint64_t) { look_at(label); }

TEST(Labels, AllWorkIsLabeled) {
  namespace tools = Kokkos::Tools::Experimental;
  tools::set_begin_parallel_for_callback(on_kernel);
  tools::set_begin_parallel_reduce_callback(on_kernel);
  tools::set_begin_fence_callback(on_kernel);
  tools::set_allocate_data_callback(on_allocation);
  {
    using Space = Kokkos::DefaultExecutionSpace;
    const Space space;
    const test::ScratchFolder scratch;
    const auto model = test::value_of(Model<Space>::load(space, SEQKV_MODEL));
    ManifestLine line;
    line.session = std::string("s");
    line.text = std::string("Every kernel has a name.");
    for (const char* spec : {"raw", "none+lossless", "none+turboquant:3,keys=unrotated"}) {
      BatchOptions options{test::value_of(Codec::parse(spec))};
      options.measure = 4;
      ASSERT_OK(run_batch(space, model, scratch.path() / std::to_string(std::string(spec).size()), {line}, options));
    }
    auto gradient = test::value_of(CacheGradient<Space>::create(space, model));
    Sequence<Space> sequence(model->config());
    KvCache none = test::value_of(KvCache::create(model->config().kv_shape(DType::f32), 0));
    ASSERT_OK(gradient.run(space, sequence, std::vector<Token>{1, 2, 3}, 1, none.view()));
  }
  tools::set_begin_parallel_for_callback(nullptr);
  tools::set_begin_parallel_reduce_callback(nullptr);
  tools::set_begin_fence_callback(nullptr);
  tools::set_allocate_data_callback(nullptr);
  for (const std::string& label : strangers) ADD_FAILURE() << "label '" << label << "'";
}

}  // namespace
}  // namespace seqkv
