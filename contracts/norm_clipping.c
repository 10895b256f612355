/* Norm clipping (Sun et al., "Can You Really Backdoor Federated Learning?", 2019) before FedAvg over the M most
 * accurate updates: a difference to w_g(t-1) that is longer than the limit is shortened to it.
 *
 * The paper leaves the limit to the user; by default it is the lower median of the lengths, which a minority of liars
 * cannot move far. */
#include "bees_plain.h"
#include "bees_points.h"
#include "bees_select.h"

/* In words; 0 takes the median. */
#ifndef BEES_NORM_LIMIT
#define BEES_NORM_LIMIT 0.0
#endif

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  bees_begin(m, p, q);
  bees_start_from_previous(m);
  bees_measure(m, w_prev);
  const double limit = BEES_NORM_LIMIT > 0.0 ? BEES_NORM_LIMIT : bees_median_length(m);
  double samples = 0.0, sum = 0.0;
  for (uint32_t j = 0; j < m; j++) samples += n[j];
  for (uint32_t j = 0; j < m; j++) sum += bees_weight[j] = n[j] / samples * bees_shortening(bees_length[j], limit);
  bees_weight_of_previous = 1.0 - sum;
  bees_write_point(m, w_prev, out);
  return BEES_OK;
}
