/* SPDX-License-Identifier: MIT */
/* A new configuration: targets are added, changed and retired, and connections beyond lowered limits are closed. */
#include "daemon/core/conns.h"
#include "daemon/core/leases.h"
#include "daemon/core/reserve.h"
#include "daemon/core/retry.h"
#include "daemon/core/serve.h"
#include "proto/status.h"

/* Connections made before must not be leased any more: idle and dialing ones go now, leased ones when released. */
static void retire(struct sl_pool *pool, struct sl_target_slot *target)
{
    target->epoch++;
    target->credentials_work = false;
    static const enum sl_conn_state at_once[] = {SL_CONN_IDLE, SL_CONN_DIALING};
    for (size_t i = 0; i < sizeof at_once / sizeof at_once[0]; i++) {
        struct sl_conn_slot *conn;
        while ((conn = TAILQ_FIRST(&target->conns[at_once[i]].head)) != NULL)
            sl_conns_close(pool, conn, SL_REASON_OUTDATED, 0);
    }
}

static void remove_target(struct sl_pool *pool, struct sl_target_slot *target)
{
    target->state = SL_TARGET_ABSENT;
    sl_leases_refuse_all(pool, target, SL_REASON_NO_TARGET, SL_E_NO_TARGET);
    retire(pool, target);
    sl_retry_forgive(pool, target);
}

static void set_target(struct sl_pool *pool, struct sl_target_slot *target, const struct sl_pool_target *conf)
{
    /* Where owners are kept apart from now on, nobody can say any more who else used a connection. */
    bool apart = target->policy.owners_shared && !conf->policy.owners_shared;
    bool retired = target->state == SL_TARGET_PRESENT && (target->identity != conf->identity || apart);
    target->state = SL_TARGET_PRESENT;
    bool forgiven = target->retry_epoch != conf->retry_epoch || target->identity != conf->identity;
    target->identity = conf->identity;
    target->retry_epoch = conf->retry_epoch;
    target->policy = conf->policy;
    target->ceiling = sl_max_u32(conf->policy.max_connections, sl_target_alive(target));
    if (retired)
        retire(pool, target);
    if (forgiven)
        sl_retry_forgive(pool, target);
    else
        sl_target_mark(pool, target);
}

/* Those of a target that was removed are refused already, and the id says nothing any more. */
static void revoke(struct sl_pool *pool, const struct sl_pool_revocations *revoked)
{
    for (size_t i = 0; revoked != NULL && i < revoked->count; i++)
        sl_leases_revoke(pool, sl_leases_find(pool, revoked->item[i].lease), revoked->item[i].status);
}

/* Lowered limits take idle connections at once, the longest idle first. Where that is not enough, leased ones go when
 * they are released: nobody joins those who have them. */
static void close_surplus(struct sl_pool *pool)
{
    struct sl_conn_slot *conn, *next;
    for (conn = TAILQ_FIRST(&pool->conns[SL_CONN_IDLE].head); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, of_pool);
        if (sl_conns_unfit(pool, conn) == SL_REASON_SURPLUS)
            sl_conns_close(pool, conn, SL_REASON_SURPLUS, 0);
    }
    /* Those that are too old as well: a longer max_lifetime may make them young again. */
    TAILQ_FOREACH (conn, &pool->conns[SL_CONN_LEASED].head, of_pool)
        if (sl_conns_surplus(pool, conn))
            conn->takes = sl_min_u32(conn->takes, 1);
}

static void rearm(struct sl_pool *pool)
{
    for (uint32_t i = 0; i < pool->conn_count; i++)
        if (pool->conn[i]->state != SL_CONN_GONE)
            sl_conns_arm(pool, pool->conn[i]);
}

int sl_pool_configure(struct sl_pool *pool, uint64_t now_ms, const struct sl_limits *limits,
    const struct sl_pool_target *targets, size_t count, const struct sl_pool_revocations *revoked)
{
    int r = sl_reserve(pool, limits, targets, count);
    if (r != 0)
        return r;

    sl_pool_begin(pool, now_ms);
    pool->limits = *limits;
    pool->ceiling = sl_max_u32(limits->connections, sl_pool_alive(pool));
    pool->configurations++;
    for (size_t i = 0; i < count; i++) {
        struct sl_target_slot *target = pool->target[targets[i].target];
        target->configured = pool->configurations;
        set_target(pool, target, &targets[i]);
    }
    for (uint32_t i = 0; i < pool->target_count; i++) {
        struct sl_target_slot *target = pool->target[i];
        if (target != NULL && target->state == SL_TARGET_PRESENT && target->configured != pool->configurations)
            remove_target(pool, target);
    }
    revoke(pool, revoked);
    close_surplus(pool);
    rearm(pool);
    sl_serve(pool);
    return 0;
}
