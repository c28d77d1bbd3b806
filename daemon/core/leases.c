/* SPDX-License-Identifier: MIT */
/* The states of a lease with their table of moves, and what each move tells its client and its connection. */
#include "daemon/core/leases.h"

#include "base/state.h"
#include "daemon/core/conns.h"
#include "proto/status.h"

#define TO(state) SL_TO(SL_LEASE_##state)

static const struct sl_state states[SL_LEASE_STATES] = {
    [SL_LEASE_NONE] = {"none", TO(WAITING)},
    [SL_LEASE_WAITING] = {"waiting", TO(GRANTED) | TO(REFUSED)},
    [SL_LEASE_GRANTED] = {"granted", TO(MOVING) | TO(RELEASED) | TO(ENDED)},
    [SL_LEASE_MOVING] = {"moving", TO(GRANTED) | TO(RELEASED) | TO(ENDED)},
    [SL_LEASE_RELEASED] = {"released", TO(NONE)},
    [SL_LEASE_ENDED] = {"ended", TO(NONE)},
    [SL_LEASE_REFUSED] = {"refused", TO(NONE)},
};

const char *sl_lease_state_name(enum sl_lease_state state)
{
    return state < SL_LEASE_STATES ? states[state].name : "unknown";
}

void sl_lease_list_init(struct sl_lease_list *list)
{
    TAILQ_INIT(&list->head);
    list->length = 0;
}

struct sl_lease_slot *sl_leases_find(const struct sl_pool *pool, struct sl_id id)
{
    if (sl_id_is_none(id) || id.index >= pool->lease_count)
        return NULL;
    struct sl_lease_slot *lease = pool->lease[id.index];
    bool over = lease->state == SL_LEASE_NONE || lease->state == SL_LEASE_ENDED;
    return sl_id_equal(lease->id, id) && !over ? lease : NULL;
}

struct sl_lease_slot *sl_leases_find_ended(const struct sl_pool *pool, struct sl_id id)
{
    if (sl_id_is_none(id) || id.index >= pool->lease_count)
        return NULL;
    struct sl_lease_slot *lease = pool->lease[id.index];
    return sl_id_equal(lease->id, id) && lease->state == SL_LEASE_ENDED ? lease : NULL;
}

/* NULL for the states to pass through. */
static struct sl_lease_list *list_of(struct sl_pool *pool, const struct sl_lease_slot *lease, enum sl_lease_state state)
{
    switch (state) {
    case SL_LEASE_NONE:
        return &pool->free_leases;
    case SL_LEASE_WAITING:
    case SL_LEASE_MOVING:
        return &lease->target->waiting;
    case SL_LEASE_GRANTED:
        return &lease->target->granted;
    case SL_LEASE_ENDED:
        return lease->conn != NULL ? &lease->conn->drains : NULL;
    default:
        return NULL;
    }
}

static void arm(struct sl_pool *pool, struct sl_lease_slot *lease)
{
    uint64_t due = SL_NEVER;
    switch (lease->state) {
    case SL_LEASE_WAITING:
        due = sl_min_u64(lease->notice_ms, lease->wait_ms);
        break;
    case SL_LEASE_MOVING:
        due = sl_min_u64(lease->wait_ms, lease->deadline_ms);
        break;
    case SL_LEASE_GRANTED:
    case SL_LEASE_ENDED:
        due = lease->deadline_ms;
        break;
    default:
        break;
    }
    sl_timers_set(&pool->timers, &lease->timer, due);
}

/* Everybody queues behind those who came before: a lease that is moving came long ago. */
static void join(struct sl_lease_list *list, struct sl_lease_slot *lease)
{
    struct sl_lease_slot *later = NULL;
    if (lease->state == SL_LEASE_MOVING) {
        later = TAILQ_FIRST(&list->head);
        while (later != NULL && later->serial < lease->serial)
            later = TAILQ_NEXT(later, link);
    }
    if (later != NULL)
        TAILQ_INSERT_BEFORE(later, lease, link);
    else
        TAILQ_INSERT_TAIL(&list->head, lease, link);
    list->length++;
}

static void change_state(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_lease_state to)
{
    struct sl_lease_list *old = list_of(pool, lease, lease->state);
    if (old != NULL) {
        TAILQ_REMOVE(&old->head, lease, link);
        old->length--;
    }
    if (lease->state == SL_LEASE_GRANTED) {
        assert(lease->conn != NULL);
        TAILQ_REMOVE(&lease->conn->held.head, lease, of_conn);
        lease->conn->held.length--;
    }
    SL_MOVE(states, lease->state, to);
    struct sl_lease_list *list = list_of(pool, lease, to);
    if (list != NULL)
        join(list, lease);
    if (to == SL_LEASE_GRANTED) {
        TAILQ_INSERT_TAIL(&lease->conn->held.head, lease, of_conn);
        lease->conn->held.length++;
    }
}

/* Nothing is left of it: the slot is free, the id dead. */
static void forget(struct sl_pool *pool, struct sl_lease_slot *lease)
{
    change_state(pool, lease, SL_LEASE_NONE);
    lease->target = NULL;
    lease->conn = NULL;
    lease->id.generation = lease->id.generation == UINT32_MAX ? 1 : lease->id.generation + 1;
    arm(pool, lease);
}

void sl_leases_move(
    struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_lease_state to, enum sl_reason reason, int status)
{
    struct sl_target_slot *target = lease->target;
    struct sl_action *act = sl_pool_act(pool, SL_ACT_LEASE_MOVED);
    act->lease = lease->id;
    act->tag = lease->tag;
    act->target = target->index;
    act->conn = lease->conn != NULL ? lease->conn->id : SL_ID_NONE;
    act->lease_from = lease->state;
    act->lease_to = to;
    act->reason = reason;
    act->status = status;

    change_state(pool, lease, to);
    if (to == SL_LEASE_RELEASED || to == SL_LEASE_REFUSED || (to == SL_LEASE_ENDED && lease->conn == NULL))
        forget(pool, lease);
    else
        arm(pool, lease);
    sl_target_mark(pool, target);
}

static uint64_t wait_end_ms(const struct sl_pool *pool, const struct sl_lease_slot *lease)
{
    uint64_t wait = lease->acquire_timeout_ms;
    return sl_after(pool->now_ms, wait > 0 ? wait : lease->target->policy.acquire_timeout_ms);
}

void sl_leases_queue(struct sl_pool *pool, struct sl_target_slot *target, const struct sl_event *ev)
{
    struct sl_lease_slot *lease = TAILQ_FIRST(&pool->free_leases.head);
    assert(lease != NULL);
    const struct sl_policy *policy = &target->policy;
    lease->target = target;
    lease->owner = ev->owner;
    lease->tag = ev->tag;
    lease->serial = ++pool->lease_serial;
    lease->since_ms = pool->now_ms;
    lease->acquire_timeout_ms = ev->acquire_timeout_ms;
    lease->wait_ms = wait_end_ms(pool, lease);
    lease->notice_ms = sl_after(pool->now_ms, policy->acquire_notice_ms);
    lease->failures_seen = target->failure_serial;
    lease->lease_timeout_ms = ev->lease_timeout_ms;
    lease->patient = ev->patient;
    lease->granted_ms = lease->deadline_ms = lease->max_deadline_ms = 0;
    sl_leases_move(pool, lease, SL_LEASE_WAITING, SL_REASON_ASKED, 0);
    struct sl_action *act = sl_pool_act(pool, SL_ACT_QUEUED);
    act->lease = lease->id;
    act->tag = lease->tag;
    act->target = target->index;
}

static void set_deadline(struct sl_pool *pool, struct sl_lease_slot *lease, uint64_t timeout_ms)
{
    if (timeout_ms == 0)
        timeout_ms = lease->lease_timeout_ms;
    if (timeout_ms == 0)
        timeout_ms = lease->target->policy.lease_timeout_ms;
    lease->deadline_ms = sl_min_u64(sl_after(pool->now_ms, timeout_ms), lease->max_deadline_ms);
}

void sl_leases_grant(struct sl_pool *pool, struct sl_lease_slot *lease, struct sl_conn_slot *conn)
{
    assert(conn->target == lease->target && conn->held.length < sl_conns_room(conn));
    enum sl_action_type answer = lease->state == SL_LEASE_MOVING ? SL_ACT_MOVE : SL_ACT_GRANT;
    lease->conn = conn;
    if (answer == SL_ACT_GRANT) {
        lease->granted_ms = pool->now_ms;
        lease->max_deadline_ms = sl_after(pool->now_ms, lease->target->policy.max_lease_ms);
        set_deadline(pool, lease, 0);
    }
    conn->owned = true;
    conn->owner = lease->owner;
    sl_leases_move(pool, lease, SL_LEASE_GRANTED, SL_REASON_GRANTED, 0);
    if (conn->state == SL_CONN_IDLE)
        sl_conns_move(pool, conn, SL_CONN_LEASED, SL_REASON_GRANTED, 0);
    assert(conn->state == SL_CONN_LEASED);
    struct sl_action *act = sl_pool_act(pool, answer);
    act->lease = lease->id;
    act->tag = lease->tag;
    act->target = lease->target->index;
    act->conn = conn->id;
    act->deadline_ms = lease->deadline_ms;
    act->max_deadline_ms = lease->max_deadline_ms;
}

/* Ends a lease and gives its client the answer, which still names what is forgotten by then. */
static void end(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_lease_state to, enum sl_action_type answer,
    enum sl_reason reason, int status)
{
    struct sl_action said = {
        .type = answer,
        .lease = lease->id,
        .tag = lease->tag,
        .target = lease->target->index,
        .conn = lease->conn != NULL ? lease->conn->id : SL_ID_NONE,
        .reason = reason,
        .status = status,
    };
    sl_leases_move(pool, lease, to, reason, status);
    /* The driver said itself that this client is gone; nobody is left to tell. */
    if (reason != SL_REASON_CLIENT_GONE)
        *sl_pool_act(pool, answer) = said;
}

void sl_leases_refuse(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_reason reason, int status)
{
    if (lease->state == SL_LEASE_MOVING)
        end(pool, lease, SL_LEASE_ENDED, SL_ACT_ENDED, reason, status);
    else
        end(pool, lease, SL_LEASE_REFUSED, SL_ACT_REFUSE, reason, status);
}

void sl_leases_refuse_all(struct sl_pool *pool, struct sl_target_slot *target, enum sl_reason reason, int status)
{
    struct sl_lease_slot *lease;
    while ((lease = TAILQ_FIRST(&target->waiting.head)) != NULL)
        sl_leases_refuse(pool, lease, reason, status);
}

/* A lease is off this connection, and nothing is to be cleaned up after it. */
static void leave(struct sl_pool *pool, struct sl_conn_slot *conn, enum sl_reason reason)
{
    if (conn->held.length > 0)
        return;
    if (conn->state == SL_CONN_RETIRING && conn->drains.length > 0) {
        sl_conns_move(pool, conn, SL_CONN_DRAINING, reason, 0);
    } else if (conn->state == SL_CONN_RETIRING) {
        sl_conns_close(pool, conn, SL_REASON_DRAINED, 0);
    } else {
        enum sl_reason unfit = sl_conns_unfit(pool, conn);
        if (unfit != SL_REASON_NONE)
            sl_conns_close(pool, conn, unfit, 0);
        else
            sl_conns_move(pool, conn, SL_CONN_IDLE, reason, 0);
    }
}

void sl_leases_release(struct sl_pool *pool, struct sl_lease_slot *lease, bool spent)
{
    struct sl_conn_slot *conn = lease->conn;
    if (conn != NULL && spent)
        conn->takes = 0;
    end(pool, lease, SL_LEASE_RELEASED, SL_ACT_RELEASED, SL_REASON_RELEASED, 0);
    if (conn != NULL)
        leave(pool, conn, SL_REASON_RELEASED);
}

void sl_leases_reclaim(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_reason reason, int status)
{
    struct sl_conn_slot *conn = lease->conn;
    uint64_t drain_ms = sl_after(lease->target->policy.kill_grace_ms, SL_DRAIN_SLACK_MS);
    lease->deadline_ms = sl_after(pool->now_ms, drain_ms); /* of the clean-up, from here on */
    end(pool, lease, SL_LEASE_ENDED, reason == SL_REASON_UNCLEAN ? SL_ACT_RELEASED : SL_ACT_ENDED, reason, status);
    if (conn == NULL)
        return;
    if (conn->held.length == 0)
        sl_conns_move(pool, conn, SL_CONN_DRAINING, reason, 0);
    else if (conn->state == SL_CONN_LEASED)
        sl_conns_move(pool, conn, SL_CONN_RETIRING, reason, 0);
    struct sl_action *act = sl_pool_act(pool, SL_ACT_DRAIN);
    act->conn = conn->id;
    act->target = conn->target->index;
    act->lease = lease->id;
    act->tag = lease->tag;
    act->reason = reason;
}

static enum sl_reason reason_to_revoke(int status)
{
    switch (status) {
    case SL_E_NOT_ALLOWED:
        return SL_REASON_NOT_ALLOWED;
    case SL_E_NO_TARGET:
        return SL_REASON_NO_TARGET;
    default:
        return SL_REASON_REVOKED;
    }
}

void sl_leases_revoke(struct sl_pool *pool, struct sl_lease_slot *lease, int status)
{
    if (lease == NULL)
        return;
    if (lease->state == SL_LEASE_WAITING)
        sl_leases_refuse(pool, lease, reason_to_revoke(status), status);
    else
        sl_leases_reclaim(pool, lease, reason_to_revoke(status), status);
}

void sl_leases_drained(struct sl_pool *pool, struct sl_lease_slot *lease, int status)
{
    struct sl_conn_slot *conn = lease->conn;
    forget(pool, lease);
    if (conn->state == SL_CONN_DRAINING && conn->drains.length == 0)
        sl_conns_close(pool, conn, SL_REASON_DRAINED, status);
}

/* Off its connection and in the queue, with as long to wait there as when it was asked for. */
static struct sl_conn_slot *set_out(
    struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_reason reason, int status)
{
    struct sl_conn_slot *conn = lease->conn;
    lease->wait_ms = wait_end_ms(pool, lease);
    lease->failures_seen = lease->target->failure_serial;
    sl_leases_move(pool, lease, SL_LEASE_MOVING, reason, status);
    lease->conn = NULL;
    return conn;
}

void sl_leases_crowd(struct sl_pool *pool, struct sl_lease_slot *lease)
{
    struct sl_conn_slot *conn = set_out(pool, lease, SL_REASON_CROWDED, 0);
    conn->takes = sl_max_u32(conn->held.length, 1);
    leave(pool, conn, SL_REASON_CROWDED);
}

void sl_leases_displace(struct sl_pool *pool, struct sl_lease_slot *lease, int status)
{
    enum sl_reason reason = status != 0 ? SL_REASON_CONNECTION_LOST : SL_REASON_SPENT;
    struct sl_conn_slot *conn = set_out(pool, lease, reason, status);
    conn->takes = 0;
    if (status != 0 && conn->held.length == 0 && conn->state == SL_CONN_LEASED)
        sl_conns_close(pool, conn, reason, status);
    else
        leave(pool, conn, reason);
}

void sl_leases_lose(struct sl_pool *pool, struct sl_conn_slot *conn, int status)
{
    enum sl_reason reason = SL_REASON_CONNECTION_LOST;
    struct sl_lease_slot *lease;
    while ((lease = TAILQ_FIRST(&conn->held.head)) != NULL)
        end(pool, lease, SL_LEASE_ENDED, SL_ACT_ENDED, reason, status);
    while ((lease = TAILQ_FIRST(&conn->drains.head)) != NULL)
        forget(pool, lease);
    sl_conns_close(pool, conn, status == SL_E_PEER_DEAD ? SL_REASON_DEAD : reason, status);
}

void sl_leases_renew(struct sl_pool *pool, struct sl_lease_slot *lease, uint64_t timeout_ms)
{
    set_deadline(pool, lease, timeout_ms);
    arm(pool, lease);
    struct sl_action *act = sl_pool_act(pool, SL_ACT_RENEWED);
    act->lease = lease->id;
    act->tag = lease->tag;
    act->target = lease->target->index;
    act->conn = lease->conn != NULL ? lease->conn->id : SL_ID_NONE;
    act->deadline_ms = lease->deadline_ms;
    act->max_deadline_ms = lease->max_deadline_ms;
}

uint32_t sl_leases_position(const struct sl_lease_slot *lease)
{
    uint32_t position = 1;
    const struct sl_lease_slot *other;
    TAILQ_FOREACH (other, &lease->target->waiting.head, link) {
        if (other == lease)
            break;
        position++;
    }
    return position;
}

/* Why nobody served it in its time: the last dial, where that failed and a place to dial in was not what was missing.
 */
static int fault(const struct sl_lease_slot *lease)
{
    const struct sl_target_slot *target = lease->target;
    uint32_t in_use =
        sl_target_alive(target) - target->conns[SL_CONN_DIALING].length - target->conns[SL_CONN_CLOSING].length;
    bool seen = target->failure_serial != lease->failures_seen;
    bool has_failed = target->last_status != 0 && (seen || in_use < target->policy.max_connections);
    return has_failed ? target->last_status : SL_E_TIMEOUT;
}

static void end_wait(struct sl_pool *pool, struct sl_lease_slot *lease)
{
    int status = fault(lease);
    if (status != SL_E_TIMEOUT || !lease->patient) {
        sl_leases_refuse(pool, lease, SL_REASON_TIMEOUT, status);
        return;
    }
    lease->wait_ms = wait_end_ms(pool, lease);
    arm(pool, lease);
}

static void on_waited(struct sl_pool *pool, struct sl_lease_slot *lease)
{
    const struct sl_target_slot *target = lease->target;
    if (lease->wait_ms <= pool->now_ms) {
        end_wait(pool, lease);
        return;
    }
    lease->notice_ms = SL_NEVER;
    arm(pool, lease);
    struct sl_action *act = sl_pool_act(pool, SL_ACT_NOTICE);
    act->lease = lease->id;
    act->tag = lease->tag;
    act->target = target->index;
    act->position = sl_leases_position(lease);
    act->status = target->last_status;
}

void sl_leases_on_timer(struct sl_pool *pool, struct sl_lease_slot *lease)
{
    bool moving = lease->state == SL_LEASE_MOVING;
    if (lease->state == SL_LEASE_ENDED)
        sl_leases_drained(pool, lease, SL_E_TIMEOUT);
    else if (lease->state == SL_LEASE_WAITING || (moving && lease->deadline_ms > pool->now_ms))
        on_waited(pool, lease);
    else
        sl_leases_reclaim(pool, lease, SL_REASON_EXPIRED, SL_E_EXPIRED);
}
