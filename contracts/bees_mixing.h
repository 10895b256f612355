/* Nearest-neighbour mixing (Allouah et al., "Fixing by Mixing", AISTATS 2023): row i is the mean of the m - f updates
 * that are nearest to update i, itself included, rounded half to even; of equally near ones, those of lower index. */
#ifndef BEES_MIXING_H
#define BEES_MIXING_H

#include "bees_distances.h"

static _Alignas(16) int32_t bees_unmixed[BEES_MOST_UPDATES][BEES_COLUMNS];
static uint16_t bees_far[BEES_MOST_UPDATES][BEES_MOST_UPDATES]; /* row i: the f updates farthest from update i */
static bees_exact bees_mixed_product[BEES_MOST_UPDATES][BEES_MOST_UPDATES];

static inline uint32_t bees_begin(uint32_t m, uint32_t p, const int32_t q[]) {
  bees_updates.m = m, bees_updates.p = p, bees_updates.q = q;
  for (uint32_t start = 0; start < p; start += BEES_COLUMNS) {
    for (uint32_t j = 0; j < m; j++) bees_copy_update(j, start, bees_block[j]);
    bees_add_dot_products(m);
  }
  bees_distances_from_dot_products(m);
  const uint32_t near = m - bees_faulty(m);
  for (uint32_t i = 0; i < m; i++)
    for (uint32_t j = 0, count = 0; j < m; j++)
      if (bees_rank(m, bees_distance[i], j) >= near) bees_far[i][count++] = (uint16_t)j;
  return m;
}

/* sum[c] -= row[c], for 32 neighbouring columns at a time. */
static inline void bees_subtract_far(uint32_t i, uint32_t faulty, uint32_t c, int64_t sum[]) {
  v128_t left[16];
  for (uint32_t k = 0; k < 16; k++) left[k] = wasm_v128_load(sum + c + 2 * k);
  for (uint32_t l = 0; l < faulty; l++) {
    const int32_t *row = bees_unmixed[bees_far[i][l]] + c;
#pragma clang loop unroll(full)
    for (uint32_t k = 0; k < 8; k++) {
      v128_t words = wasm_v128_load(row + 4 * k);
      left[2 * k] = wasm_i64x2_sub(left[2 * k], wasm_i64x2_extend_low_i32x4(words));
      left[2 * k + 1] = wasm_i64x2_sub(left[2 * k + 1], wasm_i64x2_extend_high_i32x4(words));
    }
  }
  for (uint32_t k = 0; k < 16; k++) wasm_v128_store(sum + c + 2 * k, left[k]);
}

static _Alignas(16) int64_t bees_sum_of_all[BEES_COLUMNS];

static inline void bees_load_unmixed(uint32_t start) {
  bees_clear(bees_sum_of_all);
  for (uint32_t j = 0; j < bees_updates.m; j++) {
    bees_copy_update(j, start, bees_unmixed[j]);
    for (uint32_t c = 0; c < BEES_COLUMNS; c++) bees_sum_of_all[c] += bees_unmixed[j][c];
  }
}

/* The far ones are fewer than the near ones: what is near is all, less what is far. */
static inline void bees_mix(uint32_t i, int32_t row[BEES_COLUMNS]) {
  const uint32_t faulty = bees_faulty(bees_updates.m), near = bees_updates.m - faulty;
  const double one_over_near = 1.0 / near;
  _Alignas(16) int64_t sum[BEES_COLUMNS];
  for (uint32_t c = 0; c < BEES_COLUMNS; c++) sum[c] = bees_sum_of_all[c];
  for (uint32_t c = 0; c < BEES_COLUMNS; c += 32) bees_subtract_far(i, faulty, c, sum);
  for (uint32_t c = 0; c < BEES_COLUMNS; c++) row[c] = bees_divide_half_even(sum[c], near, one_over_near);
}

static inline void bees_load_row(uint32_t i, uint32_t start, int32_t row[BEES_COLUMNS]) {
  bees_load_unmixed(start);
  bees_mix(i, row);
}

static inline void bees_load(uint32_t start) {
  bees_load_unmixed(start);
  for (uint32_t i = 0; i < bees_updates.m; i++) bees_mix(i, bees_block[i]);
}

static inline bees_exact bees_sum_near(uint32_t m, uint32_t faulty, const bees_exact row[], uint32_t i) {
  bees_exact sum = 0;
  for (uint32_t l = 0; l < m; l++) sum += row[l];
  for (uint32_t l = 0; l < faulty; l++) sum -= row[bees_far[i][l]];
  return sum;
}

#define BEES_ROWS_HAVE_DISTANCES

/* Squared distances between the mixes before they are divided and rounded, hence (m - f)^2 times as large. They follow
 * from those of the updates: for coefficients a that sum to zero, |sum a_i x_i|^2 = -1/2 sum a_i a_j |x_i - x_j|^2.
 * As products[i][j], the sum of |x_k - x_l|^2 over k near i and l near j, they are
 * products[i][j] - (products[i][i] + products[j][j]) / 2. */
static inline void bees_find_distances(uint32_t rows) {
  const uint32_t faulty = bees_faulty(rows);
  for (uint32_t i = 0; i < rows; i++) {
    static bees_exact near[BEES_MOST_UPDATES];
    for (uint32_t l = 0; l < rows; l++) near[l] = bees_sum_near(rows, faulty, bees_distance[l], i);
    for (uint32_t j = 0; j < rows; j++) bees_mixed_product[i][j] = bees_sum_near(rows, faulty, near, j);
  }
  for (uint32_t i = 0; i < rows; i++)
    for (uint32_t j = 0; j < rows; j++) {
      bees_exact both = bees_mixed_product[i][i] + bees_mixed_product[j][j];
      bees_distance[i][j] = bees_mixed_product[i][j] - (both >> 1);
    }
}

#endif
