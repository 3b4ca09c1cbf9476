// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 the seqkv authors

#include "seqkv/seqkv.h"

#include <Kokkos_Core.hpp>
#include <algorithm>
#include <cstring>
#include <exception>
#include <new>

#include "core/try.hpp"
#include "seqkv/cores.hpp"
#include "seqkv/session.hpp"
#include "seqkv/version.hpp"

struct seqkv_store {
  seqkv::Store store;
};

namespace seqkv {
namespace {

using DefaultSpace = Kokkos::DefaultExecutionSpace;

std::string& error_text() {
  thread_local std::string text;
  return text;
}

/// Runs what a function does: no exception passes into C.
template <class Run>
std::int32_t guard(const Run& run) noexcept {
  try {
    const Result<void> status = run();
    if (status) return 0;
    error_text() = status.error().describe();
    return static_cast<std::int32_t>(status.error().code);
  } catch (const std::bad_alloc&) {
    return static_cast<std::int32_t>(ErrorCode::out_of_memory);
  } catch (const std::exception& problem) {
    try {
      error_text() = problem.what();
    } catch (...) {
    }
    return static_cast<std::int32_t>(ErrorCode::internal);
  }
}

/// Errors: invalid_argument.
Result<void> check_initialized() {
  if (Kokkos::is_initialized() && !Kokkos::is_finalized()) return {};
  return Error(ErrorCode::invalid_argument, "seqkv_initialize comes first");
}

Error null_argument() { return Error(ErrorCode::invalid_argument, "a null pointer where something is needed"); }

/// Errors: invalid_argument.
Result<KvShape> shape_of(const seqkv_shape& from) {
  if (from.dtype < SEQKV_BF16 || from.dtype > SEQKV_F32) return Error(ErrorCode::invalid_argument, "no such dtype");
  if (from.rope_scaling < SEQKV_ROPE_PLAIN || from.rope_scaling > SEQKV_ROPE_LLAMA3) {
    return Error(ErrorCode::invalid_argument, "no such rope_scaling");
  }
  KvShape shape{from.layers, from.kv_heads, from.head_dim, {}, static_cast<DType>(from.dtype)};
  if (from.rope_dim != 0) {
    shape.rope = {from.rope_theta,
                  static_cast<RopeScaling>(from.rope_scaling),
                  from.rope_factor,
                  from.rope_low_freq_factor,
                  from.rope_high_freq_factor,
                  from.rope_original_max_positions,
                  from.rope_dim};
  }
  SEQKV_TRY(shape.check());
  return shape;
}

Result<KvView> view_of(const seqkv_view* from) {
  if (from == nullptr || from->tensors == nullptr) return null_argument();
  KvView view;
  SEQKV_ASSIGN(view.shape, shape_of(from->shape));
  view.tokens = from->tokens;
  for (std::int64_t i = 0; i < 2 * view.shape.layers; ++i) {
    if (from->tensors[i] == nullptr) return null_argument();
    view.tensors.push_back(static_cast<std::byte*>(from->tensors[i]));
  }
  view.strides[0] = {from->key_strides[0], from->key_strides[1], from->key_strides[2]};
  view.strides[1] = {from->value_strides[0], from->value_strides[1], from->value_strides[2]};
  return view;
}

Result<StoreAccess> access_of(const seqkv_access* from) {
  StoreAccess access;
  if (from == nullptr) return access;
  if (from->salt != nullptr) access.salt = from->salt;
  if (from->key_file != nullptr) {
    SEQKV_ASSIGN(access.key, read_key_file(from->key_file));
  }
  access.immutable = from->immutable != 0;
  return access;
}

Result<Codec> codec_of(const char* spec, const char* profile) {
  if (spec == nullptr) return null_argument();
  SEQKV_ASSIGN(Codec codec, Codec::parse(spec));
  if (profile == nullptr) return codec;
  SEQKV_ASSIGN(auto loaded, Profile::load(profile));
  return codec.with_profile(std::move(loaded));
}

Result<TokenSpan> tokens_of(const std::uint32_t* tokens, std::int64_t count) {
  if (tokens == nullptr || count < 0) return null_argument();
  return TokenSpan(tokens, static_cast<std::size_t>(count));
}

}  // namespace
}  // namespace seqkv

using namespace seqkv;

int32_t seqkv_initialize(int32_t threads) {
  return guard([&]() -> Result<void> {
    if (threads < 0) return Error(ErrorCode::invalid_argument, "threads are 0 or more");
    if (Kokkos::is_initialized()) return {};
    if (Kokkos::is_finalized()) return Error(ErrorCode::invalid_argument, "finalized: it cannot begin again");
    Kokkos::InitializationSettings settings;
    settings.set_disable_warnings(true);
    settings.set_num_threads(threads == 0 ? available_cores() : threads);
    Kokkos::initialize(settings);
    return {};
  });
}

void seqkv_finalize(void) {
  if (Kokkos::is_initialized() && !Kokkos::is_finalized()) Kokkos::finalize();
}

const char* seqkv_version(void) {
  static const std::string text(version());
  return text.c_str();
}

const char* seqkv_error_text(void) { return error_text().c_str(); }
const char* seqkv_error_name(int32_t code) { return to_string(static_cast<ErrorCode>(code)).data(); }

int32_t seqkv_store_open(const char* folder, const seqkv_access* access, seqkv_store** store) {
  return guard([&]() -> Result<void> {
    if (folder == nullptr || store == nullptr) return null_argument();
    *store = nullptr;
    SEQKV_ASSIGN(const StoreAccess how, access_of(access));
    SEQKV_ASSIGN(Store opened, Store::open(folder, how));
    *store = new seqkv_store{std::move(opened)};
    return {};
  });
}

int32_t seqkv_store_open_for_writing(const char* folder, const seqkv_parameters* parameters, const seqkv_access* access,
                                     seqkv_store** store) {
  return guard([&]() -> Result<void> {
    if (folder == nullptr || parameters == nullptr || store == nullptr) return null_argument();
    *store = nullptr;
    SEQKV_ASSIGN(const StoreAccess how, access_of(access));
    if (parameters->protection < SEQKV_UNPROTECTED || parameters->protection > SEQKV_ENCRYPTED) {
      return Error(ErrorCode::invalid_argument, "no such protection");
    }
    StoreParameters wanted;
    SEQKV_ASSIGN(wanted.shape, shape_of(parameters->shape));
    std::memcpy(wanted.model.bytes.data(), parameters->model, wanted.model.bytes.size());
    wanted.block_tokens = parameters->block_tokens;
    wanted.protection = static_cast<Protection>(parameters->protection);
    SEQKV_ASSIGN(Store opened, Store::open_for_writing(folder, wanted, how));
    *store = new seqkv_store{std::move(opened)};
    return {};
  });
}

void seqkv_store_close(seqkv_store* store) { delete store; }

int32_t seqkv_store_save(seqkv_store* store, const char* session, const uint32_t* tokens, int64_t count,
                         const char* codec, const char* profile, const seqkv_view* kv, int32_t if_exists) {
  return guard([&]() -> Result<void> {
    if (store == nullptr || session == nullptr) return null_argument();
    SEQKV_TRY(check_initialized());
    if (if_exists < SEQKV_REFUSE || if_exists > SEQKV_REPLACE) {
      return Error(ErrorCode::invalid_argument, "no such way to treat a session of the same name");
    }
    SEQKV_ASSIGN(const TokenSpan ids, tokens_of(tokens, count));
    SEQKV_ASSIGN(const Codec coded, codec_of(codec, profile));
    SEQKV_ASSIGN(const KvView view, view_of(kv));
    SaveOptions options;
    options.if_exists = static_cast<IfExists>(if_exists);
    SEQKV_TRY(save(DefaultSpace(), store->store, session, ids, coded, view, options));
    return {};
  });
}

int32_t seqkv_store_match(const seqkv_store* store, const uint32_t* tokens, int64_t count, const char* codec,
                          const char* profile, int64_t* matched) {
  return guard([&]() -> Result<void> {
    if (store == nullptr || matched == nullptr) return null_argument();
    SEQKV_ASSIGN(const TokenSpan ids, tokens_of(tokens, count));
    SEQKV_ASSIGN(const Codec coded, codec_of(codec, profile));
    SEQKV_ASSIGN(const StoredBlocks blocks, store->store.match(ids, coded));
    *matched = blocks.tokens();
    return {};
  });
}

int32_t seqkv_store_tokens(const seqkv_store* store, const char* session, uint32_t* ids, int64_t capacity,
                           int64_t* count) {
  return guard([&]() -> Result<void> {
    if (store == nullptr || session == nullptr || count == nullptr || (ids == nullptr && capacity > 0)) {
      return null_argument();
    }
    SEQKV_ASSIGN(const std::vector<Token> tokens, store->store.tokens(session));
    *count = static_cast<std::int64_t>(tokens.size());
    const auto room = static_cast<std::size_t>(std::clamp<std::int64_t>(capacity, 0, *count));
    std::copy_n(tokens.begin(), room, ids);
    return {};
  });
}

int32_t seqkv_store_restore(const seqkv_store* store, const char* session, const seqkv_part* part,
                            const seqkv_view* out) {
  return guard([&]() -> Result<void> {
    if (store == nullptr || session == nullptr) return null_argument();
    SEQKV_TRY(check_initialized());
    SEQKV_ASSIGN(const KvView view, view_of(out));
    RestorePart wanted;
    if (part != nullptr) {
      wanted = {part->first_token, part->tokens, part->first_layer, part->layers, part->first_head, part->heads};
    }
    SEQKV_TRY(restore(DefaultSpace(), store->store, session, wanted, view));
    return {};
  });
}

int32_t seqkv_store_remove(seqkv_store* store, const char* session) {
  return guard([&]() -> Result<void> {
    if (store == nullptr || session == nullptr) return null_argument();
    return store->store.remove(session);
  });
}
