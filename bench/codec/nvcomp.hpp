// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// nvCOMP's ANS coder on data in the memory of the device, where the build has found the library.
#pragma once

#include <cstdint>

namespace seqkv::bench {

/// Chunks of bytes, all of one size, that are coded together. Failures end the program.
class NvcompBatch {
 public:
  /// `symbols`: device memory that outlives the batch.
  NvcompBatch(std::uint8_t* symbols, std::int64_t bytes, std::int64_t chunk_bytes);
  ~NvcompBatch();
  NvcompBatch(const NvcompBatch&) = delete;
  NvcompBatch& operator=(const NvcompBatch&) = delete;

  /// Both wait for the device.
  void encode();
  void decode();  ///< of what encode() has left, over the symbols
  std::int64_t coded_bytes() const;

 private:
  struct State;
  State* state_;
};

}  // namespace seqkv::bench
