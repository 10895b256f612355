/* FedAvg over the M most accurate UEs (Eq. 3): w_g = sum n_m w_m / sum n_m, rounded once, half to even. */
#include <wasm_simd128.h>

#include "bees_contract.h"
#include "bees_integers.h"
#include "bees_select.h"

enum { LANES = 16 };

/* sum[i] = sum over m of n_m (q_m[i] + 2^31), for LANES neighbouring words. Words and weights are then both
 * unsigned, which one instruction multiplies exactly; as the n_m sum to less than 2^32, it all fits 64 bits. */
static void weighted_sums(uint64_t sum[], uint32_t m, uint32_t p, const uint32_t n[], const int32_t q[]) {
  const v128_t two_to_31 = wasm_i32x4_splat(INT32_MIN);
  v128_t total[LANES / 2];
  for (int i = 0; i < LANES / 2; i++) total[i] = wasm_i64x2_splat(0);
  for (uint32_t j = 0; j < m; j++, q += p) {
    v128_t weight = wasm_u32x4_splat(n[j]);
    for (int i = 0; i < LANES / 4; i++) {
      v128_t word = wasm_v128_xor(wasm_v128_load(q + 4 * i), two_to_31);
      total[2 * i] = wasm_i64x2_add(total[2 * i], wasm_u64x2_extmul_low_u32x4(word, weight));
      total[2 * i + 1] = wasm_i64x2_add(total[2 * i + 1], wasm_u64x2_extmul_high_u32x4(word, weight));
    }
  }
  for (int i = 0; i < LANES / 2; i++) wasm_v128_store(sum + 2 * i, total[i]);
}

static int64_t weighted_sum(uint32_t m, uint32_t p, const uint32_t n[], const int32_t q[]) {
  int64_t sum = 0;
  for (uint32_t j = 0; j < m; j++, q += p) sum += (int64_t)n[j] * *q;
  return sum;
}

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)correct, (void)w_prev;
  uint64_t samples = 0;
  for (uint32_t j = 0; j < m; j++) samples += n[j];
  if (samples == 0 || samples > UINT32_MAX) return BEES_REFUSED;
  const int64_t all = (int64_t)samples;
  const double one_over_all = 1.0 / (double)all;
  uint32_t i = 0;
  for (; p - i >= LANES; i += LANES) {
    uint64_t sum[LANES];
    weighted_sums(sum, m, p, n, q + i);
    for (uint32_t lane = 0; lane < LANES; lane++)
      out[i + lane] = bees_divide_half_even((int64_t)(sum[lane] - (samples << 31)), all, one_over_all);
  }
  for (; i < p; i++) out[i] = bees_divide_half_even(weighted_sum(m, p, n, q + i), all, one_over_all);
  return BEES_OK;
}
