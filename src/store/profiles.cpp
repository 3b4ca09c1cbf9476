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

Result<void> Store::State::keep(const Profile& profile) const {
  const auto path = profile_path(profile.fingerprint());
  std::error_code problem;
  if (profiles.contains(profile.fingerprint()) || std::filesystem::exists(path, problem)) return {};
  if (::mkdir(path.parent_path().c_str(), 0700) == 0) {
    SEQKV_TRY(io::sync_directory(folder));
  } else if (errno != EEXIST) {
    return io::system_error("cannot create", path.parent_path(), errno);
  }
  if (Sha256().update(profile.contents()).finish() != profile.fingerprint()) {
    return Error(ErrorCode::wrong_profile, "the profile's file has changed since it was opened");
  }
  return io::write_file(path, profile.contents());
}

Result<std::shared_ptr<const Profile>> Store::profile(const Digest& fingerprint) const {
  auto& known = state_->profiles[fingerprint];
  if (known != nullptr) return known;
  const auto path = state_->profile_path(fingerprint);
  auto loaded = Profile::load(path);
  if (!loaded || (*loaded)->fingerprint() != fingerprint) {
    const std::string what = loaded ? "it is not the one that its name says" : loaded.error().message;
    return Error(ErrorCode::corrupt, "the profile that sessions need: " + what).in_file(path.string());
  }
  known = std::move(*loaded);
  return known;
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
