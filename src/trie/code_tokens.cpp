// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include <algorithm>

#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "seqkv/token_coder.hpp"
#include "trie/for_each_with_tools.hpp"
#include "trie/token_model.hpp"
#include "trie/token_stream.hpp"

namespace seqkv {
namespace {

/// Tokens in blocks; all sequences are checked.
Result<std::vector<TokenSpan>> blocks_of(std::span<const TokenSpan> sequences, const TokenCoder::Options& options) {
  std::vector<TokenSpan> blocks;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const TokenSpan tokens = sequences[i];
    if (std::ssize(tokens) > limits::max_tokens) {
      return Error(ErrorCode::limit_exceeded, "a sequence of more than 2^31 tokens")
          .at_field("sequence " + std::to_string(i));
    }
    SEQKV_TRY(trie::check_vocabulary(tokens, i, options.vocabulary));
    const std::size_t step = options.block_tokens == 0 ? tokens.size() : options.block_tokens;
    for (std::size_t first = 0; first < tokens.size(); first += step) {
      blocks.push_back(tokens.subspan(first, std::min(step, tokens.size() - first)));
    }
  }
  return blocks;
}

}  // namespace

template <class ExecutionSpace>
Result<std::vector<std::byte>> TokenCoder::encode(const ExecutionSpace& space,
                                                  std::span<const TokenSpan> sequences) const {
  return guard_memory("to encode tokens", [&]() -> Result<std::vector<std::byte>> {
    const Options& options = model_->options;
    SEQKV_ASSIGN(const auto blocks, blocks_of(sequences, options));
    std::vector<trie::CodedBlock> coded(blocks.size());
    trie::for_each_with_tools(
        space, "seqkv::trie::encode_tokens", blocks.size(),
        [&]() { return model_->predictor(options.vocabulary, options.adaptive); },
        [&](trie::Predictor& predictor, std::uint64_t i) { coded[i] = trie::encode_block(predictor, blocks[i]); });
    std::vector<std::uint64_t> tokens;
    for (const TokenSpan sequence : sequences) tokens.push_back(sequence.size());
    return trie::write_stream({model_->fingerprint, options.vocabulary, options.block_tokens, options.adaptive}, tokens,
                              coded);
  });
}

template <class ExecutionSpace>
Result<std::vector<std::vector<Token>>> TokenCoder::decode(const ExecutionSpace& space,
                                                           std::span<const std::byte> stream,
                                                           std::uint64_t max_tokens) const {
  return guard_memory("to decode tokens", [&]() -> Result<std::vector<std::vector<Token>>> {
    SEQKV_ASSIGN(const auto parsed, trie::parse_stream(stream, max_tokens));
    const trie::StreamHeader& header = parsed.header;
    SEQKV_TRY(trie::check_stream(model_->fingerprint, header.fingerprint, model_->trie.shape().largest_token,
                                 header.vocabulary));
    std::vector<Result<std::vector<Token>>> decoded(parsed.blocks.size(), std::vector<Token>());
    trie::for_each_with_tools(
        space, "seqkv::trie::decode_tokens", parsed.blocks.size(),
        [&]() { return model_->predictor(header.vocabulary, header.adaptive); },
        [&](trie::Predictor& predictor, std::uint64_t i) {
          decoded[i] = trie::decode_block(predictor, parsed.blocks[i]);
        });
    std::vector<std::vector<Token>> sequences(parsed.tokens.size());
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      if (!decoded[i]) return std::move(decoded[i]).error().in_block(static_cast<std::int64_t>(i));
      auto& sequence = sequences[parsed.blocks[i].sequence];
      if (sequence.empty()) {
        sequence = std::move(*decoded[i]);
      } else {
        sequence.insert(sequence.end(), decoded[i]->begin(), decoded[i]->end());
        decoded[i] = std::vector<Token>();
      }
    }
    return sequences;
  });
}

#define SEQKV_INSTANTIATE(Space)                                                                                       \
  template Result<std::vector<std::byte>> TokenCoder::encode<Space>(const Space&, std::span<const TokenSpan>) const;   \
  template Result<std::vector<std::vector<Token>>> TokenCoder::decode<Space>(const Space&, std::span<const std::byte>, \
                                                                             std::uint64_t) const;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
