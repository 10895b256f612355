/* The rows that a rule combines, a block of neighbouring columns at a time.
 *
 * A contract declares its scratch space, so none can hold all m rows of p words. A rule therefore asks for one block
 * after the other. What the rows are is decided by one of three headers, which define the same functions:
 * bees_plain.h (the updates), bees_mixing.h and bees_bucketing.h (averages of updates).
 *
 *     uint32_t bees_begin(m, p, q)      how many rows there are; called once
 *     void bees_load(start)             puts their columns start, start + 1, ... into bees_block
 *     void bees_load_row(j, start, row)  puts those of row j alone into row */
#ifndef BEES_ROWS_H
#define BEES_ROWS_H

#include "bees_contract.h"
#include "bees_integers.h"

enum {
  BEES_MOST_UPDATES = 512, /* more are refused: there are tables of m rows, and of m^2 distances */
  BEES_COLUMNS = 256,      /* a block of 100 rows stays in the processor's nearer caches */
};

static struct {
  uint32_t m, p;
  const int32_t *q;
} bees_updates;

static _Alignas(16) int32_t bees_block[BEES_MOST_UPDATES][BEES_COLUMNS];

static inline uint32_t bees_columns_from(uint32_t start) {
  uint32_t left = bees_updates.p - start;
  return left < BEES_COLUMNS ? left : BEES_COLUMNS;
}

/* Columns from start on, and zeros after the last, so that a block is always whole. */
static inline void bees_copy_columns(const int32_t from[], uint32_t start, int32_t row[BEES_COLUMNS]) {
  uint32_t columns = bees_columns_from(start);
  for (uint32_t c = 0; c < columns; c++) row[c] = from[c];
  for (uint32_t c = columns; c < BEES_COLUMNS; c++) row[c] = 0;
}

static inline void bees_copy_update(uint32_t j, uint32_t start, int32_t row[BEES_COLUMNS]) {
  bees_copy_columns(bees_updates.q + (uint64_t)j * bees_updates.p + start, start, row);
}

static inline void bees_clear(int64_t sum[BEES_COLUMNS]) {
  for (uint32_t c = 0; c < BEES_COLUMNS; c++) sum[c] = 0;
}

static inline void bees_write(uint32_t start, const int32_t row[BEES_COLUMNS], int32_t out[]) {
  uint32_t columns = bees_columns_from(start);
  for (uint32_t c = 0; c < columns; c++) out[start + c] = row[c];
}

#endif
