// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// Bare reuse: values of other contexts as they are, keys turned to their new place (docs/reference.md). What that does
/// to a model has no bound.
#pragma once

#include "seqkv/codec.hpp"

namespace seqkv::codec {

/// Values of `from` at positions that are `moved` tokens further. Same shape and tokens; host memory.
/// Errors: those of copy.
Result<void> reuse(const ConstKvView& from, const KvView& to, std::int64_t moved);

/// A copy of a cache that begins at `first_position`, in which tokens with a reference have its values, but for the
/// first `recode` of each span. Errors: out_of_memory.
Result<KvCache> with_reused(const ConstKvView& kv, std::int64_t first_position, const References& references,
                            std::int64_t recode);

}  // namespace seqkv::codec
