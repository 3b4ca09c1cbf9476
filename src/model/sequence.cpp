// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "model/sequence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "core/bytes.hpp"
#include "core/execution_spaces.hpp"
#include "core/float16.hpp"
#include "core/guard_memory.hpp"
#include "core/try.hpp"
#include "model/dispatch.hpp"

namespace seqkv {
namespace {

/// The tensors of a KvView, reachable from an execution space.
template <class ExecutionSpace, class Byte>
struct TensorTable {
  struct Pointer {
    Byte* data;
  };
  Kokkos::View<Pointer*, typename ExecutionSpace::memory_space> tensors;  ///< [layers][K|V]
  Kokkos::Array<KvStrides, 2> strides;
  DType dtype;
  std::int64_t tokens;

  TensorTable(const ExecutionSpace& space, const BasicKvView<Byte>& view)
      : tensors(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "seqkv::model::tensor_table"),
                view.tensors.size()),
        strides{{view.strides[0], view.strides[1]}},
        dtype(view.shape.dtype),
        tokens(view.tokens) {
    const auto host = Kokkos::create_mirror_view(tensors);
    for (std::size_t i = 0; i < view.tensors.size(); ++i) host(i).data = view.tensors[i];
    Kokkos::deep_copy(space, tensors, host);
    space.fence("seqkv::model::tensor_table: the host copy is local");
  }
};

/// Calls exchange(key or value in the cache, tensor, element index in it) for every component of the tokens
/// [first, first + tokens) of the cache.
template <class ExecutionSpace, class Byte, class Exchange>
void for_each_component(const ExecutionSpace& space, const char* label, const kernels::CacheTable& cache,
                        const kernels::HeadShape& heads, std::int64_t layers, std::int64_t first,
                        const TensorTable<ExecutionSpace, Byte>& table, const Exchange& exchange) {
  using kernels::key_tile;
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  const std::int64_t first_tile = first / key_tile;
  const std::int64_t tiles = divide_up(first + table.tokens, key_tile) - first_tile;
  const std::int64_t end = first + table.tokens;
  Kokkos::parallel_for(
      label, Policy(space, 0, layers * heads.kv_heads * tiles), KOKKOS_LAMBDA(const std::int64_t i) {
        const std::int64_t tile = first_tile + i % tiles;
        const std::int64_t head = i / tiles % heads.kv_heads;
        const std::int64_t layer = i / tiles / heads.kv_heads;
        float* keys = kernels::key_tile_at(cache, heads, layer, head, tile);
        const std::int64_t begin = Kokkos::max(first, tile * key_tile);
        for (std::int64_t token = begin; token < end && token < (tile + 1) * key_tile; ++token) {
          float* values = kernels::value_row_at(cache, heads, layer, head, token);
          for (int kind = 0; kind < 2; ++kind) {
            const KvStrides& stride = table.strides[kind];
            Byte* tensor = table.tensors(2 * layer + kind).data;
            const std::int64_t at = head * stride.head + (token - first) * stride.token;
            for (std::int64_t c = 0; c < heads.head_dim; ++c) {
              float& component = kind == 0 ? keys[c * key_tile + token % key_tile] : values[c];
              exchange(component, tensor, at + c * stride.component);
            }
          }
        }
      });
}

struct StoreComponent {
  DType dtype;
  KOKKOS_FUNCTION void operator()(const float& component, std::byte* tensor, std::int64_t at) const {
    store_from_float(tensor, dtype, at, component);
  }
};

struct LoadComponent {
  DType dtype;
  KOKKOS_FUNCTION void operator()(float& component, const std::byte* tensor, std::int64_t at) const {
    component = load_as_float(tensor, dtype, at);
  }
};

/// Copies `runs` pieces of `length` that start every `length` into places that start every `spread`.
template <class ExecutionSpace, class Floats>
void spread_runs(const ExecutionSpace& space, const Floats& from, const Floats& to, std::int64_t runs,
                 std::int64_t length, std::int64_t spread) {
  using Policy = Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>>;
  Kokkos::parallel_for(
      "seqkv::model::grow", Policy(space, 0, runs * length),
      KOKKOS_LAMBDA(const std::int64_t i) { to(i / length * spread + i % length) = from(i); });
}

/// A cache of the shape of `view` in memory of the execution space, contiguous.
template <class ExecutionSpace>
struct DeviceCopy {
  Kokkos::View<std::byte*, typename ExecutionSpace::memory_space> memory;
  KvView view;

  explicit DeviceCopy(const ExecutionSpace& space, KvCache& host)
      : memory(Kokkos::view_alloc(space, Kokkos::WithoutInitializing, "seqkv::model::staging"), host.bytes()),
        view(host.view()) {
    for (std::byte*& tensor : view.tensors) tensor = memory.data() + (tensor - host.view().tensors[0]);
    view.memory = MemorySpace::device;
  }
};

/// `layers`: that the view has.
template <class State, class Byte>
Result<void> check_view(const State& state, std::int64_t layers, const BasicKvView<Byte>& view) {
  const KvShape& shape = view.shape;
  if (shape.layers != layers || shape.kv_heads != state.heads.kv_heads || shape.head_dim != state.heads.head_dim) {
    return Error(ErrorCode::shape_mismatch,
                 fmt::format("a cache of {}, the model has {} layers x {} KV heads x {}", shape.describe(),
                             state.layers, state.heads.kv_heads, state.heads.head_dim));
  }
  if (static_cast<std::int64_t>(view.tensors.size()) != 2 * shape.layers || view.tokens < 0) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("a view of {} tensors and {} tokens", view.tensors.size(), view.tokens));
  }
  if (view.memory != MemorySpace::host) return Error(ErrorCode::invalid_argument, "host memory is expected");
  return {};
}

}  // namespace

template <class ExecutionSpace>
Sequence<ExecutionSpace>::Sequence(const ModelConfig& config) : state_(std::make_unique<State>()) {
  state_->heads = {config.query_heads, config.kv_heads, config.head_dim};
  state_->layers = config.layers;
}
template <class ExecutionSpace>
Sequence<ExecutionSpace>::Sequence(Sequence&&) noexcept = default;
template <class ExecutionSpace>
Sequence<ExecutionSpace>& Sequence<ExecutionSpace>::operator=(Sequence&&) noexcept = default;
template <class ExecutionSpace>
Sequence<ExecutionSpace>::~Sequence() = default;

template <class ExecutionSpace>
std::int64_t Sequence<ExecutionSpace>::tokens() const noexcept {
  return state_->tokens;
}

template <class ExecutionSpace>
void Sequence<ExecutionSpace>::truncate(std::int64_t tokens) noexcept {
  state_->tokens = std::clamp<std::int64_t>(tokens, 0, state_->tokens);
}

template <class ExecutionSpace>
Result<void> Sequence<ExecutionSpace>::reserve(const ExecutionSpace& space, std::int64_t tokens) {
  State& state = *state_;
  if (tokens <= state.capacity) return {};
  return guard_memory(fmt::format("for the cache of a sequence of {} tokens", tokens), [&]() -> Result<void> {
    const std::int64_t wanted = std::max(tokens, state.capacity + state.capacity / 2);
    State grown = state;
    grown.capacity = round_up(wanted, kernels::key_tile);
    const std::int64_t key_run = grown.capacity * state.heads.head_dim;
    const std::int64_t value_run = grown.capacity * kernels::padded_value_width(state.heads.head_dim);
    grown.keys = typename State::Floats(Kokkos::view_alloc(space, "seqkv::model::keys"), state.runs() * key_run);
    grown.values = typename State::Floats(Kokkos::view_alloc(space, "seqkv::model::values"), state.runs() * value_run);
    if (state.capacity > 0) {
      spread_runs(space, state.keys, grown.keys, state.runs(), state.capacity * state.heads.head_dim, key_run);
      spread_runs(space, state.values, grown.values, state.runs(),
                  state.capacity * kernels::padded_value_width(state.heads.head_dim), value_run);
      space.fence("seqkv::model::grow: the old memory is about to go");
    }
    state = grown;
    return {};
  });
}

template <class ExecutionSpace>
Result<void> Sequence<ExecutionSpace>::read(const ExecutionSpace& space, std::int64_t first, const KvView& out) const {
  const State& state = *state_;
  SEQKV_TRY(check_view(state, std::clamp<std::int64_t>(out.shape.layers, 1, state.layers), out));
  if (first < 0 || out.tokens < 0 || first + out.tokens > state.tokens) {
    return Error(ErrorCode::invalid_argument,
                 fmt::format("tokens {} to {} of a sequence of {}", first, first + out.tokens, state.tokens));
  }
  return guard_memory("to read a sequence", [&]() -> Result<void> {
    const auto extract = [&](const KvView& target) {
      const TensorTable<ExecutionSpace, std::byte> table(space, target);
      for_each_component(space, "seqkv::model::read", state.table(), state.heads, out.shape.layers, first, table,
                         StoreComponent{out.shape.dtype});
      space.fence("seqkv::model::read: the caller's memory is complete");
    };
    if constexpr (is_host_space<ExecutionSpace>) {
      extract(out);
      return {};
    } else {
      SEQKV_ASSIGN(KvCache host, KvCache::create(out.shape, out.tokens));
      DeviceCopy<ExecutionSpace> device(space, host);
      extract(device.view);
      Kokkos::deep_copy(
          Kokkos::View<std::byte*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(host.view().tensors[0], host.bytes()),
          device.memory);
      return copy(host.view(), out);
    }
  });
}

template <class ExecutionSpace>
Result<void> Sequence<ExecutionSpace>::append(const ExecutionSpace& space, const ConstKvView& in) {
  SEQKV_TRY(check_view(*state_, state_->layers, in));
  SEQKV_TRY(reserve(space, state_->tokens + in.tokens));
  return guard_memory("to append to a sequence", [&]() -> Result<void> {
    State& state = *state_;
    const auto insert = [&](const ConstKvView& source) {
      const TensorTable<ExecutionSpace, const std::byte> table(space, source);
      for_each_component(space, "seqkv::model::append", state.table(), state.heads, state.layers, state.tokens, table,
                         LoadComponent{in.shape.dtype});
      space.fence("seqkv::model::append: the caller may reuse its memory");
    };
    if constexpr (is_host_space<ExecutionSpace>) {
      insert(in);
    } else {
      SEQKV_ASSIGN(KvCache host, KvCache::create(in.shape, in.tokens));
      SEQKV_TRY(copy(in, host.view()));
      DeviceCopy<ExecutionSpace> device(space, host);
      Kokkos::deep_copy(device.memory, Kokkos::View<std::byte*, Kokkos::HostSpace, Kokkos::MemoryUnmanaged>(
                                           host.view().tensors[0], host.bytes()));
      insert(device.view);
    }
    state.tokens += in.tokens;
    return {};
  });
}

#define SEQKV_INSTANTIATE(Space) template class Sequence<Space>;
SEQKV_FOR_EACH_SPACE(SEQKV_INSTANTIATE)
#undef SEQKV_INSTANTIATE

}  // namespace seqkv
