// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Batches of rANS streams, portable: one thread a stream. The coder is in codec/entropy/rans.hpp, the format in
/// src/codec/entropy/spec.md.
#pragma once

#include <Kokkos_Core.hpp>

#include "codec/entropy/rans.hpp"

namespace seqkv::kokkos {

// Structs, not lambdas: several sources run them (codec/batch.hpp).
struct DecodeStream {
  codec::rans::DecodeTables tables;
  codec::rans::Stream* streams;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    using namespace codec::rans;
    Stream& stream = streams[i];
    Decoder decoder;
    decoder.start(stream.coded, stream.bytes);
    for (std::int64_t r = 0; r < stream.run_count; ++r) {
      const Run& run = stream.runs[r];
      decoder.decode(tables.slots + run.table * total, run.symbols, run.count);
    }
    if (!decoder.finished()) stream.bytes = -1;
  }
};

struct EncodeStream {
  codec::rans::EncodeTables tables;
  codec::rans::Stream* streams;

  KOKKOS_FUNCTION void operator()(const std::int64_t i) const {
    using namespace codec::rans;
    Stream& stream = streams[i];
    Encoder encoder;
    encoder.start(stream.coded);
    for (std::int64_t r = stream.run_count - 1; r >= 0; --r) {
      const Run& run = stream.runs[r];
      encoder.encode(tables.codes + run.table * symbols, run.symbols, run.count);
    }
    std::byte* first = encoder.finish();
    stream.bytes = stream.coded - first;
    stream.coded = first;
  }
};

template <class ExecutionSpace>
using StreamPolicy =
    Kokkos::RangePolicy<ExecutionSpace, Kokkos::IndexType<std::int64_t>, Kokkos::Schedule<Kokkos::Dynamic>>;

/// Streams, runs, tables, coded bytes and symbols are in memory of `space`. Asynchronous.
template <class ExecutionSpace>
void decode_streams(const ExecutionSpace& space, const codec::rans::DecodeTables& tables, codec::rans::Stream* streams,
                    std::int64_t count) {
  Kokkos::parallel_for("seqkv::codec::rans_decode", StreamPolicy<ExecutionSpace>(space, 0, count),
                       DecodeStream{tables, streams});
}

template <class ExecutionSpace>
void encode_streams(const ExecutionSpace& space, const codec::rans::EncodeTables& tables, codec::rans::Stream* streams,
                    std::int64_t count) {
  Kokkos::parallel_for("seqkv::codec::rans_encode", StreamPolicy<ExecutionSpace>(space, 0, count),
                       EncodeStream{tables, streams});
}

}  // namespace seqkv::kokkos
