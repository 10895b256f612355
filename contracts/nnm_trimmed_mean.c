/* Trimmed mean of the M most accurate updates, each mixed with its nearest neighbours first. */
#include "bees_mixing.h"
#include "bees_select.h"
#include "bees_trimmed_mean.h"
