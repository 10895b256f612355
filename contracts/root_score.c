/* Trust by root data, after FLTrust (Cao et al., "FLTrust", NDSS 2021), for the M most accurate updates.
 *
 * FLTrust's server trains a model on clean root data of its own, trusts an update by the cosine between its difference
 * to w_g(t-1) and the server's, cut at zero, and makes all differences as long as the server's. On this chain the
 * servers own root data, too, but they train nothing: they have attested how many of its T samples each update gets
 * right. So trust is s_j = max(0, 2 c_j - c_max), which is c_max for the best and zero for those half as good; and
 * differences are only shortened, to the lower median of the lengths, since there is no server's to compare with.
 * w_g = w_g(t-1) + sum of s_j (shortened difference j) / sum of s_j; w_g(t-1) stays where all scores are zero. */
#include "bees_plain.h"
#include "bees_points.h"
#include "bees_select.h"

uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]) {
  (void)n;
  if (m > BEES_MOST_UPDATES) return BEES_REFUSED;
  bees_begin(m, p, q);
  bees_start_from_previous(m);
  bees_measure(m, w_prev);
  const double limit = bees_median_length(m);
  double best = 0.0, trust = 0.0, sum = 0.0;
  for (uint32_t j = 0; j < m; j++) best = correct[j] > best ? correct[j] : best;
  for (uint32_t j = 0; j < m; j++) {
    double doubled = 2.0 * correct[j];
    trust += bees_weight[j] = doubled > best ? doubled - best : 0.0;
  }
  for (uint32_t j = 0; j < m && trust > 0.0; j++)
    sum += bees_weight[j] = bees_weight[j] / trust * bees_shortening(bees_length[j], limit);
  bees_weight_of_previous = 1.0 - sum;
  bees_write_point(m, w_prev, out);
  return BEES_OK;
}
