// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// How ranks agree on whether to go on.
#include <fmt/format.h>

#include <array>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/mpi.hpp"

namespace seqkv::mpi {
namespace {

std::vector<std::byte> to_bytes(const Error& error) {
  ByteWriter out;
  out.put(static_cast<std::int32_t>(error.code));
  out.put_text(error.message);
  out.put_text(error.file);
  out.put_text(error.field);
  out.put(error.offset);
  out.put(error.block);
  return std::move(out).take();
}

Error from_bytes(std::span<const std::byte> bytes, std::int64_t rank, int ranks) {
  ByteReader in(bytes);
  const auto code = static_cast<ErrorCode>(in.get<std::int32_t>());
  const std::string message = in.get_text();
  Error error(code, ranks == 1 ? message : fmt::format("rank {}: {}", rank, message));
  error.file = in.get_text();
  error.field = in.get_text();
  error.offset = in.get<std::int64_t>();
  error.block = in.get<std::int64_t>();
  return error;
}

}  // namespace

Result<void> Communicator::agree(const Result<void>& mine) const {
  std::array<std::int64_t, 1> failed = {mine ? INT64_MAX : rank()};
  if (const auto status = reduce(failed, Reduction::min); !status) return mine ? status : mine;
  if (failed[0] == INT64_MAX) return {};
  std::vector<std::byte> bytes;
  if (failed[0] == rank()) bytes = to_bytes(mine.error());
  if (const auto status = broadcast(bytes, static_cast<int>(failed[0])); !status) return mine ? status : mine;
  return from_bytes(bytes, failed[0], size());
}

}  // namespace seqkv::mpi
