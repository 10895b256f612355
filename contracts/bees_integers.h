/* Whole numbers as all rules use them: exact sums, one rounding, half to even. */
#ifndef BEES_INTEGERS_H
#define BEES_INTEGERS_H

#include <stdint.h>

/* The share of liars that a rule is prepared for: of m updates, f = floor(m BEES_FAULTY_PERCENT / 100). */
#ifndef BEES_FAULTY_PERCENT
#define BEES_FAULTY_PERCENT 30
#endif
_Static_assert(0 <= BEES_FAULTY_PERCENT && BEES_FAULTY_PERCENT < 50, "no rule withstands a majority of liars");

static inline uint32_t bees_faulty(uint32_t m) { return (uint32_t)((uint64_t)m * BEES_FAULTY_PERCENT / 100); }

/* sum / n, rounded half to even, exactly. The quotient fits int32, so the three roundings of the float estimate
 * move it by far less than 1: the estimate is the right integer or its neighbour, and the remainder tells. */
static inline int32_t bees_divide_half_even(int64_t sum, int64_t n, double one_over_n) {
  int64_t quotient = (int64_t)__builtin_rint((double)sum * one_over_n);
  int64_t twice_remainder = 2 * (sum - quotient * n);
  int64_t odd = quotient & 1;
  return (int32_t)(quotient + (twice_remainder > n - odd) - (twice_remainder < odd - n));
}

/* (a + b) / 2, rounded half to even. */
static inline int32_t bees_mean_of_two(int32_t a, int32_t b) {
  int64_t sum = (int64_t)a + b;
  return (int32_t)((sum + ((sum >> 1) & 1)) >> 1);
}

/* The nearest word, half to even. */
static inline int32_t bees_to_word(double value) {
  double nearest = __builtin_rint(value);
  if (nearest >= 2147483647.0) return INT32_MAX;
  if (nearest > -2147483648.0) return (int32_t)nearest;
  return INT32_MIN;
}

#endif
