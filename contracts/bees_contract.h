/* The ABI between a BEES contract and the server that runs it, version 2.
 *
 * A contract is a WebAssembly module without imports and without a start function. It exports its own `memory`,
 * the global `__heap_base`, and the three functions below. The server puts the arrays into the contract's memory,
 * from `__heap_base` on, each one aligned to 16 bytes, and grows the memory until they fit. Scratch space is
 * declared: `memory.grow` is refused, since it may fail on one server only. Every call starts from a fresh
 * instance, so nothing is remembered.
 *
 * What the server promises: 1 <= m <= k, p >= 1, n_1 + ... + n_m < 2^32 and not 0 in aggregate, and the arrays do
 * not overlap. What it checks: 1 to m indices, below k, each larger than the one before; status 0.
 *
 * A contract may not recurse, call through pointers, or copy with bulk memory instructions (their cost in fuel
 * does not grow with what they copy); the flags of the build see to the last. */
#ifndef BEES_CONTRACT_H
#define BEES_CONTRACT_H

#include <stdint.h>

#define BEES_EXPORT(name) __attribute__((export_name(#name)))

enum { BEES_OK = 0, BEES_REFUSED = 1 };

BEES_EXPORT(abi_version)
int32_t abi_version(void) { return 2; }

/* Picks among k eligible updates, which come in ascending order of their devices' ids.
 * correct[i]: samples of the evaluation set that update i got right. n[i]: n_k, the samples it was trained on.
 * out_index: the indices of those picked, ascending. Returns how many they are. */
BEES_EXPORT(select)
uint32_t select(uint32_t k, const uint32_t correct[], const uint32_t n[], uint32_t m, uint32_t out_index[]);

/* Combines the m updates that were picked into w_g(t), written to out.
 * correct[j], n[j]: score and n_m of each, as select has them. q: m rows of p fixed-point words, row j is w_m(t).
 * w_prev: w_g(t-1), p words.
 * Returns BEES_OK, or BEES_REFUSED if it has no result. */
BEES_EXPORT(aggregate)
uint32_t aggregate(uint32_t m, uint32_t p, const uint32_t correct[], const uint32_t n[], const int32_t q[],
                   const int32_t w_prev[], int32_t out[]);

#endif
