/* Multi-Krum (Blanchard et al. 2017): the mean of the m - f updates with the best Krum scores among the M most accurate
 * ones, summed exactly and divided once, half to even; of equal scores, those of lower index. */
#include "bees_plain.h"
#include "bees_krum.h"
#include "bees_select.h"

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)n, (void)w_prev;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  bees_begin(m, p, q);
  bees_find_distances(m);
  bees_score_rows(m);
  const uint32_t best = m - bees_faulty(m);
  const double one_over_best = 1.0 / best;
  static uint32_t rank[BEES_MOST_UPDATES];
  for (uint32_t j = 0; j < m; j++) rank[j] = bees_rank(m, bees_score, j);
  for (uint32_t start = 0; start < p; start += BEES_COLUMNS) {
    bees_load(start);
    int64_t sum[BEES_COLUMNS];
    bees_clear(sum);
    for (uint32_t j = 0; j < m; j++) {
      if (rank[j] >= best) continue;
      for (uint32_t c = 0; c < BEES_COLUMNS; c++) sum[c] += bees_block[j][c];
    }
    uint32_t columns = bees_columns_from(start);
    for (uint32_t c = 0; c < columns; c++) out[start + c] = bees_divide_half_even(sum[c], best, one_over_best);
  }
  return BEES_OK;
}
