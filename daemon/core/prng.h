/* SPDX-License-Identifier: MIT */
/* prng.h - a small seeded generator for jitter. Deterministic, and no use for anything secret. */
#ifndef SSHLEASE_CORE_PRNG_H
#define SSHLEASE_CORE_PRNG_H

#include <stdint.h>

struct sl_prng {
    uint64_t state;
};

/* Every seed is fine, 0 included. */
void sl_prng_init(struct sl_prng *prng, uint64_t seed);
uint64_t sl_prng_next(struct sl_prng *prng);
/* 0 … bound - 1, or 0 when bound is 0. The bias (bound / 2^64) does not matter for jitter. */
uint64_t sl_prng_below(struct sl_prng *prng, uint64_t bound);

#endif
