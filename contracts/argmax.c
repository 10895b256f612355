/* The model of the most accurate UE, as it is: how B-EI shares intelligence. */
#include "bees_contract.h"

uint32_t select(uint32_t k, const uint32_t correct[], const uint32_t n[], uint32_t m, uint32_t out_index[]) {
  (void)n, (void)m;
  uint32_t best = 0;
  for (uint32_t i = 1; i < k; i++)
    if (correct[i] > correct[best]) best = i;
  out_index[0] = best;
  return 1;
}

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)n, (void)w_prev;
  if (m != 1) return BEES_REFUSED;
  for (uint32_t i = 0; i < p; i++) out[i] = q[i];
  return BEES_OK;
}
