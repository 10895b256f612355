/* Geometric median (see bees_weiszfeld.h) of the means of shuffled buckets of the M most accurate updates. All buckets
 * weigh alike. */
#include "bees_bucketing.h"
#include "bees_select.h"
#include "bees_weiszfeld.h"

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)n;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  const uint32_t rows = bees_begin(m, p, q);
  for (uint32_t j = 0; j < rows; j++) bees_alpha[j] = 1.0;
  bees_weiszfeld(rows, w_prev, out);
  return BEES_OK;
}
