/* SPDX-License-Identifier: MIT */
/* Answers questions about targets, leases and connections; changes nothing. */
#include "daemon/core/conns.h"
#include "daemon/core/leases.h"

bool sl_pool_target_info(const struct sl_pool *pool, uint32_t index, struct sl_pool_target_info *ret_info)
{
    const struct sl_target_slot *target = index < pool->target_count ? pool->target[index] : NULL;
    if (target == NULL || (target->state == SL_TARGET_ABSENT && sl_target_alive(target) == 0))
        return false;
    *ret_info = (struct sl_pool_target_info){
        .counts =
            {
                .dialing = target->conns[SL_CONN_DIALING].length,
                .idle = target->conns[SL_CONN_IDLE].length,
                .leased = target->conns[SL_CONN_LEASED].length + target->conns[SL_CONN_RETIRING].length,
                .draining = target->conns[SL_CONN_DRAINING].length,
                .closing = target->conns[SL_CONN_CLOSING].length,
                .waiters = target->waiting.length,
            },
        .failures = target->failures,
        .last_status = target->last_status,
        .retry_at_ms = target->demand_at_ms > pool->now_ms ? target->demand_at_ms : 0,
    };
    return true;
}

bool sl_pool_lease_info(const struct sl_pool *pool, struct sl_id id, struct sl_pool_lease_info *ret_info)
{
    const struct sl_lease_slot *lease = sl_leases_find(pool, id);
    if (lease == NULL)
        return false;
    bool waiting = lease->state == SL_LEASE_WAITING;
    uint64_t wait_ms = lease->patient ? SL_NEVER : lease->wait_ms;
    *ret_info = (struct sl_pool_lease_info){
        .state = lease->state,
        .target = lease->target->index,
        .owner = lease->owner,
        .tag = lease->tag,
        .since_ms = lease->since_ms,
        .granted_ms = lease->granted_ms,
        .deadline_ms = waiting ? wait_ms : lease->deadline_ms,
        .max_deadline_ms = waiting ? wait_ms : lease->max_deadline_ms,
        .conn = lease->state == SL_LEASE_GRANTED ? lease->conn->id : SL_ID_NONE,
        .position = lease->state == SL_LEASE_GRANTED ? 0 : sl_leases_position(lease),
    };
    return true;
}

static void each_of(const struct sl_lease_list *list, sl_pool_lease_fn fn, void *arg)
{
    const struct sl_lease_slot *lease;
    TAILQ_FOREACH (lease, &list->head, link)
        fn(arg, lease->id);
}

void sl_pool_each_lease(const struct sl_pool *pool, sl_pool_lease_fn fn, void *arg)
{
    for (uint32_t i = 0; i < pool->target_count; i++) {
        if (pool->target[i] == NULL)
            continue;
        each_of(&pool->target[i]->granted, fn, arg);
        each_of(&pool->target[i]->waiting, fn, arg);
    }
}
