// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <algorithm>
#include <array>
#include <list>

#include "core/try.hpp"
#include "mpi/communicator.hpp"

namespace seqkv::mpi {
namespace {

/// A message on its way: its size goes ahead, so that whoever takes it has the memory.
struct Sending {
  std::shared_ptr<const std::vector<std::byte>> bytes;
  std::int64_t size = 0;
  std::vector<MPI_Request> requests;
};

/// One that is coming. Nobody waits for it: who sends it may be busy for long.
struct Receiving {
  Message message;
  std::vector<MPI_Request> requests;
};

}  // namespace

struct Mailbox::State {
  const Communicator& communicator;
  int size_tag;
  int body_tag;
  std::list<Sending> under_way = {};      // of lists: MPI holds addresses of their members
  std::list<Receiving> coming = {};       // in the order in which they were announced
  std::vector<std::int64_t> posted = {};  ///< to each rank
  std::int64_t taken = 0;

  Result<void> push();
  Result<void> begin_receive();
  Result<std::optional<Message>> take();
};

Mailbox::Mailbox(const Communicator& communicator, int tag)
    : state_(new State{communicator, first_mailbox_tag + 2 * tag, first_mailbox_tag + 2 * tag + 1}) {
  state_->posted.resize(static_cast<std::size_t>(communicator.size()));
}

namespace {

/// After drain() there is none; after an error the memory must stay while MPI may use it.
template <class T>
void leave(std::list<T>& list) {
  for (T& one : list) {
    for (MPI_Request& request : one.requests) {
      if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
    }
  }
  if (!list.empty()) new std::list<T>(std::move(list));
}

}  // namespace

Mailbox::~Mailbox() {
  leave(state_->under_way);
  leave(state_->coming);
}

Result<void> Mailbox::post(std::vector<std::byte> bytes, int to) {
  return post(std::make_shared<const std::vector<std::byte>>(std::move(bytes)), to);
}

Result<void> Mailbox::post(std::shared_ptr<const std::vector<std::byte>> bytes, int to) {
  const Communicator::State& comm = state_->communicator.state();
  Sending& sending = state_->under_way.emplace_back();
  sending.bytes = std::move(bytes);
  sending.size = static_cast<std::int64_t>(sending.bytes->size());
  ++state_->posted[static_cast<std::size_t>(to)];
  SEQKV_TRY(comm.start_send(std::as_bytes(std::span(&sending.size, 1)), to, state_->size_tag, sending.requests));
  return comm.start_send(*sending.bytes, to, state_->body_tag, sending.requests);
}

Result<void> Mailbox::State::push() {
  for (auto sending = under_way.begin(); sending != under_way.end();) {
    int done = 0;
    SEQKV_MPI(
        MPI_Testall(static_cast<int>(sending->requests.size()), sending->requests.data(), &done, MPI_STATUSES_IGNORE));
    sending = done != 0 ? under_way.erase(sending) : std::next(sending);
  }
  return {};
}

/// Of the next message that is announced, if there is one.
Result<void> Mailbox::State::begin_receive() {
  const Communicator::State& comm = communicator.state();
  int there = 0;
  MPI_Message handle = MPI_MESSAGE_NULL;
  MPI_Status status;
  SEQKV_MPI(MPI_Improbe(MPI_ANY_SOURCE, size_tag, comm.comm, &there, &handle, &status));
  if (there == 0) return {};
  // A size of one number, so that a limit below its bytes is for bodies only: the number came in pieces if it is less.
  std::int64_t size = 0;
  int count = 0;
  SEQKV_MPI(MPI_Get_count(&status, MPI_BYTE, &count));
  auto* const at = reinterpret_cast<std::byte*>(&size);
  SEQKV_MPI(MPI_Mrecv(at, count, MPI_BYTE, &handle, MPI_STATUS_IGNORE));
  std::vector<MPI_Request> requests;
  SEQKV_TRY(comm.start_receive({at + count, sizeof(size) - static_cast<std::size_t>(count)}, status.MPI_SOURCE,
                               size_tag, requests));
  SEQKV_TRY(comm.wait(requests));
  Receiving& receiving = coming.emplace_back();
  receiving.message.source = status.MPI_SOURCE;
  receiving.message.bytes.resize(static_cast<std::size_t>(size));
  return comm.start_receive(receiving.message.bytes, status.MPI_SOURCE, body_tag, receiving.requests);
}

/// The first that is whole; messages of one rank stay in their order.
Result<std::optional<Message>> Mailbox::State::take() {
  SEQKV_TRY(begin_receive());
  std::vector<int> waiting;
  for (auto receiving = coming.begin(); receiving != coming.end(); ++receiving) {
    int done = 0;
    SEQKV_MPI(MPI_Testall(static_cast<int>(receiving->requests.size()), receiving->requests.data(), &done,
                          MPI_STATUSES_IGNORE));
    const int source = receiving->message.source;
    if (done == 0 || std::ranges::find(waiting, source) != waiting.end()) {
      waiting.push_back(source);
      continue;
    }
    std::optional<Message> whole(std::move(receiving->message));
    coming.erase(receiving);
    ++taken;
    return whole;
  }
  return std::optional<Message>();
}

Result<std::optional<Message>> Mailbox::poll() {
  SEQKV_TRY(state_->push());
  return state_->take();
}

bool Mailbox::all_sent() const noexcept { return state_->under_way.empty(); }

Result<std::vector<Message>> Mailbox::drain() {
  const Communicator& comm = state_->communicator;
  std::vector<Message> messages;
  SEQKV_TRY(comm.reduce(std::span(state_->posted), Reduction::sum));
  const std::int64_t all = state_->posted[static_cast<std::size_t>(comm.rank())];
  Patience patience;
  while (state_->taken < all || !state_->under_way.empty()) {
    SEQKV_ASSIGN(auto message, poll());
    if (message) {
      messages.push_back(std::move(*message));
    } else {
      patience.pause();
    }
  }
  std::ranges::fill(state_->posted, 0);
  state_->taken = 0;
  SEQKV_TRY(comm.barrier());
  return messages;
}

}  // namespace seqkv::mpi
