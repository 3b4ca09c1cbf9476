// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// A store keeps copies of the profiles that its sessions need, by fingerprint: without them nothing could be restored.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "codec/predict/profile.hpp"
#include "core/try.hpp"
#include "store/store_state.hpp"

namespace seqkv {

std::filesystem::path Store::State::profile_path(const Digest& fingerprint) const {
  return folder / "profiles" / (fingerprint.hex() + ".safetensors");
}

Result<void> Store::State::keep(const std::shared_ptr<const Profile>& profile) const {
  const Digest& fingerprint = profile->fingerprint();
  if (profiles.contains(fingerprint)) return {};
  const auto path = profile_path(fingerprint);
  const auto is_of_profile = [&](std::span<const std::byte> bytes) {
    return Sha256().update(bytes).finish() == fingerprint;
  };
  // A copy that is damaged is replaced: what is missing to others is at hand.
  if (const auto kept = io::MappedFile::open(path, io::Links::refuse); kept && is_of_profile(kept->bytes())) {
    profiles[fingerprint] = profile;
    return {};
  }
  if (::mkdir(path.parent_path().c_str(), 0700) == 0) {
    SEQKV_TRY(io::sync_directory(folder));
  } else if (errno != EEXIST) {
    return io::system_error("cannot create", path.parent_path(), errno);
  }
  if (!is_of_profile(profile->contents())) {
    return Error(ErrorCode::wrong_profile, "the profile's file has changed since it was opened");
  }
  SEQKV_TRY(io::write_file(path, profile->contents()));
  profiles[fingerprint] = profile;
  return {};
}

Result<std::shared_ptr<const Profile>> Store::profile(const Digest& fingerprint) const {
  if (const auto known = state_->profiles.find(fingerprint); known != state_->profiles.end()) return known->second;
  const auto path = state_->profile_path(fingerprint);
  auto loaded = Profile::load(path);
  if (!loaded || (*loaded)->fingerprint() != fingerprint) {
    const std::string what = loaded ? "it is not the one that its name says" : loaded.error().message;
    return Error(ErrorCode::corrupt, "the profile that sessions need: " + what).in_file(path.string());
  }
  return state_->profiles[fingerprint] = std::move(*loaded);
}

Result<Codec> Store::codec(const std::string& name) const {
  SEQKV_ASSIGN(const SessionInfo info, session(name));
  std::shared_ptr<const Profile> profile;
  if (!info.profile.is_zero()) {
    SEQKV_ASSIGN(profile, this->profile(info.profile));
  }
  return codec::find_codec(info.codec, info.profile, profile);
}

}  // namespace seqkv
