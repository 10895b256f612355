/* Trimmed mean of each coordinate (Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018): without the f
 * smallest and the f largest words, summed exactly and divided once, half to even. As 2 f < m, one word stays. */
#ifndef BEES_TRIMMED_MEAN_H
#define BEES_TRIMMED_MEAN_H

#include "bees_sorting.h"

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)n, (void)w_prev;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  const uint32_t rows = bees_begin(m, p, q), faulty = bees_faulty(rows), kept = rows - 2 * faulty;
  const double one_over_kept = 1.0 / kept;
  for (uint32_t start = 0; start < p; start += BEES_COLUMNS) {
    bees_load(start);
    bees_sort_columns(rows);
    int64_t sum[BEES_COLUMNS];
    bees_clear(sum);
    for (uint32_t j = faulty; j < faulty + kept; j++)
      for (uint32_t c = 0; c < BEES_COLUMNS; c++) sum[c] += bees_block[j][c];
    uint32_t columns = bees_columns_from(start);
    for (uint32_t c = 0; c < columns; c++) out[start + c] = bees_divide_half_even(sum[c], kept, one_over_kept);
  }
  return BEES_OK;
}

#endif
