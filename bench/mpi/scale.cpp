// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// What the scale model (bench/mpi/model.py) is fed with, on all ranks of a job: messages, coding of prefixes, packs,
// and the sharded trie: building (weak and strong) and lookups, batched and by one-sided gets. One JSON object on
// stdout.
#include <fmt/format.h>
#include <unistd.h>

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "mpi/program.hpp"
#include "rma.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/mpi.hpp"
#include "seqkv/mpi_trie.hpp"
#include "seqkv/mpi_view.hpp"

namespace seqkv::bench {
namespace {

using mpi::Communicator;
using mpi::Program;
using mpi::Reduction;
using Space = Kokkos::DefaultExecutionSpace;

template <class T>
T value_of(Result<T> result) {
  if (result) return std::move(result).value();
  std::fprintf(stderr, "%s\n", result.error().describe().c_str());
  std::abort();
}
void done(const Result<void>& status) {
  if (status) return;
  std::fprintf(stderr, "%s\n", status.error().describe().c_str());
  std::abort();
}

std::int64_t number(const char* name, std::int64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoll(value);
}

/// Seconds of the slowest rank; the mean of all.
struct Times {
  double most = 0;
  double mean = 0;
};

class Bench {
 public:
  explicit Bench(const Communicator& communicator) : comm_(communicator) {}

  template <class Work>
  Times timed(const Work& work) const {
    done(comm_.barrier());
    const double start = Program::now();
    work();
    const double mine = Program::now() - start;
    std::array<double, 1> most = {mine};
    std::array<double, 1> sum = {mine};
    done(comm_.reduce(most, Reduction::max));
    done(comm_.reduce(sum, Reduction::sum));
    return {most[0], sum[0] / comm_.size()};
  }

  /// Half of a round trip between rank 0 and the last.
  double message(std::size_t bytes, int rounds) const {
    const int other = comm_.size() - 1;
    if (other == 0) return 0;
    std::vector<std::byte> memory(bytes);
    const auto turn = [&] {
      if (comm_.rank() == 0) {
        done(comm_.send(memory, other, 1));
        done(comm_.receive(memory, other, 2));
      } else if (comm_.rank() == other) {
        done(comm_.receive(memory, 0, 1));
        done(comm_.send(memory, 0, 2));
      }
    };
    turn();
    double best = 1e9;
    for (int repeat = 0; repeat < 3; ++repeat) {
      best = std::min(best, timed([&] {
                              for (int i = 0; i < rounds; ++i) turn();
                            }).most);
    }
    return best / rounds / 2;
  }

  /// Bytes a second from the memory of one rank's space to another's: a frame on its way.
  double views(const Space& space, const Communicator& through) const {
    const int other = comm_.size() - 1;
    if (other == 0) return 0;
    constexpr std::size_t bytes = 64U << 20U;
    const mpi::ByteView<Space::memory_space> view("seqkv::bench::frame", bytes);
    const auto turn = [&] {
      if (comm_.rank() == 0) done(mpi::send(space, through, view, other, 3));
      if (comm_.rank() == other) done(mpi::receive(space, through, view, 0, 3));
    };
    turn();
    double best = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) best = std::min(best, timed(turn).most);
    return static_cast<double>(bytes) / best;
  }

  /// Bytes a second of writing a file a rank with fsync.
  double packs(const std::filesystem::path& folder) const {
    const std::vector<std::byte> bytes(64U << 20U, std::byte{7});
    const auto path = folder / fmt::format("bench-{}-{}.pack", getpid(), comm_.rank());
    const Times times = timed([&] {
      std::FILE* file = std::fopen(path.c_str(), "wb");
      if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size()) std::abort();
      std::fflush(file);
      fsync(fileno(file));
      std::fclose(file);
    });
    std::filesystem::remove(path);
    return static_cast<double>(bytes.size()) / times.most;
  }

  /// Bytes of f32 values a second that are coded, and decoded, to the bit, as prefixes are on their way.
  std::pair<double, double> coding(const Space& space) const {
    KvShape shape;
    shape.layers = 8;
    shape.kv_heads = 2;
    shape.head_dim = 64;
    shape.dtype = DType::f32;
    constexpr std::int64_t tokens = 2048;
    KvCache cache = value_of(KvCache::create(shape, tokens));
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (std::byte* tensor : cache.view().tensors) {
      auto* values = reinterpret_cast<float*>(tensor);
      for (std::int64_t i = 0; i < tokens * 2 * 64; ++i) values[i] = normal(random);
    }
    std::vector<Token> ids(tokens, 5);
    const Codec codec = value_of(Codec::parse("none+lossless"));
    std::vector<CodedBlock> blocks;
    const auto bytes = static_cast<double>(cache.bytes());
    const auto code = [&] { blocks = value_of(encode(space, codec, cache.view(), TokenSpan(ids), 0, 256)); };
    code();
    const Times coded = timed(code);
    const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
    const Times decoded = timed([&] { done(decode(space, codec, views, cache.view())); });
    return {bytes / coded.most, bytes / decoded.most};
  }

 private:
  const Communicator& comm_;
};

/// Sessions of `tokens` tokens behind a preamble, the same on each run.
std::vector<Token> random_sessions(std::size_t count, std::size_t tokens, std::size_t preamble, std::uint32_t seed) {
  std::mt19937_64 random(seed);
  std::mt19937_64 shared(12345);
  std::vector<Token> first(preamble);
  for (Token& token : first) token = static_cast<Token>(shared() % 4000);
  std::vector<Token> all;
  all.reserve(count * tokens);
  for (std::size_t i = 0; i < count; ++i) {
    all.insert(all.end(), first.begin(), first.end());
    for (std::size_t t = preamble; t < tokens; ++t) all.push_back(static_cast<Token>(random() % 4000));
  }
  return all;
}

std::vector<TrieSession> views_of(const std::vector<Token>& tokens, std::size_t length, std::uint64_t first_id) {
  std::vector<TrieSession> sessions;
  for (std::size_t i = 0; i < tokens.size() / length; ++i) {
    sessions.push_back({TokenSpan(tokens).subspan(i * length, length), first_id + i, {}});
  }
  return sessions;
}

struct TrieFigures {
  Times build;
  Times lookup;
  double lookups = 0;  ///< a second and rank
  std::int64_t hot = 0;
  double fullest = 0;  ///< sessions of the rank that has the most, by the mean
};

/// Every rank gives `count` sessions and asks for as many queries: half of them sessions of the
/// next rank, the others of none.
TrieFigures trie(const Bench& bench, const Communicator& comm, const Space& space, std::size_t count,
                 std::size_t queries, std::size_t length, std::size_t preamble) {
  const auto rank = static_cast<std::uint32_t>(comm.rank());
  const auto tokens = random_sessions(count, length, preamble, 100 + rank);
  const auto sessions = views_of(tokens, length, static_cast<std::uint64_t>(rank) * count);
  std::optional<mpi::ShardedTrie<Space>> made;
  TrieFigures figures;
  figures.build =
      bench.timed([&] { made.emplace(value_of(mpi::ShardedTrie<Space>::build(space, comm, sessions, {16}))); });
  // Sessions of a neighbor, so that they are found, and others, which are not.
  const auto other =
      random_sessions(count, length, preamble, 100 + (rank + 1) % static_cast<std::uint32_t>(comm.size()));
  const auto strange = random_sessions(count, length, preamble, 1'000'000 + rank);
  std::mt19937_64 random(rank);
  std::vector<Token> query_tokens;
  query_tokens.reserve(queries * length);
  std::vector<TokenSpan> asked;
  for (std::size_t i = 0; i < queries; ++i) {
    const auto& from = i % 2 == 0 ? other : strange;
    const TokenSpan query = TokenSpan(from).subspan(random() % count * length, length);
    query_tokens.insert(query_tokens.end(), query.begin(), query.end());
    asked.emplace_back(query_tokens.data() + i * length, length);
  }
  value_of(made->match(space, std::span(asked).first(std::min<std::size_t>(asked.size(), 50'000))));
  figures.lookup.most = 1e9;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Times times = bench.timed([&] { value_of(made->match(space, asked)); });
    if (times.most < figures.lookup.most) figures.lookup = times;
  }
  figures.lookups = static_cast<double>(queries) / figures.lookup.most;
  figures.hot = made->hot_prefixes();
  std::array<std::int64_t, 1> most = {static_cast<std::int64_t>(made->local().shape().total)};
  done(comm.reduce(most, Reduction::max));
  figures.fullest = static_cast<double>(most[0]) * comm.size() / static_cast<double>(made->sessions());
  return figures;
}

std::string to_json(const TrieFigures& figures) {
  return fmt::format(
      R"({{"build_s": {:.5f}, "lookup_s": {:.5f}, "lookup_mean_s": {:.5f}, "lookups_per_s_and_rank": {:.0f}, "hot_prefixes": {}, "fullest_by_mean": {:.3f}}})",
      figures.build.most, figures.lookup.most, figures.lookup.mean, figures.lookups, figures.hot, figures.fullest);
}

void run() {
  const Communicator comm = value_of(Communicator::duplicate(Program::world()));
  const Space space;
  const Bench bench(comm);
  const auto ranks = static_cast<std::size_t>(comm.size());
  const auto weak = static_cast<std::size_t>(number("SEQKV_SESSIONS", 200'000));
  const auto queries = static_cast<std::size_t>(number("SEQKV_QUERIES", 1'000'000));
  const char* folder = std::getenv("SEQKV_FOLDER");

  const Communicator staged =
      value_of(Communicator::duplicate(Program::world(), {.device_transfers = mpi::DeviceTransfers::staged}));
  const double frames_staged = bench.views(space, staged);
  const double frames_direct = comm.sends_from_devices() ? bench.views(space, comm) : 0.0;
  const double latency = bench.message(8, 2000);
  const double large = bench.message(8U << 20U, 20);
  const auto [encode_rate, decode_rate] = bench.coding(space);
  const double pack_rate = bench.packs(folder == nullptr ? "/tmp" : folder);
  const auto spread = trie(bench, comm, space, weak, queries, 32, 0);
  const auto strong = trie(bench, comm, space, weak / ranks, queries / ranks, 32, 0);
  const auto skewed = trie(bench, comm, space, weak / 20, queries / 4, 1024 + 32, 1024);

  const auto tokens = random_sessions(weak, 32, 0, 100 + static_cast<std::uint32_t>(comm.rank()));
  const auto others = random_sessions(weak, 32, 0, 100 + static_cast<std::uint32_t>((comm.rank() + 1) % comm.size()));
  const auto keys_of = [](const std::vector<Token>& all) {
    std::vector<std::uint64_t> keys;
    for (std::size_t i = 0; i + 32 <= all.size(); i += 32) {
      keys.push_back(xxh3_64(std::as_bytes(TokenSpan(all).subspan(i, 32))) | 1U);
    }
    return keys;
  };
  const auto keys = keys_of(tokens);
  auto wanted = keys_of(others);
  std::mt19937_64 random(7);
  std::ranges::shuffle(wanted, random);
  std::int64_t found = 0;
  std::array<double, 1> rma = {rma_lookups(keys, wanted, found)};
  done(comm.reduce(rma, Reduction::max));
  if (comm.rank() != 0) return;
  fmt::print(
      R"({{"ranks": {}, "mpi": "{}", "space": "{}", "threads": {}, "node_ranks": {}, "sends_from_devices": {},
 "frame_staged_Bps": {:.4e}, "frame_direct_Bps": {:.4e}, "latency_s": {:.3e}, "message_Bps": {:.4e}, "encode_Bps": {:.4e}, "decode_Bps": {:.4e}, "pack_Bps": {:.4e},
 "trie_weak": {}, "trie_strong": {}, "trie_skew": {},
 "rma_lookups_per_s_and_rank": {:.0f}, "rma_found": {:.4f}, "sessions_per_rank": {}, "queries_per_rank": {}}}
)",
      comm.size(), Communicator::library_version(), Space::name(), space.concurrency(), comm.node_size(),
      comm.sends_from_devices(), frames_staged, frames_direct, latency,
      large > 0 ? static_cast<double>(8U << 20U) / large : 0.0, encode_rate, decode_rate, pack_rate, to_json(spread),
      to_json(strong), to_json(skewed), static_cast<double>(wanted.size()) / rma[0],
      static_cast<double>(found) / static_cast<double>(wanted.size()), weak, queries);
}

}  // namespace
}  // namespace seqkv::bench

int main() {
  const seqkv::mpi::Program program;
  const int threads = seqkv::mpi::Program::threads();
  auto settings = Kokkos::InitializationSettings().set_disable_warnings(true).set_num_threads(threads);
  {
    const auto comm = seqkv::bench::value_of(seqkv::mpi::Communicator::duplicate(seqkv::mpi::Program::world()));
    if (const auto device = comm.device(Kokkos::num_devices())) settings.set_device_id(*device);
  }
  const Kokkos::ScopeGuard kokkos(settings);
  seqkv::bench::run();
  return 0;
}
