/* SPDX-License-Identifier: MIT */
/* SplitMix64. */
#include "daemon/core/prng.h"

void sl_prng_init(struct sl_prng *prng, uint64_t seed)
{
    prng->state = seed;
}

/* SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): passes statistical tests
 * with one word of state and has no bad seeds. */
uint64_t sl_prng_next(struct sl_prng *prng)
{
    prng->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = prng->state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t sl_prng_below(struct sl_prng *prng, uint64_t bound)
{
    return bound == 0 ? 0 : sl_prng_next(prng) % bound;
}
