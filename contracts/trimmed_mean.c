/* Coordinate-wise trimmed mean of the M most accurate updates. */
#include "bees_plain.h"
#include "bees_select.h"
#include "bees_trimmed_mean.h"
