/* Picks the M most accurate updates; of equals, the lower index goes first. With top_m = K, a rule sees them all. */
#ifndef BEES_SELECT_H
#define BEES_SELECT_H

#include "bees_contract.h"

static inline uint32_t bees_count_at_least(uint32_t score, uint32_t k, const uint32_t correct[]) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < k; i++) count += correct[i] >= score;
  return count;
}

/* The largest score that at least m updates reach, found bit by bit. */
static inline uint32_t bees_mth_best_score(uint32_t m, uint32_t k, const uint32_t correct[]) {
  uint32_t score = 0;
  for (uint32_t bit = UINT32_C(1) << 31; bit > 0; bit >>= 1)
    if (bees_count_at_least(score | bit, k, correct) >= m) score |= bit;
  return score;
}

uint32_t select(uint32_t k, const uint32_t correct[], const uint32_t n[], uint32_t m, uint32_t out_index[]) {
  (void)n;
  uint32_t last = bees_mth_best_score(m, k, correct);
  uint32_t better = last == UINT32_MAX ? 0 : bees_count_at_least(last + 1, k, correct);
  uint32_t count = 0, ties_left = m - better;
  for (uint32_t i = 0; i < k; i++) {
    if (correct[i] < last || (correct[i] == last && ties_left == 0)) continue;
    ties_left -= correct[i] == last;
    out_index[count++] = i;
  }
  return count;
}

#endif
