/* SPDX-License-Identifier: MIT */
/* Actions are appended here, live connections counted, and targets marked for the end of the step. */
#include "daemon/core/state.h"

struct sl_action *sl_pool_act(struct sl_pool *pool, enum sl_action_type type)
{
    assert(pool->actions.count < pool->actions.capacity);
    struct sl_action *act = &pool->actions.item[pool->actions.count++];
    *act = (struct sl_action){.type = type};
    return act;
}

uint32_t sl_pool_alive(const struct sl_pool *pool)
{
    return pool->conn_count - pool->conns[SL_CONN_GONE].length;
}

uint32_t sl_target_alive(const struct sl_target_slot *target)
{
    uint32_t alive = 0;
    for (unsigned state = SL_CONN_GONE + 1; state < SL_CONN_STATES; state++)
        alive += target->conns[state].length;
    return alive;
}

void sl_target_mark(struct sl_pool *pool, struct sl_target_slot *target)
{
    if (target->dirty_link.tqe_prev == NULL)
        TAILQ_INSERT_TAIL(&pool->dirty, target, dirty_link);
}
