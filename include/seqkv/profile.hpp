// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Profiles: what predictive codecs know of a model (docs/profile.md). Made once by calibrate, needed to code and to
/// decode; the decoder does not need the model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"

namespace seqkv {

/// What calibration text cost at one step.
struct RatePoint {
  double step = 0;
  double bits = 0;  ///< a component, all bytes counted
  double kl = 0;    ///< mean KL(exact || restored) of next-token distributions, nats
};

class Profile {
 public:
  /// Checks all of it. Errors: file_not_found, io, bad_format, missing_field, unsupported_version, limit_exceeded,
  /// out_of_memory.
  static Result<std::shared_ptr<const Profile>> load(const std::filesystem::path& path);
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// dtype is that of the calibration's caches; others can be coded.
  const KvShape& shape() const noexcept;
  /// Combined fingerprint of the model.
  const Digest& model() const noexcept;
  /// SHA-256 of the file.
  const Digest& fingerprint() const noexcept;
  /// The file, which stays mapped: do not truncate it meanwhile.
  std::span<const std::byte> contents() const noexcept;
  /// Its size.
  std::int64_t bytes() const noexcept { return static_cast<std::int64_t>(contents().size()); }
  /// Whether it says how tokens that stand elsewhere, too, are predicted from there.
  bool has_references() const noexcept;
  /// By falling step.
  const std::vector<RatePoint>& curve() const noexcept;

  struct Data;  ///< for coders (src/codec/predict/profile.hpp)
  const Data& data() const noexcept { return *data_; }

 private:
  explicit Profile(std::unique_ptr<const Data> data);
  std::unique_ptr<const Data> data_;
};

}  // namespace seqkv
