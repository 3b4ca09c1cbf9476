// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/kv_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "core/bytes.hpp"
#include "core/copy_rows.hpp"
#include "core/try.hpp"
#include "io/rope_json.hpp"
#include "seqkv/limits.hpp"

namespace seqkv {
namespace {

constexpr const char* model_key = "seqkv.model";
constexpr const char* rope_key = "seqkv.rope";

std::string tensor_name(std::int64_t layer, Kind kind) {
  return fmt::format("layers.{}.{}", layer, kind == Kind::key ? "key" : "value");
}

/// Whether all keys and values are of the first `layers` layers.
Result<void> check_no_gap(const SafetensorsFile& file, std::int64_t layers) {
  std::set<std::string> expected;
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    for (Kind kind : {Kind::key, Kind::value}) expected.insert(tensor_name(layer, kind));
  }
  for (const auto& [name, tensor] : file.tensors()) {
    if (!name.starts_with("layers.") || !(name.ends_with(".key") || name.ends_with(".value"))) continue;
    if (!expected.contains(name)) {
      return Error(ErrorCode::missing_field, fmt::format("is not in the file, but '{}' is", name))
          .at_field(fmt::format("tensor '{}'", tensor_name(layers, Kind::key)));
    }
  }
  return {};
}

/// The shape from the first layer's key; all others must agree with it.
Result<KvShape> read_shape(const SafetensorsFile& file, std::int64_t& tokens) {
  SEQKV_ASSIGN(const TensorView first, file.tensor(tensor_name(0, Kind::key)));
  const auto dtype = dtype_from_safetensors(first.dtype);
  if (!dtype) {
    return Error(ErrorCode::unsupported, fmt::format("dtype {} (BF16, F16 or F32 is expected)", first.dtype))
        .at_field(tensor_name(0, Kind::key));
  }
  if (first.shape.size() != 3) {
    return Error(ErrorCode::shape_mismatch, "expected [kv_heads, tokens, head_dim]")
        .at_field(tensor_name(0, Kind::key));
  }
  KvShape shape;
  shape.dtype = *dtype;
  shape.kv_heads = first.shape[0];
  tokens = first.shape[1];
  shape.head_dim = first.shape[2];
  while (file.find(tensor_name(shape.layers, Kind::key)) != nullptr) ++shape.layers;
  SEQKV_TRY(check_no_gap(file, shape.layers));
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    for (Kind kind : {Kind::key, Kind::value}) {
      SEQKV_ASSIGN(const TensorView tensor, file.tensor(tensor_name(layer, kind)));
      if (tensor.dtype != first.dtype || tensor.shape != first.shape) {
        return Error(ErrorCode::shape_mismatch, "differs in shape or dtype from layers.0.key")
            .at_field(tensor_name(layer, kind));
      }
    }
  }
  const auto rope = file.metadata().find(rope_key);
  if (rope != file.metadata().end()) {
    SEQKV_ASSIGN(shape.rope, io::rope_from_json(rope->second, rope_key));
  }
  SEQKV_TRY(shape.check());
  if (tokens > limits::max_tokens) return Error(ErrorCode::limit_exceeded, fmt::format("{} tokens", tokens));
  return shape;
}

Result<std::vector<Token>> read_input_ids(const SafetensorsFile& file, std::int64_t count) {
  SEQKV_ASSIGN(const TensorView tensor, file.tensor("input_ids"));
  if (tensor.dtype != "I32" || tensor.shape != std::vector<std::int64_t>{count}) {
    return Error(ErrorCode::shape_mismatch, fmt::format("expected I32 [{}]", count)).at_field("input_ids");
  }
  std::vector<Token> tokens(static_cast<std::size_t>(count));
  if (count > 0) std::memcpy(tokens.data(), tensor.bytes.data(), tensor.bytes.size());
  for (std::int64_t i = 0; i < count; ++i) {
    if (tokens[i] > INT32_MAX) {
      return Error(ErrorCode::token_out_of_range, fmt::format("entry {} is negative", i)).at_field("input_ids");
    }
  }
  return tokens;
}

/// Ids that stand from position `first` on.
Result<void> check_ids(TokenSpan ids, std::int64_t first) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] <= INT32_MAX) continue;
    return Error(ErrorCode::token_out_of_range,
                 fmt::format("entry {} is {}, expected 0 to 2^31 - 1", first + static_cast<std::int64_t>(i), ids[i]))
        .at_field("input_ids");
  }
  return {};
}

/// A view of the file's own memory, or an empty one if a tensor is not aligned to its elements.
std::optional<ConstKvView> view_in_place(const SafetensorsFile& file, const KvShape& shape, std::int64_t tokens) {
  ConstKvView view{shape, tokens, {}, {}, MemorySpace::host};
  view.strides.fill({tokens * shape.head_dim, shape.head_dim, 1});
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    for (Kind kind : {Kind::key, Kind::value}) {
      const std::byte* data = file.find(tensor_name(layer, kind))->bytes.data();
      if (reinterpret_cast<std::uintptr_t>(data) % size_of(shape.dtype) != 0) return std::nullopt;
      view.tensors.push_back(data);
    }
  }
  return view;
}

}  // namespace

namespace {

std::string hidden_name(std::int64_t layer) { return fmt::format("layers.{}.hidden", layer); }

/// Of every layer or of none. Errors: missing_field, shape_mismatch.
Result<std::vector<std::span<const std::byte>>> read_hidden(const SafetensorsFile& file, const KvShape& shape,
                                                            std::int64_t tokens) {
  std::vector<std::span<const std::byte>> hidden;
  const TensorView* first = file.find(hidden_name(0));
  if (first == nullptr) return hidden;
  const std::string dtype = file.find(tensor_name(0, Kind::key))->dtype;
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    SEQKV_ASSIGN(const TensorView states, file.tensor(hidden_name(layer)));
    if (states.dtype != dtype || states.shape.size() != 2 || states.shape[0] != tokens ||
        states.shape != first->shape) {
      return Error(ErrorCode::shape_mismatch,
                   fmt::format("expected {} [{}, hidden], the same in all layers", dtype, tokens))
          .at_field(hidden_name(layer));
    }
    hidden.push_back(states.bytes);
  }
  return hidden;
}

}  // namespace

Result<KvFile> KvFile::open(const std::filesystem::path& path) {
  const auto load = [&path]() -> Result<KvFile> {
    KvFile kv;
    SEQKV_ASSIGN(kv.file_, SafetensorsFile::open(path));
    std::int64_t tokens = 0;
    SEQKV_ASSIGN(const KvShape shape, read_shape(kv.file_, tokens));
    SEQKV_ASSIGN(kv.tokens_, read_input_ids(kv.file_, tokens));
    const auto model = kv.file_.metadata().find(model_key);
    if (model != kv.file_.metadata().end() && !Digest::parse(model->second, kv.model_)) {
      return Error(ErrorCode::bad_format, "not 64 hexadecimal digits").at_field(model_key);
    }
    SEQKV_ASSIGN(kv.hidden_, read_hidden(kv.file_, shape, tokens));
    if (auto view = view_in_place(kv.file_, shape, tokens)) {
      kv.view_ = std::move(*view);
      return kv;
    }
    SEQKV_ASSIGN(kv.copy_, KvCache::create(shape, tokens));
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      for (Kind kind : {Kind::key, Kind::value}) {
        const auto bytes = kv.file_.find(tensor_name(layer, kind))->bytes;
        std::memcpy(kv.copy_.view().tensor(layer, kind), bytes.data(), bytes.size());
      }
    }
    kv.view_ = kv.copy_.view();
    return kv;
  };
  auto kv = load();
  if (!kv) return std::move(kv).error().in_file(path.string());
  return kv;
}

namespace {

/// Tokens [first, first + count) of a head, which follow one another in files and in copies of them.
std::span<const std::byte> run_of(const ConstKvView& view, std::int64_t tensor, std::int64_t head, std::int64_t first,
                                  std::int64_t count) {
  const auto row = view.shape.head_dim * static_cast<std::int64_t>(size_of(view.shape.dtype));
  return {view.tensors[tensor] + (head * view.tokens + first) * row, static_cast<std::size_t>(count * row)};
}

}  // namespace

Result<void> KvFile::read(std::int64_t first, const KvView& to) const {
  if (!(to.shape == shape()) || to.memory != MemorySpace::host || first < 0 || to.tokens < 0 ||
      first > view_.tokens - to.tokens || to.tensors.size() != view_.tensors.size()) {
    return Error(ErrorCode::invalid_argument, "the memory does not fit the file's shape, dtype or tokens");
  }
  for (std::int64_t tensor = 0; tensor < 2 * shape().layers; ++tensor) {
    for (std::int64_t head = 0; head < shape().kv_heads; ++head) {
      const auto run = run_of(view_, tensor, head, first, to.tokens);
      const Rows<std::byte> rows = rows_of(to, tensor, head);
      if (rows.stride.component == 1 && rows.stride.token == shape().head_dim) {
        SEQKV_TRY(file_.read(run, rows.data));
      } else {
        copy_rows({run.data(), {0, shape().head_dim, 1}, rows.dtype}, rows, to.tokens, shape().head_dim);
      }
    }
  }
  return {};
}

void KvFile::prefetch(std::int64_t first, std::int64_t count) const {
  count = std::min(count, view_.tokens - first);
  for (std::int64_t tensor = 0; count > 0 && tensor < 2 * shape().layers; ++tensor) {
    for (std::int64_t head = 0; head < shape().kv_heads; ++head) {
      file_.prefetch(run_of(view_, tensor, head, first, count));
    }
  }
}

Result<KvFileWriter> KvFileWriter::create(const std::filesystem::path& path, const KvShape& shape, TokenSpan tokens,
                                          const Digest& model, const std::vector<TensorSpec>& extra) {
  SEQKV_TRY(check_ids(tokens, 0));
  const auto count = static_cast<std::int64_t>(tokens.size());
  SEQKV_ASSIGN(KvFileWriter writer, create(path, shape, count, model, extra));
  SEQKV_TRY(writer.write_tokens(tokens, 0));
  return writer;
}

Result<KvFileWriter> KvFileWriter::create(const std::filesystem::path& path, const KvShape& shape, std::int64_t count,
                                          const Digest& model, const std::vector<TensorSpec>& extra) {
  SEQKV_TRY(shape.check());
  std::vector<TensorSpec> specs = extra;
  const std::string dtype(to_safetensors(shape.dtype));
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    for (Kind kind : {Kind::key, Kind::value}) {
      specs.push_back({tensor_name(layer, kind), dtype, {shape.kv_heads, count, shape.head_dim}});
    }
  }
  specs.push_back({"input_ids", "I32", {count}});
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (!model.is_zero()) metadata[model_key] = model.hex();
  if (shape.rope.dim > 0) metadata[rope_key] = io::rope_to_json(shape.rope);
  SEQKV_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(path, std::move(specs), metadata));
  return KvFileWriter(std::move(writer), shape, count);
}

Result<void> KvFileWriter::write_tokens(TokenSpan ids, std::int64_t first) {
  SEQKV_TRY(check_ids(ids, first));
  return writer_.write("input_ids", first * static_cast<std::int64_t>(sizeof(Token)), as_bytes(ids));
}

Result<void> KvFileWriter::write(const ConstKvView& part, std::int64_t first) {
  if (!(part.shape == shape_) || part.memory != MemorySpace::host || first < 0 || part.tokens < 0 ||
      part.tokens > tokens_ || first > tokens_ - part.tokens ||
      static_cast<std::int64_t>(part.tensors.size()) != 2 * shape_.layers) {
    return Error(ErrorCode::invalid_argument, "the part does not fit the file's shape, dtype or tokens");
  }
  const auto element = static_cast<std::int64_t>(size_of(shape_.dtype));
  const std::int64_t row = shape_.head_dim * element;
  std::vector<std::byte> gathered(static_cast<std::size_t>(part.tokens * row));
  for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
    for (Kind kind : {Kind::key, Kind::value}) {
      const KvStrides& stride = part.strides[static_cast<int>(kind)];
      const bool rows_contiguous = stride.component == 1 && stride.token == shape_.head_dim;
      for (std::int64_t head = 0; head < shape_.kv_heads; ++head) {
        const std::byte* source = part.tensor(layer, kind) + head * stride.head * element;
        if (!rows_contiguous) {
          for (std::int64_t i = 0; i < part.tokens * shape_.head_dim; ++i) {
            const std::int64_t at = i / shape_.head_dim * stride.token + i % shape_.head_dim * stride.component;
            std::memcpy(gathered.data() + i * element, source + at * element, static_cast<std::size_t>(element));
          }
          source = gathered.data();
        }
        SEQKV_TRY(writer_.write(tensor_name(layer, kind), (head * tokens_ + first) * row,
                                {source, static_cast<std::size_t>(part.tokens * row)}));
      }
    }
  }
  return {};
}

}  // namespace seqkv
