// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "cli/ranks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "seqkv/cores.hpp"
#if defined(SEQKV_HAVE_MPI)
#include "mpi/program.hpp"
#include "seqkv/mpi.hpp"
#include "seqkv/mpi_batch.hpp"
#endif

namespace seqkv::cli {
namespace {

/// Processes that do not know of each other would all write the same store. The first variable that is set speaks:
/// mpirun in a job of Slurm starts its daemons by a step, whose number of tasks is that of the nodes.
Result<void> refuse_several(const std::string& why) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    const char* value = std::getenv(name);
    if (value == nullptr) continue;
    if (std::atoi(value) <= 1) break;
    return Error(ErrorCode::unsupported, fmt::format("started as {} processes ({}), but {}", value, name, why));
  }
  return {};
}

}  // namespace

#if defined(SEQKV_HAVE_MPI)

struct Ranks::State {
  mpi::Program program;
  std::optional<mpi::Communicator> communicator;  // goes before MPI does
  int threads = 1;
};

bool has_mpi() { return true; }
std::string mpi_version() { return mpi::Communicator::library_version(); }

Result<Ranks> Ranks::start() {
  if (!mpi::Program::launched()) {
    auto alone = refuse_several("without what MPI needs to find them: see srun --mpi=list");
    if (!alone) return std::move(alone).error();
    return Ranks(nullptr);
  }
  auto state = std::make_unique<State>();
  auto communicator = mpi::Communicator::duplicate(mpi::Program::world());
  if (!communicator) return std::move(communicator).error();
  state->communicator.emplace(std::move(*communicator));
  if (state->communicator->size() == 1) {
    auto alone = refuse_several(fmt::format("{} knows of one: is the launcher that of another MPI?", mpi_version()));
    if (!alone) return std::move(alone).error();
  }
  state->threads = mpi::Program::threads();
  return Ranks(std::move(state));
}

const mpi::Communicator* Ranks::communicator() const { return state_ == nullptr ? nullptr : &*state_->communicator; }
bool Ranks::talk() const { return state_ == nullptr || state_->communicator->rank() == 0; }
bool Ranks::are_many() const { return state_ != nullptr && state_->communicator->size() > 1; }
int Ranks::threads() const { return state_ == nullptr ? available_cores() : state_->threads; }
std::optional<int> Ranks::device(int devices) const {
  return state_ == nullptr ? std::nullopt : state_->communicator->device(devices);
}

namespace {

/// In what a rank is busy, beside waiting for others.
double busy(const mpi::RankReport& rank) { return rank.read + rank.model + rank.codec + rank.hand_over; }

}  // namespace

void add_ranks(Report& report, const mpi::BatchReport& batch) {
  double most = 0;
  double all = 0;
  std::vector<Report> rows;
  for (const mpi::RankReport& rank : batch.ranks) {
    most = std::max(most, busy(rank));
    all += busy(rank);
    rows.push_back({{"rank", rank.rank},
                    {"sessions", rank.sessions},
                    {"new_tokens", rank.new_tokens},
                    {"new_bytes", rank.new_bytes},
                    {"sent_bytes", rank.sent_bytes},
                    {"received_bytes", rank.received_bytes},
                    {"read_s", rank.read},
                    {"model_s", rank.model},
                    {"codec_s", rank.codec},
                    {"hand_over_s", rank.hand_over},
                    {"wait_s", rank.wait},
                    {"commit_s", rank.commit},
                    {"index_s", rank.index},
                    {"total_s", rank.total}});
  }
  const auto ranks = static_cast<double>(batch.ranks.size());
  report.set("epochs", batch.epochs);
  report.set("load_balance", most > 0 ? all / ranks / most : 1.0);
  report.set("planned_imbalance", batch.planned_most);
  report.set("ranks", rows);
}

#else

struct Ranks::State {};

bool has_mpi() { return false; }
std::string mpi_version() { return "none"; }

Result<Ranks> Ranks::start() {
  if (auto alone = refuse_several("this build has no MPI: run one"); !alone) return std::move(alone).error();
  return Ranks(nullptr);
}

const mpi::Communicator* Ranks::communicator() const { return nullptr; }
bool Ranks::talk() const { return true; }
bool Ranks::are_many() const { return false; }
int Ranks::threads() const { return available_cores(); }
std::optional<int> Ranks::device(int) const { return std::nullopt; }
void add_ranks(Report&, const mpi::BatchReport&) {}

#endif

Ranks::Ranks(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ranks::Ranks(Ranks&&) noexcept = default;
Ranks::~Ranks() = default;

}  // namespace seqkv::cli
