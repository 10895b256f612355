/* Bucketing (Karimireddy et al., "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022): the
 * updates are shuffled and cut into buckets, and the rows of the rule are the buckets' means, rounded half to even.
 *
 * Chance comes from a hash of all words that were picked. It need not be cryptographic: devices commit to their
 * updates before any bytes are revealed, so whoever chooses its words does not know the others'. */
#ifndef BEES_BUCKETING_H
#define BEES_BUCKETING_H

#include "bees_rows.h"

/* Updates per bucket, s in the paper; the last bucket may hold fewer. */
#ifndef BEES_BUCKET_SIZE
#define BEES_BUCKET_SIZE 2
#endif
_Static_assert(BEES_BUCKET_SIZE >= 1, "a bucket holds an update at least");

static uint32_t bees_shuffled[BEES_MOST_UPDATES];

/* FNV-1a over 32-bit words (Fowler, Noll, Vo). */
static inline uint64_t bees_hash_words(uint64_t count, const int32_t words[]) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (uint64_t i = 0; i < count; i++) hash = (hash ^ (uint32_t)words[i]) * UINT64_C(0x100000001b3);
  return hash;
}

/* SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
static inline uint64_t bees_draw(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static inline uint32_t bees_begin(uint32_t m, uint32_t p, const int32_t q[]) {
  bees_updates.m = m, bees_updates.p = p, bees_updates.q = q;
  uint64_t state = bees_hash_words((uint64_t)m * p, q);
  for (uint32_t i = 0; i < m; i++) bees_shuffled[i] = i;
  for (uint32_t left = m; left > 1; left--) { /* Fisher and Yates */
    uint32_t pick = (uint32_t)(bees_draw(&state) % left), last = bees_shuffled[left - 1];
    bees_shuffled[left - 1] = bees_shuffled[pick];
    bees_shuffled[pick] = last;
  }
  return (m + BEES_BUCKET_SIZE - 1) / BEES_BUCKET_SIZE;
}

static inline void bees_load_row(uint32_t j, uint32_t start, int32_t row[BEES_COLUMNS]) {
  const uint32_t first = j * BEES_BUCKET_SIZE, left = bees_updates.m - first;
  const uint32_t size = left < BEES_BUCKET_SIZE ? left : BEES_BUCKET_SIZE;
  int64_t sum[BEES_COLUMNS];
  bees_clear(sum);
  for (uint32_t i = first; i < first + size; i++) {
    int32_t update[BEES_COLUMNS];
    bees_copy_update(bees_shuffled[i], start, update);
    for (uint32_t c = 0; c < BEES_COLUMNS; c++) sum[c] += update[c];
  }
  const double one_over_size = 1.0 / size;
  for (uint32_t c = 0; c < BEES_COLUMNS; c++) row[c] = bees_divide_half_even(sum[c], size, one_over_size);
}

static inline void bees_load(uint32_t start) {
  for (uint32_t j = 0; j * BEES_BUCKET_SIZE < bees_updates.m; j++) bees_load_row(j, start, bees_block[j]);
}

#endif
