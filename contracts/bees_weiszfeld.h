/* Geometric median by the smoothed Weiszfeld algorithm, which is RFA (Pillutla, Kakade and Harchaoui, "Robust
 * Aggregation for Federated Learning", IEEE Transactions on Signal Processing 2022): each step is the mean of the
 * rows, weighted by alpha_j / max(nu, distance of row j). It starts from w_g(t-1), which no liar of this round can
 * move. */
#ifndef BEES_WEISZFELD_H
#define BEES_WEISZFELD_H

#include "bees_points.h"

#ifndef BEES_WEISZFELD_STEPS
#define BEES_WEISZFELD_STEPS 8
#endif
/* nu, in words: about 10^-6, as in the paper, where a model has 24 fractional bits. */
#ifndef BEES_WEISZFELD_SMOOTHING
#define BEES_WEISZFELD_SMOOTHING 16.0
#endif

static double bees_alpha[BEES_MOST_UPDATES];

static inline void bees_weiszfeld(uint32_t rows, const int32_t w_prev[], int32_t out[]) {
  bees_start_from_previous(rows);
  for (int step = 0; step < BEES_WEISZFELD_STEPS; step++) {
    bees_measure(rows, w_prev);
    double sum = 0.0;
    for (uint32_t j = 0; j < rows; j++) {
      double length = bees_length[j] > BEES_WEISZFELD_SMOOTHING ? bees_length[j] : BEES_WEISZFELD_SMOOTHING;
      sum += bees_weight[j] = bees_alpha[j] / length;
    }
    for (uint32_t j = 0; j < rows; j++) bees_weight[j] /= sum;
    bees_weight_of_previous = 0.0;
  }
  bees_write_point(rows, w_prev, out);
}

#endif
