// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Byte coders of other projects, as far as the build has found them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace seqkv::bench {

/// A coder of blocks of bytes; one thread at a time. Failures end the program.
class Peer {
 public:
  explicit Peer(std::string name) : name_(std::move(name)) {}
  virtual ~Peer() = default;
  const std::string& name() const { return name_; }
  virtual std::size_t bound(std::size_t bytes) const = 0;
  /// The bytes written to `room`, which has bound() bytes.
  virtual std::size_t encode(std::span<const std::uint8_t> bytes, std::span<std::uint8_t> room) = 0;
  virtual void decode(std::span<const std::uint8_t> coded, std::span<std::uint8_t> bytes) = 0;

 private:
  std::string name_;
};

std::vector<Peer*> peers();

}  // namespace seqkv::bench
