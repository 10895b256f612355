/* Sorts each column of the block, with a network of minima and maxima whose cost no input can change. */
#ifndef BEES_SORTING_H
#define BEES_SORTING_H

#include <wasm_simd128.h>

#include "bees_rows.h"

static inline void bees_order(int32_t lower[BEES_COLUMNS], int32_t upper[BEES_COLUMNS]) {
  for (uint32_t c = 0; c < BEES_COLUMNS; c += 4) {
    v128_t a = wasm_v128_load(lower + c), b = wasm_v128_load(upper + c);
    wasm_v128_store(lower + c, wasm_i32x4_min(a, b));
    wasm_v128_store(upper + c, wasm_i32x4_max(a, b));
  }
}

/* Batcher's merge exchange (Knuth, The Art of Computer Programming 3, Algorithm 5.2.2M); his p, q, r and d. */
static inline void bees_sort_columns(uint32_t rows) {
  uint32_t top = 1;
  while (2 * top < rows) top *= 2;
  for (uint32_t p = rows < 2 ? 0 : top; p > 0; p /= 2) {
    uint32_t q = top, r = 0, d = p;
    for (;;) {
      for (uint32_t i = 0; i + d < rows; i++)
        if ((i & p) == r) bees_order(bees_block[i], bees_block[i + d]);
      if (q == p) break;
      d = q - p, q /= 2, r = p;
    }
  }
}

#endif
