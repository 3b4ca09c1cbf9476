// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Tenants, keys, and what somebody without the key can do to a store.
#include <gtest/gtest.h>

#include <fstream>

#include "store/identity.hpp"
#include "store/seal.hpp"
#include "support/stores.hpp"

namespace seqkv {
namespace {

using test::joined;
using test::Space;
using test::value_of;

std::vector<std::byte> key_of(unsigned seed) {
  std::vector<std::byte> key(32);
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::byte>(seed * 17 + i);
  return key;
}

class StoreKeys : public test::StoreTest, public testing::WithParamInterface<Protection> {
 protected:
  StoreKeys() {
    parameters.protection = GetParam();
    access.key = key_of(1);
  }
  std::string pack_bytes() const { return test::read_all(pack(1)); }
  static std::string raw(const std::vector<Token>& tokens) {
    return {reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(Token)};
  }
};

INSTANTIATE_TEST_SUITE_P(Protections, StoreKeys, testing::Values(Protection::authentic, Protection::encrypted),
                         [](const auto& which) { return std::string(to_string(which.param)); });

TEST_P(StoreKeys, EverythingWorksWithTheKey) {
  const auto a = test::random_tokens(70, 1), b = joined({a.begin(), a.begin() + 40}, test::random_tokens(30, 2));
  {
    Store store = writer();
    save(store, "a", a);
    EXPECT_EQ(save(store, "b", b), 2);
    ASSERT_OK(store.fork("a", "fork", 20));
    ASSERT_OK(store.remove("a"));
    ASSERT_OK(store.gc({.dead_part = 0.0}));
    expect_sound(store);
  }
  expect_restores(reader(), "b", b);
  expect_restores(reader(), "fork", {a.begin(), a.begin() + 20});
  std::filesystem::remove(folder / "store.db");
  EXPECT_EQ(value_of(Store::rebuild_index(folder, access)).sessions, 2);
  expect_restores(reader(), "b", b);
  Store store = value_of(Store::open_for_writing(folder, access));
  EXPECT_TRUE(value_of(store.repair()).lost.empty());
  expect_sound(store);
}

TEST_P(StoreKeys, NothingWorksWithoutIt) {
  {
    Store store = writer();
    save(store, "s", test::random_tokens(40, 1));
  }
  EXPECT_CODE(Store::open(folder), ErrorCode::wrong_key);
  EXPECT_CODE(Store::open_for_writing(folder), ErrorCode::wrong_key);
  EXPECT_CODE(Store::open(folder, {"", key_of(2)}), ErrorCode::wrong_key);
  EXPECT_CODE(Store::rebuild_index(folder), ErrorCode::wrong_key);
  EXPECT_CODE(Store::rebuild_index(folder, {"", key_of(2)}), ErrorCode::wrong_key);
  StoreParameters open = parameters;
  open.protection = Protection::none;
  EXPECT_CODE(Store::open_for_writing(scratch.path() / "other", open, access), ErrorCode::wrong_key);
  EXPECT_CODE(Store::open_for_writing(scratch.path() / "other", parameters), ErrorCode::wrong_key);
  expect_restores(reader(), "s", test::random_tokens(40, 1));
}

TEST_P(StoreKeys, ARecordOfAnotherKeyIsForged) {
  const auto tokens = test::random_tokens(40, 3);
  {
    Store store = writer();
    save(store, "s", tokens);
  }
  // Every byte of the pack changed, its checksum put right where it has one: what is not noticed as damage is as
  // forged.
  const std::string good = pack_bytes();
  const std::size_t step = 37;
  for (std::size_t i = 64; i < good.size(); i += step) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    for (std::size_t at = 64; at + 32 < bad.size(); at += 64) {
      std::uint32_t magic = 0;
      std::uint64_t payload = 0;
      std::memcpy(&magic, bad.data() + at, 4);
      std::memcpy(&payload, bad.data() + at + 8, 8);
      if (magic != 0x524b5153 || payload > 2000 || at < 64 + 64) continue;
      std::vector<std::byte> hashed(24 + 32 + payload);
      if (at + 64 + payload > bad.size()) continue;
      std::memcpy(hashed.data(), bad.data() + at, 24);
      std::memcpy(hashed.data() + 24, bad.data() + at + 32, 32 + payload);
      const std::uint64_t sum = xxh3_64(hashed);
      std::uint32_t type = 0;
      std::memcpy(&type, bad.data() + at + 4, 4);
      if (type != 4) std::memcpy(bad.data() + at + 24, &sum, 8);
    }
    if (bad == good) continue;  // it was in a checksum
    std::ofstream(pack(1), std::ios::binary) << bad;
    const Store store = reader();
    if (store.blocks("s").ok()) expect_restores(store, "s", tokens);
    EXPECT_FALSE(value_of(store.verify()).problems.empty()) << "byte " << i;
  }
}

TEST_P(StoreKeys, KeepsItsSecrets) {
  const auto tokens = test::random_tokens(64, 5);
  Store store = writer();
  codec = value_of(Codec::parse("raw"));
  save(store, "s", tokens);
  const StoredBlocks all_blocks = value_of(store.blocks("s"));
  const CodedBlockView block = all_blocks[0];
  const std::string plain(reinterpret_cast<const char*>(block.data()), block.size());
  const bool found = pack_bytes().find(plain.substr(plain.size() / 2, 64)) != std::string::npos;
  EXPECT_EQ(found, GetParam() == Protection::authentic);
  // Without the key nobody can tell from identities whether some tokens are stored.
  EXPECT_EQ(value_of(store.match(tokens, codec)).size(), 4U);
}

TEST(Seal, AgreesWithKnownAnswers) {
  // RFC 4231, test case 2.
  const std::string key = "Jefe", data = "what do ya want for nothing?";
  const auto digest = store::hmac_sha256(std::as_bytes(std::span(key)), {std::as_bytes(std::span(data))});
  EXPECT_EQ(digest.hex(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Seal, NoNonceComesTwice) {
  const store::Seal seal(Protection::encrypted, key_of(1), {});
  std::vector<std::byte> head(24), first(32), second(32), payload(40), body(100);
  ASSERT_OK(seal.close(head, first, payload, body));
  EXPECT_TRUE(seal.open(head, first, payload, body));
  EXPECT_EQ(payload, std::vector<std::byte>(40));
  EXPECT_EQ(body, std::vector<std::byte>(100));
  ASSERT_OK(seal.close(head, second, payload, body));
  EXPECT_NE(first, second);
}

class StoreTenants : public test::StoreTest {};

TEST_F(StoreTenants, SeeNothingOfEachOther) {
  const auto tokens = test::random_tokens(50, 6);
  {
    Store store = writer();
    save(store, "s", tokens);
  }
  StoreAccess other{"tenant b", {}};
  {
    Store store = value_of(Store::open_for_writing(folder, parameters, other));
    EXPECT_TRUE(names(store).empty());
    EXPECT_CODE(store.blocks("s"), ErrorCode::session_not_found);
    EXPECT_CODE(store.remove("s"), ErrorCode::session_not_found);
    EXPECT_TRUE(value_of(store.match(tokens, codec)).empty());
    EXPECT_EQ(save(store, "s", tokens), 0);  // the same name, the same tokens, and nothing shared
    EXPECT_EQ(value_of(store.totals()).sessions, 2);
    expect_restores(store, "s", tokens);
    expect_sound(store);
    ASSERT_OK(store.remove("s"));
    ASSERT_OK(store.gc({.dead_part = 0.0}));
  }
  expect_restores(reader(), "s", tokens);
  std::filesystem::remove(folder / "store.db");
  EXPECT_EQ(value_of(Store::rebuild_index(folder)).sessions, 1);
  expect_restores(reader(), "s", tokens);
}

TEST_F(StoreTenants, KeyFiles) {
  const auto path = scratch.write("key", std::string(32, 'k'));
  std::filesystem::permissions(path, std::filesystem::perms::owner_read);
  EXPECT_EQ(value_of(read_key_file(path)).size(), 32U);
  std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::group_read);
  EXPECT_CODE(read_key_file(path), ErrorCode::wrong_key);
  const auto brief = scratch.write("brief", std::string(31, 'k'));
  std::filesystem::permissions(brief, std::filesystem::perms::owner_read);
  EXPECT_CODE(read_key_file(brief), ErrorCode::wrong_key);
  const auto endless = scratch.write("endless", std::string(1025, 'k'));
  std::filesystem::permissions(endless, std::filesystem::perms::owner_read);
  EXPECT_CODE(read_key_file(endless), ErrorCode::limit_exceeded);
  EXPECT_CODE(read_key_file(scratch.path() / "nothing"), ErrorCode::file_not_found);
}

TEST_F(StoreTenants, LinksInTheFolderAreNotFollowed) {
  {
    Store store = writer();
    save(store, "s", test::random_tokens(20, 7));
  }
  const auto elsewhere = scratch.path() / "elsewhere";
  std::filesystem::rename(pack(1), elsewhere);
  std::filesystem::create_symlink(elsewhere, pack(1));
  EXPECT_CODE(reader().blocks("s"), ErrorCode::io);
  {
    Store store = value_of(Store::open_for_writing(folder));
    auto session = value_of(store.begin("t", test::random_tokens(20, 8), codec));
    const auto tokens = test::random_tokens(20, 8);
    const auto blocks = value_of(encode(Space(), codec, cache_of(tokens).view(), tokens, 0, test::block_tokens));
    EXPECT_CODE(session.append(blocks[0]), ErrorCode::io);
  }
  std::filesystem::rename(folder / "store.db", scratch.path() / "index");
  std::filesystem::create_symlink(scratch.path() / "index", folder / "store.db");
  EXPECT_CODE(Store::open(folder), ErrorCode::io);
}

/// Prefixes have the same names in every version, or nothing that is stored is found again. By Python's hashlib, from
/// docs/store.md.
TEST(StoreIdentity, Goldens) {
  const Digest root = store::root_identity("pepper", Sha256().update("model").finish());
  EXPECT_EQ(root.hex(), "f30279a5c8ec7b32a9e06a5575a62b217b2c9ed19f30cf3890c260f826bb538f");
  EXPECT_EQ(store::lone_root_identity(root, Sha256().update("nonce").finish()).hex(),
            "73ba59af9b3e88d55a0540fb99b9f2a269e0cde8a73a64428d07e4d14b00a2ef");
  EXPECT_EQ(store::tenant_identity(root).hex(), "3612f0fdf8fe276b8c28c0a5db775f22170f59d07621b0720218fce014148335");
  const auto blocks = store::block_identities(root, std::vector<Token>{1, 2, 3}, 2);
  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(blocks[0].hex(), "2fa3e0e6bdd06144c5f1af1e790d3a24b4f4e7aa35aa6706a7b72cf952c1b11c");
  EXPECT_EQ(blocks[1].hex(), "973ce12d2421cff94f31906153bf0dc7901640a065437f96597dfc680ea9bf1e");
}

}  // namespace
}  // namespace seqkv
