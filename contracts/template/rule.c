/* A rule of your own: the mean of all updates, weighted by their samples (FedAvg without selection).
 *
 * Build it, try it, use it:
 *     bees contract build rule.c
 *     bees contract test rule.wasm
 *     bees run quick --set ledger.contract=rule.wasm
 * What a contract may do, and what every server promises it, stands in bees_contract.h and docs/contracts.md. */
#include "bees_contract.h"

/* Which of k updates are combined: here the first m, which are all of them where top_m is at least k.
 * Change this to select otherwise: correct[i] is the score of update i, n[i] the samples that it was trained on.
 * The indices ascend, and there is at least one. */
uint32_t select(uint32_t k, const uint32_t correct[], const uint32_t n[], uint32_t m, uint32_t out_index[]) {
  (void)correct, (void)n;
  uint32_t count = m < k ? m : k;
  for (uint32_t i = 0; i < count; i++) out_index[i] = i;
  return count;
}

/* sum / n, rounded to the nearest integer, half to even. C rounds towards zero, which would pull weights to 0. */
static int32_t divide_half_even(int64_t sum, int64_t n) {
  int64_t quotient = sum / n, remainder = sum % n;
  if (remainder < 0) remainder += n, quotient -= 1;
  if (2 * remainder > n || (2 * remainder == n && (quotient & 1))) quotient += 1;
  return (int32_t)quotient;
}

/* How the m updates that were selected become w_g(t). Parameter i of update j is q[j * p + i], an integer that
 * stands for q / 2^exponent. Change the inner loop to combine them otherwise, such as by a median.
 * Integers are exact in any order. n_1 + ... + n_m < 2^32, so the sum below fits 64 bits; a sum of squares of
 * words does not: take __int128, or double in a fixed order. */
uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)w_prev;
  int64_t samples = 0;
  for (uint32_t j = 0; j < m; j++) samples += n[j];
  if (samples == 0) return BEES_REFUSED; /* No result: the servers skip the round, and w_g stays as it was. */
  for (uint32_t i = 0; i < p; i++) {
    int64_t sum = 0;
    for (uint32_t j = 0; j < m; j++) sum += (int64_t)n[j] * q[j * p + i];
    out[i] = divide_half_even(sum, samples);
  }
  return BEES_OK;
}
