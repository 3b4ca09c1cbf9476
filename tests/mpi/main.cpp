// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Every rank runs every test; rank 0 talks, the others only of what fails.
#include <gtest/gtest.h>
#include <cstdio>

#include <Kokkos_Core.hpp>

#include "mpi/program.hpp"
#include "support/ranks.hpp"
#include "support/selection.hpp"

namespace {

/// What a test that fails says on a rank that is otherwise silent.
class Failures : public testing::EmptyTestEventListener {
 public:
  explicit Failures(int rank) : rank_(rank) {}

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_, result.file_name() == nullptr ? "" : result.file_name(),
                 result.line_number(), result.summary());
  }
  int rank_;
};

}  // namespace

int main(int argc, char** argv) {
  const seqkv::mpi::Program mpi;
  const int threads = seqkv::mpi::Program::threads();
  testing::InitGoogleTest(&argc, argv);
  if (!seqkv::test::select_tests(argc, argv)) return 2;
  const Kokkos::ScopeGuard kokkos(Kokkos::InitializationSettings().set_disable_warnings(true).set_num_threads(threads));
  const int rank = seqkv::test::world().rank();
  if (rank != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new Failures(rank));
  }
  const int status = RUN_ALL_TESTS();
  seqkv::test::world() = seqkv::test::no_world();
  return status;
}
