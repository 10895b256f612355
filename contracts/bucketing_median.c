/* Coordinate-wise median of the means of shuffled buckets of the M most accurate updates. */
#include "bees_bucketing.h"
#include "bees_select.h"
#include "bees_median.h"
