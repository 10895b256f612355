/* Exact squared distances between all rows, from their dot products: |x - y|^2 = x.x - 2 x.y + y.y.
 *
 * A dot product of words needs more than 64 bits. Its value modulo 2^64 is a plain sum. Its magnitude follows from
 * the words' upper 12 bits: with x = 2^20 u + a and y = 2^20 v + b, where |u|, |v| <= 2^11 and 0 <= a, b < 2^20, x y
 * differs from 2^40 u v by at most 2^52 + 2^40, so 256 columns differ by less than 2^61. One number only has both. */
#ifndef BEES_DISTANCES_H
#define BEES_DISTANCES_H

#include <wasm_simd128.h>

#include "bees_rows.h"

typedef __int128 bees_exact;

static bees_exact bees_distance[BEES_MOST_UPDATES][BEES_MOST_UPDATES];
static _Alignas(16) int16_t bees_tops[BEES_MOST_UPDATES][BEES_COLUMNS];

static inline bees_exact bees_join(v128_t low, v128_t top) {
  int64_t high = (int64_t)wasm_i32x4_extract_lane(top, 0) + wasm_i32x4_extract_lane(top, 1);
  high += (int64_t)wasm_i32x4_extract_lane(top, 2) + wasm_i32x4_extract_lane(top, 3);
  uint64_t modulo = (uint64_t)wasm_i64x2_extract_lane(low, 0) + (uint64_t)wasm_i64x2_extract_lane(low, 1);
  bees_exact estimate = (bees_exact)high << 40;
  return estimate + (int64_t)(modulo - (uint64_t)estimate);
}

/* The lower 64 bits of the dot product of eight words each, in two lanes. */
static inline v128_t bees_dot(v128_t sum, v128_t x0, v128_t x1, v128_t y0, v128_t y1) {
  sum = wasm_i64x2_add(sum, wasm_i64x2_extmul_low_i32x4(x0, y0));
  sum = wasm_i64x2_add(sum, wasm_i64x2_extmul_high_i32x4(x0, y0));
  sum = wasm_i64x2_add(sum, wasm_i64x2_extmul_low_i32x4(x1, y1));
  return wasm_i64x2_add(sum, wasm_i64x2_extmul_high_i32x4(x1, y1));
}

/* Dot products of rows i and i + 1 with the four rows from j on. Eight pairs share what is loaded. */
static inline void bees_add_eight_dot_products(uint32_t i, uint32_t j) {
  v128_t low[8], top[8];
  for (uint32_t k = 0; k < 8; k++) low[k] = top[k] = wasm_i64x2_splat(0);
  const int32_t *x = bees_block[i], *y = bees_block[j];
  const int16_t *x_top = bees_tops[i], *y_top = bees_tops[j];
#pragma clang loop unroll_count(2)
  for (uint32_t c = 0; c < BEES_COLUMNS; c += 8, x += 8, y += 8, x_top += 8, y_top += 8) {
    v128_t x0 = wasm_v128_load(x), x1 = wasm_v128_load(x + 4), x2 = wasm_v128_load(x_top);
    v128_t z0 = wasm_v128_load(x + BEES_COLUMNS), z1 = wasm_v128_load(x + BEES_COLUMNS + 4);
    v128_t z2 = wasm_v128_load(x_top + BEES_COLUMNS);
#pragma clang loop unroll(full)
    for (uint32_t t = 0; t < 4; t++) {
      const int32_t *row = y + t * BEES_COLUMNS;
      v128_t y0 = wasm_v128_load(row), y1 = wasm_v128_load(row + 4), y2 = wasm_v128_load(y_top + t * BEES_COLUMNS);
      low[t] = bees_dot(low[t], x0, x1, y0, y1);
      low[4 + t] = bees_dot(low[4 + t], z0, z1, y0, y1);
      top[t] = wasm_i32x4_add(top[t], wasm_i32x4_dot_i16x8(x2, y2));
      top[4 + t] = wasm_i32x4_add(top[4 + t], wasm_i32x4_dot_i16x8(z2, y2));
    }
  }
  for (uint32_t t = 0; t < 4; t++) {
    bees_distance[i][j + t] += bees_join(low[t], top[t]);
    bees_distance[i + 1][j + t] += bees_join(low[4 + t], top[4 + t]);
  }
}

static inline void bees_add_dot_products(uint32_t rows) {
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t c = 0; c < BEES_COLUMNS; c++) bees_tops[i][c] = (int16_t)(bees_block[i][c] >> 20);
  /* Rows after the last are zero, and their products are never looked at. */
  for (uint32_t i = 0; i < rows; i += 2)
    for (uint32_t j = i / 4 * 4; j < rows; j += 4) bees_add_eight_dot_products(i, j);
}

static inline void bees_distances_from_dot_products(uint32_t rows) {
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t j = i + 1; j < rows; j++) {
      bees_exact product = bees_distance[i][j];
      bees_distance[i][j] = bees_distance[i][i] - 2 * product + bees_distance[j][j];
    }
  for (uint32_t i = 0; i < rows; i++) {
    bees_distance[i][i] = 0;
    for (uint32_t j = 0; j < i; j++) bees_distance[i][j] = bees_distance[j][i];
  }
}

/* How many of a row of numbers are smaller than number j; of equals, the lower index counts as smaller. */
static inline uint32_t bees_rank(uint32_t rows, const bees_exact row[], uint32_t j) {
  uint32_t rank = 0;
  for (uint32_t l = 0; l < rows; l++) rank += row[l] < row[j] || (row[l] == row[j] && l < j);
  return rank;
}

#endif
