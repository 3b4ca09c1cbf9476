// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// What a communicator holds, and how calls of MPI become Results.
#pragma once

#include <mpi.h>

#include "seqkv/mpi.hpp"

namespace seqkv::mpi {

/// The error of a call of MPI.
Error mpi_error(const char* call, int code);

/// Evaluates a call of MPI; returns its error from the enclosing function.
#define SEQKV_MPI(call)                                                                                \
  do {                                                                                                 \
    if (const int seqkv_code = (call); seqkv_code != MPI_SUCCESS) return mpi_error(#call, seqkv_code); \
  } while (false)

/// Has those who wait give way: at first they look again at once, then let others run, then sleep.
class Patience {
 public:
  void pause();

 private:
  std::int64_t looked_ = 0;
};

struct Communicator::State {
  State() = default;
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
  int node_rank = 0;
  int node_size = 1;
  bool from_devices = false;
  std::int64_t limit = 0;

  /// Waits for requests, politely.
  Result<void> wait(std::span<MPI_Request> requests) const;
  /// Starts to send or receive bytes in pieces.
  Result<void> start_send(std::span<const std::byte> bytes, int to, int tag, std::vector<MPI_Request>& requests) const;
  Result<void> start_receive(std::span<std::byte> bytes, int from, int tag, std::vector<MPI_Request>& requests) const;
};

/// MPI promises tags up to 2^15 - 1. Callers have those below 2^12, mailboxes two each from there on.
inline constexpr int first_mailbox_tag = 1 << 12;
enum InternalTag : int { tag_gather = 1 << 14, tag_exchange };

}  // namespace seqkv::mpi
