// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/span_index.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "core/guard_memory.hpp"

namespace seqkv {
namespace {

constexpr auto window = static_cast<std::size_t>(SpanIndex::window);

/// Cyclic polynomial (Cohen 1997): each token's bits turn by one place a step, and leave as they came after a window.
class RollingHash {
 public:
  RollingHash(std::uint64_t seed, const Token* tokens) : seed_(seed), next_(tokens) {
    for (std::size_t i = 0; i < window; ++i) sum_ = std::rotl(sum_, 1) ^ bits_of(*next_++);
  }
  std::uint32_t value() const { return static_cast<std::uint32_t>((sum_ * 0x9e3779b97f4a7c15ULL) >> 32U); }
  /// One token further. Precondition: there is one.
  void roll() {
    sum_ =
        std::rotl(sum_, 1) ^ std::rotl(bits_of(next_[-static_cast<std::ptrdiff_t>(window)]), window) ^ bits_of(*next_);
    ++next_;
  }

 private:
  std::uint64_t bits_of(Token token) const {
    const std::uint64_t x = (token ^ seed_) * 0xbf58476d1ce4e5b9ULL;
    return (x ^ (x >> 29U)) * 0x94d049bb133111ebULL;
  }

  std::uint64_t seed_;
  const Token* next_;
  std::uint64_t sum_ = 0;
};

}  // namespace

void WindowTable::insert(std::uint32_t hash, std::uint32_t number) {
  if (2 * (used_ + 1) > slots_.size()) grow();
  std::int64_t alike = 0;
  std::size_t i = slot_of(hash);
  for (; slots_[i].number != nothing; i = (i + 1) & (slots_.size() - 1)) {
    alike += slots_[i].hash == hash ? 1 : 0;
    if (alike == most_alike) return;
  }
  slots_[i] = {hash, number};
  ++used_;
}

/// A slot depends on the upper bits of the hash, which it holds whole.
void WindowTable::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  --shift_;
  for (const Slot& slot : old) {
    if (slot.number == nothing) continue;
    std::size_t i = slot_of(slot.hash);
    while (slots_[i].number != nothing) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = slot;
  }
}

/// One query on its way.
class SpanIndex::Search {
 public:
  Search(const SpanIndex& index, TokenSpan query, std::int64_t least, bool within)
      : index_(index), query_(query), least_(std::max(least, SpanIndex::window)), within_(within) {}

  std::vector<SharedSpan> run() {
    const std::int64_t last = size() - SpanIndex::window;  // where a window can start
    for (std::int64_t at = 0; at <= last;) at = scan(at, last);
    return std::move(found_);
  }

 private:
  std::int64_t size() const { return static_cast<std::int64_t>(query_.size()); }

  /// Looks at some windows from `at` on, whose slots are asked for together; returns where to go on.
  std::int64_t scan(std::int64_t at, std::int64_t last) {
    constexpr std::int64_t together = 64;
    const std::int64_t count = std::min(together, last - at + 1);
    std::array<std::uint32_t, together> hashes;
    RollingHash hash(index_.seed_, query_.data() + at);
    for (std::int64_t i = 0;; ++i) {
      hashes[static_cast<std::size_t>(i)] = hash.value();
      index_.table_.prefetch(hash.value());
      if (i + 1 == count) break;
      hash.roll();
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint32_t of_window = hashes[static_cast<std::size_t>(i)];
      SharedSpan best;
      index_.table_.for_each(of_window, [&](std::uint32_t number) { compare_stored(at + i, number, best); });
      if (within_) own_.for_each(of_window, [&](std::uint32_t number) { compare_own(at + i, number, best); });
      if (best.count >= least_) {
        regions_.back().end = best.first;
        free_ = best.first + best.count;
        regions_.push_back({free_, size()});
        found_.push_back(best);
        return free_;
      }
      // Windows of the query itself are cut from the end of the last span on.
      if (within_ && (at + i - free_) % SpanIndex::window == 0) {
        own_.insert(of_window, static_cast<std::uint32_t>(places_.size()));
        places_.push_back({at + i, regions_.size() - 1});
      }
    }
    return at + count;
  }

  void compare_stored(std::int64_t at, std::uint32_t number, SharedSpan& best) const {
    const std::int64_t source = number * SpanIndex::window;
    const auto behind = std::upper_bound(index_.starts_.begin(), index_.starts_.end(), source);
    const std::int64_t sequence = behind - index_.starts_.begin() - 1;
    const std::int64_t start = index_.starts_[static_cast<std::size_t>(sequence)];
    const std::int64_t end = index_.ends_[static_cast<std::size_t>(sequence)];
    SharedSpan span = extend(at, index_.tokens_.data(), source, start, end);
    span.sequence = sequence;
    span.source -= start;
    // The first of equal ones: tables do not keep an order.
    const bool comes_first = std::pair(sequence, span.source) < std::pair(best.sequence, best.source);
    if (span.count > best.count || (span.count == best.count && span.count > 0 && comes_first)) best = span;
  }

  /// Within a region, and before what it stands for.
  void compare_own(std::int64_t at, std::uint32_t number, SharedSpan& best) const {
    const Place& place = places_[number];
    const Region& region = regions_[place.region];
    SharedSpan span = extend(at, query_.data(), place.at, region.first, std::min(region.end, at));
    span.sequence = -1;
    span.count = std::min(span.count, span.first - span.source);
    const bool comes_first = best.sequence < 0 && span.source < best.source;
    if (span.count > best.count || (span.count == best.count && span.count > 0 && comes_first)) best = span;
  }

  /// The windows at `at` and at `source` of other tokens, to both sides: not before what has been found, nor out of
  /// [start, end). Empty if they differ.
  SharedSpan extend(std::int64_t at, const Token* other, std::int64_t source, std::int64_t start,
                    std::int64_t end) const {
    const Token* query = query_.data();
    if (end - source < SpanIndex::window || !std::equal(query + at, query + at + SpanIndex::window, other + source)) {
      return {};
    }
    std::int64_t before = 0;
    const std::int64_t most_before = std::min(at - free_, source - start);
    while (before < most_before && query[at - before - 1] == other[source - before - 1]) ++before;
    std::int64_t count = SpanIndex::window;
    const std::int64_t most = std::min(size() - at, end - source);
    while (count < most && query[at + count] == other[source + count]) ++count;
    return {at - before, before + count, 0, source - before};
  }

  /// What lies between spans.
  struct Region {
    std::int64_t first, end;
  };
  /// A window of the query.
  struct Place {
    std::int64_t at;
    std::size_t region;
  };

  const SpanIndex& index_;
  TokenSpan query_;
  std::int64_t least_;
  bool within_;
  std::int64_t free_ = 0;  ///< nothing before it can become part of a span
  std::vector<SharedSpan> found_;
  std::vector<Region> regions_ = {{0, size()}};
  std::vector<Place> places_;
  WindowTable own_;
};

Result<std::int64_t> SpanIndex::add(TokenSpan tokens) {
  const auto size = static_cast<std::int64_t>(tokens.size());
  const auto start = static_cast<std::int64_t>(tokens_.size());
  if (size > max_tokens - start - SpanIndex::window) {
    return Error(ErrorCode::limit_exceeded, fmt::format("more than {} tokens in an index of spans", max_tokens));
  }
  return guard_memory("for the index of spans", [&]() -> Result<std::int64_t> {
    starts_.reserve(starts_.size() + 1);
    ends_.reserve(ends_.size() + 1);
    tokens_.resize(
        static_cast<std::size_t>(start + (size + SpanIndex::window - 1) / SpanIndex::window * SpanIndex::window));
    std::copy(tokens.begin(), tokens.end(), tokens_.begin() + start);
    starts_.push_back(start);
    ends_.push_back(start + size);
    count_ += size;
    for (std::int64_t at = start; at + SpanIndex::window <= start + size; at += SpanIndex::window) {
      table_.insert(RollingHash(seed_, tokens_.data() + at).value(),
                    static_cast<std::uint32_t>(at / SpanIndex::window));
    }
    return sequences() - 1;
  });
}

std::vector<SharedSpan> SpanIndex::find(TokenSpan query, std::int64_t least, bool within) const {
  return Search(*this, query, least, within).run();
}

std::int64_t SpanIndex::bytes() const {
  const std::size_t places = starts_.capacity() + ends_.capacity();
  return table_.bytes() + static_cast<std::int64_t>(tokens_.capacity() * sizeof(Token) + places * sizeof(std::int64_t));
}

}  // namespace seqkv
