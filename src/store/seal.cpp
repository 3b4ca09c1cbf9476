// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "store/seal.hpp"

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <string>

#include "core/bytes.hpp"
#include "core/try.hpp"
#include "io/file.hpp"

namespace seqkv::store {
namespace {

constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t tag_bytes = 16;

const unsigned char* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* writable(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

struct FreeMac {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};
struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;

/// OpenSSL counts in int: long bodies go through in pieces.
template <class Update>
bool update(const Update& call, EVP_CIPHER_CTX* context, std::span<std::byte> bytes) {
  constexpr std::size_t piece = 1U << 30U;
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    int written = 0;
    if (call(context, writable(part), &written, raw(part), static_cast<int>(part.size())) != 1) {
      return false;
    }
    bytes = bytes.subspan(part.size());
  }
  return true;
}

}  // namespace

Digest hmac_sha256(std::span<const std::byte> key, std::initializer_list<std::span<const std::byte>> parts) {
  static const std::unique_ptr<EVP_MAC, FreeMac> algorithm(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context(EVP_MAC_CTX_new(algorithm.get()));
  std::string hash = "SHA256";
  const std::array<OSSL_PARAM, 2> parameters = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, hash.data(), 0),
                                                OSSL_PARAM_construct_end()};
  // OpenSSL fails here only when memory is out or SHA-256 is disabled by policy.
  if (context == nullptr || EVP_MAC_init(context.get(), raw(key), key.size(), parameters.data()) != 1) {
    throw std::bad_alloc();
  }
  for (const auto part : parts) EVP_MAC_update(context.get(), raw(part), part.size());
  Digest digest;
  std::size_t size = 0;
  if (EVP_MAC_final(context.get(), writable(digest.bytes), &size, digest.bytes.size()) != 1) throw std::bad_alloc();
  return digest;
}

Seal::Seal(Protection protection, std::span<const std::byte> key, const Digest& store_id) : protection_(protection) {
  const auto derive = [&](std::string_view purpose) { return hmac_sha256(key, {as_bytes(purpose), store_id.bytes}); };
  authentication_ = derive("seqkv store authentication 1");
  encryption_ = derive("seqkv store encryption 1");
  identity_ = derive("seqkv store identity 1");
}

Result<void> Seal::close(std::span<const std::byte> head, std::span<std::byte> seal, std::span<std::byte> payload,
                         std::span<std::byte> body) const {
  std::ranges::fill(seal, std::byte{0});
  if (!encrypts()) {
    std::ranges::copy(hmac_sha256(authentication_.bytes, {head, payload, body}).bytes, seal.begin());
    return {};
  }
  if (RAND_bytes(writable(seal), nonce_bytes) != 1) return Error(ErrorCode::io, "no random numbers for encryption");
  const CipherContext context(EVP_CIPHER_CTX_new());
  int written = 0;
  const bool good =
      context != nullptr &&
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(encryption_.bytes), raw(seal)) == 1 &&
      EVP_EncryptUpdate(context.get(), nullptr, &written, raw(head), static_cast<int>(head.size())) == 1 &&
      update(EVP_EncryptUpdate, context.get(), payload) && update(EVP_EncryptUpdate, context.get(), body) &&
      EVP_EncryptFinal_ex(context.get(), writable(seal), &written) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, tag_bytes, writable(seal.subspan(nonce_bytes))) == 1;
  if (!good) return Error(ErrorCode::internal, "AES-256-GCM is not to be had from OpenSSL");
  return {};
}

bool Seal::is_authentic(std::span<const std::byte> head, std::span<const std::byte> seal,
                        std::span<const std::byte> payload, std::span<const std::byte> body) const {
  const Digest tag = hmac_sha256(authentication_.bytes, {head, payload, body});
  return seal.size() == tag.bytes.size() && CRYPTO_memcmp(seal.data(), tag.bytes.data(), seal.size()) == 0;
}

bool Seal::open(std::span<const std::byte> head, std::span<const std::byte> seal, std::span<std::byte> payload,
                std::span<std::byte> body) const {
  if (!encrypts()) return is_authentic(head, seal, payload, body);
  const auto rest = seal.subspan(nonce_bytes + tag_bytes);
  if (!std::ranges::all_of(rest, [](std::byte b) { return b == std::byte{0}; })) return false;
  std::array<std::byte, tag_bytes> tag;
  std::ranges::copy(seal.subspan(nonce_bytes, tag_bytes), tag.begin());
  const CipherContext context(EVP_CIPHER_CTX_new());
  int written = 0;
  std::array<unsigned char, tag_bytes> nothing;
  return context != nullptr &&
         EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(encryption_.bytes), raw(seal)) == 1 &&
         EVP_DecryptUpdate(context.get(), nullptr, &written, raw(head), static_cast<int>(head.size())) == 1 &&
         update(EVP_DecryptUpdate, context.get(), payload) && update(EVP_DecryptUpdate, context.get(), body) &&
         EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, tag_bytes, tag.data()) == 1 &&
         EVP_DecryptFinal_ex(context.get(), nothing.data(), &written) == 1;
}

Digest Seal::sign(std::string_view text) const {
  if (!active()) return Sha256().update(text).finish();
  return hmac_sha256(authentication_.bytes, {as_bytes(text)});
}

std::string Seal::mix(std::string_view salt) const {
  if (!encrypts()) return std::string(salt);
  return hmac_sha256(identity_.bytes, {as_bytes(salt)}).hex();
}

}  // namespace seqkv::store

namespace seqkv {

Result<std::vector<std::byte>> read_key_file(const std::filesystem::path& path) {
  constexpr std::int64_t least = 32;
  constexpr std::int64_t most = 1024;
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return io::system_error("cannot look at", path, errno);
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Error(ErrorCode::wrong_key, "others than its owner have rights to the key: chmod 600")
        .in_file(path.string());
  }
  SEQKV_ASSIGN(std::string text, io::read_file(path, most));
  const auto bytes = as_bytes(std::string_view(text));
  std::vector<std::byte> key(bytes.begin(), bytes.end());
  OPENSSL_cleanse(text.data(), text.size());
  if (static_cast<std::int64_t>(key.size()) >= least) return key;
  return Error(ErrorCode::wrong_key, fmt::format("a key of {} bytes, expected {} to {}", key.size(), least, most))
      .in_file(path.string());
}

}  // namespace seqkv
