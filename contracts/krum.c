/* Krum among the M most accurate updates. */
#include "bees_plain.h"
#include "bees_select.h"
#include "bees_krum_rule.h"
