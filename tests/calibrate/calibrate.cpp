// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// Profiles of a tiny random model from random text: what they hold, that they code, and that they are always the same.
#include "seqkv/calibrate.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "calibrate/own_model.hpp"
#include "codec/predict/profile.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/frame.hpp"
#include "support/caches.hpp"
#include "support/families.hpp"
#include "support/files.hpp"
#include "support/result.hpp"
#include "support/spaces.hpp"

namespace seqkv::test {
namespace {

constexpr std::int64_t context = 64;
constexpr std::int64_t continuation = 16;

CalibrateOptions options_for(const std::filesystem::path& work = {}) {
  CalibrateOptions options;
  options.effort = 1;
  options.context = context;
  options.continuation = continuation;
  options.block_tokens = 32;
  options.work = work;
  return options;
}

/// Documents that all begin with the same token.
std::vector<std::vector<Token>> documents_of(std::size_t count, Token vocabulary = 290) {
  std::vector<std::vector<Token>> documents;
  for (std::size_t d = 0; d < count; ++d) {
    documents.push_back(random_tokens(context + continuation, static_cast<unsigned>(d), vocabulary));
    documents.back()[0] = 7;
  }
  return documents;
}

template <class Space>
class Calibrate : public testing::Test {
 protected:
  Space space;
  std::shared_ptr<const Model<Space>> model =
      value_of(Model<Space>::load(space, SEQKV_TEST_DATA "/families/llama-f16"));
  ScratchFolder folder;
  std::filesystem::path out = folder.path() / "profile.safetensors";
};
TYPED_TEST_SUITE(Calibrate, Spaces);

/// Beside what is there without, which stays as it is.
TYPED_TEST(Calibrate, ReferencesAreLearnedBesideAllElse) {
  CalibrateOptions options = options_for();
  value_of(calibrate(this->space, this->model, documents_of(40), options, this->out));
  const auto without = value_of(Profile::load(this->out));
  options.references = true;
  const auto other = this->folder.path() / "with.safetensors";
  const CalibrateReport report = value_of(calibrate(this->space, this->model, documents_of(40), options, other));
  EXPECT_EQ(report.pairs, report.chunks);
  EXPECT_FALSE(without->has_references());
  EXPECT_TRUE(report.profile->has_references());
  EXPECT_FALSE(report.profile->data().subblocks[1].reference.has_value()) << "the first layer follows from the token";
  for (std::size_t b = 0; b < without->data().subblocks.size(); ++b) {
    EXPECT_EQ(report.profile->data().subblocks[b].predict.panels, without->data().subblocks[b].predict.panels);
    EXPECT_EQ(report.profile->data().subblocks[b].scales, without->data().subblocks[b].scales);
    EXPECT_EQ(report.profile->data().subblocks[b].reference.has_value(), b >= 2);
  }
}

TYPED_TEST(Calibrate, ProfileCodesAndDecodesACache) {
  std::string last;
  CalibrateOptions options = options_for();
  options.progress = [&last](std::string_view stage, std::int64_t, std::int64_t) { last = stage; };
  const CalibrateReport report = value_of(calibrate(this->space, this->model, documents_of(40), options, this->out));
  EXPECT_EQ(last, "measure");
  EXPECT_EQ(report.chunks + report.held_out, 40);
  EXPECT_EQ(this->folder.entries(), 1U) << "samples are removed";
  const auto profile = value_of(Profile::load(this->out));
  EXPECT_EQ(profile->shape(), this->model->config().kv_shape(DType::bf16));
  EXPECT_EQ(profile->model(), this->model->fingerprint().combined());
  ASSERT_GE(profile->curve().size(), 6U);
  for (std::size_t i = 1; i < profile->curve().size(); ++i) {
    EXPECT_LT(profile->curve()[i].step, profile->curve()[i - 1].step);
    EXPECT_GT(profile->curve()[i].bits, profile->curve()[i - 1].bits);
  }

  const auto tokens = documents_of(41).back();
  Sequence<TypeParam> sequence(this->model->config());
  auto forward = value_of(Forward<TypeParam>::create(this->space, this->model));
  const typename Forward<TypeParam>::Item item{&sequence, tokens, 0};
  ASSERT_OK(forward.run(this->space, {&item, 1}));
  KvCache cache = value_of(KvCache::create(profile->shape(), sequence.tokens()));
  ASSERT_OK(sequence.read(this->space, 0, cache.view()));
  const Codec codec = value_of(value_of(Codec::parse("linear+ecsq:step=1")).with_profile(profile));
  const auto blocks = value_of(encode(this->space, codec, cache.view(), tokens, 0, 32));
  std::size_t bytes = 0;
  for (const CodedBlock& block : blocks) bytes += block.size();
  EXPECT_LT(bytes, cache.raw().size());
  const std::vector<CodedBlockView> views(blocks.begin(), blocks.end());
  KvCache restored = value_of(KvCache::create(cache.shape(), cache.tokens()));
  ASSERT_OK(decode(this->space, codec, std::span(views), restored.view()));
}

/// A size that whole matrices exceed: factors and blocks, or no tokens; and profiles of next to nothing.
TYPED_TEST(Calibrate, SmallProfilesCodeToo) {
  std::vector<CalibrateOptions> cases(4, options_for(this->folder.path() / "work"));
  cases[0].profile_bytes = 60'000;
  cases[1].token_width = 0;
  cases[2].layers_below = 0;
  cases[3].layers_below = 0;
  cases[3].token_width = 0;
  std::vector<double> bits;
  for (const CalibrateOptions& options : cases) {
    const auto profile = value_of(calibrate(this->space, this->model, documents_of(40), options, this->out)).profile;
    if (options.profile_bytes > 0) {
      EXPECT_LE(profile->bytes(), options.profile_bytes);
      EXPECT_NE(read_all(this->out).find("layers.1.key.squeeze"), std::string::npos);
    }
    ASSERT_GE(profile->curve().size(), 6U);
    EXPECT_LT(profile->curve().back().kl, 0.01);
    bits.push_back(profile->curve().back().bits);
  }
  EXPECT_GT(bits[3], bits[1]) << "nothing to predict from costs more than layers below";
  EXPECT_GT(bits[3], bits[2]);
}

TYPED_TEST(Calibrate, SameBytesOnEverySpaceAndAfterAStop) {
  const auto documents = documents_of(30);
  const CalibrateOptions options = options_for(this->folder.path() / "work");
  ASSERT_OK(calibrate(this->space, this->model, documents, options, this->out));
  const std::string expected = read_all(this->out);

  const Kokkos::Serial serial;
  const auto serial_model = value_of(Model<Kokkos::Serial>::load(serial, SEQKV_TEST_DATA "/families/llama-f16"));
  ASSERT_OK(calibrate(serial, serial_model, documents, options, this->out));
  EXPECT_EQ(read_all(this->out), expected);

  std::atomic<bool> stop = false;
  CalibrateOptions stopped = options;
  stopped.stop = &stop;
  stopped.progress = [&stop](std::string_view, std::int64_t done, std::int64_t) { stop = done == 5; };
  EXPECT_CODE(calibrate(this->space, this->model, documents, stopped, this->out), ErrorCode::interrupted);
  const CalibrateReport report = value_of(calibrate(this->space, this->model, documents, options, this->out));
  EXPECT_EQ(report.resumed, 5);
  EXPECT_EQ(read_all(this->out), expected);
}

TYPED_TEST(Calibrate, RefusesTooLittleText) {
  const Error error = error_of(calibrate(this->space, this->model, documents_of(8), options_for(), this->out));
  EXPECT_EQ(error.code, ErrorCode::empty_input);
  EXPECT_NE(error.message.find("19 pieces"), std::string::npos) << error.message;
  EXPECT_CODE(calibrate(this->space, this->model, {}, options_for(), this->out), ErrorCode::empty_input);
  EXPECT_EQ(this->folder.entries(), 0U);
}

TYPED_TEST(Calibrate, RefusesOptions) {
  const auto documents = documents_of(30);
  for (const auto& change : std::vector<std::function<void(CalibrateOptions&)>>{
           [](auto& o) { o.effort = 0; }, [](auto& o) { o.context = 4; }, [](auto& o) { o.continuation = 0; },
           [](auto& o) { o.context = 1000; }, [](auto& o) { o.block_tokens = 1; }}) {
    CalibrateOptions options = options_for();
    change(options);
    EXPECT_CODE(calibrate(this->space, this->model, documents, options, this->out), ErrorCode::invalid_argument);
  }
}

/// A model that the caller runs: seqkv's own, behind the interface, and with what may go wrong.
class CapturedModel final : public CalibrationModel {
 public:
  using Space = Kokkos::DefaultHostExecutionSpace;
  enum class Flaw { none, error, few_logits, bad_logit, bad_cache };

  explicit CapturedModel(Flaw flaw)
      : flaw_(flaw),
        model_(value_of(Model<Space>::load(space_, SEQKV_TEST_DATA "/families/llama-f16"))),
        own_(value_of(calibration::OwnModel<Space>::create(space_, model_))) {}

  const ModelConfig& config() const override { return model_->config(); }
  Digest fingerprint() const override { return own_.fingerprint(); }
  void embedding(Token token, float* out) const override { own_.embedding(token, out); }
  Result<void> start(TokenSpan tokens) override {
    if (flaw_ == Flaw::error) return Error(ErrorCode::communication, "the engine is gone");
    return own_.start(tokens);
  }
  Result<void> read(const KvView& out) override {
    auto status = own_.read(out);
    if (flaw_ == Flaw::bad_cache) std::memset(out.tensors[3], 0xFF, 64);
    return status;
  }
  Result<void> gradient(TokenSpan behind, std::uint64_t seed, const KvView& out) override {
    return own_.gradient(behind, seed, out);
  }
  Result<std::vector<float>> go_on(TokenSpan behind) override { return changed(own_.go_on(behind)); }
  Result<std::vector<float>> go_on_from(const ConstKvView& restored, TokenSpan behind) override {
    return changed(own_.go_on_from(restored, behind));
  }

 private:
  Result<std::vector<float>> changed(Result<std::vector<float>> logits) const {
    if (flaw_ == Flaw::few_logits) logits->pop_back();
    if (flaw_ == Flaw::bad_logit) logits->back() = std::numeric_limits<float>::quiet_NaN();
    return logits;
  }

  Space space_;
  Flaw flaw_;
  std::shared_ptr<const Model<Space>> model_;
  calibration::OwnModel<Space> own_;
};

TEST(CalibrateCaptured, ItsProfileIsThatOfTheModel) {
  const CapturedModel::Space space;
  const ScratchFolder folder;
  const auto model = value_of(Model<CapturedModel::Space>::load(space, SEQKV_TEST_DATA "/families/llama-f16"));
  CapturedModel captured(CapturedModel::Flaw::none);
  const auto report =
      value_of(calibrate(space, captured, documents_of(30), options_for(), folder.path() / "a.safetensors"));
  value_of(calibrate(space, model, documents_of(30), options_for(), folder.path() / "b.safetensors"));
  EXPECT_EQ(read_all(folder.path() / "a.safetensors"), read_all(folder.path() / "b.safetensors"));
  EXPECT_GT(report.held_out, 0);
}

TEST(CalibrateCaptured, WhatItDoesWrongIsSaid) {
  using Flaw = CapturedModel::Flaw;
  const CapturedModel::Space space;
  const ScratchFolder folder;
  const auto out = folder.path() / "profile.safetensors";
  const std::pair<Flaw, ErrorCode> cases[] = {{Flaw::error, ErrorCode::communication},
                                              {Flaw::few_logits, ErrorCode::shape_mismatch},
                                              {Flaw::bad_logit, ErrorCode::not_finite},
                                              {Flaw::bad_cache, ErrorCode::not_finite}};
  for (const auto& [flaw, code] : cases) {
    CapturedModel captured(flaw);
    EXPECT_CODE(calibrate(space, captured, documents_of(30), options_for(), out), code);
  }
  CapturedModel captured(Flaw::none);
  auto documents = documents_of(30);
  documents[7][5] = static_cast<Token>(captured.config().vocabulary);
  const Error error = error_of(calibrate(space, captured, documents, options_for(), out));
  EXPECT_EQ(error.code, ErrorCode::token_out_of_range);
  EXPECT_NE(error.message.find("document 7"), std::string::npos) << error.message;
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(CalibrateFamilies, EveryModelHasAProfile) {
  using Space = Kokkos::DefaultHostExecutionSpace;
  const Space space;
  for (const auto& family : load_families(space)) {
    const ScratchFolder folder;
    const auto out = folder.path() / "profile.safetensors";
    const auto documents = documents_of(60, static_cast<Token>(family.model->config().vocabulary));
    const auto report = calibrate(space, family.model, documents, options_for(), out);
    ASSERT_TRUE(report.ok()) << family.name << ": " << report.error().describe();
    ASSERT_FALSE(report->profile->curve().empty()) << family.name;
    EXPECT_LT(report->profile->curve().back().kl, 0.01) << family.name;
  }
}

}  // namespace
}  // namespace seqkv::test
