// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// The stream of a model's token coder: header, index, payloads (docs/replay.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "seqkv/kv.hpp"
#include "seqkv/result.hpp"

namespace seqkv::replay {

struct TokenStreamHeader {
  std::uint64_t fingerprint = 0;  ///< of the model: the first 8 bytes of its combined digest
  std::uint64_t segment_tokens = 0;
  bool independent = false;
};

/// Tokens [first, first + tokens) of a session. The first token of a session is in the index, all others in payloads.
struct Segment {
  std::uint64_t session = 0;
  std::uint64_t first = 0;
  std::uint64_t tokens = 0;
  std::uint32_t checksum = 0;
  std::vector<std::byte> payload;
};

struct TokenStream {
  struct Session {
    std::uint64_t tokens = 0;
    Token first = 0;
    std::uint64_t first_segment = 0;
  };
  TokenStreamHeader header;
  std::vector<Session> sessions;
  std::vector<Segment> segments;  ///< in the order of sessions and tokens

  std::uint64_t segments_of(std::uint64_t session) const {
    const std::uint64_t end = session + 1 < sessions.size() ? sessions[session + 1].first_segment : segments.size();
    return end - sessions[session].first_segment;
  }
};

/// Appends a session and its segments, without checksums and payloads.
void add_session(TokenStream& stream, std::uint64_t tokens, Token first);

std::vector<std::byte> write(const TokenStream& stream);
/// Errors: corrupt, truncated, checksum_mismatch, unsupported_version, limit_exceeded (more than `max_tokens`).
Result<TokenStream> parse_token_stream(std::span<const std::byte> bytes, std::uint64_t max_tokens);

}  // namespace seqkv::replay
