/* SPDX-License-Identifier: MIT */
/* One handler for each type of event, and the step that runs it and serves the targets it touched. */
#include "daemon/core/pool.h"

#include "base/container.h"
#include "base/state.h"
#include "daemon/core/conns.h"
#include "daemon/core/leases.h"
#include "daemon/core/reserve.h"
#include "daemon/core/retry.h"
#include "daemon/core/serve.h"
#include "proto/status.h"

#include <stddef.h>

static struct sl_target_slot *find_target(const struct sl_pool *pool, uint32_t index)
{
    struct sl_target_slot *target = index < pool->target_count ? pool->target[index] : NULL;
    return target != NULL && target->state == SL_TARGET_PRESENT ? target : NULL;
}

/* --- clients --- */

static void refuse_unqueued(struct sl_pool *pool, const struct sl_event *ev, enum sl_reason reason, int status)
{
    struct sl_action *act = sl_pool_act(pool, SL_ACT_REFUSE);
    act->tag = ev->tag;
    act->target = ev->target;
    act->reason = reason;
    act->status = status;
}

static void on_acquire(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_target_slot *target = find_target(pool, ev->target);
    int blocked;
    if (pool->phase != SL_POOL_RUNNING)
        refuse_unqueued(pool, ev, SL_REASON_SHUTDOWN, SL_E_SHUTDOWN);
    else if (target == NULL)
        refuse_unqueued(pool, ev, SL_REASON_NO_TARGET, SL_E_NO_TARGET);
    else if ((blocked = sl_retry_blocked(pool, target)) != 0)
        refuse_unqueued(pool, ev, SL_REASON_TARGET_DOWN, blocked);
    else if (target->waiting.length >= target->policy.waiters)
        refuse_unqueued(pool, ev, SL_REASON_QUEUE_FULL, SL_E_QUEUE_FULL);
    else if (pool->free_leases.length == 0)
        refuse_unqueued(pool, ev, SL_REASON_QUEUE_FULL, SL_E_LIMIT);
    else
        sl_leases_queue(pool, target, ev);
}

/* The three ways to end it from outside, while it waits and while it is granted. */
static void on_client_gone(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_lease_slot *lease = sl_leases_find(pool, ev->lease);
    if (lease == NULL)
        return;
    if (lease->state == SL_LEASE_WAITING)
        sl_leases_refuse(pool, lease, SL_REASON_CLIENT_GONE, SL_E_CLIENT_GONE);
    else
        sl_leases_reclaim(pool, lease, SL_REASON_CLIENT_GONE, SL_E_CLIENT_GONE);
}

static void on_release(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_lease_slot *lease = sl_leases_find(pool, ev->lease);
    if (lease == NULL)
        return;
    if (lease->state == SL_LEASE_WAITING)
        sl_leases_refuse(pool, lease, SL_REASON_RELEASED, SL_E_CANCELLED);
    else if (lease->state == SL_LEASE_MOVING || ev->clean) /* one that is moving has nothing to clean up after */
        sl_leases_release(pool, lease, ev->spent);
    else
        sl_leases_reclaim(pool, lease, SL_REASON_UNCLEAN, 0);
}

static void on_revoke(struct sl_pool *pool, const struct sl_event *ev)
{
    sl_leases_revoke(pool, sl_leases_find(pool, ev->lease), SL_E_REVOKED);
}

static void on_renew(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_lease_slot *lease = sl_leases_find(pool, ev->lease);
    if (lease != NULL && lease->state != SL_LEASE_WAITING)
        sl_leases_renew(pool, lease, ev->lease_timeout_ms);
}

/* NULL where it has nowhere to go. */
static struct sl_lease_slot *find_to_move(const struct sl_pool *pool, struct sl_id id)
{
    struct sl_lease_slot *lease = sl_leases_find(pool, id);
    bool can = lease != NULL && lease->state == SL_LEASE_GRANTED && pool->phase == SL_POOL_RUNNING &&
               lease->target->state == SL_TARGET_PRESENT;
    return can ? lease : NULL;
}

static void on_crowded(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_lease_slot *lease = find_to_move(pool, ev->lease);
    if (lease != NULL)
        sl_leases_crowd(pool, lease);
}

static bool is_owned_by(const struct sl_conn_slot *conn, uint64_t owner)
{
    return !conn->owned || conn->target->policy.owners_shared || conn->owner == owner;
}

static void on_reset(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_target_slot *target = find_target(pool, ev->target);
    struct sl_conn_slot *conn, *next;
    if (target == NULL)
        return;
    for (conn = TAILQ_FIRST(&target->conns[SL_CONN_IDLE].head); conn != NULL; conn = next) {
        next = TAILQ_NEXT(conn, of_target);
        if (is_owned_by(conn, ev->owner))
            sl_conns_close(pool, conn, SL_REASON_RESET, 0);
    }
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_LEASED].head, of_target)
        conn->reset = conn->reset || is_owned_by(conn, ev->owner);
    sl_target_mark(pool, target);
}

/* --- connections --- */

static void on_conn_ready(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_conn_slot *conn = sl_conns_find(pool, ev->conn);
    if (conn == NULL || conn->state != SL_CONN_DIALING)
        return;
    conn->ready_ms = pool->now_ms;
    conn->heard_ms = pool->now_ms;
    sl_retry_dial_succeeded(pool, conn->target);
    enum sl_reason unfit = sl_conns_unfit(pool, conn);
    if (unfit != SL_REASON_NONE)
        sl_conns_close(pool, conn, unfit, 0);
    else
        sl_conns_move(pool, conn, SL_CONN_IDLE, SL_REASON_READY, 0);
}

static void dial_failed(struct sl_pool *pool, struct sl_conn_slot *conn, int status)
{
    struct sl_target_slot *target = conn->target;
    uint64_t dialed_ms = conn->since_ms;
    sl_conns_close(pool, conn, SL_REASON_DIAL_FAILED, status);
    sl_retry_dial_failed(pool, target, dialed_ms, status);
}

/* The trial ends with the first answer, or by time. */
static void end_trial(struct sl_pool *pool, struct sl_conn_slot *conn, bool answered)
{
    bool logged_in = conn->state != SL_CONN_DIALING && conn->state != SL_CONN_CLOSING;
    if (logged_in && !conn->proved && (answered || sl_conns_trial_end_ms(conn) <= pool->now_ms))
        sl_retry_proved(pool, conn);
}

/* Lost before its login was worth it. */
static bool is_wasted(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    end_trial(pool, conn, false);
    return !conn->proved && conn->epoch == conn->target->epoch;
}

static void hang_up(struct sl_pool *pool, struct sl_conn_slot *conn, int status)
{
    bool wasted = is_wasted(pool, conn);
    sl_leases_lose(pool, conn, status);
    if (wasted)
        sl_retry_login_wasted(pool, conn->target, conn->ready_ms, status);
}

static void lose(struct sl_pool *pool, struct sl_conn_slot *conn, int status)
{
    if (status == 0)
        status = SL_E_CONNECTION_LOST;
    if (conn->state == SL_CONN_DIALING)
        dial_failed(pool, conn, status);
    else if (conn->state != SL_CONN_CLOSING)
        hang_up(pool, conn, status);
}

/* Where it was the last on a lost connection, this is how the core hears of the loss. */
static void on_displaced(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_lease_slot *lease = find_to_move(pool, ev->lease);
    if (lease == NULL)
        return;
    struct sl_conn_slot *conn = lease->conn;
    bool last = ev->status != 0 && conn->state == SL_CONN_LEASED && conn->held.length == 1;
    bool wasted = last && is_wasted(pool, conn);
    sl_leases_displace(pool, lease, ev->status);
    if (wasted)
        sl_retry_login_wasted(pool, conn->target, conn->ready_ms, ev->status);
}

static void on_conn_lost(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_conn_slot *conn = sl_conns_find(pool, ev->conn);
    if (conn != NULL)
        lose(pool, conn, ev->status);
}

static void on_conn_alive(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_conn_slot *conn = sl_conns_find(pool, ev->conn);
    if (conn == NULL)
        return;
    end_trial(pool, conn, true);
    sl_conns_heard(pool, conn);
}

static void on_conn_drained(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_lease_slot *lease = sl_leases_find_ended(pool, ev->lease);
    if (lease != NULL)
        sl_leases_drained(pool, lease, 0);
}

/* Comes after CLOSE. Should one ever go by itself, its place is not lost: it counts as lost first. */
static void on_conn_gone(struct sl_pool *pool, const struct sl_event *ev)
{
    struct sl_conn_slot *conn = sl_conns_find(pool, ev->conn);
    if (conn == NULL)
        return;
    lose(pool, conn, ev->status);
    sl_conns_move(pool, conn, SL_CONN_GONE, SL_REASON_CLOSED, 0);
}

static void on_conn_timer(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    end_trial(pool, conn, false);
    if (!sl_conns_on_timer(pool, conn))
        hang_up(pool, conn, SL_E_PEER_DEAD);
}

/* --- stopping --- */

static void reclaim_everything(struct sl_pool *pool)
{
    static const enum sl_conn_state serving[] = {SL_CONN_LEASED, SL_CONN_RETIRING};
    for (size_t i = 0; i < sizeof serving / sizeof serving[0]; i++) {
        struct sl_conn_slot *conn;
        while ((conn = TAILQ_FIRST(&pool->conns[serving[i]].head)) != NULL)
            sl_leases_reclaim(pool, TAILQ_FIRST(&conn->held.head), SL_REASON_SHUTDOWN, SL_E_SHUTDOWN);
    }
    sl_timers_set(&pool->timers, &pool->stop_timer, SL_NEVER);
}

static const struct sl_state phases[] = {
    [SL_POOL_RUNNING] = {"running", SL_TO(SL_POOL_STOPPING)},
    [SL_POOL_STOPPING] = {"stopping", SL_TO(SL_POOL_STOPPED)},
    [SL_POOL_STOPPED] = {"stopped", 0},
};

static void move(struct sl_pool *pool, enum sl_pool_phase to)
{
    SL_MOVE(phases, pool->phase, to);
}

static void stop(struct sl_pool *pool)
{
    if (pool->phase != SL_POOL_RUNNING)
        return;
    move(pool, SL_POOL_STOPPING);
    for (uint32_t i = 0; i < pool->target_count; i++) {
        struct sl_target_slot *target = pool->target[i];
        if (target != NULL) {
            sl_leases_refuse_all(pool, target, SL_REASON_SHUTDOWN, SL_E_SHUTDOWN);
            sl_target_mark(pool, target);
        }
    }
    static const enum sl_conn_state at_once[] = {SL_CONN_IDLE, SL_CONN_DIALING};
    for (size_t i = 0; i < sizeof at_once / sizeof at_once[0]; i++) {
        struct sl_conn_slot *conn;
        while ((conn = TAILQ_FIRST(&pool->conns[at_once[i]].head)) != NULL)
            sl_conns_close(pool, conn, SL_REASON_SHUTDOWN, 0);
    }
}

/* Said again, the shorter wait counts. */
static void on_shutdown(struct sl_pool *pool, const struct sl_event *ev)
{
    stop(pool);
    uint64_t due = sl_min_u64(sl_after(pool->now_ms, ev->drain_ms), pool->stop_timer.due_ms);
    if (pool->conns[SL_CONN_LEASED].length + pool->conns[SL_CONN_RETIRING].length > 0)
        sl_timers_set(&pool->timers, &pool->stop_timer, due);
}

static void on_shutdown_now(struct sl_pool *pool, const struct sl_event *ev)
{
    (void)ev;
    stop(pool);
    reclaim_everything(pool);
}

static void say_when_stopped(struct sl_pool *pool)
{
    if (pool->phase != SL_POOL_STOPPING || sl_pool_alive(pool) > 0)
        return;
    move(pool, SL_POOL_STOPPED);
    sl_timers_set(&pool->timers, &pool->stop_timer, SL_NEVER);
    sl_pool_act(pool, SL_ACT_STOPPED);
}

/* --- steps --- */

static void on_time(struct sl_pool *pool, const struct sl_event *ev)
{
    (void)pool;
    (void)ev;
}

typedef void (*event_fn)(struct sl_pool *pool, const struct sl_event *ev);
static const event_fn handlers[] = {
    [SL_EV_TIME] = on_time,
    [SL_EV_ACQUIRE] = on_acquire,
    [SL_EV_CLIENT_GONE] = on_client_gone,
    [SL_EV_RELEASE] = on_release,
    [SL_EV_RENEW] = on_renew,
    [SL_EV_REVOKE] = on_revoke,
    [SL_EV_RESET] = on_reset,
    [SL_EV_CROWDED] = on_crowded,
    [SL_EV_DISPLACED] = on_displaced,
    [SL_EV_CONN_READY] = on_conn_ready,
    [SL_EV_CONN_LOST] = on_conn_lost,
    [SL_EV_CONN_ALIVE] = on_conn_alive,
    [SL_EV_CONN_DRAINED] = on_conn_drained,
    [SL_EV_CONN_GONE] = on_conn_gone,
    [SL_EV_SHUTDOWN] = on_shutdown,
    [SL_EV_SHUTDOWN_NOW] = on_shutdown_now,
};

void sl_pool_begin(struct sl_pool *pool, uint64_t now_ms)
{
    pool->actions.count = 0;
    if (pool->now_ms < now_ms)
        pool->now_ms = now_ms;
    struct sl_timer *timer;
    while ((timer = sl_timers_first(&pool->timers)) != NULL && timer->due_ms <= pool->now_ms) {
        sl_timers_set(&pool->timers, timer, SL_NEVER);
        switch (timer->kind) {
        case SL_TIMER_CONN:
            on_conn_timer(pool, SL_CONTAINER(timer, struct sl_conn_slot, timer));
            break;
        case SL_TIMER_LEASE:
            sl_leases_on_timer(pool, SL_CONTAINER(timer, struct sl_lease_slot, timer));
            break;
        case SL_TIMER_TARGET:
            sl_target_mark(pool, SL_CONTAINER(timer, struct sl_target_slot, timer));
            break;
        case SL_TIMER_STOP:
            reclaim_everything(pool);
            break;
        }
    }
}

void sl_pool_step(struct sl_pool *pool, const struct sl_event *ev)
{
    assert((size_t)ev->type < sizeof handlers / sizeof handlers[0]);
    sl_pool_begin(pool, ev->now_ms);
    handlers[ev->type](pool, ev);
    sl_serve(pool);
    say_when_stopped(pool);
}

const struct sl_actions *sl_pool_actions(const struct sl_pool *pool)
{
    return &pool->actions;
}

uint64_t sl_pool_next_ms(const struct sl_pool *pool)
{
    const struct sl_timer *timer = sl_timers_first(&pool->timers);
    return timer == NULL ? SL_NEVER : timer->due_ms;
}
