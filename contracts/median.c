/* Coordinate-wise median of the M most accurate updates. */
#include "bees_plain.h"
#include "bees_select.h"
#include "bees_median.h"
