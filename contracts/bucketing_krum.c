/* Krum among the means of shuffled buckets of the M most accurate updates. It assumes BEES_FAULTY_PERCENT of the
 * buckets to be bad: one liar is enough to make a bucket so, hence, with buckets of two, half as many percent of the
 * updates. */
#include "bees_bucketing.h"
#include "bees_select.h"
#include "bees_krum_rule.h"
