/* The rows of a rule are the updates as they are. */
#ifndef BEES_PLAIN_H
#define BEES_PLAIN_H

#include "bees_rows.h"

static inline uint32_t bees_begin(uint32_t m, uint32_t p, const int32_t q[]) {
  bees_updates.m = m, bees_updates.p = p, bees_updates.q = q;
  return m;
}

static inline void bees_load_row(uint32_t j, uint32_t start, int32_t row[BEES_COLUMNS]) {
  bees_copy_update(j, start, row);
}

static inline void bees_load(uint32_t start) {
  for (uint32_t j = 0; j < bees_updates.m; j++) bees_copy_update(j, start, bees_block[j]);
}

#endif
