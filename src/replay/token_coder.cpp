// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <optional>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/token_checksum.hpp"
#include "core/try.hpp"
#include "model/forward_state.hpp"
#include "replay/next_token.hpp"
#include "replay/token_stream.hpp"
#include "seqkv/replay.hpp"

namespace seqkv {
namespace {

using replay::Segment;
using replay::TokenStream;

/// What one run of the model through a sequence codes: segments [first, last) of a stream.
struct Lane {
  std::uint64_t first, last;
};

/// Independent segments each have a lane, others share that of their session.
std::vector<Lane> lanes_of(const TokenStream& stream) {
  std::vector<Lane> lanes;
  for (std::uint64_t s = 0; s < stream.sessions.size(); ++s) {
    const std::uint64_t first = stream.sessions[s].first_segment;
    const std::uint64_t count = stream.segments_of(s);
    const std::uint64_t step = stream.header.independent ? 1 : std::max<std::uint64_t>(count, 1);
    for (std::uint64_t at = 0; at < count; at += step) lanes.push_back({first + at, first + at + step});
  }
  return lanes;
}

/// Coded tokens of a segment: the session's first one stands in the index.
std::uint64_t coded_tokens(const Segment& segment) { return segment.tokens - std::uint64_t{segment.first == 0}; }

/// A lane on its way through the model while it is encoded.
template <class ExecutionSpace>
struct Encoding {
  Lane lane;
  Sequence<ExecutionSpace> sequence;
  std::vector<Token> tokens;  ///< what the model reads, and one more
  std::size_t done = 0;       ///< read by the model
  std::uint64_t segment;
  std::uint64_t left;  ///< tokens to be put into the segment
  RangeEncoder coder;

  Encoding(const ModelConfig& config, const TokenStream& stream, const Lane& of, TokenSpan session)
      : lane(of), sequence(config), segment(of.first), left(coded_tokens(stream.segments[of.first])) {
    const std::uint64_t begin = std::max<std::uint64_t>(stream.segments[of.first].first, 1);
    const Segment& last = stream.segments[of.last - 1];
    tokens.push_back(session[0]);
    const auto coded = session.subspan(begin, last.first + last.tokens - begin);
    tokens.insert(tokens.end(), coded.begin(), coded.end());
  }

  void put(TokenStream& stream, const Interval& interval, std::uint64_t total) {
    while (left == 0) end_segment(stream);
    coder.put(interval, total);
    --left;
  }
  void end_segment(TokenStream& stream) {
    stream.segments[segment].payload = std::move(coder).finish();
    coder = RangeEncoder();
    if (++segment < lane.last) left = coded_tokens(stream.segments[segment]);
  }
};

/// A lane while it is decoded.
template <class ExecutionSpace>
struct Decoding {
  Lane lane;
  Sequence<ExecutionSpace> sequence;
  std::vector<Token> unread;  ///< by the model
  std::uint64_t segment;
  std::vector<Token> tokens;  ///< of the segment
  std::optional<RangeDecoder> coder;
};

}  // namespace

template <class ExecutionSpace>
struct ModelTokenCoder<ExecutionSpace>::State {
  using Run = Forward<ExecutionSpace>;
  using Item = typename Run::Item;

  Options options;
  std::uint64_t fingerprint = 0;
  Run forward;
  typename Run::Output output;
  replay::NextToken<ExecutionSpace> next;

  const ModelConfig& config() const { return forward.model().config(); }

  Result<void> encode(const ExecutionSpace& space, std::span<const TokenSpan> sessions, TokenStream& stream) {
    const auto lanes = lanes_of(stream);
    std::deque<Encoding<ExecutionSpace>> open;
    for (auto lane = lanes.begin(); lane != lanes.end() || !open.empty();) {
      std::vector<Item> items;
      std::int64_t rows = 0;
      for (std::size_t i = 0; rows < options.chunk && (i < open.size() || lane != lanes.end()); ++i) {
        if (i == open.size()) {
          open.emplace_back(config(), stream, *lane, sessions[stream.segments[lane->first].session]);
          ++lane;
        }
        auto& it = open[i];
        const std::size_t unread = it.tokens.size() - 1 - it.done;
        const auto count = std::min(static_cast<std::int64_t>(unread), options.chunk - rows);
        items.push_back({&it.sequence, TokenSpan(it.tokens).subspan(it.done, static_cast<std::size_t>(count)), count});
        rows += count;
      }
      SEQKV_TRY(forward.run(space, items, &output));
      if (rows > 0) next.prepare(space, rows, output.logits);
      std::int64_t row = 0;
      for (std::size_t i = 0; i < items.size(); ++i) {
        for (std::int64_t t = 0; t < items[i].logits; ++t) next[row++].token = open[i].tokens[++open[i].done];
      }
      if (rows > 0) next.intervals(space);
      row = 0;
      for (std::size_t i = 0; i < items.size(); ++i) {
        for (std::int64_t t = 0; t < items[i].logits; ++t, ++row) {
          open[i].put(stream, next.interval(row), next.total(row));
        }
      }
      while (!open.empty() && open.front().done + 1 == open.front().tokens.size()) {
        while (open.front().segment < open.front().lane.last) open.front().end_segment(stream);
        open.pop_front();
      }
    }
    return {};
  }

  /// Checks what is claimed against the model before anything is taken for it.
  Result<void> check(const TokenStream& stream) const {
    if (stream.header.fingerprint != fingerprint) {
      return Error(ErrorCode::wrong_model, fmt::format("the tokens were coded with model {:016x}, this one is {:016x}",
                                                       stream.header.fingerprint, fingerprint));
    }
    for (std::size_t s = 0; s < stream.sessions.size(); ++s) {
      const auto& session = stream.sessions[s];
      const std::string field = fmt::format("session {}", s);
      if (session.tokens > static_cast<std::uint64_t>(config().max_positions)) {
        return Error(ErrorCode::limit_exceeded,
                     fmt::format("{} tokens, the model has {} positions", session.tokens, config().max_positions))
            .at_field(field);
      }
      if (session.first >= config().vocabulary) {
        return Error(ErrorCode::corrupt,
                     fmt::format("the first token is {}, the vocabulary has {}", session.first, config().vocabulary))
            .at_field(field);
      }
    }
    return {};
  }

  /// Puts tokens into their session, which grows only by what has been decoded.
  static void place(const Segment& segment, TokenSpan tokens, std::vector<std::vector<Token>>& sessions) {
    std::vector<Token>& session = sessions[segment.session];
    if (session.size() < segment.first + tokens.size()) session.resize(segment.first + tokens.size());
    std::copy(tokens.begin(), tokens.end(), session.begin() + static_cast<std::ptrdiff_t>(segment.first));
  }

  /// The lane's segments that are not known; what is known the model will read.
  Result<Decoding<ExecutionSpace>> open(const TokenStream& stream, const Lane& lane, const DecodeOptions& wanted,
                                        std::vector<std::vector<Token>>& sessions) const {
    const std::uint64_t s = stream.segments[lane.first].session;
    Decoding<ExecutionSpace> it{lane, Sequence<ExecutionSpace>(config()), {}, lane.first, {}, {}};
    if (!wanted.known.empty()) {
      const TokenSpan known = wanted.known[s];
      while (it.segment < lane.last) {
        const Segment& segment = stream.segments[it.segment];
        if (segment.first >= known.size()) break;
        if (segment.first + segment.tokens > known.size() ||
            token_checksum(known.subspan(segment.first, segment.tokens)) != segment.checksum) {
          return Error(ErrorCode::invalid_argument,
                       fmt::format("the known tokens of session {} are not the stream's", s))
              .in_block(static_cast<std::int64_t>(it.segment));
        }
        place(segment, known.subspan(segment.first, segment.tokens), sessions);
        ++it.segment;
      }
    }
    if (it.segment < lane.last) {
      const std::uint64_t first = stream.segments[it.segment].first;
      if (stream.header.independent || first == 0) {
        it.unread = {stream.sessions[s].first};
      } else {
        it.unread = sessions[s];  // all that is before
      }
    }
    return it;
  }

  /// Ends a segment whose tokens are all there.
  static Result<void> end_segment(const TokenStream& stream, Decoding<ExecutionSpace>& it, const DecodeOptions& wanted,
                                  std::vector<std::vector<Token>>& sessions) {
    const Segment& segment = stream.segments[it.segment];
    if (!it.coder->at_end()) return Error(ErrorCode::corrupt, "the payload does not hold so many tokens");
    if (token_checksum(it.tokens) != segment.checksum) {
      return Error(ErrorCode::checksum_mismatch, "the checksum of the tokens is another");
    }
    place(segment, it.tokens, sessions);
    if (wanted.segment) wanted.segment(segment.session, segment.first, it.tokens);
    ++it.segment;
    it.tokens.clear();
    it.coder.reset();
    return {};
  }

  /// Starts segments, and ends those without coded tokens, until the model is asked for one; false: the lane is done.
  static Result<bool> wants_token(const TokenStream& stream, Decoding<ExecutionSpace>& it, const DecodeOptions& wanted,
                                  std::vector<std::vector<Token>>& sessions) {
    while (it.segment < it.lane.last) {
      const Segment& segment = stream.segments[it.segment];
      if (!it.coder) {
        it.coder.emplace(segment.payload);
        if (segment.first == 0) it.tokens.push_back(stream.sessions[segment.session].first);
      }
      if (it.tokens.size() < segment.tokens) {
        if (!it.coder->overran()) return true;
        return Error(ErrorCode::corrupt, "the payload does not hold so many tokens")
            .in_block(static_cast<std::int64_t>(it.segment));
      }
      const auto block = static_cast<std::int64_t>(it.segment);
      if (auto ended = end_segment(stream, it, wanted, sessions); !ended) {
        return std::move(Error(ended.error())).in_block(block);
      }
    }
    return false;
  }

  /// One more token of every open lane.
  Result<void> step(const ExecutionSpace& space, std::deque<Decoding<ExecutionSpace>>& open) {
    std::vector<Item> items;
    for (auto& it : open) items.push_back({&it.sequence, it.unread, 1});
    SEQKV_TRY(forward.run(space, items, &output));
    const auto rows = static_cast<std::int64_t>(items.size());
    next.prepare(space, rows, output.logits);
    for (std::int64_t row = 0; row < rows; ++row) {
      next[row].start = static_cast<std::uint32_t>(open[static_cast<std::size_t>(row)].coder->point(next.total(row)));
    }
    next.tokens(space);
    for (std::int64_t row = 0; row < rows; ++row) {
      auto& it = open[static_cast<std::size_t>(row)];
      it.coder->take(next.interval(row));
      it.tokens.push_back(next[row].token);
      it.unread.assign(1, next[row].token);
    }
    return {};
  }

  Result<void> decode(const ExecutionSpace& space, const TokenStream& stream, const DecodeOptions& wanted,
                      std::vector<std::vector<Token>>& sessions) {
    const auto lanes = lanes_of(stream);
    std::deque<Decoding<ExecutionSpace>> open;
    for (auto lane = lanes.begin();;) {
      for (std::size_t i = 0; i < open.size();) {
        SEQKV_ASSIGN(const bool more, wants_token(stream, open[i], wanted, sessions));
        if (more) {
          ++i;
        } else {
          open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
        }
      }
      while (lane != lanes.end() && static_cast<std::int64_t>(open.size()) < options.batch) {
        SEQKV_ASSIGN(auto it, this->open(stream, *lane++, wanted, sessions));
        SEQKV_ASSIGN(const bool more, wants_token(stream, it, wanted, sessions));
        if (more) open.push_back(std::move(it));
      }
      if (open.empty()) return {};
      if (wanted.stop != nullptr && *wanted.stop)
        return Error(ErrorCode::interrupted, "decoding of tokens was stopped");
      SEQKV_TRY(step(space, open));
    }
  }
};

template <class ExecutionSpace>
ModelTokenCoder<ExecutionSpace>::ModelTokenCoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
template <class ExecutionSpace>
ModelTokenCoder<ExecutionSpace>::ModelTokenCoder(ModelTokenCoder&&) noexcept = default;
template <class ExecutionSpace>
ModelTokenCoder<ExecutionSpace>& ModelTokenCoder<ExecutionSpace>::operator=(ModelTokenCoder&&) noexcept = default;
template <class ExecutionSpace>
ModelTokenCoder<ExecutionSpace>::~ModelTokenCoder() = default;

template <class ExecutionSpace>
Result<ModelTokenCoder<ExecutionSpace>> ModelTokenCoder<ExecutionSpace>::create(
    const ExecutionSpace& space, std::shared_ptr<const Model<ExecutionSpace>> model, const Options& options) {
  if (options.batch < 1 || options.batch > 65536) {
    return Error(ErrorCode::invalid_argument, fmt::format("a batch of {}, expected 1 to 65536", options.batch));
  }
  return guard_memory("for a token coder", [&]() -> Result<ModelTokenCoder> {
    const std::int64_t vocabulary = model->config().vocabulary;
    const std::uint64_t fingerprint = load_le<std::uint64_t>(model->fingerprint().combined().bytes.data());
    SEQKV_ASSIGN(auto forward, Forward<ExecutionSpace>::create(space, std::move(model), options.chunk));
    auto state = std::make_unique<State>(State{options, fingerprint, std::move(forward), {}, {}});
    state->next.reserve(std::max(options.chunk, options.batch), vocabulary);
    return ModelTokenCoder(std::move(state));
  });
}

template <class ExecutionSpace>
Result<std::vector<std::byte>> ModelTokenCoder<ExecutionSpace>::encode(const ExecutionSpace& space,
                                                                       std::span<const TokenSpan> sessions) {
  return guard_memory("to encode tokens", [&]() -> Result<std::vector<std::byte>> {
    TokenStream stream;
    stream.header = {state_->fingerprint, state_->options.segment_tokens, state_->options.independent};
    for (std::size_t s = 0; s < sessions.size(); ++s) {
      if (auto checked = check_tokens(sessions[s], 0, state_->config()); !checked) {
        return std::move(Error(checked.error())).at_field(fmt::format("session {}", s));
      }
      replay::add_session(stream, sessions[s].size(), sessions[s].empty() ? 0 : sessions[s][0]);
    }
    for (Segment& segment : stream.segments) {
      segment.checksum = token_checksum(sessions[segment.session].subspan(segment.first, segment.tokens));
    }
    SEQKV_TRY(state_->encode(space, sessions, stream));
    return replay::write(stream);
  });
}

template <class ExecutionSpace>
Result<std::vector<std::vector<Token>>> ModelTokenCoder<ExecutionSpace>::decode(const ExecutionSpace& space,
                                                                                std::span<const std::byte> stream,
                                                                                const DecodeOptions& options) {
  return guard_memory("to decode tokens", [&]() -> Result<std::vector<std::vector<Token>>> {
    SEQKV_ASSIGN(const TokenStream parsed, replay::parse_token_stream(stream, options.max_tokens));
    SEQKV_TRY(state_->check(parsed));
    if (!options.known.empty() && options.known.size() != parsed.sessions.size()) {
      return Error(ErrorCode::invalid_argument, fmt::format("known tokens of {} sessions, the stream has {}",
                                                            options.known.size(), parsed.sessions.size()));
    }
    std::vector<std::vector<Token>> sessions(parsed.sessions.size());
    SEQKV_TRY(state_->decode(space, parsed, options, sessions));
    return sessions;
  });
}

#define SEQKV_INSTANTIATE(Space) template class ModelTokenCoder<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
