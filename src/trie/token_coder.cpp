// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/token_coder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"
#include "core/guard_memory.hpp"
#include "core/log2.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "trie/image.hpp"
#include "trie/token_model.hpp"
#include "trie/token_stream.hpp"
#include "trie/token_weights.hpp"

namespace seqkv {
namespace trie {

Result<void> check_vocabulary(TokenSpan tokens, std::size_t sequence, std::uint64_t vocabulary) {
  const auto bad = std::ranges::find_if(tokens, [vocabulary](Token token) { return token >= vocabulary; });
  if (bad == tokens.end()) return {};
  return Error(ErrorCode::token_out_of_range, fmt::format("token {} is not in the vocabulary of {}", *bad, vocabulary))
      .at_field(fmt::format("sequence {}, token {}", sequence, bad - tokens.begin()));
}

Result<void> check_stream(std::uint64_t fingerprint, std::uint64_t found, Token largest, std::uint64_t vocabulary) {
  if (found != fingerprint) {
    return Error(ErrorCode::wrong_model,
                 fmt::format("the tokens were coded with trie {:016x}, this one is {:016x}", found, fingerprint));
  }
  if (vocabulary <= largest) return Error(ErrorCode::corrupt, "the vocabulary lacks tokens of the trie");
  return {};
}

namespace {

/// The last number of a trie file's header: a checksum of all before it, which includes that of the arrays.
std::uint64_t fingerprint_of(const Trie& trie) {
  const auto header = header_of(trie.shape(), trie.image());
  return load_le<std::uint64_t>(header.data() + header.size() - sizeof(std::uint64_t));
}

}  // namespace
}  // namespace trie

Result<void> save_token_stream(const std::filesystem::path& path, std::span<const std::byte> stream) {
  return io::write_file(path, stream);
}

Result<std::vector<std::byte>> load_token_stream(const std::filesystem::path& path) {
  return guard_memory("for a token stream", [&]() -> Result<std::vector<std::byte>> {
    SEQKV_ASSIGN(const std::string file, io::read_file(path, limits::max_text_bytes));
    const auto bytes = as_bytes(file);
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  });
}

Result<TokenCoder> TokenCoder::create(Trie trie, const Options& options) {
  return guard_memory("for a token coder", [&]() -> Result<TokenCoder> {
    SEQKV_ASSIGN(auto counts, trie::WindowCounts::derive(trie));
    Options wanted = options;
    if (wanted.vocabulary == 0) wanted.vocabulary = trie.shape().largest_token + 1;
    if (wanted.vocabulary <= trie.shape().largest_token) {
      return Error(ErrorCode::invalid_argument, fmt::format("the trie has token {}, above a vocabulary of {}",
                                                            trie.shape().largest_token, wanted.vocabulary));
    }
    if (wanted.vocabulary > limits::max_coded_vocabulary) {
      return Error(ErrorCode::limit_exceeded,
                   fmt::format("a vocabulary of {} is above {}", wanted.vocabulary, limits::max_coded_vocabulary));
    }
    const std::span<const std::uint16_t> trained(trie.view().weight, trie.shape().weights);
    std::vector<std::uint16_t> weights(trained.begin(), trained.end());
    if (weights.empty()) weights = trie::default_token_weights(trie.shape().depth_limit);
    const std::uint64_t fingerprint = trie::fingerprint_of(trie);
    return TokenCoder(std::make_shared<const Model>(
        Model{std::move(trie), std::move(counts), std::move(weights), wanted, fingerprint}));
  });
}

std::uint64_t TokenCoder::fingerprint() const noexcept { return model_->fingerprint; }

Result<std::vector<Token>> TokenCoder::decode_block(std::span<const std::byte> stream, std::uint64_t sequence,
                                                    std::uint64_t block) const {
  return guard_memory("to decode tokens", [&]() -> Result<std::vector<Token>> {
    SEQKV_ASSIGN(const auto parsed, trie::parse_stream(stream, UINT64_MAX));
    const auto& header = parsed.header;
    SEQKV_TRY(trie::check_stream(model_->fingerprint, header.fingerprint, model_->trie.shape().largest_token,
                                 header.vocabulary));
    if (sequence >= parsed.tokens.size()) {
      return Error(ErrorCode::invalid_argument,
                   fmt::format("there is no sequence {} of {}", sequence, parsed.tokens.size()));
    }
    const std::uint64_t blocks = trie::blocks_of(parsed.tokens[sequence], header.block_tokens);
    if (block >= blocks) {
      return Error(ErrorCode::invalid_argument, fmt::format("there is no block {} of {}", block, blocks));
    }
    auto predictor = model_->predictor(header.vocabulary, header.adaptive);
    const std::uint64_t at = parsed.first_block[sequence] + block;
    auto tokens = trie::decode_block(predictor, parsed.blocks[at]);
    if (!tokens) return std::move(tokens).error().in_block(static_cast<std::int64_t>(at));
    return tokens;
  });
}

Result<std::vector<std::uint32_t>> TokenCoder::surprisals(TokenSpan tokens, bool adaptive) const {
  return guard_memory("for surprisals of tokens", [&]() -> Result<std::vector<std::uint32_t>> {
    SEQKV_TRY(trie::check_vocabulary(tokens, 0, model_->options.vocabulary));
    auto predictor = model_->predictor(model_->options.vocabulary, adaptive);
    predictor.restart();
    std::vector<std::uint32_t> all;
    all.reserve(tokens.size());
    for (const Token token : tokens) {
      all.push_back((trie::interval_bits << 16U) - log2_q16(predictor.interval_of(token).width));
      predictor.advance(token);
    }
    return all;
  });
}

}  // namespace seqkv
