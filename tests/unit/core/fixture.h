/* SPDX-License-Identifier: MIT */
/* fixture.h - a pool with one target and a few words to move it, for the unit tests of daemon/core. */
#ifndef SSHLEASE_UNIT_CORE_FIXTURE_H
#define SSHLEASE_UNIT_CORE_FIXTURE_H

#include "daemon/core/conns.h"
#include "daemon/core/leases.h"
#include "daemon/core/pool.h"

static const struct sl_limits fixture_limits = {
    .clients = 10, .connections = 10, .handshakes = 10, .targets = 10, .shutdown_drain_ms = 1000};

static inline struct sl_pool_target fixture_target(uint32_t index, uint32_t max_connections)
{
    return (struct sl_pool_target){
        .target = index,
        .identity = 1,
        .policy =
            {
                .max_connections = max_connections,
                .sharing = 1,
                .handshakes = max_connections,
                .waiters = 4,
                .acquire_timeout_ms = 1000,
                .acquire_notice_ms = 500,
                .validate_after_ms = 100000,
                .lease_timeout_ms = 1000,
                .max_lease_ms = 5000,
                .kill_grace_ms = 100,
                .retry_min_ms = 10,
                .retry_max_ms = 100,
            },
    };
}

static inline struct sl_pool *fixture_pool(uint32_t max_connections)
{
    struct sl_pool *pool;
    struct sl_pool_target target = fixture_target(0, max_connections);
    if (sl_pool_new(&fixture_limits, 1, &pool) != 0 ||
        sl_pool_configure(pool, 0, &fixture_limits, &target, 1, NULL) != 0)
        abort();
    return pool;
}

/* The first action of that type, or NULL. */
static inline const struct sl_action *fixture_find(const struct sl_pool *pool, enum sl_action_type type)
{
    const struct sl_actions *actions = sl_pool_actions(pool);
    for (size_t i = 0; i < actions->count; i++)
        if (actions->item[i].type == type)
            return &actions->item[i];
    return NULL;
}

static inline void fixture_step(struct sl_pool *pool, enum sl_event_type type, struct sl_id lease, struct sl_id conn)
{
    struct sl_event ev = {.type = type, .lease = lease, .conn = conn, .tag = 7, .clean = true};
    sl_pool_step(pool, &ev);
}

/* One connection, as far along as asked for; its lease where it has one. SL_CONN_GONE: a free slot. */
static inline struct sl_conn_slot *fixture_conn(struct sl_pool *pool, enum sl_conn_state state)
{
    if (state == SL_CONN_GONE)
        return pool->conn[0];
    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    struct sl_id conn = fixture_find(pool, SL_ACT_DIAL)->conn;
    struct sl_conn_slot *slot = pool->conn[conn.index];
    if (state == SL_CONN_DIALING)
        return slot;
    fixture_step(pool, SL_EV_CONN_READY, SL_ID_NONE, conn);
    struct sl_id lease = fixture_find(pool, SL_ACT_GRANT)->lease;
    if (state == SL_CONN_IDLE)
        fixture_step(pool, SL_EV_RELEASE, lease, SL_ID_NONE);
    if (state == SL_CONN_RETIRING) { /* the one that asks for it shares it with another one */
        slot->sharing = pool->target[0]->policy.sharing = 2;
        fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    }
    if (state == SL_CONN_DRAINING || state == SL_CONN_RETIRING)
        fixture_step(pool, SL_EV_REVOKE, lease, SL_ID_NONE);
    if (state == SL_CONN_CLOSING)
        fixture_step(pool, SL_EV_CONN_LOST, SL_ID_NONE, conn);
    if (slot->state != state)
        abort();
    return slot;
}

#endif
