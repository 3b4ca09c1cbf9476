// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/model.hpp"

#include <fmt/format.h>

#include <cstring>
#include <set>
#include <system_error>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "io/file.hpp"
#include "io/tensor_element.hpp"
#include "model/weights.hpp"
#include "seqkv/safetensors.hpp"

namespace seqkv {
namespace {

/// One or more tensors of a file, stacked along their rows.
struct Stack {
  std::vector<TensorView> tensors;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool is_bf16 = true;  ///< all of them; else they are handled as float
};

Error wrong_tensor(ErrorCode code, const TensorView& tensor, const std::string& name, const std::string& what) {
  return Error(code, what).at_field(fmt::format("tensor '{}'", name)).in_file(tensor.file);
}

/// Takes tensors out of a file, checks them, and knows which were never asked for.
class WeightReader {
 public:
  explicit WeightReader(const SafetensorsFile& file) : file_(file) {}

  /// `parts` = {name, rows}; each must be [rows][columns].
  Result<Stack> stack(const std::vector<std::pair<std::string, std::int64_t>>& parts, std::int64_t columns) {
    Stack stack;
    stack.columns = columns;
    for (const auto& [name, rows] : parts) {
      SEQKV_ASSIGN(const TensorView tensor, take(name, {rows, columns}));
      stack.rows += rows;
      stack.is_bf16 = stack.is_bf16 && tensor.dtype == "BF16";
      stack.tensors.push_back(tensor);
    }
    return stack;
  }

  Result<std::vector<float>> vector(const std::vector<std::pair<std::string, std::int64_t>>& parts) {
    std::vector<float> values;
    for (const auto& [name, length] : parts) {
      SEQKV_ASSIGN(const TensorView tensor, take(name, {length}));
      const DType dtype = *dtype_from_safetensors(tensor.dtype);
      for (std::int64_t i = 0; i < length; ++i) values.push_back(io::tensor_element(tensor, dtype, i));
    }
    return values;
  }

  /// Errors: unsupported, naming a tensor that the architecture does not have. `ignored` are harmless.
  Result<void> check_all_used(const std::set<std::string>& ignored) const {
    for (const auto& [name, tensor] : file_.tensors()) {
      if (taken_.contains(name) || ignored.contains(name) || name.ends_with("rotary_emb.inv_freq")) continue;
      return wrong_tensor(ErrorCode::unsupported, tensor, name, "the architecture has no such tensor");
    }
    return {};
  }

 private:
  Result<TensorView> take(const std::string& name, const std::vector<std::int64_t>& shape) {
    SEQKV_ASSIGN(const TensorView tensor, file_.tensor(name));
    if (tensor.shape != shape) {
      return wrong_tensor(ErrorCode::shape_mismatch, tensor, name,
                          fmt::format("its shape is [{}], config.json asks for [{}]", fmt::join(tensor.shape, ", "),
                                      fmt::join(shape, ", ")));
    }
    const auto dtype = dtype_from_safetensors(tensor.dtype);
    if (!dtype) {
      return wrong_tensor(ErrorCode::unsupported, tensor, name,
                          fmt::format("dtype {} (BF16, F16 and F32 are implemented)", tensor.dtype));
    }
    SEQKV_TRY(check_finite(name, tensor, *dtype));
    taken_.insert(name);
    return tensor;
  }

  static Result<void> check_finite(const std::string& name, const TensorView& tensor, DType dtype) {
    const std::int64_t count = tensor.elements();
    std::int64_t bad = count;  // the first one, whatever the threads do
    Kokkos::parallel_reduce(
        "seqkv::model::check_finite",
        Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::IndexType<std::int64_t>>(0, count),
        [&tensor, dtype](std::int64_t i, std::int64_t& first) {
          const float value = io::tensor_element(tensor, dtype, i);
          if (!(value - value == 0.0F) && i < first) first = i;
        },
        Kokkos::Min<std::int64_t>(bad));
    if (bad >= count) return {};
    return wrong_tensor(ErrorCode::not_finite, tensor, name, fmt::format("element {} is NaN or infinite", bad))
        .at_byte(bad * static_cast<std::int64_t>(size_of(dtype)));
  }

  const SafetensorsFile& file_;
  std::set<std::string> taken_;
};

/// Bytes of a stack in the order `index(row, column)`; `rows` may exceed the stack's (zero rows are added).
template <class ExecutionSpace, class Index>
PanelMemory<ExecutionSpace> upload(const ExecutionSpace& space, const std::string& label, const Stack& stack,
                                   std::int64_t rows, const Index& index) {
  const std::int64_t size = stack.is_bf16 ? 2 : 4;
  PanelMemory<ExecutionSpace> out;
  out.memory = Kokkos::View<std::byte*, typename ExecutionSpace::memory_space>(
      Kokkos::view_alloc(space, "seqkv::model::" + label), static_cast<std::size_t>(rows * stack.columns * size));
  auto host = Kokkos::create_mirror_view(out.memory);
  std::byte* target = host.data();
  std::memset(target, 0, host.size());
  std::int64_t first = 0;
  for (const TensorView& tensor : stack.tensors) {
    const DType dtype = *dtype_from_safetensors(tensor.dtype);
    const std::int64_t count = tensor.shape[0];
    Kokkos::parallel_for(
        "seqkv::model::pack",
        Kokkos::RangePolicy<Kokkos::DefaultHostExecutionSpace, Kokkos::IndexType<std::int64_t>>(0, count),
        [&, first, dtype](std::int64_t row) {
          for (std::int64_t column = 0; column < stack.columns; ++column) {
            const std::int64_t from = row * stack.columns + column;
            std::byte* to = target + index(first + row, column) * size;
            if (stack.is_bf16) {
              std::memcpy(to, tensor.bytes.data() + 2 * from, 2);
            } else {
              store_le(to, io::tensor_element(tensor, dtype, from));
            }
          }
        });
    first += count;
  }
  Kokkos::deep_copy(space, out.memory, host);
  space.fence("seqkv::model::upload: the host copy is about to go");
  out.matrix = {out.memory.data(), stack.is_bf16, stack.rows, stack.columns};
  return out;
}

template <class ExecutionSpace>
PanelMemory<ExecutionSpace> upload_panels(const ExecutionSpace& space, const std::string& label, const Stack& stack) {
  using kernels::panel_width;
  return upload(space, label, stack, round_up(stack.rows, panel_width),
                [columns = stack.columns](std::int64_t row, std::int64_t column) {
                  return (row / panel_width * columns + column) * panel_width + row % panel_width;
                });
}

template <class ExecutionSpace>
Vector<ExecutionSpace> upload_vector(const ExecutionSpace& space, const std::string& label,
                                     const std::vector<float>& values) {
  Vector<ExecutionSpace> out(Kokkos::view_alloc(space, "seqkv::model::" + label), values.size());
  const Kokkos::View<const float*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged> host(values.data(), values.size());
  Kokkos::deep_copy(space, out, host);
  space.fence("seqkv::model::upload_vector: the host copy is about to go");
  return out;
}

template <class ExecutionSpace>
Result<LayerWeights<ExecutionSpace>> load_layer(const ExecutionSpace& space, const ModelConfig& config,
                                                WeightReader& reader, std::int64_t layer) {
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  const std::int64_t q_rows = config.query_heads * config.head_dim;
  const std::int64_t kv_rows = config.kv_heads * config.head_dim;
  LayerWeights<ExecutionSpace> out;
  using Parts = std::vector<std::pair<std::string, std::int64_t>>;
  const auto matrix = [&](const char* label, const Parts& parts, std::int64_t columns,
                          PanelMemory<ExecutionSpace>& target) -> Result<void> {
    SEQKV_ASSIGN(const Stack stack, reader.stack(parts, columns));
    target = upload_panels(space, label, stack);
    return {};
  };
  const auto vector = [&](const char* label, const Parts& parts, Vector<ExecutionSpace>& target) -> Result<void> {
    SEQKV_ASSIGN(const std::vector<float> values, reader.vector(parts));
    target = upload_vector(space, label, values);
    return {};
  };
  SEQKV_TRY(vector("attention_norm", {{prefix + "input_layernorm.weight", config.hidden}}, out.attention_norm));
  SEQKV_TRY(vector("mlp_norm", {{prefix + "post_attention_layernorm.weight", config.hidden}}, out.mlp_norm));
  SEQKV_TRY(matrix("qkv",
                   {{attention + "q_proj.weight", q_rows},
                    {attention + "k_proj.weight", kv_rows},
                    {attention + "v_proj.weight", kv_rows}},
                   config.hidden, out.qkv));
  SEQKV_TRY(matrix("output", {{attention + "o_proj.weight", config.hidden}}, q_rows, out.output));
  SEQKV_TRY(matrix("gate_up",
                   {{mlp + "gate_proj.weight", config.intermediate}, {mlp + "up_proj.weight", config.intermediate}},
                   config.hidden, out.gate_up));
  SEQKV_TRY(matrix("down", {{mlp + "down_proj.weight", config.hidden}}, config.intermediate, out.down));
  if (config.qkv_bias) {
    SEQKV_TRY(vector("qkv_bias",
                     {{attention + "q_proj.bias", q_rows},
                      {attention + "k_proj.bias", kv_rows},
                      {attention + "v_proj.bias", kv_rows}},
                     out.qkv_bias));
  }
  if (config.output_bias) {
    SEQKV_TRY(vector("output_bias", {{attention + "o_proj.bias", config.hidden}}, out.output_bias));
  }
  if (config.mlp_bias) {
    SEQKV_TRY(vector("gate_up_bias",
                     {{mlp + "gate_proj.bias", config.intermediate}, {mlp + "up_proj.bias", config.intermediate}},
                     out.gate_up_bias));
    SEQKV_TRY(vector("down_bias", {{mlp + "down_proj.bias", config.hidden}}, out.down_bias));
  }
  if (config.qk_norm) {
    SEQKV_TRY(vector("q_norm", {{attention + "q_norm.weight", config.head_dim}}, out.q_norm));
    SEQKV_TRY(vector("k_norm", {{attention + "k_norm.weight", config.head_dim}}, out.k_norm));
  }
  return out;
}

Digest hash_weights(const SafetensorsFile& file) {
  Sha256 hash;
  for (const auto& [name, tensor] : file.tensors()) {
    hash.update(static_cast<std::uint64_t>(name.size())).update(name).update(tensor.dtype);
    hash.update(static_cast<std::uint64_t>(tensor.shape.size()));
    for (std::int64_t extent : tensor.shape) hash.update(static_cast<std::uint64_t>(extent));
    hash.update(tensor.bytes);
  }
  return hash.finish();
}

}  // namespace

Digest ModelFingerprint::combined() const {
  return Sha256().update(config.bytes).update(tokenizer.bytes).update(weights.bytes).finish();
}

template <class ExecutionSpace>
Model<ExecutionSpace>::Model() : weights_(std::make_unique<Weights>()) {}
template <class ExecutionSpace>
Model<ExecutionSpace>::Model(Model&&) noexcept = default;
template <class ExecutionSpace>
Model<ExecutionSpace>::~Model() = default;

template <class ExecutionSpace>
Result<std::shared_ptr<const Model<ExecutionSpace>>> Model<ExecutionSpace>::load(const ExecutionSpace& space,
                                                                                 const std::filesystem::path& folder) {
  return guard_memory("for the model", [&]() -> Result<std::shared_ptr<const Model>> {
    Model model;
    model.folder_ = folder;
    SEQKV_ASSIGN(model.config_, ModelConfig::load(folder / "config.json"));
    const auto path = folder / "tokenizer.json";
    std::error_code problem;
    const bool has_tokenizer = std::filesystem::exists(path, problem);
    if (problem) return io::system_error("cannot look up", path, problem.value());
    if (has_tokenizer) {
      SEQKV_ASSIGN(model.tokenizer_, Tokenizer::load(path));
      model.fingerprint_.tokenizer = model.tokenizer_->fingerprint();
    }
    SEQKV_ASSIGN(const SafetensorsFile file, SafetensorsFile::open_model(folder));
    const ModelConfig& config = model.config_;
    Weights& weights = *model.weights_;
    WeightReader reader(file);

    SEQKV_ASSIGN(const Stack embedding,
                 reader.stack({{"model.embed_tokens.weight", config.vocabulary}}, config.hidden));
    weights.embedding =
        upload(space, "embedding", embedding, embedding.rows,
               [&config](std::int64_t row, std::int64_t column) { return row * config.hidden + column; });
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      SEQKV_ASSIGN(weights.layers.emplace_back(), load_layer(space, config, reader, layer));
    }
    SEQKV_ASSIGN(const std::vector<float> final_norm, reader.vector({{"model.norm.weight", config.hidden}}));
    weights.final_norm = upload_vector(space, "final_norm", final_norm);
    if (config.tied_embeddings) {
      weights.head = upload_panels(space, "head", embedding);
    } else {
      SEQKV_ASSIGN(const Stack head, reader.stack({{"lm_head.weight", config.vocabulary}}, config.hidden));
      weights.head = upload_panels(space, "head", head);
    }
    SEQKV_TRY(reader.check_all_used(config.tied_embeddings ? std::set<std::string>{"lm_head.weight"}
                                                           : std::set<std::string>{}));
    model.fingerprint_.config = config.fingerprint();
    model.fingerprint_.weights = hash_weights(file);
    return std::shared_ptr<const Model>(std::make_shared<Model>(std::move(model)));
  });
}

template <class ExecutionSpace>
Result<const Tokenizer*> Model<ExecutionSpace>::tokenizer() const {
  if (!tokenizer_) {
    return Error(ErrorCode::file_not_found, "the model folder has no tokenizer.json, text cannot be encoded")
        .in_file((folder_ / "tokenizer.json").string());
  }
  return &*tokenizer_;
}

template <class ExecutionSpace>
Result<std::vector<Token>> Model<ExecutionSpace>::encode_document(std::string_view text) const {
  SEQKV_ASSIGN(const Tokenizer* tokenizer, this->tokenizer());
  SEQKV_ASSIGN(std::vector<Token> tokens, tokenizer->encode(text, SpecialTokens::add));
  if (config_.bos && (tokens.empty() || tokens.front() != *config_.bos)) tokens.insert(tokens.begin(), *config_.bos);
  return tokens;
}

template <class ExecutionSpace>
std::int64_t Model<ExecutionSpace>::weight_bytes() const noexcept {
  std::size_t bytes = weights_->embedding.memory.size() + weights_->head.memory.size();
  for (const auto& layer : weights_->layers) {
    for (const auto* panel : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down}) bytes += panel->memory.size();
  }
  return static_cast<std::int64_t>(bytes);
}

#define SEQKV_INSTANTIATE(Space) template class Model<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
