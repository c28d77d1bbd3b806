/* SPDX-License-Identifier: MIT */
/* id.h - (index, generation) names for objects that cross module borders: a late callback misses instead of touching
 * freed memory. Pure. */
#ifndef SSHLEASE_BASE_ID_H
#define SSHLEASE_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

/* Generation 0 names nothing. */
struct sl_id {
    uint32_t index;
    uint32_t generation;
};

#define SL_ID_NONE ((struct sl_id){0, 0})

static inline bool sl_id_is_none(struct sl_id id)
{
    return id.generation == 0;
}

static inline bool sl_id_equal(struct sl_id a, struct sl_id b)
{
    return a.index == b.index && a.generation == b.generation;
}

/* As one number, for wires and logs; never 0 for an id that names something. */
static inline uint64_t sl_id_pack(struct sl_id id)
{
    return (uint64_t)id.generation << 32 | id.index;
}

static inline struct sl_id sl_id_unpack(uint64_t number)
{
    return (struct sl_id){(uint32_t)number, (uint32_t)(number >> 32)};
}

#endif
