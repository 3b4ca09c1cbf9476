// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// A store beside what else a cache could be kept in: saving and restoring beside a safetensors file with fsync and
// beside tar | zstd -3; bytes over frames and over the exact union; and a store of a million blocks.
#include "seqkv/store.hpp"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <cstring>

#include <Kokkos_Core.hpp>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <random>

#include "seqkv/frame.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/session.hpp"
#include "store/identity.hpp"
#include "store/index.hpp"
#include "store/pack_writer.hpp"
#include "support/value.hpp"

namespace seqkv::bench {
namespace {

using Space = Kokkos::DefaultExecutionSpace;
namespace fs = std::filesystem;

fs::path scratch() {
  const char* folder = std::getenv("SEQKV_FOLDER");
  static const fs::path path = (folder != nullptr ? fs::path(folder) : fs::temp_directory_path()) /
                               fmt::format("seqkv-bench-store-{}", ::getpid());
  fs::create_directories(path);
  return path;
}

void set_seconds(benchmark::State& state, std::chrono::steady_clock::time_point start) {
  state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

/// Out of the system's cache: what is read next comes from the disk.
void make_cold(const fs::path& path) {
  const auto drop = [](const fs::path& file) {
    const int descriptor = ::open(file.c_str(), O_RDONLY);
    if (descriptor < 0) return;
    ::fsync(descriptor);
    ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
    ::close(descriptor);
  };
  if (fs::is_regular_file(path)) return drop(path);
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) drop(entry.path());
  }
}

void run(const std::string& command) {
  if (std::system(command.c_str()) != 0) std::exit(1);
}

// ---- one large session ------------------------------------------------------------------------------------

/// bf16 of 8 layers of 8 heads of 128: normal numbers, every channel with a scale of its own, as in caches.
struct Session {
  KvShape shape{8, 8, 128, {}, DType::bf16};
  std::vector<Token> tokens;
  KvCache cache;
  Codec codec = value_of(Codec::parse("none+lossless"));

  Session() {
    const char* mebibytes = std::getenv("SEQKV_MIB");
    const std::int64_t bytes = (mebibytes != nullptr ? std::atoll(mebibytes) : 256) << 20;
    const std::int64_t count = bytes / (2 * shape.components_per_token()) / 256 * 256;
    cache = value_of(KvCache::create(shape, count));
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> pool(1 << 16);
    for (float& x : pool) x = normal(random);
    for (std::byte* tensor : cache.view().tensors) {
      std::vector<float> scale(128);
      for (float& s : scale) s = std::exp(normal(random));
      auto* values = reinterpret_cast<std::uint16_t*>(tensor);
      for (std::int64_t i = 0; i < shape.kv_heads * count * 128; ++i) {
        const float x = pool[random() % pool.size()] * scale[static_cast<std::size_t>(i % 128)];
        std::uint32_t bits = 0;
        std::memcpy(&bits, &x, 4);
        values[i] = static_cast<std::uint16_t>((bits + 0x8000U) >> 16U);
      }
    }
    for (std::int64_t t = 0; t < count; ++t) tokens.push_back(static_cast<Token>(random() % 128'000));
  }
  std::int64_t bytes() const { return cache.bytes(); }
  fs::path kv() const { return scratch() / "kv.safetensors"; }
  fs::path archive() const { return scratch() / "kv.tar.zst"; }
  fs::path store(Protection protection) const { return scratch() / fmt::format("store-{}", to_string(protection)); }
  StoreAccess access(Protection protection) const {
    if (protection == Protection::none) return {};
    return {"", std::vector<std::byte>(32, std::byte{7})};
  }
  Store open(Protection protection) const {
    return value_of(Store::open_for_writing(store(protection), {shape, {}, 256, protection}, access(protection)));
  }
  void write_kv() const {
    auto writer = value_of(KvFileWriter::create(kv(), shape, tokens, {}));
    check(writer.write(cache.view(), 0));
    check(writer.commit());  // with fsync
  }
};

const Session& session() {
  static const Session made;
  return made;
}

void count(benchmark::State& state) { state.SetBytesProcessed(state.iterations() * session().bytes()); }

void save_safetensors(benchmark::State& state) {
  for (auto _ : state) {
    fs::remove(session().kv());
    const auto start = std::chrono::steady_clock::now();
    session().write_kv();
    set_seconds(state, start);
  }
  count(state);
}

void save_tar_zstd(benchmark::State& state) {
  session().write_kv();
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    run(fmt::format("tar -C {} -cf - kv.safetensors | zstd -q -3 -T0 -f -o {} && sync {}", scratch().string(),
                    session().archive().string(), session().archive().string()));
    set_seconds(state, start);
  }
  count(state);
  state.counters["ratio"] =
      static_cast<double>(session().bytes()) / static_cast<double>(fs::file_size(session().archive()));
}

void save_store(benchmark::State& state) {
  const auto protection = static_cast<Protection>(state.range(0));
  for (auto _ : state) {
    fs::remove_all(session().store(protection));
    const auto start = std::chrono::steady_clock::now();
    Store store = session().open(protection);
    value_of(save(Space(), store, "s", session().tokens, session().codec, session().cache.view()));
    set_seconds(state, start);
  }
  count(state);
  const Store store = session().open(protection);
  const auto totals = value_of(store.totals());
  const std::string frame = scratch() / "frame.sqkv";
  auto writer = value_of(FrameWriter::create(
      frame,
      {session().shape, static_cast<std::int64_t>(session().tokens.size()), 256, session().codec.spec(), {}, {}}));
  for (const CodedBlockView& block : value_of(store.blocks("s"))) check(writer.append(block));
  check(writer.commit());
  const auto bytes = static_cast<double>(totals.pack_bytes + totals.index_bytes);
  state.counters["ratio"] = static_cast<double>(session().bytes()) / bytes;
  state.counters["overhead_percent"] = 100.0 * (bytes / static_cast<double>(fs::file_size(frame)) - 1.0);
}

void restore_safetensors(benchmark::State& state) {
  session().write_kv();
  KvCache out = value_of(KvCache::create(session().shape, session().cache.tokens()));
  for (auto _ : state) {
    if (state.range(0) != 0) make_cold(session().kv());
    const auto start = std::chrono::steady_clock::now();
    const KvFile file = value_of(KvFile::open(session().kv()));
    check(file.read(0, out.view()));
    set_seconds(state, start);
  }
  count(state);
}

void restore_tar_zstd(benchmark::State& state) {
  KvCache out = value_of(KvCache::create(session().shape, session().cache.tokens()));
  for (auto _ : state) {
    if (state.range(0) != 0) make_cold(session().archive());
    const auto start = std::chrono::steady_clock::now();
    run(fmt::format("zstd -q -d -c {} | tar -C {} -xf -", session().archive().string(), scratch().string()));
    const KvFile file = value_of(KvFile::open(session().kv()));
    check(file.read(0, out.view()));
    set_seconds(state, start);
  }
  count(state);
}

void restore_store(benchmark::State& state) {
  const auto protection = static_cast<Protection>(state.range(0));
  KvCache out = value_of(KvCache::create(session().shape, session().cache.tokens()));
  for (auto _ : state) {
    if (state.range(1) != 0) make_cold(session().store(protection));
    const auto start = std::chrono::steady_clock::now();
    const Store store = value_of(Store::open(session().store(protection), session().access(protection)));
    benchmark::DoNotOptimize(value_of(restore(Space(), store, "s", {}, out.view())));
    set_seconds(state, start);
  }
  count(state);
}

/// The codec alone, from memory to memory.
void decode_blocks(benchmark::State& state) {
  const Store store = value_of(Store::open(session().store(Protection::none)));
  const StoredBlocks blocks = value_of(store.blocks("s"));
  KvCache out = value_of(KvCache::create(session().shape, session().cache.tokens()));
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    check(decode(Space(), session().codec, blocks, out.view()));
    set_seconds(state, start);
  }
  count(state);
}

// ---- sharing ----------------------------------------------------------------------------------------------

/// 100 sessions of 1,024 tokens, 768 of which are the same. The exact union has 768 + 100 * 256 tokens.
void shared_prefix(benchmark::State& state) {
  const KvShape shape{4, 2, 64, {}, DType::bf16};
  const Codec codec = value_of(Codec::parse("none+lossless"));
  std::mt19937 random(2);
  KvCache cache = value_of(KvCache::create(shape, 1024));
  for (std::int64_t i = 0; i < cache.bytes() / 2; ++i) {
    reinterpret_cast<std::uint16_t*>(cache.view().tensors[0])[i] = static_cast<std::uint16_t>(0x3c00 + random() % 1024);
  }
  const auto folder = scratch() / "shared";
  for (auto _ : state) {
    fs::remove_all(folder);
    std::vector<Token> tokens(1024);
    for (Token& token : tokens) token = random() % 100'000;
    Store store = value_of(Store::open_for_writing(folder, {shape, {}, 256}));
    const auto start = std::chrono::steady_clock::now();
    double frames = 0;
    for (int i = 0; i < 100; ++i) {
      for (std::size_t t = 768; t < 1024; ++t) tokens[t] = random() % 100'000;
      value_of(save(Space(), store, fmt::format("s{}", i), tokens, codec, cache.view()));
    }
    set_seconds(state, start);
    for (const CodedBlockView& block : value_of(store.blocks("s0"))) frames += static_cast<double>(block.size());
    const double exact = frames / 4 * (3 + 100);  // all blocks have one size here, but for their token ids
    const auto totals = value_of(store.totals());
    state.counters["over_union_percent"] =
        100.0 * (static_cast<double>(totals.pack_bytes + totals.index_bytes) / exact - 1.0);
    state.counters["stored_tokens"] = static_cast<double>(totals.stored_tokens);
  }
  state.SetItemsProcessed(state.iterations() * 100);
}

// ---- many blocks ------------------------------------------------------------------------------------------

constexpr std::int64_t many_blocks = 1'000'000;
constexpr std::int64_t chain_blocks = 10;  // of a session
const KvShape tiny{1, 1, 16, {}, DType::bf16};

std::vector<Token> tokens_of(std::int64_t number) {
  std::mt19937_64 random(static_cast<std::uint64_t>(number));
  std::vector<Token> tokens(16 * chain_blocks);
  for (Token& token : tokens) token = static_cast<Token>(random() % 100'000);
  return tokens;
}

/// 10^5 sessions of 10 blocks each, written as packs without an index.
fs::path many() {
  static const fs::path folder = [] {
    const fs::path made = scratch() / "many";
    const Codec codec = value_of(Codec::parse("raw"));
    { value_of(Store::open_for_writing(made, {tiny, {}, 16})); }
    auto state = value_of(Store::State::open(made, {}, store::Database::Mode::write));
    store::PackWriter pack(*state);
    const KvCache cache = value_of(KvCache::create(tiny, 16 * chain_blocks));
    for (std::int64_t s = 0; s < many_blocks / chain_blocks; ++s) {
      const auto tokens = tokens_of(s);
      const auto identities = store::block_identities(state->root, tokens, 16);
      const auto blocks = value_of(encode(Kokkos::DefaultHostExecutionSpace(), codec, cache.view(), tokens, 0, 16));
      for (std::size_t b = 0; b < blocks.size(); ++b) {
        const store::BlockHead head{identities[b],
                                    b == 0 ? state->root : identities[b - 1],
                                    {},
                                    "raw",
                                    static_cast<std::int64_t>(16 * b),
                                    16,
                                    {}};
        value_of(pack.append(value_of(store::block_record(state->seal, head, blocks[b]))));
      }
      store::SessionHead head;
      head.tenant = state->tenant;
      head.name = fmt::format("session {}", s);
      head.codec = "raw";
      head.last_block = identities.back();
      head.tokens = 16 * chain_blocks;
      head.sequence = s + 1;
      value_of(pack.append(value_of(store::session_record(state->seal, head))));
    }
    check(pack.sync());
    pack.keep();
    value_of(Store::rebuild_index(made));
    return made;
  }();
  return folder;
}

void rebuild(benchmark::State& state) {
  many();
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    const auto report = value_of(Store::rebuild_index(many()));
    set_seconds(state, start);
    if (report.blocks != many_blocks) std::exit(1);
  }
  state.SetItemsProcessed(state.iterations() * many_blocks);
}

/// The store opened, a session's tokens matched, and its blocks had.
void match_and_open(benchmark::State& state) {
  const auto folder = many();
  const Codec codec = value_of(Codec::parse("raw"));
  std::mt19937 random(3);
  for (auto _ : state) {
    const std::int64_t s = random() % (many_blocks / chain_blocks);
    const auto tokens = tokens_of(s);
    const auto start = std::chrono::steady_clock::now();
    const Store store = value_of(Store::open(folder));
    const auto matched = value_of(store.match(tokens, codec));
    const auto blocks = value_of(store.blocks(fmt::format("session {}", s)));
    set_seconds(state, start);
    if (matched.size() != chain_blocks || blocks.size() != chain_blocks) std::exit(1);
  }
}

/// The same in a store that is open already.
void match_and_blocks(benchmark::State& state) {
  const Store store = value_of(Store::open(many()));
  const Codec codec = value_of(Codec::parse("raw"));
  std::mt19937 random(3);
  for (auto _ : state) {
    const std::int64_t s = random() % (many_blocks / chain_blocks);
    const auto tokens = tokens_of(s);
    const auto start = std::chrono::steady_clock::now();
    const auto matched = value_of(store.match(tokens, codec));
    const auto blocks = value_of(store.blocks(fmt::format("session {}", s)));
    set_seconds(state, start);
    if (matched.size() != chain_blocks || blocks.size() != chain_blocks) std::exit(1);
  }
}

void list(benchmark::State& state) {
  const Store store = value_of(Store::open(many()));
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    if (value_of(store.sessions()).size() != many_blocks / chain_blocks) std::exit(1);
    set_seconds(state, start);
  }
  state.SetItemsProcessed(state.iterations() * many_blocks / chain_blocks);
}

void retain(benchmark::State& state) {
  Store store = value_of(Store::open_for_writing(many()));
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    value_of(store.retain({}));
    set_seconds(state, start);
  }
  state.SetItemsProcessed(state.iterations() * many_blocks);
}

constexpr auto ms = benchmark::kMillisecond;
BENCHMARK(save_safetensors)->UseManualTime()->Unit(ms);
BENCHMARK(save_tar_zstd)->UseManualTime()->Unit(ms);
BENCHMARK(save_store)->ArgName("protection")->Arg(0)->Arg(1)->Arg(2)->UseManualTime()->Unit(ms);
BENCHMARK(restore_safetensors)->ArgName("cold")->Arg(0)->Arg(1)->UseManualTime()->Unit(ms);
BENCHMARK(restore_tar_zstd)->ArgName("cold")->Arg(0)->Arg(1)->UseManualTime()->Unit(ms);
BENCHMARK(restore_store)->ArgNames({"protection", "cold"})->ArgsProduct({{0, 1, 2}, {0, 1}})->UseManualTime()->Unit(ms);
BENCHMARK(decode_blocks)->UseManualTime()->Unit(ms);
BENCHMARK(shared_prefix)->UseManualTime()->Unit(ms)->Iterations(1);
BENCHMARK(rebuild)->UseManualTime()->Unit(ms);
BENCHMARK(match_and_open)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(2000);
BENCHMARK(match_and_blocks)->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(2000);
BENCHMARK(list)->UseManualTime()->Unit(ms)->Iterations(1);
BENCHMARK(retain)->UseManualTime()->Unit(ms)->Iterations(1);

/// The folder goes when the program ends.
struct Cleaner {
  Cleaner() { scratch(); }  // which then outlives it
  ~Cleaner() {
    std::error_code ignored;
    fs::remove_all(scratch(), ignored);
  }
} cleaner;

}  // namespace
}  // namespace seqkv::bench
