/* SPDX-License-Identifier: MIT */
/* The states of a connection with their table of moves, the lists they put it on, its pings and its deadlines. */
#include "daemon/core/conns.h"

#include "base/state.h"
#include "proto/status.h"

#include <string.h>

#define TO(state) SL_TO(SL_CONN_##state)

static const struct sl_state states[SL_CONN_STATES] = {
    [SL_CONN_GONE] = {"gone", TO(DIALING)},
    [SL_CONN_DIALING] = {"dialing", TO(IDLE) | TO(CLOSING)},
    [SL_CONN_IDLE] = {"idle", TO(LEASED) | TO(CLOSING)},
    [SL_CONN_LEASED] = {"leased", TO(IDLE) | TO(RETIRING) | TO(DRAINING) | TO(CLOSING)},
    [SL_CONN_RETIRING] = {"retiring", TO(DRAINING) | TO(CLOSING)},
    [SL_CONN_DRAINING] = {"draining", TO(CLOSING)},
    [SL_CONN_CLOSING] = {"closing", TO(GONE)},
};

const char *sl_conn_state_name(enum sl_conn_state state)
{
    return state < SL_CONN_STATES ? states[state].name : "unknown";
}

void sl_conn_list_init(struct sl_conn_list *list)
{
    TAILQ_INIT(&list->head);
    list->length = 0;
}

struct sl_conn_slot *sl_conns_find(const struct sl_pool *pool, struct sl_id id)
{
    if (sl_id_is_none(id) || id.index >= pool->conn_count)
        return NULL;
    struct sl_conn_slot *conn = pool->conn[id.index];
    return sl_id_equal(conn->id, id) && conn->state != SL_CONN_GONE ? conn : NULL;
}

static void leave_lists(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    struct sl_conn_list *all = &pool->conns[conn->state];
    TAILQ_REMOVE(&all->head, conn, of_pool);
    all->length--;
    if (conn->state != SL_CONN_GONE) {
        struct sl_conn_list *own = &conn->target->conns[conn->state];
        TAILQ_REMOVE(&own->head, conn, of_target);
        own->length--;
    }
}

/* At the tail: that keeps idle lists in the order of idling, and reuses the slot that has been free longest. */
static void join_lists(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    struct sl_conn_list *all = &pool->conns[conn->state];
    TAILQ_INSERT_TAIL(&all->head, conn, of_pool);
    all->length++;
    if (conn->state != SL_CONN_GONE) {
        struct sl_conn_list *own = &conn->target->conns[conn->state];
        TAILQ_INSERT_TAIL(&own->head, conn, of_target);
        own->length++;
    }
}

/* What a lowered limit had to tolerate shrinks with every connection that goes. */
static void lower_ceilings(struct sl_pool *pool, struct sl_target_slot *target)
{
    pool->ceiling = sl_max_u32(pool->limits.connections, sl_min_u32(pool->ceiling, sl_pool_alive(pool)));
    target->ceiling = sl_max_u32(target->policy.max_connections, sl_min_u32(target->ceiling, sl_target_alive(target)));
}

void sl_conns_move(
    struct sl_pool *pool, struct sl_conn_slot *conn, enum sl_conn_state to, enum sl_reason reason, int status)
{
    enum sl_conn_state from = conn->state;
    struct sl_target_slot *target = conn->target;
    assert(target != NULL);

    leave_lists(pool, conn);
    SL_MOVE(states, conn->state, to);
    conn->since_ms = pool->now_ms;
    join_lists(pool, conn);

    struct sl_action *act = sl_pool_act(pool, SL_ACT_CONN_MOVED);
    act->conn = conn->id;
    act->target = target->index;
    act->conn_from = from;
    act->conn_to = to;
    act->reason = reason;
    act->status = status;

    if (to == SL_CONN_GONE) {
        conn->target = NULL;
        conn->id.generation = conn->id.generation == UINT32_MAX ? 1 : conn->id.generation + 1;
        lower_ceilings(pool, target);
    }
    sl_conns_arm(pool, conn);
    sl_target_mark(pool, target);
}

void sl_conns_dial(struct sl_pool *pool, struct sl_target_slot *target, enum sl_reason reason)
{
    struct sl_conn_slot *conn = TAILQ_FIRST(&pool->conns[SL_CONN_GONE].head);
    assert(conn != NULL);
    conn->target = target;
    conn->epoch = target->epoch;
    conn->proved = false;
    conn->owned = false;
    conn->owner = 0;
    conn->ping = SL_PING_NONE;
    conn->unanswered = 0;
    conn->claim = 0;
    conn->claims = 0;
    conn->reset = false;
    conn->sharing = target->policy.sharing;
    conn->takes = UINT32_MAX;
    conn->lifetime_cut = (uint32_t)sl_prng_below(&pool->prng, SL_LIFETIME_CUT_MAX);
    sl_conns_move(pool, conn, SL_CONN_DIALING, reason, 0);
    struct sl_action *act = sl_pool_act(pool, SL_ACT_DIAL);
    act->conn = conn->id;
    act->target = target->index;
}

void sl_conns_close(struct sl_pool *pool, struct sl_conn_slot *conn, enum sl_reason reason, int status)
{
    sl_conns_move(pool, conn, SL_CONN_CLOSING, reason, status);
    struct sl_action *act = sl_pool_act(pool, SL_ACT_CLOSE);
    act->conn = conn->id;
    act->target = conn->target->index;
}

/* --- pings --- */

static void ping(struct sl_pool *pool, struct sl_conn_slot *conn, enum sl_ping kind, uint64_t timeout_ms)
{
    conn->ping = kind;
    conn->pinged_ms = sl_after(pool->now_ms, timeout_ms);
    struct sl_action *act = sl_pool_act(pool, SL_ACT_PING);
    act->conn = conn->id;
    act->target = conn->target->index;
    sl_conns_arm(pool, conn);
}

void sl_conns_validate(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    assert(conn->state == SL_CONN_IDLE || conn->state == SL_CONN_LEASED);
    ping(pool, conn, SL_PING_VALIDATE, conn->target->policy.validate_timeout_ms);
}

void sl_conns_unreserve(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    conn->ping = conn->target->policy.server_alive_interval_ms > 0 ? SL_PING_KEEPALIVE : SL_PING_NONE;
    sl_conns_arm(pool, conn);
}

/* This comes with every packet, so it leaves the heap alone where it can: the timer then fires once for nothing and is
 * set anew. */
void sl_conns_heard(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    if (conn->state != SL_CONN_IDLE && conn->state != SL_CONN_LEASED && conn->state != SL_CONN_RETIRING)
        return;
    conn->heard_ms = pool->now_ms;
    conn->unanswered = 0;
    if (conn->ping != SL_PING_NONE) {
        conn->ping = SL_PING_NONE;
        sl_conns_arm(pool, conn);
    }
    bool usable = conn->state == SL_CONN_IDLE || (conn->state == SL_CONN_LEASED && conn->sharing > 1);
    if (usable && conn->target->waiting.length > 0)
        sl_target_mark(pool, conn->target); /* it may serve somebody now */
}

uint32_t sl_conns_room(const struct sl_conn_slot *conn)
{
    return sl_min_u32(sl_min_u32(conn->sharing, conn->target->policy.sharing), conn->takes);
}

bool sl_conns_fresh(const struct sl_pool *pool, const struct sl_conn_slot *conn)
{
    return pool->now_ms - conn->heard_ms <= conn->target->policy.validate_after_ms;
}

/* --- deadlines --- */

static uint64_t lifetime_end_ms(const struct sl_conn_slot *conn)
{
    uint64_t max = conn->target->policy.max_lifetime_ms;
    if (max == 0)
        return SL_NEVER;
    /* Up to 2.5 % less, so that connections made together do not all end together. */
    uint64_t cut = (uint64_t)((unsigned __int128)(max / 40) * conn->lifetime_cut / SL_LIFETIME_CUT_MAX);
    return sl_after(conn->ready_ms, max - cut);
}

uint64_t sl_conns_trial_end_ms(const struct sl_conn_slot *conn)
{
    return conn->proved ? SL_NEVER : sl_after(conn->ready_ms, SL_TRIAL_MS);
}

static uint64_t ping_due_ms(const struct sl_conn_slot *conn)
{
    if (conn->ping != SL_PING_NONE)
        return conn->pinged_ms;
    uint64_t interval = conn->target->policy.server_alive_interval_ms;
    return interval == 0 ? SL_NEVER : sl_after(conn->heard_ms, interval);
}

void sl_conns_arm(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    uint64_t due = SL_NEVER;
    switch (conn->state) {
    case SL_CONN_IDLE:
        due = sl_min_u64(sl_min_u64(ping_due_ms(conn), lifetime_end_ms(conn)), sl_conns_trial_end_ms(conn));
        break;
    case SL_CONN_LEASED:
    case SL_CONN_RETIRING:
        due = sl_min_u64(ping_due_ms(conn), sl_conns_trial_end_ms(conn));
        break;
    case SL_CONN_DRAINING: /* each lease that it is cleaned up after has a deadline of its own */
    case SL_CONN_GONE:
    case SL_CONN_DIALING: /* the transport keeps connect_timeout and login_timeout, and says CONN_LOST */
    case SL_CONN_CLOSING: /* the transport says CONN_GONE in any case */
        break;
    }
    sl_timers_set(&pool->timers, &conn->timer, due);
}

enum sl_reason sl_conns_spent(const struct sl_pool *pool, const struct sl_conn_slot *conn)
{
    const struct sl_target_slot *target = conn->target;
    if (pool->phase != SL_POOL_RUNNING)
        return SL_REASON_SHUTDOWN;
    if (target->state == SL_TARGET_ABSENT || conn->epoch != target->epoch)
        return SL_REASON_OUTDATED;
    if (conn->takes == 0)
        return SL_REASON_SPENT;
    if (conn->reset)
        return SL_REASON_RESET;
    if (conn->state != SL_CONN_DIALING && lifetime_end_ms(conn) <= pool->now_ms)
        return SL_REASON_MAX_LIFETIME;
    return SL_REASON_NONE;
}

bool sl_conns_surplus(const struct sl_pool *pool, const struct sl_conn_slot *conn)
{
    const struct sl_target_slot *target = conn->target;
    /* Retiring, draining and closing ones are on their way out already: closing this one as well would be one too many.
     */
    uint32_t staying = target->conns[SL_CONN_DIALING].length + target->conns[SL_CONN_IDLE].length +
                       target->conns[SL_CONN_LEASED].length;
    uint32_t staying_in_all =
        pool->conns[SL_CONN_DIALING].length + pool->conns[SL_CONN_IDLE].length + pool->conns[SL_CONN_LEASED].length;
    return staying > target->policy.max_connections || staying_in_all > pool->limits.connections;
}

enum sl_reason sl_conns_unfit(const struct sl_pool *pool, const struct sl_conn_slot *conn)
{
    enum sl_reason spent = sl_conns_spent(pool, conn);
    if (spent != SL_REASON_NONE)
        return spent;
    return sl_conns_surplus(pool, conn) ? SL_REASON_SURPLUS : SL_REASON_NONE;
}

/* The ping under way was not answered in time, or it is time for one. False: the server is taken for dead. */
static bool on_ping_overdue(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    const struct sl_policy *policy = &conn->target->policy;
    uint64_t interval = policy->server_alive_interval_ms; /* a reload may have made it 0 while a ping was under way */
    bool asked_for_waiter = conn->ping == SL_PING_VALIDATE;
    if (conn->ping != SL_PING_NONE)
        conn->unanswered++;
    /* A leased one that leaves a waiter's ping unanswered is his no more, but those who have it keep it as long as
     * without him. */
    bool dead = asked_for_waiter ? conn->state == SL_CONN_IDLE
                                 : interval > 0 && conn->unanswered >= policy->server_alive_count_max;
    if (dead)
        return false;
    if (asked_for_waiter)
        sl_target_mark(pool, conn->target);
    if (interval > 0) {
        ping(pool, conn, SL_PING_KEEPALIVE, interval);
    } else {
        conn->ping = SL_PING_NONE;
        sl_conns_arm(pool, conn);
    }
    return true;
}

bool sl_conns_on_timer(struct sl_pool *pool, struct sl_conn_slot *conn)
{
    if (conn->state == SL_CONN_IDLE && lifetime_end_ms(conn) <= pool->now_ms)
        sl_conns_close(pool, conn, SL_REASON_MAX_LIFETIME, 0);
    else if (ping_due_ms(conn) <= pool->now_ms)
        return on_ping_overdue(pool, conn);
    else
        sl_conns_arm(pool, conn);
    return true;
}
