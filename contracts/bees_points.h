/* Points that are weighted means of w_g(t-1) and the rows, and the rows' distances to them, in double precision.
 *
 * A point is kept as its weights, which sum to 1, since no scratch space holds p numbers. Where it is needed, it is
 * computed as an offset from the row with the largest weight: a point that lies very near to one row is nearest to that,
 * and its small distance must not drown in the rounding of large words. All sums are taken in one order. */
#ifndef BEES_POINTS_H
#define BEES_POINTS_H

#include <wasm_simd128.h>

#include "bees_rows.h"

static double bees_weight_of_previous;
static double bees_weight[BEES_MOST_UPDATES];
static double bees_length[BEES_MOST_UPDATES]; /* of each row's difference to the point */
static _Alignas(16) double bees_origin[BEES_COLUMNS]; /* columns of the row with the largest weight */
static _Alignas(16) double bees_offset[BEES_COLUMNS]; /* of the point from there */

static inline v128_t bees_two_words(const int32_t *words) {
  return wasm_f64x2_convert_low_i32x4(wasm_v128_load64_zero(words));
}

/* weight (words - origin), for two words; the difference is exact. */
static inline v128_t bees_pull(double weight, const int32_t *words, const double *origin) {
  return wasm_f64x2_mul(wasm_f64x2_splat(weight), wasm_f64x2_sub(bees_two_words(words), wasm_v128_load(origin)));
}

static inline void bees_choose_origin(uint32_t rows, const int32_t previous[BEES_COLUMNS]) {
  double largest = bees_weight_of_previous;
  const int32_t *row = previous;
  for (uint32_t j = 0; j < rows; j++)
    if (bees_weight[j] > largest) largest = bees_weight[j], row = bees_block[j];
  for (uint32_t c = 0; c < BEES_COLUMNS; c++) bees_origin[c] = row[c];
}

/* The point's columns, for the rows in the block. */
static inline void bees_place_point(uint32_t rows, uint32_t start, const int32_t w_prev[]) {
  _Alignas(16) int32_t previous[BEES_COLUMNS];
  bees_copy_columns(w_prev + start, start, previous);
  bees_choose_origin(rows, previous);
  for (uint32_t c = 0; c < BEES_COLUMNS; c += 8) {
    v128_t sum[4];
    for (uint32_t k = 0; k < 4; k++)
      sum[k] = bees_pull(bees_weight_of_previous, previous + c + 2 * k, bees_origin + c + 2 * k);
    for (uint32_t j = 0; j < rows; j++)
      for (uint32_t k = 0; k < 4; k++)
        sum[k] = wasm_f64x2_add(sum[k], bees_pull(bees_weight[j], bees_block[j] + c + 2 * k, bees_origin + c + 2 * k));
    for (uint32_t k = 0; k < 4; k++) wasm_v128_store(bees_offset + c + 2 * k, sum[k]);
  }
}

static inline void bees_add_squares(uint32_t rows) {
  for (uint32_t j = 0; j < rows; j++) {
    v128_t sum = wasm_f64x2_splat(0.0);
    for (uint32_t c = 0; c < BEES_COLUMNS; c += 2) {
      v128_t apart = wasm_f64x2_sub(bees_two_words(bees_block[j] + c), wasm_v128_load(bees_origin + c));
      apart = wasm_f64x2_sub(apart, wasm_v128_load(bees_offset + c));
      sum = wasm_f64x2_add(sum, wasm_f64x2_mul(apart, apart));
    }
    bees_length[j] += wasm_f64x2_extract_lane(sum, 0) + wasm_f64x2_extract_lane(sum, 1);
  }
}

/* bees_length[j] = distance of row j to the point. */
static inline void bees_measure(uint32_t rows, const int32_t w_prev[]) {
  for (uint32_t j = 0; j < rows; j++) bees_length[j] = 0.0;
  for (uint32_t start = 0; start < bees_updates.p; start += BEES_COLUMNS) {
    bees_load(start);
    bees_place_point(rows, start, w_prev);
    bees_add_squares(rows);
  }
  for (uint32_t j = 0; j < rows; j++)
    bees_length[j] = wasm_f64x2_extract_lane(wasm_f64x2_sqrt(wasm_f64x2_splat(bees_length[j])), 0);
}

/* The point, rounded half to even. */
static inline void bees_write_point(uint32_t rows, const int32_t w_prev[], int32_t out[]) {
  for (uint32_t start = 0; start < bees_updates.p; start += BEES_COLUMNS) {
    bees_load(start);
    bees_place_point(rows, start, w_prev);
    uint32_t columns = bees_columns_from(start);
    for (uint32_t c = 0; c < columns; c++) out[start + c] = bees_to_word(bees_origin[c] + bees_offset[c]);
  }
}

static inline void bees_start_from_previous(uint32_t rows) {
  bees_weight_of_previous = 1.0;
  for (uint32_t j = 0; j < rows; j++) bees_weight[j] = 0.0;
}

/* The lower median of the lengths. */
static inline double bees_median_length(uint32_t rows) {
  for (uint32_t j = 0; j < rows; j++) {
    uint32_t rank = 0;
    for (uint32_t l = 0; l < rows; l++)
      rank += bees_length[l] < bees_length[j] || (bees_length[l] == bees_length[j] && l < j);
    if (rank == (rows - 1) / 2) return bees_length[j];
  }
  return 0.0;
}

/* What to multiply a difference of this length with, so that it is no longer than the limit. */
static inline double bees_shortening(double length, double limit) { return length > limit ? limit / length : 1.0; }

#endif
