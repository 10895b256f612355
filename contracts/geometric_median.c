/* Geometric median of the M most accurate updates, weighted by their samples (RFA, see bees_weiszfeld.h). */
#include "bees_plain.h"
#include "bees_select.h"
#include "bees_weiszfeld.h"

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  bees_begin(m, p, q);
  for (uint32_t j = 0; j < m; j++) bees_alpha[j] = n[j];
  bees_weiszfeld(m, w_prev, out);
  return BEES_OK;
}
