// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "mpi/communicator.hpp"

#include <fmt/format.h>
#include <sched.h>

#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <thread>

#include "core/try.hpp"

namespace seqkv::mpi {
namespace {

/// What MPI says of itself: some are told when they are built, some when they start.
bool says_it_takes_devices() {
#if defined(MPIX_CUDA_AWARE_SUPPORT) && MPIX_CUDA_AWARE_SUPPORT
  if (MPIX_Query_cuda_support() == 1) return true;
#endif
#if defined(MPIX_ROCM_AWARE_SUPPORT) && MPIX_ROCM_AWARE_SUPPORT
  if (MPIX_Query_rocm_support() == 1) return true;
#endif
  const char* cray = std::getenv("MPICH_GPU_SUPPORT_ENABLED");
  return cray != nullptr && std::string_view(cray) == "1";
}

bool takes_devices(DeviceTransfers wanted) {
  if (wanted == DeviceTransfers::automatic) {
    const char* value = std::getenv("SEQKV_GPU_AWARE_MPI");
    const std::string_view forced = value == nullptr ? "" : value;
    if (forced == "on") wanted = DeviceTransfers::direct;
    if (forced == "off") wanted = DeviceTransfers::staged;
  }
  return wanted == DeviceTransfers::direct || (wanted == DeviceTransfers::automatic && says_it_takes_devices());
}

/// Which part of `size` bytes each message takes.
template <class Byte>
std::vector<std::span<Byte>> pieces(std::span<Byte> bytes, std::int64_t limit) {
  std::vector<std::span<Byte>> parts;
  const auto step = static_cast<std::size_t>(limit);
  for (std::size_t first = 0; first < bytes.size(); first += step) {
    parts.push_back(bytes.subspan(first, std::min(step, bytes.size() - first)));
  }
  return parts;
}

/// Offsets of parts one behind the other; the last is the size of all.
std::vector<std::int64_t> offsets_of(std::span<const std::int64_t> sizes) {
  std::vector<std::int64_t> offsets(sizes.size() + 1, 0);
  std::partial_sum(sizes.begin(), sizes.end(), offsets.begin() + 1);
  return offsets;
}

template <class Byte>
std::span<Byte> part(std::span<Byte> bytes, std::int64_t first, std::int64_t size) {
  return bytes.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(size));
}

std::vector<int> narrow(std::span<const std::int64_t> numbers) { return {numbers.begin(), numbers.end()}; }

}  // namespace

Error mpi_error(const char* call, int code) {
  std::array<char, MPI_MAX_ERROR_STRING + 1> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  const std::string_view name(call);
  return Error(ErrorCode::communication, fmt::format("{}: {}", name.substr(0, name.find('(')),
                                                     std::string_view(text.data(), static_cast<std::size_t>(length))));
}

void Patience::pause() {
  constexpr int at_once = 100;
  constexpr int yields = 2000;
  constexpr int looks_a_sleep = 256;
  ++looked_;
  if (looked_ < at_once) return;
  // Many looks a sleep: what MPI sends in pieces goes on by a piece a look, where MPI has no thread for it.
  const std::int64_t beyond = looked_ - yields;
  if (beyond < 0 || beyond % looks_a_sleep != 0) {
    sched_yield();
    return;
  }
  std::this_thread::sleep_for(
      std::chrono::microseconds(std::min<std::int64_t>(10 * (beyond / looks_a_sleep + 1), 500)));
}

// ---- what it holds ----------------------------------------------------------------------------------------

Communicator::State::~State() {
  int ended = 1;
  MPI_Finalized(&ended);
  if (ended == 0 && comm != MPI_COMM_NULL) MPI_Comm_free(&comm);
}

Result<void> Communicator::State::wait(std::span<MPI_Request> requests) const {
  Patience patience;
  for (;;) {
    int done = 0;
    SEQKV_MPI(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE));
    if (done != 0) return {};
    patience.pause();
  }
}

Result<void> Communicator::State::start_send(std::span<const std::byte> bytes, int to, int tag,
                                             std::vector<MPI_Request>& requests) const {
  for (const auto piece : pieces(bytes, limit)) {
    SEQKV_MPI(MPI_Isend(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, to, tag, comm,
                        &requests.emplace_back(MPI_REQUEST_NULL)));
  }
  return {};
}

Result<void> Communicator::State::start_receive(std::span<std::byte> bytes, int from, int tag,
                                                std::vector<MPI_Request>& requests) const {
  for (const auto piece : pieces(bytes, limit)) {
    SEQKV_MPI(MPI_Irecv(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, from, tag, comm,
                        &requests.emplace_back(MPI_REQUEST_NULL)));
  }
  return {};
}

Communicator::Communicator(std::unique_ptr<State> state) : state_(std::move(state)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator::~Communicator() = default;

Result<Communicator> Communicator::duplicate(int fortran_handle, const CommunicatorOptions& options) {
  if (options.message_limit < 1 || options.message_limit > INT32_MAX) {
    return Error(ErrorCode::invalid_argument, "a message of MPI has 1 to 2^31 - 1 bytes");
  }
  const MPI_Comm from = MPI_Comm_f2c(fortran_handle);
  auto state = std::make_unique<State>();
  SEQKV_MPI(MPI_Comm_dup(from, &state->comm));
  SEQKV_MPI(MPI_Comm_set_errhandler(state->comm, MPI_ERRORS_RETURN));
  SEQKV_MPI(MPI_Comm_rank(state->comm, &state->rank));
  SEQKV_MPI(MPI_Comm_size(state->comm, &state->size));
  MPI_Comm node = MPI_COMM_NULL;
  SEQKV_MPI(MPI_Comm_split_type(state->comm, MPI_COMM_TYPE_SHARED, state->rank, MPI_INFO_NULL, &node));
  SEQKV_MPI(MPI_Comm_rank(node, &state->node_rank));
  SEQKV_MPI(MPI_Comm_size(node, &state->node_size));
  SEQKV_MPI(MPI_Comm_free(&node));
  state->limit = options.message_limit;
  state->from_devices = takes_devices(options.device_transfers);
  return Communicator(std::move(state));
}

int Communicator::rank() const noexcept { return state_->rank; }
int Communicator::size() const noexcept { return state_->size; }
int Communicator::node_rank() const noexcept { return state_->node_rank; }
int Communicator::node_size() const noexcept { return state_->node_size; }
bool Communicator::sends_from_devices() const noexcept { return state_->from_devices; }

std::optional<int> Communicator::device(int devices) const noexcept {
  if (devices < 1) return std::nullopt;
  return state_->node_rank % devices;
}

std::string Communicator::library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING + 1> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string_view all(text.data(), static_cast<std::size_t>(length));
  return std::string(all.substr(0, all.find_first_of("\n,")));
}

// ---- collective -------------------------------------------------------------------------------------------

Result<void> Communicator::barrier(const std::function<Result<void>()>& meanwhile) const {
  MPI_Request request = MPI_REQUEST_NULL;
  SEQKV_MPI(MPI_Ibarrier(state_->comm, &request));
  if (!meanwhile) return state_->wait({&request, 1});
  Result<void> status;
  Patience patience;
  for (int done = 0; done == 0;) {
    if (status) status = meanwhile();
    SEQKV_MPI(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
    if (done == 0) patience.pause();
  }
  return status;
}

Result<void> Communicator::broadcast(std::vector<std::byte>& bytes, int root) const {
  auto size = static_cast<std::int64_t>(bytes.size());
  MPI_Request request = MPI_REQUEST_NULL;
  SEQKV_MPI(MPI_Ibcast(&size, 1, MPI_INT64_T, root, state_->comm, &request));
  SEQKV_TRY(state_->wait({&request, 1}));
  bytes.resize(static_cast<std::size_t>(size));
  for (const auto piece : pieces(std::span(bytes), state_->limit)) {
    SEQKV_MPI(MPI_Ibcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, root, state_->comm, &request));
    SEQKV_TRY(state_->wait({&request, 1}));
  }
  return {};
}

Result<RankBytes> Communicator::gather(std::span<const std::byte> mine, int root) const {
  const State& state = *state_;
  RankBytes all;
  if (state.rank == root) all.sizes.resize(static_cast<std::size_t>(state.size));
  const auto size = static_cast<std::int64_t>(mine.size());
  std::vector<MPI_Request> requests(1, MPI_REQUEST_NULL);
  SEQKV_MPI(MPI_Igather(&size, 1, MPI_INT64_T, all.sizes.data(), 1, MPI_INT64_T, root, state.comm, requests.data()));
  SEQKV_TRY(state.wait(requests));
  requests.clear();
  if (state.rank != root) {
    SEQKV_TRY(state.start_send(mine, root, tag_gather, requests));
    SEQKV_TRY(state.wait(requests));
    return all;
  }
  const auto offsets = offsets_of(all.sizes);
  all.bytes.resize(static_cast<std::size_t>(offsets.back()));
  for (int r = 0; r < state.size; ++r) {
    const auto here =
        part(std::span(all.bytes), offsets[static_cast<std::size_t>(r)], all.sizes[static_cast<std::size_t>(r)]);
    if (r == root) {
      std::ranges::copy(mine, here.begin());
    } else {
      SEQKV_TRY(state.start_receive(here, r, tag_gather, requests));
    }
  }
  SEQKV_TRY(state.wait(requests));
  return all;
}

Result<RankBytes> Communicator::all_gather(std::span<const std::byte> mine) const {
  const State& state = *state_;
  RankBytes all;
  all.sizes.resize(static_cast<std::size_t>(state.size));
  const auto size = static_cast<std::int64_t>(mine.size());
  MPI_Request request = MPI_REQUEST_NULL;
  SEQKV_MPI(MPI_Iallgather(&size, 1, MPI_INT64_T, all.sizes.data(), 1, MPI_INT64_T, state.comm, &request));
  SEQKV_TRY(state.wait({&request, 1}));
  const auto offsets = offsets_of(all.sizes);
  all.bytes.resize(static_cast<std::size_t>(offsets.back()));
  if (offsets.back() <= state.limit) {
    const auto counts = narrow(all.sizes);
    const auto places = narrow(offsets);
    SEQKV_MPI(MPI_Iallgatherv(mine.data(), static_cast<int>(size), MPI_BYTE, all.bytes.data(), counts.data(),
                              places.data(), MPI_BYTE, state.comm, &request));
    SEQKV_TRY(state.wait({&request, 1}));
    return all;
  }
  for (int r = 0; r < state.size; ++r) {
    const auto here =
        part(std::span(all.bytes), offsets[static_cast<std::size_t>(r)], all.sizes[static_cast<std::size_t>(r)]);
    if (r == state.rank) std::ranges::copy(mine, here.begin());
    for (const auto piece : pieces(here, state.limit)) {
      SEQKV_MPI(MPI_Ibcast(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, r, state.comm, &request));
      SEQKV_TRY(state.wait({&request, 1}));
    }
  }
  return all;
}

Result<RankBytes> Communicator::all_to_all(std::span<const std::byte> bytes,
                                           std::span<const std::int64_t> sizes) const {
  RankBytes all;
  SEQKV_TRY(all_to_all(bytes, sizes, all));
  return all;
}

Result<void> Communicator::all_to_all(std::span<const std::byte> bytes, std::span<const std::int64_t> sizes,
                                      RankBytes& all, bool sizes_known, const Result<void>& mine) const {
  const State& state = *state_;
  const auto ranks = static_cast<std::size_t>(state.size);
  std::vector<MPI_Request> requests(1, MPI_REQUEST_NULL);
  if (!sizes_known) {
    all.sizes.resize(ranks);
    SEQKV_MPI(
        MPI_Ialltoall(sizes.data(), 1, MPI_INT64_T, all.sizes.data(), 1, MPI_INT64_T, state.comm, requests.data()));
    SEQKV_TRY(state.wait(requests));
  }
  const auto from = offsets_of(sizes);
  const auto to = offsets_of(all.sizes);
  all.bytes.resize(static_cast<std::size_t>(to.back()));
  std::array<std::int64_t, 2> most = {std::max(from.back(), to.back()), mine ? 0 : 1};
  SEQKV_TRY(reduce(most, Reduction::max));
  if (most[1] != 0) return agree(mine);
  if (most[0] <= state.limit) {
    const auto send_counts = narrow(sizes);
    const auto send_places = narrow(from);
    const auto receive_counts = narrow(all.sizes);
    const auto receive_places = narrow(to);
    SEQKV_MPI(MPI_Ialltoallv(bytes.data(), send_counts.data(), send_places.data(), MPI_BYTE, all.bytes.data(),
                             receive_counts.data(), receive_places.data(), MPI_BYTE, state.comm, requests.data()));
    return state.wait(requests);
  }
  requests.clear();
  for (std::size_t step = 0; step < ranks; ++step) {
    // Each begins with another one.
    const std::size_t source = (static_cast<std::size_t>(state.rank) + ranks - step) % ranks;
    const std::size_t target = (static_cast<std::size_t>(state.rank) + step) % ranks;
    const auto here = part(std::span(all.bytes), to[source], all.sizes[source]);
    const auto there = part(bytes, from[target], sizes[target]);
    if (step == 0) {
      std::ranges::copy(there, here.begin());
      continue;
    }
    SEQKV_TRY(state.start_receive(here, static_cast<int>(source), tag_exchange, requests));
    SEQKV_TRY(state.start_send(there, static_cast<int>(target), tag_exchange, requests));
  }
  return state.wait(requests);
}

namespace {

template <class T>
Result<void> reduce_all(const Communicator::State& state, std::span<T> values, MPI_Datatype type, Reduction reduction) {
  const MPI_Op operation = reduction == Reduction::sum ? MPI_SUM : reduction == Reduction::min ? MPI_MIN : MPI_MAX;
  MPI_Request request = MPI_REQUEST_NULL;
  const auto step =
      static_cast<std::size_t>(std::max<std::int64_t>(state.limit / static_cast<std::int64_t>(sizeof(T)), 1));
  for (std::size_t first = 0; first < values.size(); first += step) {
    const auto piece = values.subspan(first, std::min(step, values.size() - first));
    SEQKV_MPI(MPI_Iallreduce(MPI_IN_PLACE, piece.data(), static_cast<int>(piece.size()), type, operation, state.comm,
                             &request));
    SEQKV_TRY(state.wait({&request, 1}));
  }
  return {};
}

}  // namespace

Result<void> Communicator::reduce(std::span<std::int64_t> values, Reduction reduction) const {
  return reduce_all(*state_, values, MPI_INT64_T, reduction);
}
Result<void> Communicator::reduce(std::span<double> values, Reduction reduction) const {
  return reduce_all(*state_, values, MPI_DOUBLE, reduction);
}

Result<std::int64_t> Communicator::sum_before(std::int64_t value) const {
  std::int64_t sum = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  SEQKV_MPI(MPI_Iexscan(&value, &sum, 1, MPI_INT64_T, MPI_SUM, state_->comm, &request));
  SEQKV_TRY(state_->wait({&request, 1}));
  return rank() == 0 ? 0 : sum;
}

// ---- from rank to rank ------------------------------------------------------------------------------------

Result<void> Communicator::send(std::span<const std::byte> bytes, int to, int tag) const {
  std::vector<MPI_Request> requests;
  SEQKV_TRY(state_->start_send(bytes, to, tag, requests));
  return state_->wait(requests);
}

Result<void> Communicator::receive(std::span<std::byte> bytes, int from, int tag) const {
  std::vector<MPI_Request> requests;
  SEQKV_TRY(state_->start_receive(bytes, from, tag, requests));
  return state_->wait(requests);
}

std::span<const std::byte> RankBytes::of(int rank) const {
  const auto at = static_cast<std::size_t>(rank);
  const auto first = std::accumulate(sizes.begin(), sizes.begin() + rank, std::int64_t{0});
  return part(std::span(bytes), first, sizes[at]);
}

}  // namespace seqkv::mpi
