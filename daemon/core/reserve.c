/* SPDX-License-Identifier: MIT */
/* Allocates slots, tables, timers and room for actions, as many as a configuration can need at most. */
#include "daemon/core/reserve.h"

#include "daemon/core/conns.h"
#include "daemon/core/leases.h"
#include "proto/status.h"

#include <stdlib.h>

/* Actions one step can emit about one connection or lease slot. The longest story of a connection in a step is
 * draining -> closing -> gone -> dialing (four moves' worth of facts and two orders); of a lease, one that ends, whose
 * slot is taken again and granted. */
#define ACTIONS_PER_SLOT 8u

/* Slots are allocated a chunk at a time and never move, so that lists can link them. */
struct sl_chunk {
    struct sl_chunk *next;
    max_align_t slots[];
};

static void *new_chunk(struct sl_pool *pool, size_t count, size_t size)
{
    if (count > (SIZE_MAX - sizeof(struct sl_chunk)) / size)
        return NULL;
    struct sl_chunk *chunk = calloc(1, sizeof *chunk + count * size);
    if (chunk == NULL)
        return NULL;
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    return chunk->slots;
}

static int grow_table(void *table_of_pointers, size_t count)
{
    void **table = table_of_pointers;
    if (count > SIZE_MAX / sizeof(void *))
        return SL_E_NOMEM;
    void *grown = realloc(*table, count * sizeof(void *));
    if (grown == NULL)
        return SL_E_NOMEM;
    *table = grown;
    return 0;
}

static int reserve_conns(struct sl_pool *pool, uint32_t count)
{
    if (count <= pool->conn_count)
        return 0;
    uint32_t more = count - pool->conn_count;
    struct sl_conn_slot *slot;
    if (grow_table(&pool->conn, count) != 0 || (slot = new_chunk(pool, more, sizeof *slot)) == NULL)
        return SL_E_NOMEM;
    for (uint32_t i = 0; i < more; i++, slot++) {
        slot->id = (struct sl_id){.index = pool->conn_count, .generation = 1};
        slot->since_ms = pool->now_ms;
        sl_lease_list_init(&slot->held);
        sl_lease_list_init(&slot->drains);
        sl_timer_init(&slot->timer, SL_TIMER_CONN);
        TAILQ_INSERT_TAIL(&pool->conns[SL_CONN_GONE].head, slot, of_pool);
        pool->conns[SL_CONN_GONE].length++;
        pool->conn[pool->conn_count++] = slot;
    }
    return 0;
}

static int reserve_leases(struct sl_pool *pool, uint32_t count)
{
    if (count <= pool->lease_count)
        return 0;
    uint32_t more = count - pool->lease_count;
    struct sl_lease_slot *slot;
    if (grow_table(&pool->lease, count) != 0 || (slot = new_chunk(pool, more, sizeof *slot)) == NULL)
        return SL_E_NOMEM;
    for (uint32_t i = 0; i < more; i++, slot++) {
        slot->id = (struct sl_id){.index = pool->lease_count, .generation = 1};
        sl_timer_init(&slot->timer, SL_TIMER_LEASE);
        TAILQ_INSERT_TAIL(&pool->free_leases.head, slot, link);
        pool->free_leases.length++;
        pool->lease[pool->lease_count++] = slot;
    }
    return 0;
}

static int reserve_targets(struct sl_pool *pool, const struct sl_pool_target *targets, size_t count)
{
    uint32_t highest = 0;
    for (size_t i = 0; i < count; i++) {
        assert(targets[i].target < SL_POOL_TARGETS_MAX);
        highest = sl_max_u32(highest, targets[i].target);
    }
    if (count > 0 && highest >= pool->target_count) {
        if (grow_table(&pool->target, highest + 1) != 0)
            return SL_E_NOMEM;
        while (pool->target_count <= highest)
            pool->target[pool->target_count++] = NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (pool->target[targets[i].target] != NULL)
            continue;
        struct sl_target_slot *slot = new_chunk(pool, 1, sizeof *slot);
        if (slot == NULL)
            return SL_E_NOMEM;
        slot->index = targets[i].target;
        for (unsigned state = 0; state < SL_CONN_STATES; state++)
            sl_conn_list_init(&slot->conns[state]);
        sl_lease_list_init(&slot->waiting);
        sl_lease_list_init(&slot->granted);
        sl_timer_init(&slot->timer, SL_TIMER_TARGET);
        pool->target[slot->index] = slot;
    }
    return 0;
}

static int reserve_timers(struct sl_pool *pool)
{
    uint32_t count = pool->conn_count + pool->lease_count + pool->target_count + 1;
    if (count <= pool->timers.capacity)
        return 0;
    if (grow_table(&pool->timers.item, count) != 0)
        return SL_E_NOMEM;
    pool->timers.capacity = count;
    return 0;
}

static int reserve_actions(struct sl_pool *pool)
{
    size_t capacity = (size_t)ACTIONS_PER_SLOT * ((size_t)pool->conn_count + pool->lease_count + 2);
    if (capacity <= pool->actions.capacity)
        return 0;
    if (capacity > SIZE_MAX / sizeof *pool->actions.item)
        return SL_E_NOMEM;
    struct sl_action *item = realloc(pool->actions.item, capacity * sizeof *item);
    if (item == NULL)
        return SL_E_NOMEM;
    pool->actions.item = item;
    pool->actions.capacity = capacity;
    return 0;
}

int sl_reserve(struct sl_pool *pool, const struct sl_limits *limits, const struct sl_pool_target *targets, size_t count)
{
    /* What is there now may stay beside what the new targets can have: removed targets' connections go when they go. */
    uint64_t conns = sl_pool_alive(pool);
    uint64_t leases = pool->lease_count - pool->free_leases.length;
    uint64_t drains = 0; /* reclaimed leases whose clients may be back already */
    uint64_t sharing = 1;
    for (size_t i = 0; i < count; i++) {
        const struct sl_policy *policy = &targets[i].policy;
        conns += policy->max_connections;
        leases += (uint64_t)policy->max_connections * policy->sharing + policy->waiters;
        drains += (uint64_t)policy->max_connections * policy->sharing;
        sharing = policy->sharing > sharing ? policy->sharing : sharing;
    }
    conns = sl_min_u64(conns, limits->connections);
    leases = sl_min_u64(leases, (uint64_t)limits->clients + SL_CLIENT_SLACK);
    leases += sl_min_u64(drains, limits->connections * sharing);
    leases = sl_min_u64(leases, UINT32_MAX / 4);
    conns = sl_min_u64(conns, UINT32_MAX / 4);

    int r;
    if ((r = reserve_conns(pool, (uint32_t)conns)) != 0 || (r = reserve_leases(pool, (uint32_t)leases)) != 0 ||
        (r = reserve_targets(pool, targets, count)) != 0 || (r = reserve_timers(pool)) != 0 ||
        (r = reserve_actions(pool)) != 0)
        return r;
    return 0;
}

int sl_pool_new(const struct sl_limits *limits, uint64_t seed, struct sl_pool **ret_pool)
{
    struct sl_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return SL_E_NOMEM;
    pool->limits = *limits;
    pool->ceiling = limits->connections;
    sl_prng_init(&pool->prng, seed);
    for (unsigned state = 0; state < SL_CONN_STATES; state++)
        sl_conn_list_init(&pool->conns[state]);
    sl_lease_list_init(&pool->free_leases);
    TAILQ_INIT(&pool->dirty);
    TAILQ_INIT(&pool->hungry);
    TAILQ_INIT(&pool->thin);
    sl_timer_init(&pool->stop_timer, SL_TIMER_STOP);
    int r = sl_reserve(pool, limits, NULL, 0);
    if (r != 0) {
        sl_pool_free(pool);
        return r;
    }
    *ret_pool = pool;
    return 0;
}

void sl_pool_free(struct sl_pool *pool)
{
    if (pool == NULL)
        return;
    while (pool->chunks != NULL) {
        struct sl_chunk *chunk = pool->chunks;
        pool->chunks = chunk->next;
        free(chunk);
    }
    free(pool->conn);
    free(pool->lease);
    free(pool->target);
    free(pool->timers.item);
    free(pool->actions.item);
    free(pool);
}
