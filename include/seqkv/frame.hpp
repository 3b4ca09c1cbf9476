// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Frames: one coded KV cache as one file (.sqkv) or byte string. The layout is docs/format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "seqkv/codec.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

/// Version of the frame format this library writes; it reads min_frame_version to frame_version. Raised when an
/// older reader would misread a frame; a reader refuses what it does not know by name.
inline constexpr std::uint16_t frame_version = 1;
inline constexpr std::uint16_t min_frame_version = 1;

/// What the header of a frame says.
struct FrameInfo {
  KvShape shape;
  std::int64_t tokens = 0;
  std::int64_t block_tokens = 256;
  std::string codec;  ///< canonical codec string
  Digest model;       ///< combined fingerprint of the model; zero: not named
  Digest profile;     ///< of the codec's profile; zero: none

  std::int64_t blocks() const noexcept { return (tokens + block_tokens - 1) / block_tokens; }
};

/// The bytes of a frame. Errors: invalid_argument (the number of blocks), those of KvShape::check.
Result<std::vector<std::byte>> make_frame(const FrameInfo& info, std::span<const CodedBlock> blocks);

/// Writes a frame block by block; the file appears whole with commit() or not at all.
class FrameWriter {
 public:
  static Result<FrameWriter> create(const std::filesystem::path& path, const FrameInfo& info);
  /// Into memory, for take(). Errors: those of make_frame.
  static Result<FrameWriter> create(const FrameInfo& info);
  FrameWriter(FrameWriter&&) noexcept;
  FrameWriter& operator=(FrameWriter&&) noexcept;
  ~FrameWriter();

  /// In order. Errors: io, disk_full.
  Result<void> append(CodedBlockView block);
  /// Errors: invalid_argument (blocks are missing), io, disk_full.
  Result<void> commit();
  /// Bytes of the frame so far.
  std::int64_t bytes() const noexcept;
  /// The frame. Precondition: it is written into memory, and committed.
  std::vector<std::byte> take() noexcept;
  const FrameInfo& info() const noexcept;

 private:
  struct State;
  FrameWriter();
  std::unique_ptr<State> state_;
};

/// An open frame; its header and index have been checked, its blocks are checked as they are decoded.
class FrameReader {
 public:
  /// Errors: file_not_found, io, corrupt, truncated, checksum_mismatch, unsupported_version, limit_exceeded.
  static Result<FrameReader> open(const std::filesystem::path& path);
  /// Bytes that the caller keeps alive.
  static Result<FrameReader> parse(std::span<const std::byte> bytes, const std::string& name);
  FrameReader(FrameReader&&) noexcept;
  FrameReader& operator=(FrameReader&&) noexcept;
  ~FrameReader();

  const FrameInfo& info() const noexcept;
  std::int64_t bytes() const noexcept;
  /// Coded bytes of blocks [first, first + count). Precondition: inside the frame.
  std::span<const CodedBlockView> blocks(std::int64_t first, std::int64_t count) const;

  /// The bytes of a block in other memory, `buffer` or the caller's of parse(). No more of a large file comes into the
  /// memory of the process than that; it does with what is used of blocks(). Errors: io, truncated.
  Result<CodedBlockView> read(std::int64_t block, std::vector<std::byte>& buffer) const;
  /// Has the system read a block into its cache, and does not wait.
  void prefetch(std::int64_t block) const;

  /// Checks every block's checksum, structure and place, and visits its head where that is wanted.
  Result<void> inspect(const std::function<Result<void>(const CodedBlockInfo& block)>& visit) const;
  /// The same, gathering the tokens. Errors: also invalid_argument (a model has coded them).
  Result<std::vector<Token>> tokens() const;

 private:
  struct State;
  FrameReader();
  std::unique_ptr<State> state_;
};

/// The whole cache, all or nothing. `profile`: where the codec needs one.
/// Errors: those of Codec::parse and decode, with the frame's name; wrong_profile.
template <class ExecutionSpace>
Result<KvCache> decode(const ExecutionSpace& space, const FrameReader& frame,
                       const std::shared_ptr<const Profile>& profile = nullptr);

}  // namespace seqkv
