// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

// KV files: what is written is read back from any strides and alignment, and files of other programs that do
// not keep to the layout are refused with the tensor or key that is wrong.
#include "seqkv/kv_file.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "core/float16.hpp"
#include "support/files.hpp"
#include "support/result.hpp"
#include "support/safetensors.hpp"

namespace seqkv {
namespace {

using test::error_of;
using test::value_of;

constexpr RopeConfig rope{500000.0, RopeScaling::llama3, 8.0, 1.0, 4.0, 8192, 4};
constexpr std::int64_t token_count = 5;

KvShape shape_of(DType dtype) { return {2, 3, 4, rope, dtype}; }

std::vector<Token> tokens() {
  std::vector<Token> ids(token_count);
  std::iota(ids.begin(), ids.end(), 7);
  return ids;
}

Digest some_model() { return Sha256().update("a model").finish(); }

/// A cache whose element number i is i / 2.
KvCache numbered(DType dtype) {
  KvCache cache = value_of(KvCache::create(shape_of(dtype), token_count));
  for (std::int64_t i = 0; i < cache.components(); ++i) {
    store_from_float(cache.view().tensors[0], dtype, i, static_cast<float>(i) / 2);
  }
  return cache;
}

bool same_numbers(const ConstKvView& a, const ConstKvView& b) {
  KvCache x = value_of(KvCache::create(a.shape, a.tokens));
  KvCache y = value_of(KvCache::create(b.shape, b.tokens));
  EXPECT_OK(copy(a, x.view()));
  EXPECT_OK(copy(b, y.view()));
  return x.bytes() == y.bytes() && std::memcmp(x.raw().data(), y.raw().data(), x.raw().size()) == 0;
}

// ---- writing and reading back -----------------------------------------------------------------------------

class KvFileTest : public testing::TestWithParam<DType> {
 protected:
  test::ScratchFolder folder;
  std::filesystem::path path = folder.path() / "kv.safetensors";
  KvCache cache = numbered(GetParam());

  KvFileWriter create(const std::vector<TensorSpec>& extra = {}) {
    return value_of(KvFileWriter::create(path, cache.shape(), tokens(), some_model(), extra));
  }
};

INSTANTIATE_TEST_SUITE_P(Dtypes, KvFileTest, testing::Values(DType::bf16, DType::f16, DType::f32),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

TEST_P(KvFileTest, ComesBackAsItWas) {
  auto writer = create();
  ASSERT_OK(writer.write(cache.view(), 0));
  ASSERT_OK(writer.commit());

  const KvFile file = value_of(KvFile::open(path));
  EXPECT_EQ(file.shape(), cache.shape());
  EXPECT_EQ(std::vector<Token>(file.tokens().begin(), file.tokens().end()), tokens());
  EXPECT_EQ(file.model(), some_model());
  EXPECT_EQ(file.file().find("layers.1.value")->shape, (std::vector<std::int64_t>{3, token_count, 4}));
  EXPECT_TRUE(same_numbers(file.view(), cache.view()));
}

TEST_P(KvFileTest, InPartsAsAtOnce) {
  auto writer = create();
  for (std::int64_t first : {3, 0, 1}) {  // in any order
    const std::int64_t count = first == 1 ? 2 : first == 0 ? 1 : 2;
    ASSERT_OK(writer.write(cache.view().slice(first, count), first));
  }
  ASSERT_OK(writer.commit());
  EXPECT_TRUE(same_numbers(value_of(KvFile::open(path)).view(), cache.view()));
}

TEST_P(KvFileTest, FromAnyStrides) {
  const auto element = size_of(GetParam());
  // Keys [dim][tokens] within a head, values [tokens][heads][dim] with a gap behind every row.
  std::vector<std::vector<std::byte>> memory(4, std::vector<std::byte>(100 * element));
  KvView strided{cache.shape(), token_count, {}, {KvStrides{20, 1, 5}, KvStrides{5, 17, 1}}, MemorySpace::host};
  for (auto& tensor : memory) strided.tensors.push_back(tensor.data());
  ASSERT_OK(copy(cache.view(), strided));

  auto writer = create();
  ASSERT_OK(writer.write(strided, 0));
  ASSERT_OK(writer.commit());
  EXPECT_TRUE(same_numbers(value_of(KvFile::open(path)).view(), cache.view()));
}

TEST_P(KvFileTest, TakesTensorsBeside) {
  auto writer = create({{"layers.0.scores", "F32", {token_count, 2}}, {"note", "U8", {1}}});
  ASSERT_OK(writer.write(cache.view(), 0));
  ASSERT_OK(writer.tensors().write("note", 0, test::bytes("!")));
  ASSERT_OK(writer.commit());
  const KvFile file = value_of(KvFile::open(path));
  EXPECT_EQ(file.file().find("note")->bytes[0], std::byte{'!'});
  EXPECT_EQ(file.shape().layers, 2);
}

TEST_P(KvFileTest, RefusesPartsThatDoNotFit) {
  auto writer = create();
  const ConstKvView whole = cache.view();
  ConstKvView other = whole;
  other.shape.rope.theta = 1;
  EXPECT_CODE(writer.write(other, 0), ErrorCode::invalid_argument);
  other = whole;
  other.memory = MemorySpace::device;
  EXPECT_CODE(writer.write(other, 0), ErrorCode::invalid_argument);
  other = whole;
  other.tensors.pop_back();
  EXPECT_CODE(writer.write(other, 0), ErrorCode::invalid_argument);
  other = whole;
  other.tokens = -1;
  EXPECT_CODE(writer.write(other, 0), ErrorCode::invalid_argument);
  for (std::int64_t first : {std::int64_t{-1}, std::int64_t{1}, token_count, INT64_MAX, INT64_MIN}) {
    EXPECT_CODE(writer.write(whole, first), ErrorCode::invalid_argument);
  }
}

TEST(KvFileWriter, RefusesWhatNoReaderTakes) {
  const test::ScratchFolder folder;
  const auto path = folder.path() / "kv.safetensors";
  const std::vector<Token> negative = {1, 0x80000000U};
  EXPECT_CODE(KvFileWriter::create(path, shape_of(DType::f32), negative, {}), ErrorCode::token_out_of_range);
  EXPECT_CODE((KvFileWriter::create(path, KvShape{0, 1, 1, {}, DType::f32}, tokens(), {})),
              ErrorCode::invalid_argument);
  const std::vector<TensorSpec> clash = {{"input_ids", "I32", {1}}};
  EXPECT_CODE(KvFileWriter::create(path, shape_of(DType::f32), tokens(), {}, clash), ErrorCode::invalid_argument);
  EXPECT_EQ(folder.entries(), 0U);
}

// ---- files of other programs ------------------------------------------------------------------------------

/// A file of one layer, [1, 2, 2] in bf16, whose numbers are 1 to 8, changed in one place.
struct Foreign {
  std::string dtype = "BF16";
  std::string shape = "[1,2,2]";
  std::string value_name = "layers.0.value";
  std::string value_shape = "[1,2,2]";
  std::string ids_name = "input_ids";
  std::string ids_dtype = "I32";
  std::string ids_shape = "[2]";
  std::string metadata;  ///< members of __metadata__
  std::int32_t second_id = 6;
  std::size_t padding = 0;  ///< spaces behind the header

  std::string bytes() const {
    const auto entry = [](const std::string& name, const std::string& type, const std::string& extents, int begin) {
      return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, type, extents, begin,
                         begin + 8);
    };
    const std::string header =
        fmt::format("{{{}{},{},{}}}{}", metadata.empty() ? "" : fmt::format(R"("__metadata__":{{{}}},)", metadata),
                    entry("layers.0.key", dtype, shape, 0), entry(value_name, dtype, value_shape, 8),
                    entry(ids_name, ids_dtype, ids_shape, 16), std::string(padding, ' '));
    std::string buffer(24, '\0');
    for (int i = 0; i < 8; ++i) store_from_float(buffer.data(), DType::bf16, i, static_cast<float>(i + 1));
    const std::int32_t first_id = 5;
    std::memcpy(buffer.data() + 16, &first_id, 4);
    std::memcpy(buffer.data() + 20, &second_id, 4);
    return test::safetensors(header, buffer);
  }
};

Result<KvFile> open(const test::ScratchFolder& folder, const Foreign& file) {
  return KvFile::open(folder.write("foreign.safetensors", file.bytes()));
}

TEST(KvFileForeign, NeedsNoMetadata) {
  const test::ScratchFolder folder;
  const KvFile file = value_of(open(folder, {}));
  EXPECT_EQ(file.shape(), (KvShape{1, 1, 2, {}, DType::bf16}));
  EXPECT_EQ(file.shape().rope.dim, 0);
  EXPECT_TRUE(file.model().is_zero());
  EXPECT_EQ(file.tokens()[1], 6U);
}

TEST(KvFileForeign, MayStandAtAnyAddress) {
  const test::ScratchFolder folder;
  for (std::size_t padding = 0; padding < 8; ++padding) {
    Foreign foreign;
    foreign.padding = padding;
    const KvFile file = value_of(open(folder, foreign));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.view().tensors[0]) % 2, 0U) << padding;
    for (std::int64_t i = 0; i < 4; ++i) {
      EXPECT_EQ(load_as_float(file.view().tensor(0, Kind::key), DType::bf16, i), static_cast<float>(i + 1)) << padding;
      EXPECT_EQ(load_as_float(file.view().tensor(0, Kind::value), DType::bf16, i), static_cast<float>(i + 5))
          << padding;
    }
    EXPECT_EQ(file.tokens()[0], 5U);
  }
}

TEST(KvFileForeign, StaysReadableWhenMoved) {
  const test::ScratchFolder folder;
  for (std::size_t padding : {0, 1}) {  // mapped and copied
    Foreign foreign;
    foreign.padding = padding;
    KvFile file = value_of(open(folder, foreign));
    const KvFile moved = std::move(file);
    EXPECT_EQ(load_as_float(moved.view().tensor(0, Kind::value), DType::bf16, 3), 8.0F);
  }
}

/// A change that must be refused.
struct BadFile {
  std::string name;
  Foreign file;
  ErrorCode code;
  std::string field;
};

void PrintTo(const BadFile& bad, std::ostream* out) { *out << bad.name; }

template <class Change>
BadFile bad(const std::string& name, ErrorCode code, const std::string& field, const Change& change) {
  Foreign file;
  change(file);
  return {name, file, code, field};
}

class KvFileRefused : public testing::TestWithParam<BadFile> {};

TEST_P(KvFileRefused, NamesFileAndField) {
  const test::ScratchFolder folder;
  const Error error = error_of(open(folder, GetParam().file));
  EXPECT_EQ(error.code, GetParam().code) << error.describe();
  EXPECT_EQ(error.field, GetParam().field) << error.describe();
  EXPECT_EQ(error.file, (folder.path() / "foreign.safetensors").string());
}

const auto bad_name = [](const testing::TestParamInfo<BadFile>& instance) { return instance.param.name; };

INSTANTIATE_TEST_SUITE_P(
    Tensors, KvFileRefused,
    testing::Values(
        bad("NoInputIds", ErrorCode::missing_field, "tensor 'input_ids'", [](Foreign& f) { f.ids_name = "ids"; }),
        bad("NoValue", ErrorCode::missing_field, "tensor 'layers.0.value'", [](Foreign& f) { f.value_name = "v"; }),
        bad("LayerMissing", ErrorCode::missing_field, "tensor 'layers.1.key'",
            [](Foreign& f) { f.value_name = "layers.2.key"; }),
        bad("LayerWithoutKey", ErrorCode::missing_field, "tensor 'layers.1.key'",
            [](Foreign& f) { f.value_name = "layers.1.value"; }),
        bad("TwoDimensions", ErrorCode::shape_mismatch, "layers.0.key", [](Foreign& f) { f.shape = "[2,2]"; }),
        bad("ValueDiffers", ErrorCode::shape_mismatch, "layers.0.value", [](Foreign& f) { f.value_shape = "[1,1,4]"; }),
        bad("Integers", ErrorCode::unsupported, "layers.0.key", [](Foreign& f) { f.dtype = "I16"; }),
        bad("IdsOfAnotherDtype", ErrorCode::shape_mismatch, "input_ids",
            [](Foreign& f) { f.ids_dtype = "I64", f.ids_shape = "[1]"; }),
        bad("IdsOfAnotherShape", ErrorCode::shape_mismatch, "input_ids", [](Foreign& f) { f.ids_shape = "[1,2]"; }),
        bad("NegativeId", ErrorCode::token_out_of_range, "input_ids", [](Foreign& f) { f.second_id = -1; })),
    bad_name);

/// Metadata seqkv.rope with one member written differently.
std::string rope_metadata(const std::string& from, const std::string& to) {
  std::string json = R"({\"dim\":2,\"theta\":10000.0,\"scaling\":\"none\",\"factor\":1.0,\"low_freq_factor\":1.0,)"
                     R"(\"high_freq_factor\":4.0,\"original_max_positions\":8192})";
  if (const auto at = json.find(from); at != std::string::npos) json.replace(at, from.size(), to);
  return fmt::format(R"("seqkv.rope":"{}")", json);
}

BadFile bad_rope(const std::string& name, ErrorCode code, const std::string& field, const std::string& from,
                 const std::string& to) {
  return bad(name, code, field, [&](Foreign& f) { f.metadata = rope_metadata(from, to); });
}

INSTANTIATE_TEST_SUITE_P(
    Metadata, KvFileRefused,
    testing::Values(
        bad("ModelTooShort", ErrorCode::bad_format, "seqkv.model",
            [](Foreign& f) { f.metadata = R"("seqkv.model":"ab")"; }),
        bad("ModelNotHex", ErrorCode::bad_format, "seqkv.model",
            [](Foreign& f) { f.metadata = fmt::format(R"("seqkv.model":"{}")", std::string(64, 'g')); }),
        bad("RopeNotJson", ErrorCode::bad_format, "seqkv.rope", [](Foreign& f) { f.metadata = R"("seqkv.rope":"{")"; }),
        bad("RopeNotAnObject", ErrorCode::bad_format, "seqkv.rope",
            [](Foreign& f) { f.metadata = R"("seqkv.rope":"[]")"; }),
        bad_rope("RopeWithoutTheta", ErrorCode::bad_format, "seqkv.rope", "theta", "thet"),
        bad_rope("RopeThetaIsAText", ErrorCode::bad_format, "seqkv.rope", "10000.0", R"(\"1\")"),
        bad_rope("RopeDimIsAFraction", ErrorCode::bad_format, "seqkv.rope", R"(\"dim\":2)", R"(\"dim\":2.5)"),
        bad_rope("RopeDimIsHuge", ErrorCode::bad_format, "seqkv.rope", R"(\"dim\":2)", R"(\"dim\":1e300)"),
        bad_rope("RopePositionsAreAFraction", ErrorCode::bad_format, "seqkv.rope", "8192", "1e30"),
        bad_rope("RopeThetaIsBeyondDoubles", ErrorCode::bad_format, "seqkv.rope", "10000.0", "1e999"),
        bad_rope("RopeScalingIsANumber", ErrorCode::bad_format, "seqkv.rope", R"(\"none\")", "1"),
        bad_rope("RopeScalingIsUnknown", ErrorCode::bad_format, "seqkv.rope", "none", "yarn"),
        bad_rope("RopeWithoutScaling", ErrorCode::bad_format, "seqkv.rope", "scaling", "scalin"),
        bad_rope("RopeDimAboveHeadDim", ErrorCode::invalid_argument, "rope.dim", R"(\"dim\":2)", R"(\"dim\":4)"),
        bad_rope("RopePositionsAreTooMany", ErrorCode::limit_exceeded, "rope.original_max_positions", "8192",
                 "9000000000"),
        bad_rope("RopePositionsAreNegative", ErrorCode::invalid_argument, "rope.original_max_positions", "8192", "-1"),
        bad_rope("RopeThetaIsZero", ErrorCode::invalid_argument, "rope.theta", "10000.0", "0")),
    bad_name);

TEST(KvFileForeign, ReadsTheRotation) {
  const test::ScratchFolder folder;
  Foreign foreign;
  foreign.metadata = rope_metadata("none", "llama3");
  EXPECT_EQ(value_of(open(folder, foreign)).shape().rope, (RopeConfig{10000, RopeScaling::llama3, 1, 1, 4, 8192, 2}));
  // Only llama3 divides by it.
  foreign.metadata = rope_metadata("8192", "0");
  EXPECT_EQ(value_of(open(folder, foreign)).shape().rope.original_max_positions, 0);
}

}  // namespace
}  // namespace seqkv
