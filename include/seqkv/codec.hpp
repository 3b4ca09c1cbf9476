// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Codecs: one string names a predictor and a quantizer; blocks of tokens are coded and decoded independently.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "seqkv/hash.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/rounding.hpp"

namespace seqkv {

/// The numbers as they are.
struct RawSpec {
  friend bool operator==(const RawSpec&, const RawSpec&) = default;
};

/// TurboQuant (Zandieh et al., arXiv 2504.19874), the variant of least mean squared error.
struct TurboQuantSpec {
  int bits = 4;                 ///< 1 to 5 a component, plus 16 a vector for its norm
  bool unrotated_keys = false;  ///< keys are turned back by RoPE before they are quantized
  friend bool operator==(const TurboQuantSpec&, const TurboQuantSpec&) = default;
};

/// Every bit kept: of values alone or of residuals, with what an engine rounds where a model replays it.
struct LosslessSpec {
  /// Whose cache it is (rounding.hpp); the dtype is that of the cache, but for `described`.
  enum class Engine : std::uint8_t { unknown, eager, sdpa, none, described };
  Engine engine = Engine::unknown;  ///< of replay+lossless; else unknown
  Rounding described;
  friend bool operator==(const LosslessSpec&, const LosslessSpec&) = default;

  /// For caches of that dtype.
  Rounding rounding(DType dtype) const noexcept;
};

/// Nothing is stored: the model computes the numbers anew.
struct RecomputeSpec {
  friend bool operator==(const RecomputeSpec&, const RecomputeSpec&) = default;
};

/// Uniform quantization of transform coefficients, entropy-coded with the tables of a profile (docs/codec.md).
struct EcsqSpec {
  float step = 0;   ///< of every coefficient, in units that the profile has scaled for equal effect; 0: by a target
  double kl = 0;    ///< target: nats a token, by the profile's curve
  double bits = 0;  ///< target: a component of the cache at hand, all bytes of its blocks counted
  friend bool operator==(const EcsqSpec&, const EcsqSpec&) = default;
};

using QuantizerSpec = std::variant<RawSpec, TurboQuantSpec, LosslessSpec, EcsqSpec, RecomputeSpec>;

/// What is known of a number before it is coded.
enum class Predictor : std::uint8_t {
  none,
  linear,      ///< from the token and from what has been decoded in the layers below; needs a profile
  linear_ref,  ///< from what the same token has been decoded to in another context, too, where there is one
  replay,      ///< the model's forward pass over the tokens; needs the model (replay.hpp)
  ref,         ///< what the same token has in another context, as it is: its error has no bound
};

class Profile;

/// A codec string, taken apart. Grammar (docs/codec.md):
///   codec      = [ predictor "+" ] quantizer | "replay" [ "+lossless" [ ":" engine ] ]
///   predictor  = "none" | "linear" | "linear+ref" | "ref:recode=" tokens | "replay:" layers
///   engine     = "engine=eager" | "engine=sdpa" | "engine=none" | "rounding=" dtype "." points "." weights
///   quantizer  = "raw" | "lossless" | "turboquant:" bits [ ",keys=unrotated" ]
///              | "ecsq:step=" step | "ecsq:kl=" nats | "ecsq:bits=" bits
/// linear and replay:layers go with ecsq, lossless and turboquant (of residuals, whose keys are unrotated), none with
/// all but ecsq, linear+ref and ref with ecsq.
class Codec {
 public:
  /// Errors: invalid_codec_spec, with what is known.
  static Result<Codec> parse(std::string_view spec);

  /// The same for a string that a file holds, made perhaps by a later version. Errors: unsupported.
  static Result<Codec> parse_stored(std::string_view spec);

  /// The canonical string: parse(spec()) gives the same codec.
  const std::string& spec() const noexcept { return spec_; }
  const QuantizerSpec& quantizer() const noexcept { return quantizer_; }
  Predictor predictor() const noexcept { return predictor_; }
  bool is_exact() const noexcept {
    return std::holds_alternative<RawSpec>(quantizer_) || std::holds_alternative<LosslessSpec>(quantizer_);
  }

  bool needs_profile() const noexcept { return layers_ > 0 || is_linear(); }
  /// Coded and decoded by the functions of replay.hpp, those that take a model.
  bool needs_model() const noexcept { return predictor_ == Predictor::replay; }
  /// Layers that are run again, of replay: the caches of those and of the one above need no residual, those further up
  /// are predicted from the state that enters it (docs/replay.md). 0: all.
  std::int64_t replayed_layers() const noexcept { return layers_; }
  /// What codes the layers above them. Precondition: replayed_layers() > 0.
  Codec of_the_rest() const;
  /// Of ref: how many tokens at the beginning of a span are coded with their residual.
  std::int64_t recoded_tokens() const noexcept { return recode_; }
  /// Whether blocks can be predicted from others: the string says so, and the profile knows how. Where it does not,
  /// linear+ref and ref code as linear.
  bool uses_references() const noexcept;
  /// The same codec with the profile that it needs; one that needs none ignores it. A target of KL becomes a step.
  /// Errors: invalid_argument (a target that the profile has not measured).
  Result<Codec> with_profile(std::shared_ptr<const Profile> profile) const;
  /// Null where none has been given.
  const std::shared_ptr<const Profile>& profile() const noexcept { return profile_; }
  /// Of the profile; zero where there is none.
  Digest profile_fingerprint() const noexcept;

  /// Whether it says how to code; a target does not, see settle (transfer.hpp).
  bool is_settled() const noexcept;
  /// The same with a step. Precondition: the quantizer is ecsq.
  Codec with_step(float step) const;

  /// No coded block has fewer bits for a component; 0 where there is no such bound.
  int least_bits(DType dtype) const noexcept;

  friend bool operator==(const Codec& a, const Codec& b) {
    return a.predictor_ == b.predictor_ && a.layers_ == b.layers_ && a.recode_ == b.recode_ &&
           a.quantizer_ == b.quantizer_;
  }

 private:
  Codec(Predictor predictor, const QuantizerSpec& quantizer, std::int64_t layers = 0, std::int64_t recode = 0);
  bool is_linear() const noexcept {
    return predictor_ == Predictor::linear || predictor_ == Predictor::linear_ref || predictor_ == Predictor::ref;
  }

  Predictor predictor_;
  std::int64_t layers_ = 0;
  std::int64_t recode_ = 0;
  QuantizerSpec quantizer_;
  std::string spec_;
  std::shared_ptr<const Profile> profile_;
};

/// One block as it is stored (docs/format.md, "Coded block"): self-contained but for shape and codec.
using CodedBlock = std::vector<std::byte>;
using CodedBlockView = std::span<const std::byte>;

/// What a block is predicted from, as its head says: tokens [first, first + count) of it are those from `source` on of
/// the block of this hash.
struct BlockReference {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::uint64_t hash = 0;  ///< CodedBlockInfo::hash
  std::int64_t source = 0;
  friend bool operator==(const BlockReference&, const BlockReference&) = default;
};

/// What the head of a coded block says.
struct CodedBlockInfo {
  std::uint64_t hash = 0;  ///< of its bytes
  std::int64_t first_position = 0;
  std::int64_t count = 0;                  ///< of tokens
  std::vector<Token> tokens;               ///< or none, where they are coded by a model
  std::vector<BlockReference> references;  ///< ascending
  std::int64_t referring_subblocks = 0;    ///< that are predicted with them
  std::int64_t raw_subblocks = 0;          ///< stored as they are because coding would not have made them smaller
  std::uint64_t decoded_hash = 0;
};

/// Checks a block's own checksum and structure. Errors: corrupt, checksum_mismatch, limit_exceeded.
Result<CodedBlockInfo> inspect_block(const KvShape& shape, CodedBlockView block);

/// The same check without taking the tokens out: what a store does to every byte it reads.
Result<void> check_block(const KvShape& shape, CodedBlockView block);

/// Whether blocks of these sizes can hold `tokens` tokens at all: what to ask before taking memory for the values that
/// a file promises. Errors: corrupt.
Result<void> check_sizes(const Codec& codec, const KvShape& shape, std::span<const CodedBlockView> blocks,
                         std::int64_t tokens);
/// The same for blocks of so many bytes together.
Result<void> check_sizes(const Codec& codec, const KvShape& shape, std::int64_t bytes, std::int64_t tokens);

/// A stored block as it decodes: others are predicted from it (docs/reference.md).
struct ReferenceBlock {
  std::uint64_t hash = 0;           ///< CodedBlockInfo::hash
  std::int64_t first_position = 0;  ///< in its own session
  ConstKvView values;               ///< on the host
};

/// Tokens [first, first + count) of a cache are those from `source` on of a reference block.
struct ReferenceSpan {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t block = 0;  ///< in References::blocks
  std::int64_t source = 0;
  std::int64_t before = 0;  ///< tokens that stand before it in the same order there, too: a span cut
};

struct References {
  std::vector<ReferenceBlock> blocks;
  std::vector<ReferenceSpan> spans;  ///< ascending, none overlap
};

/// Codes `kv` in blocks of `block_tokens` (the last may be shorter). `first_position` is the position of the first
/// token in its session. `kv` is in host memory, or in that of `space`; work runs on `space`, behind what that does
/// already, and is complete on return.
/// A block's size never exceeds that of its raw values plus its header.
/// References are used by codecs that do so (Codec::uses_references), else ignored. That tokens agree is the caller's
/// business: where they do not, bits are lost, but no value is wrong.
/// Errors: shape_mismatch (tokens and kv, or kv and references differ), invalid_argument, limit_exceeded,
/// out_of_memory.
template <class ExecutionSpace>
Result<std::vector<CodedBlock>> encode(const ExecutionSpace& space, const Codec& codec, const ConstKvView& kv,
                                       TokenSpan tokens, std::int64_t first_position, std::int64_t block_tokens,
                                       const References& references = {});

/// Decodes consecutive blocks into `out` (of the tokens of all blocks together, in host memory or in that of `space`),
/// checking every checksum. On an error `out` holds a part of the values: a caller that promises all or nothing decodes
/// into memory or a file of its own. `references` are those that the blocks name, and maybe others. Errors: corrupt,
/// checksum_mismatch (with the block), missing_reference (with the block), shape_mismatch, out_of_memory.
template <class ExecutionSpace>
Result<void> decode(const ExecutionSpace& space, const Codec& codec, std::span<const CodedBlockView> blocks,
                    const KvView& out, std::span<const ReferenceBlock> references = {});

}  // namespace seqkv
