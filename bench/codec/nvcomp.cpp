// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "codec/nvcomp.hpp"

#include <cuda_runtime.h>
#include <nvcomp/ans.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

namespace seqkv::bench {
namespace {

void check(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(status));
  std::exit(1);
}
void check(nvcompStatus_t status) {
  if (status == nvcompSuccess) return;
  std::fprintf(stderr, "nvCOMP: error %d\n", static_cast<int>(status));
  std::exit(1);
}

template <class T>
T* allocate(std::size_t count) {
  void* out = nullptr;
  check(cudaMalloc(&out, count * sizeof(T)));
  return static_cast<T*>(out);
}

template <class T>
T* upload(const std::vector<T>& values) {
  T* out = allocate<T>(values.size());
  check(cudaMemcpy(out, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return out;
}

}  // namespace

struct NvcompBatch::State {
  std::size_t chunks = 0;
  std::size_t chunk_bytes = 0;
  std::size_t temp_bytes = 0;
  std::uint8_t* coded = nullptr;
  std::uint8_t* temp = nullptr;
  void** symbol_parts = nullptr;
  void** coded_parts = nullptr;
  std::size_t* symbol_sizes = nullptr;
  std::size_t* coded_sizes = nullptr;
  std::size_t* decoded_sizes = nullptr;
  nvcompStatus_t* statuses = nullptr;
};

NvcompBatch::NvcompBatch(std::uint8_t* symbols, std::int64_t bytes, std::int64_t chunk_bytes) : state_(new State) {
  State& s = *state_;
  s.chunk_bytes = static_cast<std::size_t>(chunk_bytes);
  s.chunks = static_cast<std::size_t>(bytes) / s.chunk_bytes;
  std::size_t place = 0;
  check(nvcompBatchedANSCompressGetMaxOutputChunkSize(s.chunk_bytes, nvcompBatchedANSCompressDefaultOpts, &place));
  place = (place + 15) / 16 * 16;
  s.coded = allocate<std::uint8_t>(place * s.chunks);
  std::vector<void*> symbol_parts(s.chunks);
  std::vector<void*> coded_parts(s.chunks);
  for (std::size_t i = 0; i < s.chunks; ++i) {
    symbol_parts[i] = symbols + i * s.chunk_bytes;
    coded_parts[i] = s.coded + i * place;
  }
  s.symbol_parts = upload(symbol_parts);
  s.coded_parts = upload(coded_parts);
  s.symbol_sizes = upload(std::vector<std::size_t>(s.chunks, s.chunk_bytes));
  s.coded_sizes = allocate<std::size_t>(s.chunks);
  s.decoded_sizes = allocate<std::size_t>(s.chunks);
  s.statuses = allocate<nvcompStatus_t>(s.chunks);
  std::size_t other = 0;
  check(nvcompBatchedANSCompressGetTempSize(s.chunks, s.chunk_bytes, nvcompBatchedANSCompressDefaultOpts, &s.temp_bytes,
                                            static_cast<std::size_t>(bytes), nullptr));
  check(nvcompBatchedANSDecompressGetTempSize(s.chunks, s.chunk_bytes, nvcompBatchedANSDecompressDefaultOpts, &other,
                                              static_cast<std::size_t>(bytes), nullptr));
  if (other > s.temp_bytes) s.temp_bytes = other;
  s.temp = allocate<std::uint8_t>(s.temp_bytes + 1);
}

NvcompBatch::~NvcompBatch() {
  for (void* memory : {static_cast<void*>(state_->coded), static_cast<void*>(state_->temp),
                       static_cast<void*>(state_->symbol_parts), static_cast<void*>(state_->coded_parts),
                       static_cast<void*>(state_->symbol_sizes), static_cast<void*>(state_->coded_sizes),
                       static_cast<void*>(state_->decoded_sizes), static_cast<void*>(state_->statuses)}) {
    cudaFree(memory);
  }
  delete state_;
}

void NvcompBatch::encode() {
  State& s = *state_;
  check(nvcompBatchedANSCompressAsync(s.symbol_parts, s.symbol_sizes, s.chunk_bytes, s.chunks, s.temp, s.temp_bytes,
                                      s.coded_parts, s.coded_sizes, nvcompBatchedANSCompressDefaultOpts, s.statuses,
                                      nullptr));
  check(cudaDeviceSynchronize());
}

void NvcompBatch::decode() {
  State& s = *state_;
  check(nvcompBatchedANSDecompressAsync(s.coded_parts, s.coded_sizes, s.symbol_sizes, s.decoded_sizes, s.chunks, s.temp,
                                        s.temp_bytes, s.symbol_parts, nvcompBatchedANSDecompressDefaultOpts, s.statuses,
                                        nullptr));
  check(cudaDeviceSynchronize());
}

std::int64_t NvcompBatch::coded_bytes() const {
  std::vector<std::size_t> sizes(state_->chunks);
  check(cudaMemcpy(sizes.data(), state_->coded_sizes, sizes.size() * sizeof(std::size_t), cudaMemcpyDeviceToHost));
  return static_cast<std::int64_t>(std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}));
}

}  // namespace seqkv::bench
