/* Krum among the M most accurate updates, each mixed with its nearest neighbours first. */
#include "bees_mixing.h"
#include "bees_select.h"
#include "bees_krum_rule.h"
