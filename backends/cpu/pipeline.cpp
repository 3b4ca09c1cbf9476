// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "backends/cpu/pipeline.hpp"

#include <algorithm>

#if defined(SEQKV_HAVE_TBB)
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_pipeline.h>
#include <oneapi/tbb/task_arena.h>
#include <sched.h>

#include <optional>
#include <thread>
#include <vector>

#include "core/cores.hpp"
#if defined(__SANITIZE_THREAD__)
#define SEQKV_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SEQKV_TSAN
#endif
#endif
#if defined(SEQKV_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#endif

namespace seqkv::cpu {
namespace {

void run_one_by_one(const Pipeline& pipeline) {
  for (std::int64_t item = 0; item < pipeline.items && pipeline.read(item, 0); ++item) {
    pipeline.work(item, 0);
    pipeline.write(item, 0);
  }
}

#if defined(SEQKV_HAVE_TBB)

/// A new thread may run where the one that made it may, and OpenMP binds the first thread to one core: from the first
/// time that a worker comes here it may run on all cores of the process. (An observer of the arena could take that back
/// when the worker leaves, but oneTBB never frees an observer whose workers still sleep when the process ends.)
class OnAllCores {
 public:
  void here() const {
    thread_local bool wide = false;
    if (wide || std::this_thread::get_id() == caller_) return;
    wide = true;
    if (CPU_COUNT(&cpus_) > 0) ::sched_setaffinity(0, sizeof(cpus_), &cpus_);
  }

 private:
  std::thread::id caller_ = std::this_thread::get_id();
  cpu_set_t cpus_ = process_cpus();
};

/// The order that a pipeline of oneTBB promises, for ThreadSanitizer, which does not see into the library: what was
/// done with a lane, or in a stage that takes one item at a time, happened before what is done with it next.
struct Promise {
#if defined(SEQKV_TSAN)
  void begin() { __tsan_acquire(this); }
  void end() { __tsan_release(this); }
#else
  void begin() {}
  void end() {}
#endif
};

void run_overlapping(const Pipeline& pipeline) {
  // oneTBB has as many threads as it finds cores, unless told.
  std::optional<tbb::global_control> more;
  if (pipeline.cores > tbb::info::default_concurrency()) {
    more.emplace(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(pipeline.cores));
  }
  tbb::task_arena arena(pipeline.cores);
  const OnAllCores on_all_cores;
  using Item = std::int64_t;
  const auto lane_of = [&pipeline](Item item) { return static_cast<int>(item % pipeline.lanes); };
  std::vector<Promise> lanes(static_cast<std::size_t>(pipeline.lanes));
  Promise reading, working, writing;
  const auto in_order = [&](Promise& stage, Item item, const auto& run) {
    Promise& lane = lanes[static_cast<std::size_t>(lane_of(item))];
    lane.begin();
    run(item, lane_of(item));
    lane.end();
    stage.end();
  };
  Item next = 0;
  const auto read = [&](tbb::flow_control& flow) {
    on_all_cores.here();
    reading.begin();
    const Item item = next++;
    in_order(reading, item, [&](Item i, int lane) {
      if (i >= pipeline.items || !pipeline.read(i, lane)) flow.stop();
    });
    return item;
  };
  const auto work = [&](Item item) {
    on_all_cores.here();
    if (pipeline.work_alone) working.begin();
    in_order(working, item, pipeline.work);
    return item;
  };
  const auto write = [&](Item item) {
    writing.begin();
    in_order(writing, item, pipeline.write);
  };
  using Mode = tbb::filter_mode;
  for (Promise* stage : {&reading, &working, &writing}) stage->end();
  for (Promise& lane : lanes) lane.end();
  arena.execute([&]() {
    tbb::parallel_pipeline(
        static_cast<std::size_t>(pipeline.lanes),
        tbb::make_filter<void, Item>(Mode::serial_in_order, read) &
            tbb::make_filter<Item, Item>(pipeline.work_alone ? Mode::serial_in_order : Mode::parallel, work) &
            tbb::make_filter<Item, void>(Mode::serial_in_order, write));
  });
  for (Promise* stage : {&reading, &working, &writing}) stage->begin();
  for (Promise& lane : lanes) lane.begin();
}

#endif

}  // namespace

#if defined(SEQKV_HAVE_TBB)
bool pipeline_overlaps() noexcept { return true; }
#else
bool pipeline_overlaps() noexcept { return false; }
#endif

void run(const Pipeline& pipeline) {
#if defined(SEQKV_HAVE_TBB)
  if (std::min(pipeline.lanes, pipeline.cores) > 1) return run_overlapping(pipeline);
#endif
  run_one_by_one(pipeline);
}

}  // namespace seqkv::cpu
