// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/trie.hpp"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>
#include <tuple>

#include "arrays.hpp"
#include "seqkv/trie_distance.hpp"
#include "seqkv/trie_match.hpp"

namespace seqkv::python {
namespace {

using Sequences = std::vector<std::vector<Token>>;

std::vector<TokenSpan> spans_of(const Sequences& sequences) { return {sequences.begin(), sequences.end()}; }

Trie of_sessions(const Sequences& sequences) {
  return released([&]() {
    std::vector<TrieSession> sessions;
    for (const auto& tokens : sequences) sessions.push_back({tokens, sessions.size(), {}});
    return value_of(build_session_trie(Space(), sessions));
  });
}

/// Rows (tokens of the longest known prefix, a session that has it or -1).
std::vector<std::pair<std::int64_t, std::int64_t>> match_all(const Trie& trie, const Sequences& queries) {
  return released([&]() {
    const auto here = value_of(DeviceTrie<Space>::create(Space(), trie));
    std::vector<TrieCursor> places(queries.size());
    value_of(match(Space(), here, spans_of(queries), places));
    std::vector<std::pair<std::int64_t, std::int64_t>> rows;
    for (const TrieCursor& place : places) {
      const bool is_of_sessions = trie.shape().kind == TrieKind::sessions && place.depth > 0;
      const std::int64_t session =
          is_of_sessions ? static_cast<std::int64_t>(sessions_at(trie.view(), place).front()) : -1;
      rows.emplace_back(place.depth, session);
    }
    return rows;
  });
}

/// Bits that the sequences share, those of both tails, and P of what they share (0 where they are equal).
std::tuple<double, double, double> distance(const Trie& trie, const std::vector<Token>& a,
                                            const std::vector<Token>& b) {
  return released([&]() {
    const auto distance =
        sequence_distance(a, value_of(prefix_information(trie, a)), b, value_of(prefix_information(trie, b)));
    constexpr double bit = 65536.0;
    return std::tuple(static_cast<double>(distance.shared) / bit, static_cast<double>(distance.path_length) / bit,
                      distance.ultrametric);
  });
}

}  // namespace

void bind_trie(nb::module_& module) {
  nb::class_<Trie>(module, "Trie", "A probabilistic trie of token sequences (docs/trie.md). Immutable.")
      .def_static("of_sessions", &of_sessions, nb::arg("sequences"),
                  "Of whole sequences, whose ids are their numbers: what is known already.")
      .def_static(
          "of_windows",
          [](const Sequences& sequences, int depth) {
            return released([&]() { return value_of(build_window_trie(Space(), spans_of(sequences), depth)); });
          },
          nb::arg("sequences"), nb::arg("depth") = 8, "Of the windows at every position: n-gram counts.")
      .def_static(
          "open",
          [](const std::filesystem::path& path) { return released([&]() { return value_of(Trie::open(path)); }); },
          nb::arg("path"), "Maps a trie file after checking all of it.")
      .def(
          "save",
          [](const Trie& trie, const std::filesystem::path& path) {
            released([&]() { return value_of(trie.save(path)), true; });
          },
          nb::arg("path"))
      .def_prop_ro(
          "sequences", [](const Trie& trie) { return trie.shape().total; }, "Sessions, or windows.")
      .def_prop_ro("nodes", [](const Trie& trie) { return trie.shape().nodes; })
      .def_prop_ro("bytes", [](const Trie& trie) { return trie.image().size(); })
      .def("match", &match_all, nb::arg("queries"),
           "For every query the tokens of its longest known prefix, and a session that has it (-1: none).")
      .def(
          "information",
          [](const Trie& trie, const std::vector<Token>& tokens) {
            std::vector<double> bits;
            for (const std::uint64_t fixed : released([&]() { return value_of(prefix_information(trie, tokens)); })) {
              bits.push_back(static_cast<double>(fixed) / 65536.0);
            }
            return bits;
          },
          nb::arg("tokens"), "-log2 P of the first i tokens, for i = 0 .. len(tokens), in bits.")
      .def("distance", &distance, nb::arg("a"), nb::arg("b"),
           "Of two sequences: shared information in bits, path length in bits (a metric), ultrametric P of the shared "
           "prefix.");
}

}  // namespace seqkv::python
