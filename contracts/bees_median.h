/* Median of each coordinate (Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018).
 * Of an even number of rows, the mean of both middle ones, rounded half to even. */
#ifndef BEES_MEDIAN_H
#define BEES_MEDIAN_H

#include "bees_sorting.h"

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)n, (void)w_prev;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  const uint32_t rows = bees_begin(m, p, q);
  for (uint32_t start = 0; start < p; start += BEES_COLUMNS) {
    bees_load(start);
    bees_sort_columns(rows);
    const int32_t *lower = bees_block[(rows - 1) / 2], *upper = bees_block[rows / 2];
    uint32_t columns = bees_columns_from(start);
    for (uint32_t c = 0; c < columns; c++) out[start + c] = bees_mean_of_two(lower[c], upper[c]);
  }
  return BEES_OK;
}

#endif
