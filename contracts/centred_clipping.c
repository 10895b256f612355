/* Centred clipping (Karimireddy, He and Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021) of
 * the M most accurate updates. From v = w_g(t-1), each step is v + mean of (x_j - v) min(1, tau / |x_j - v|).
 *
 * In the paper, v is the previous aggregate of momenta, in one step; here devices send models, so the previous step is
 * taken for zero, and there are more steps instead. The paper leaves the radius tau to the user. One that fits depends
 * on the model and falls as training goes on, so by default each step takes the lower median of the lengths |x_j - v|,
 * which a minority of liars cannot move far. Half of the updates can: if they are w_g(t-1) itself, it stays. */
#include "bees_plain.h"
#include "bees_points.h"
#include "bees_select.h"

#ifndef BEES_CLIPPING_STEPS
#define BEES_CLIPPING_STEPS 3
#endif
/* tau in words; 0 takes the median. */
#ifndef BEES_CLIPPING_RADIUS
#define BEES_CLIPPING_RADIUS 0.0
#endif

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)n;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  bees_begin(m, p, q);
  bees_start_from_previous(m);
  for (int step = 0; step < BEES_CLIPPING_STEPS; step++) {
    bees_measure(m, w_prev);
    const double radius = BEES_CLIPPING_RADIUS > 0.0 ? BEES_CLIPPING_RADIUS : bees_median_length(m);
    static double pull[BEES_MOST_UPDATES];
    double sum = 0.0;
    for (uint32_t j = 0; j < m; j++) sum += pull[j] = bees_shortening(bees_length[j], radius) / m;
    for (uint32_t j = 0; j < m; j++) bees_weight[j] = (1.0 - sum) * bees_weight[j] + pull[j];
    bees_weight_of_previous *= 1.0 - sum;
  }
  bees_write_point(m, w_prev, out);
  return BEES_OK;
}
