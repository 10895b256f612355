/* Krum's scores (Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017): the sum of the exact squared
 * distances to the m - f - 2 nearest other rows; to the nearest one where m - f - 2 < 1, and 0 where m = 1. */
#ifndef BEES_KRUM_H
#define BEES_KRUM_H

#include "bees_distances.h"

static bees_exact bees_score[BEES_MOST_UPDATES];

#ifndef BEES_ROWS_HAVE_DISTANCES
static inline void bees_find_distances(uint32_t rows) {
  for (uint32_t start = 0; start < bees_updates.p; start += BEES_COLUMNS) {
    bees_load(start);
    bees_add_dot_products(rows);
  }
  bees_distances_from_dot_products(rows);
}
#endif

static inline void bees_score_rows(uint32_t rows) {
  const uint32_t faulty = bees_faulty(rows);
  const uint32_t neighbours = rows > faulty + 2 ? rows - faulty - 2 : 1;
  for (uint32_t i = 0; i < rows; i++) {
    bees_distance[i][i] = -1; /* Before all others, even those at distance 0. */
    bees_score[i] = 0;
    for (uint32_t j = 0; j < rows; j++) {
      uint32_t rank = bees_rank(rows, bees_distance[i], j);
      if (1 <= rank && rank <= neighbours) bees_score[i] += bees_distance[i][j];
    }
  }
}

static inline uint32_t bees_best_row(uint32_t rows) {
  uint32_t best = 0;
  for (uint32_t i = 1; i < rows; i++)
    if (bees_score[i] < bees_score[best]) best = i;
  return best;
}

#endif
