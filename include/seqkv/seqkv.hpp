// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

/// \file
/// All of seqkv. A program that needs a part of it compiles faster with that part's header.
#pragma once

#include "seqkv/backends.hpp"
#include "seqkv/batch.hpp"
#include "seqkv/codec.hpp"
#include "seqkv/cores.hpp"
#include "seqkv/dtype.hpp"
#include "seqkv/error.hpp"
#include "seqkv/evaluate.hpp"
#include "seqkv/forward.hpp"
#include "seqkv/frame.hpp"
#include "seqkv/hash.hpp"
#include "seqkv/inline.hpp"
#include "seqkv/kv.hpp"
#include "seqkv/kv_file.hpp"
#include "seqkv/limits.hpp"
#include "seqkv/manifest.hpp"
#include "seqkv/model.hpp"
#include "seqkv/model_config.hpp"
#include "seqkv/quality.hpp"
#include "seqkv/result.hpp"
#include "seqkv/retention.hpp"
#include "seqkv/safetensors.hpp"
#include "seqkv/store.hpp"
#include "seqkv/surprisal.hpp"
#include "seqkv/text_file.hpp"
#include "seqkv/token_coder.hpp"
#include "seqkv/token_file.hpp"
#include "seqkv/tokenizer.hpp"
#include "seqkv/trie.hpp"
#include "seqkv/trie_distance.hpp"
#include "seqkv/trie_match.hpp"
#include "seqkv/trie_view.hpp"
#include "seqkv/version.hpp"
