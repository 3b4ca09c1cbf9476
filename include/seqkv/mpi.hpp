// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Ranks that work together: a communicator of the library's own (docs/mpi.md). In builds with SEQKV_ENABLE_MPI,
/// library seqkv::mpi. mpi.h stays inside: communicators come in as MPI_Comm_c2f gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "seqkv/result.hpp"

namespace seqkv::mpi {

/// How memory of a device is sent.
enum class DeviceTransfers : std::uint8_t {
  automatic,  ///< directly where MPI says that it can
  staged,     ///< through the host
  direct,     ///< MPI is handed addresses of the device, whatever it says
};

struct CommunicatorOptions {
  /// Bytes of one message of MPI, at most 2^31 - 1; what is longer goes in pieces.
  std::int64_t message_limit = 1LL << 30;
  DeviceTransfers device_transfers = DeviceTransfers::automatic;
};

/// Bytes of all ranks, one behind the other.
struct RankBytes {
  std::vector<std::byte> bytes;
  std::vector<std::int64_t> sizes;  ///< of each rank's part

  std::span<const std::byte> of(int rank) const;
};

/// A message that was waiting.
struct Message {
  int source = 0;
  std::vector<std::byte> bytes;
};

enum class Reduction : std::uint8_t { sum, min, max };

/// A duplicate of the caller's communicator: messages of the two never meet, and an error of MPI is an Error
/// (`communication`), not the end of the program. Sizes are 64-bit. Functions that are called `collective` are called
/// by all ranks, in the same order. Who waits sleeps after a while: ranks may be more than cores. Not thread-safe.
class Communicator {
 public:
  /// Collective over `fortran_handle`, as MPI_Comm_c2f gives it; MPI has been initialized. Errors: invalid_argument,
  /// communication.
  static Result<Communicator> duplicate(int fortran_handle, const CommunicatorOptions& options = {});
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  /// Collective, unless MPI has ended before.
  ~Communicator();

  int rank() const noexcept;
  int size() const noexcept;
  /// Among the ranks that share this one's memory, its node.
  int node_rank() const noexcept;
  int node_size() const noexcept;
  /// The device of this rank where a node has `devices`: one process for each. Nothing where there is none.
  std::optional<int> device(int devices) const noexcept;
  /// Whether MPI is handed addresses of devices.
  bool sends_from_devices() const noexcept;
  /// The version of MPI in words.
  static std::string library_version();

  /// Collective: how all ranks fared. If any has failed, every one gets the error of the lowest that did, which names
  /// its rank: nobody goes on where another has stopped.
  Result<void> agree(const Result<void>& mine) const;
  /// The same for what is needed of the value on.
  template <class T>
  Result<T> agree(Result<T> mine) const {
    auto all = agree(mine ? Result<void>() : Result<void>(mine.error()));
    if (!all) return std::move(all).error();
    return mine;
  }

  /// Collective. `meanwhile` is called now and then by those who wait; an error of it is returned once all are there.
  Result<void> barrier(const std::function<Result<void>()>& meanwhile = {}) const;
  Result<void> broadcast(std::vector<std::byte>& bytes, int root) const;
  /// All parts on `root`, elsewhere nothing.
  Result<RankBytes> gather(std::span<const std::byte> mine, int root) const;
  Result<RankBytes> all_gather(std::span<const std::byte> mine) const;
  /// `sizes[r]` bytes for each rank r, one behind the other; what came from each.
  Result<RankBytes> all_to_all(std::span<const std::byte> bytes, std::span<const std::int64_t> sizes) const;
  /// The same into memory that is used again. What each rank sends is known there where `sizes_known`: all.sizes says
  /// so. `mine` is agreed on on the way.
  Result<void> all_to_all(std::span<const std::byte> bytes, std::span<const std::int64_t> sizes, RankBytes& all,
                          bool sizes_known = false, const Result<void>& mine = {}) const;
  Result<void> reduce(std::span<std::int64_t> values, Reduction reduction) const;
  Result<void> reduce(std::span<double> values, Reduction reduction) const;
  /// The sum of `value` over the ranks before this one.
  Result<std::int64_t> sum_before(std::int64_t value) const;

  /// From rank to rank; returns when the memory may be used again, which may be when the other takes it. `bytes` may be
  /// on a device where sends_from_devices() (mpi_view.hpp). Tags are below 2^12. Both sides know the size.
  Result<void> send(std::span<const std::byte> bytes, int to, int tag) const;
  Result<void> receive(std::span<std::byte> bytes, int from, int tag) const;

  struct State;  ///< mpi/communicator.hpp
  const State& state() const noexcept { return *state_; }

 private:
  explicit Communicator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Messages that nobody waits for: posted, they travel while their sender does other things, and are taken when there
/// is time. One Mailbox of a tag a rank; it is drained before it goes.
class Mailbox {
 public:
  /// The communicator outlives it. Tags below 2^12 that no other mailbox of the communicator has.
  Mailbox(const Communicator& communicator, int tag);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// The bytes are shared until they are gone.
  Result<void> post(std::shared_ptr<const std::vector<std::byte>> bytes, int to);
  Result<void> post(std::vector<std::byte> bytes, int to);
  /// A message if one has come; helps those under way along.
  Result<std::optional<Message>> poll();
  /// Whether the others have taken all that was posted here, as far as is known.
  bool all_sent() const noexcept;
  /// Collective: waits until all that was posted is taken, and forgets it. What comes is handed over.
  Result<std::vector<Message>> drain();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seqkv::mpi
