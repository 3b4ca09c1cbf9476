/* SPDX-License-Identifier: Apache-2.0 */
/* SPDX-FileCopyrightText: 2026 the seqkv authors */

/* A program in C that saves a cache, finds it again, and restores it whole and in part. Run in an empty folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seqkv/seqkv.h"

#define LAYERS 2
#define HEADS 3
#define DIM 16
#define TOKENS 50

static int failures = 0;

#define EXPECT(condition)                                                                        \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      fprintf(stderr, "line %d: %s\n  last error: %s\n", __LINE__, #condition, seqkv_error_text()); \
      ++failures;                                                                                \
    }                                                                                            \
  } while (0)

static float values[2 * LAYERS][HEADS][TOKENS][DIM];

static float value(int tensor, int head, int token, int component) {
  return (float)(tensor * 1000 + head * 100 + token) + (float)component / 64.0F;
}

static seqkv_view view_of(float* memory, int layers, int heads, int tokens, void** tensors) {
  seqkv_view view;
  int i;
  memset(&view, 0, sizeof(view));
  view.shape.layers = layers;
  view.shape.kv_heads = heads;
  view.shape.head_dim = DIM;
  view.shape.dtype = SEQKV_F32;
  view.tokens = tokens;
  for (i = 0; i < 2 * layers; ++i) tensors[i] = memory + (size_t)i * heads * tokens * DIM;
  view.tensors = tensors;
  view.key_strides[0] = view.value_strides[0] = (int64_t)tokens * DIM;
  view.key_strides[1] = view.value_strides[1] = DIM;
  view.key_strides[2] = view.value_strides[2] = 1;
  return view;
}

int main(void) {
  seqkv_parameters parameters;
  seqkv_store* store = NULL;
  seqkv_store* reader = NULL;
  void* tensors[2 * LAYERS];
  void* part_tensors[2];
  uint32_t tokens[TOKENS];
  uint32_t ids[TOKENS];
  int64_t count = 0;
  static float restored[2 * LAYERS][HEADS][TOKENS][DIM];
  static float part[2][1][20][DIM];
  seqkv_part wanted = {10, 20, 1, 1, 2, 1};
  seqkv_view all, some;
  int i, h, t, c;

  EXPECT(seqkv_initialize(2) == 0);
  EXPECT(strlen(seqkv_version()) > 0);
  EXPECT(strcmp(seqkv_error_name(501), "checksum_mismatch") == 0);
  EXPECT(strcmp(seqkv_error_name(-3), "unknown") == 0);
  for (t = 0; t < TOKENS; ++t) tokens[t] = (uint32_t)(7 * t);
  for (i = 0; i < 2 * LAYERS; ++i)
    for (h = 0; h < HEADS; ++h)
      for (t = 0; t < TOKENS; ++t)
        for (c = 0; c < DIM; ++c) values[i][h][t][c] = value(i, h, t, c);
  all = view_of(&values[0][0][0][0], LAYERS, HEADS, TOKENS, tensors);
  memset(&parameters, 0, sizeof(parameters));
  parameters.shape = all.shape;
  parameters.block_tokens = 16;

  EXPECT(seqkv_store_open("store", NULL, &store) == 400 && store == NULL);
  EXPECT(strstr(seqkv_error_text(), "file_not_found") != NULL);
  EXPECT(seqkv_store_open_for_writing("store", &parameters, NULL, &store) == 0);
  EXPECT(seqkv_store_save(store, "first", tokens, TOKENS, "none+lossless", NULL, &all, SEQKV_REFUSE) == 0);
  EXPECT(seqkv_store_save(store, "first", tokens, TOKENS, "none+lossless", NULL, &all, SEQKV_REFUSE) == 312);
  EXPECT(seqkv_store_save(store, "first", tokens, TOKENS, "none+lossless", NULL, &all, SEQKV_REPLACE) == 0);
  EXPECT(seqkv_store_save(store, "x", tokens, TOKENS, "no codec", NULL, &all, SEQKV_REFUSE) == 201);
  EXPECT(seqkv_store_save(store, "x", NULL, TOKENS, "raw", NULL, &all, SEQKV_REFUSE) == 200);
  EXPECT(seqkv_store_match(store, tokens, 40, "none+lossless", NULL, &count) == 0 && count == 32);
  EXPECT(seqkv_store_match(store, tokens, TOKENS, "raw", NULL, &count) == 0 && count == 0);

  EXPECT(seqkv_store_open("store", NULL, &reader) == 0);
  EXPECT(seqkv_store_tokens(reader, "first", NULL, 0, &count) == 0 && count == TOKENS);
  EXPECT(seqkv_store_tokens(reader, "first", ids, TOKENS, &count) == 0 && memcmp(ids, tokens, sizeof(ids)) == 0);
  all = view_of(&restored[0][0][0][0], LAYERS, HEADS, TOKENS, tensors);
  EXPECT(seqkv_store_restore(reader, "first", NULL, &all) == 0);
  EXPECT(memcmp(values, restored, sizeof(values)) == 0);
  some = view_of(&part[0][0][0][0], 1, 1, 20, part_tensors);
  EXPECT(seqkv_store_restore(reader, "first", &wanted, &some) == 0);
  for (i = 0; i < 2; ++i)
    for (t = 0; t < 20; ++t)
      for (c = 0; c < DIM; ++c) EXPECT(part[i][0][t][c] == value(2 + i, 2, 10 + t, c));
  some.tokens = 19;
  EXPECT(seqkv_store_restore(reader, "first", &wanted, &some) == 302);
  EXPECT(seqkv_store_restore(reader, "nobody", NULL, &all) == 401);
  EXPECT(seqkv_store_remove(reader, "first") == 200);
  EXPECT(seqkv_store_remove(store, "first") == 0);
  EXPECT(seqkv_store_restore(reader, "first", NULL, &all) == 401);
  seqkv_store_close(reader);
  seqkv_store_close(store);
  seqkv_store_close(NULL);
  seqkv_finalize();
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
