/* Krum: the row with the best score, as it is; of equals, the first. */
#ifndef BEES_KRUM_RULE_H
#define BEES_KRUM_RULE_H

#include "bees_krum.h"

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)n, (void)w_prev;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  const uint32_t rows = bees_begin(m, p, q);
  bees_find_distances(rows);
  bees_score_rows(rows);
  const uint32_t best = bees_best_row(rows);
  for (uint32_t start = 0; start < p; start += BEES_COLUMNS) {
    int32_t row[BEES_COLUMNS];
    bees_load_row(best, start, row);
    bees_write(start, row, out);
  }
  return BEES_OK;
}

#endif
