// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Whether ranks were given the same things.
#include <fmt/format.h>

#include <map>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "seqkv/mpi_batch.hpp"
#include "seqkv/version.hpp"

namespace seqkv::mpi {
namespace {

using Facts = std::vector<std::pair<std::string, std::string>>;

Digest digest_of(const std::vector<ManifestLine>& manifest) {
  Sha256 hash;
  const auto text = [&hash](std::string_view value) { hash.update(std::uint64_t{value.size()}).update(value); };
  for (const ManifestLine& line : manifest) {
    hash.update(static_cast<std::uint64_t>(line.line));
    text(line.session);
    text(line.text ? *line.text : std::string());
    text(line.text_file.string());
    text(line.kv.string());
    hash.update(std::uint64_t{line.tokens.size()}).update(std::as_bytes(std::span(line.tokens)));
  }
  return hash.finish();
}

Facts facts(const Digest& model, const std::vector<ManifestLine>& manifest, const BatchOptions& options) {
  return {{"version", std::string(version())},
          {"model", model.hex()},
          {"manifest", digest_of(manifest).hex()},
          {"codec", options.codec.spec()},
          {"profile", options.codec.profile_fingerprint().hex()},
          {"dtype", std::string(to_string(options.dtype))},
          {"block tokens", fmt::format("{}", options.block_tokens)},
          {"prefix", options.prefix == PrefixPolicy::exact ? "exact" : "restore"},
          {"restart", options.restart ? "yes" : "no"},
          {"measure", fmt::format("{}", options.measure)},
          {"protection", std::string(to_string(options.protection))},
          {"salt", Sha256().update(options.access.salt).finish().hex()},
          {"key", Sha256().update("key").update(std::span<const std::byte>(options.access.key)).finish().hex()}};
}

std::vector<std::byte> to_bytes(const Facts& facts) {
  ByteWriter out;
  for (const auto& [name, value] : facts) {
    for (const std::string* text : {&name, &value}) {
      out.put_text(*text);
    }
  }
  return std::move(out).take();
}

Facts from_bytes(std::span<const std::byte> bytes) {
  Facts facts;
  for (ByteReader in(bytes); in.ok() && in.remaining() > 0;) {
    std::string name = in.get_text();
    facts.emplace_back(std::move(name), in.get_text());
  }
  return facts;
}

}  // namespace

Result<void> check_same(const Communicator& communicator, const Digest& model,
                        const std::vector<ManifestLine>& manifest, const BatchOptions& options) {
  SEQKV_ASSIGN(const RankBytes all, communicator.all_gather(to_bytes(facts(model, manifest, options))));
  const Facts first = from_bytes(all.of(0));
  for (int r = 1; r < communicator.size(); ++r) {
    const Facts other = from_bytes(all.of(r));
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (i < other.size() && first[i] == other[i]) continue;
      // Another version may know other facts: then its version is what differs.
      const std::string value = i < other.size() ? other[i].second : "none";
      const bool secret = first[i].first == "salt" || first[i].first == "key";
      return Error(ErrorCode::ranks_differ,
                   secret ? fmt::format("rank {} has another {} than rank 0", r, first[i].first)
                          : fmt::format("rank {} has {} {}, rank 0 {}", r, first[i].first, value, first[i].second));
    }
  }
  return {};
}

}  // namespace seqkv::mpi
