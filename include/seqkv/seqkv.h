/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 the seqkv authors */

/* Stores for programs in C: open, save, match, restore. docs/c-api.md has a worked example.
 *
 * Functions that can fail return 0 or the number of an error (docs/errors.md); what went wrong is then in
 * seqkv_error_text() of the same thread, until its next call that fails. Nothing is thrown and nothing is printed.
 * Strings are UTF-8 and end with a zero byte. Memory of arguments is the caller's, and is not used after the call.
 * A store may be used by one thread at a time. */
#ifndef SEQKV_SEQKV_H
#define SEQKV_SEQKV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct seqkv_store seqkv_store;

enum { SEQKV_BF16 = 1, SEQKV_F16 = 2, SEQKV_F32 = 3 };                           /* dtype */
enum { SEQKV_ROPE_PLAIN = 0, SEQKV_ROPE_LINEAR = 1, SEQKV_ROPE_LLAMA3 = 2 };     /* rope_scaling */
enum { SEQKV_UNPROTECTED = 0, SEQKV_AUTHENTIC = 1, SEQKV_ENCRYPTED = 2 };        /* protection */
enum { SEQKV_REFUSE = 0, SEQKV_EXTEND = 1, SEQKV_REPLACE = 2 };                  /* if_exists */

typedef struct seqkv_shape {
  int64_t layers;
  int64_t kv_heads;
  int64_t head_dim;
  int32_t dtype;
  int32_t rope_scaling;
  int64_t rope_dim; /* components of a head that turn; 0: not known */
  double rope_theta;
  double rope_factor;
  double rope_low_freq_factor;
  double rope_high_freq_factor;
  int64_t rope_original_max_positions;
} seqkv_shape;

/* A cache in host memory: 2 * layers tensors, those of a layer's keys and values one after the other. */
typedef struct seqkv_view {
  seqkv_shape shape;
  int64_t tokens;
  void* const* tensors;      /* each at head 0, token 0, component 0; only read by seqkv_store_save */
  int64_t key_strides[3];    /* head, token, component; in elements */
  int64_t value_strides[3];
} seqkv_view;

/* What all sessions of a store have in common. */
typedef struct seqkv_parameters {
  seqkv_shape shape;
  uint8_t model[32]; /* fingerprint; zeros: not named */
  int64_t block_tokens;
  int32_t protection;
} seqkv_parameters;

/* How a store is opened; where a function takes a null pointer for it, everything is zero. */
typedef struct seqkv_access {
  const char* salt;     /* of a tenant, or null */
  const char* key_file; /* of a store with protection, or null */
  int32_t immutable;    /* not 0: nobody writes to it, no locks are taken */
} seqkv_access;

/* Tokens, layers and heads; a count of 0 is all from the first on. */
typedef struct seqkv_part {
  int64_t first_token, tokens;
  int64_t first_layer, layers;
  int64_t first_head, heads;
} seqkv_part;

/* Before anything else, once; threads 0: all cores given to the process. A program that has initialized Kokkos itself
 * need not call these. */
int32_t seqkv_initialize(int32_t threads);
void seqkv_finalize(void);

const char* seqkv_version(void);
/* Of the last call on this thread that failed; "" if none has. */
const char* seqkv_error_text(void);
/* "checksum_mismatch" of 501; "unknown" for what is no error code. */
const char* seqkv_error_name(int32_t code);

int32_t seqkv_store_open(const char* folder, const seqkv_access* access, seqkv_store** store);
/* Makes the store if it does not exist. */
int32_t seqkv_store_open_for_writing(const char* folder, const seqkv_parameters* parameters, const seqkv_access* access,
                                     seqkv_store** store);
/* Null is allowed. */
void seqkv_store_close(seqkv_store* store);

/* codec: docs/codec.md, for example "none+lossless"; profile: path of the profile that it needs, or null. */
int32_t seqkv_store_save(seqkv_store* store, const char* session, const uint32_t* tokens, int64_t count,
                         const char* codec, const char* profile, const seqkv_view* kv, int32_t if_exists);
/* How many of the first tokens are stored, whichever sessions they are of. */
int32_t seqkv_store_match(const seqkv_store* store, const uint32_t* tokens, int64_t count, const char* codec,
                          const char* profile, int64_t* matched);
/* Writes up to `capacity` token ids, and how many there are; ids may be null if capacity is 0. */
int32_t seqkv_store_tokens(const seqkv_store* store, const char* session, uint32_t* ids, int64_t capacity,
                           int64_t* count);
/* Part null: everything. All or nothing: include/seqkv/session.hpp says how. */
int32_t seqkv_store_restore(const seqkv_store* store, const char* session, const seqkv_part* part,
                            const seqkv_view* out);
int32_t seqkv_store_remove(seqkv_store* store, const char* session);

#ifdef __cplusplus
}
#endif

#endif
