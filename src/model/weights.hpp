// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Weights of a model, packed for the kernels.
#pragma once

#include <Kokkos_Core.hpp>
#include <vector>

#include "model/kernels.hpp"
#include "seqkv/model.hpp"

namespace seqkv {

/// A matrix in panels (kernels::PackedMatrix) and the memory that holds it.
template <class ExecutionSpace>
struct PanelMemory {
  Kokkos::View<std::byte*, typename ExecutionSpace::memory_space> memory;
  kernels::PackedMatrix matrix;
};

/// A vector; empty where the model has none (data() is null then).
template <class ExecutionSpace>
using Vector = Kokkos::View<float*, typename ExecutionSpace::memory_space>;

template <class ExecutionSpace>
struct LayerWeights {
  Vector<ExecutionSpace> attention_norm, mlp_norm, q_norm, k_norm;
  PanelMemory<ExecutionSpace> qkv, output, gate_up, down;
  Vector<ExecutionSpace> qkv_bias, output_bias, gate_up_bias, down_bias;
};

template <class ExecutionSpace>
struct Model<ExecutionSpace>::Weights {
  PanelMemory<ExecutionSpace> embedding;  ///< row-major [vocabulary][hidden], not in panels
  std::vector<LayerWeights<ExecutionSpace>> layers;
  Vector<ExecutionSpace> final_norm;
  PanelMemory<ExecutionSpace> head;
};

}  // namespace seqkv
