/* SPDX-License-Identifier: MIT */
/* The invariants, said a second time: from the lists alone, by other means than the code that keeps them. */
#include "daemon/core/conns.h"
#include "daemon/core/leases.h"
#include "daemon/core/retry.h"
#include "daemon/core/serve.h"

static bool conn_list_ok(const struct sl_conn_list *list, enum sl_conn_state state, const struct sl_target_slot *target)
{
    uint32_t length = 0;
    uint64_t since = 0;
    const struct sl_conn_slot *conn;
#define COUNT(link)                                                                                                    \
    TAILQ_FOREACH (conn, &list->head, link) {                                                                          \
        if (conn->state != state || conn->since_ms < since || (target != NULL && conn->target != target))              \
            return false;                                                                                              \
        since = conn->since_ms;                                                                                        \
        length++;                                                                                                      \
    }
    if (target != NULL)
        COUNT(of_target)
    else
        COUNT(of_pool)
#undef COUNT
    return length == list->length;
}

/* Only these are pinged for waiters; elsewhere such a ping goes on as an ordinary one. */
static bool is_asked(const struct sl_conn_slot *conn)
{
    return conn->state == SL_CONN_IDLE || (conn->state == SL_CONN_LEASED && conn->held.length < sl_conns_room(conn));
}

static const char *check_leases_of(const struct sl_conn_slot *conn)
{
    const struct sl_target_slot *target = conn->target;
    uint32_t held = 0, drains = 0;
    const struct sl_lease_slot *lease;
    TAILQ_FOREACH (lease, &conn->held.head, of_conn) {
        if (target == NULL || lease->conn != conn || lease->state != SL_LEASE_GRANTED || lease->target != target)
            return "a connection and its lease disagree";
        if (!conn->owned ||
            (!target->policy.owners_shared && conn->epoch == target->epoch && conn->owner != lease->owner))
            return "a connection is shared across owners";
        held++;
    }
    TAILQ_FOREACH (lease, &conn->drains.head, link) {
        if (lease->conn != conn || lease->state != SL_LEASE_ENDED)
            return "a connection is cleaned up after a lease that does not know of it";
        drains++;
    }
    if (held != conn->held.length || drains != conn->drains.length)
        return "a connection's count of leases is wrong";
    if (held > conn->sharing)
        return "a connection has more leases than may share it";
    bool serves = conn->state == SL_CONN_LEASED || conn->state == SL_CONN_RETIRING;
    if (serves != (held > 0))
        return "a connection is leased without a lease, or has one without being leased";
    bool cleaned = conn->state == SL_CONN_RETIRING || conn->state == SL_CONN_DRAINING;
    if ((drains > 0 && !cleaned) || (conn->state == SL_CONN_DRAINING && drains == 0))
        return "a connection is cleaned up after nobody, or keeps its state while it is cleaned up";
    return NULL;
}

static const char *check_conn(const struct sl_pool *pool, const struct sl_conn_slot *conn)
{
    const struct sl_target_slot *target = conn->target;
    if ((conn->state == SL_CONN_GONE) != (target == NULL))
        return "a connection has no target, or a free slot has one";
    const char *broken = check_leases_of(conn);
    if (broken != NULL)
        return broken;
    if (conn->state == SL_CONN_GONE)
        return conn->timer.due_ms == SL_NEVER ? NULL : "a free slot has a timer";
    if (conn->state == SL_CONN_IDLE || conn->state == SL_CONN_DIALING) {
        if (pool->phase != SL_POOL_RUNNING)
            return "a connection is kept while stopping";
        if (target->state == SL_TARGET_ABSENT || conn->epoch != target->epoch)
            return "an outdated connection is kept";
        if (conn->reset)
            return "a connection is kept that was to be leased no more";
    }
    if (conn->ping == SL_PING_VALIDATE && is_asked(conn)) {
        const struct sl_lease_slot *lease;
        TAILQ_FOREACH (lease, &target->waiting.head, link)
            if (sl_serve_may_use(conn, lease))
                return NULL;
        return "a connection is validated for nobody";
    }
    return NULL;
}

static const char *check_lease(const struct sl_pool *pool, const struct sl_lease_slot *lease)
{
    switch (lease->state) {
    case SL_LEASE_NONE:
        return lease->target == NULL && lease->conn == NULL && lease->timer.due_ms == SL_NEVER
                   ? NULL
                   : "a free lease slot is not empty";
    case SL_LEASE_WAITING:
        if (lease->conn != NULL || lease->target->state == SL_TARGET_ABSENT || pool->phase != SL_POOL_RUNNING)
            return "somebody waits for nothing";
        return lease->timer.due_ms == sl_min_u64(lease->notice_ms, lease->wait_ms) ? NULL : "a waiter has no deadline";
    case SL_LEASE_GRANTED:
        if (lease->conn == NULL)
            return "a lease has no connection";
        if (lease->deadline_ms < pool->now_ms || lease->deadline_ms > lease->max_deadline_ms)
            return "a lease outlives its deadline";
        return lease->timer.due_ms == lease->deadline_ms ? NULL : "a lease's timer is not its deadline";
    case SL_LEASE_MOVING:
        if (lease->conn != NULL || lease->target->state == SL_TARGET_ABSENT || pool->phase != SL_POOL_RUNNING)
            return "a lease moves to nowhere";
        return lease->timer.due_ms == sl_min_u64(lease->wait_ms, lease->deadline_ms) ? NULL
                                                                                     : "a moving lease has no deadline";
    case SL_LEASE_ENDED:
        if (lease->conn == NULL)
            return "a lease that is over has no connection to be cleaned up";
        return lease->timer.due_ms == lease->deadline_ms && lease->deadline_ms >= pool->now_ms
                   ? NULL
                   : "a clean-up has no deadline";
    case SL_LEASE_RELEASED:
    case SL_LEASE_REFUSED:
        break;
    }
    return "a lease rests in a state to pass through";
}

static const struct sl_conn_slot *unreserved(const struct sl_target_slot *target)
{
    const struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_IDLE].head, of_target)
        if (conn->ping != SL_PING_VALIDATE)
            return conn;
    return NULL;
}

static bool anything_unreserved(const struct sl_pool *pool)
{
    const struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &pool->conns[SL_CONN_IDLE].head, of_pool)
        if (conn->ping != SL_PING_VALIDATE)
            return true;
    return false;
}

/* Some waiters of this target have neither a connection on its way nor one reserved: what stops a dial for them? */
static const char *check_uncovered(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    if (target->demand_at_ms > target->retry_at_ms)
        return "those who wait are held back longer than nobody";
    if (sl_retry_demand_held_back(pool, target))
        return target->timer.due_ms <= target->demand_at_ms ? NULL : "nobody will retry for those who wait";
    if (target->conns[SL_CONN_DIALING].length >= sl_retry_handshakes(target))
        return NULL;
    if (sl_target_alive(target) >= target->policy.max_connections)
        return unreserved(target) == NULL || target->conns[SL_CONN_CLOSING].length > 0
                   ? NULL
                   : "somebody waits behind another owner's idle connection";
    if (target->want != SL_WANT_DEMAND)
        return "somebody waits and nobody dials";
    if (pool->conns[SL_CONN_DIALING].length >= pool->limits.handshakes)
        return NULL;
    if (sl_pool_alive(pool) >= pool->limits.connections)
        return !anything_unreserved(pool) || pool->conns[SL_CONN_CLOSING].length > 0
                   ? NULL
                   : "somebody waits for room that idle connections take";
    return "somebody waits and could dial";
}

/* Could be granted to the waiter now. */
static bool is_open_to(const struct sl_pool *pool, const struct sl_conn_slot *conn, const struct sl_lease_slot *lease)
{
    if (!sl_conns_fresh(pool, conn) || !sl_serve_may_use(conn, lease))
        return false;
    if (conn->state == SL_CONN_IDLE)
        return conn->ping != SL_PING_VALIDATE;
    return conn->held.length < sl_conns_room(conn) && sl_conns_spent(pool, conn) == SL_REASON_NONE;
}

/* How many more leases connections that are under way, or asked whether they live, can take at most: of this waiter's
 * owner class, of all when NULL. */
static uint64_t on_their_way(const struct sl_target_slot *target, const struct sl_lease_slot *lease)
{
    uint64_t seats = 0;
    const struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_DIALING].head, of_target)
        seats += sl_conns_room(conn);
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_IDLE].head, of_target)
        if (conn->ping == SL_PING_VALIDATE && (lease == NULL || sl_serve_may_use(conn, lease)))
            seats += sl_conns_room(conn);
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_LEASED].head, of_target)
        if (conn->ping == SL_PING_VALIDATE && is_asked(conn) && (lease == NULL || sl_serve_may_use(conn, lease)))
            seats += sl_conns_room(conn) - conn->held.length;
    return seats;
}

static uint32_t waiters_like(const struct sl_target_slot *target, const struct sl_lease_slot *one)
{
    uint32_t count = 0;
    const struct sl_lease_slot *lease;
    TAILQ_FOREACH (lease, &target->waiting.head, link)
        count += target->policy.owners_shared || lease->owner == one->owner;
    return count;
}

static const char *check_queue(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    static const enum sl_conn_state open[] = {SL_CONN_IDLE, SL_CONN_LEASED};
    uint32_t length = 0, validating = 0;
    uint64_t serial = 0;
    bool uncovered = false;
    const struct sl_lease_slot *lease;
    const struct sl_conn_slot *conn;
    TAILQ_FOREACH (lease, &target->waiting.head, link) {
        bool waits = lease->state == SL_LEASE_WAITING || lease->state == SL_LEASE_MOVING;
        if (!waits || lease->target != target || lease->serial <= serial)
            return "a wait queue is out of order";
        serial = lease->serial;
        length++;
        for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
            TAILQ_FOREACH (conn, &target->conns[open[i]].head, of_target)
                if (is_open_to(pool, conn, lease))
                    return conn->state == SL_CONN_IDLE ? "somebody waits while a usable connection is idle"
                                                       : "somebody waits while a connection of his owner has room";
        if (!uncovered && target->policy.sharing > 1)
            uncovered = waiters_like(target, lease) > on_their_way(target, lease);
    }
    if (length != target->waiting.length)
        return "a wait queue's length is wrong";
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        TAILQ_FOREACH (conn, &target->conns[open[i]].head, of_target)
            validating += conn->ping == SL_PING_VALIDATE && is_asked(conn);
    if (validating > length)
        return "more connections are validated than somebody waits for";
    if (uncovered || length > on_their_way(target, NULL))
        return check_uncovered(pool, target);
    return NULL;
}

static const char *check_target(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    for (unsigned state = SL_CONN_GONE + 1; state < SL_CONN_STATES; state++)
        if (!conn_list_ok(&target->conns[state], (enum sl_conn_state)state, target))
            return "a target's list of connections is wrong";
    uint32_t length = 0;
    const struct sl_lease_slot *lease;
    TAILQ_FOREACH (lease, &target->granted.head, link) {
        if (lease->state != SL_LEASE_GRANTED || lease->target != target)
            return "a target's list of leases is wrong";
        length++;
    }
    uint32_t held = 0;
    const struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_LEASED].head, of_target)
        held += conn->held.length;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_RETIRING].head, of_target)
        held += conn->held.length;
    if (length != target->granted.length || length != held)
        return "a target has more leases than its connections, or fewer";
    if (sl_target_alive(target) > target->ceiling)
        return "a target has more connections than its limit";
    if (target->dirty_link.tqe_prev != NULL)
        return "a target was left unsettled";
    return check_queue(pool, target);
}

static const char *check_wants(const struct sl_pool *pool)
{
    const struct sl_target_slot *target;
    TAILQ_FOREACH (target, &pool->hungry, want_link)
        if (target->want != SL_WANT_DEMAND || target->dials_wanted == 0)
            return "the list of hungry targets is wrong";
    TAILQ_FOREACH (target, &pool->thin, want_link)
        if (target->want != SL_WANT_SPARE || target->dials_wanted == 0)
            return "the list of thin targets is wrong";
    bool room =
        sl_pool_alive(pool) < pool->limits.connections && pool->conns[SL_CONN_DIALING].length < pool->limits.handshakes;
    if (room && (!TAILQ_EMPTY(&pool->hungry) || !TAILQ_EMPTY(&pool->thin)))
        return "a target may dial and does not";
    return NULL;
}

const char *sl_pool_check(const struct sl_pool *pool)
{
    const char *broken;
    uint32_t slots = 0;
    for (unsigned state = 0; state < SL_CONN_STATES; state++) {
        /* Free slots have been so since they were used last; their order in time is of no interest, but holds. */
        if (!conn_list_ok(&pool->conns[state], (enum sl_conn_state)state, NULL))
            return "a list of connections is wrong";
        slots += pool->conns[state].length;
    }
    if (slots != pool->conn_count)
        return "a connection slot is on no list";
    if (sl_pool_alive(pool) > pool->ceiling)
        return "there are more connections than the daemon's limit";
    for (uint32_t i = 0; i < pool->conn_count; i++)
        if ((broken = check_conn(pool, pool->conn[i])) != NULL)
            return broken;

    uint32_t leases = pool->free_leases.length;
    for (uint32_t i = 0; i < pool->lease_count; i++)
        if ((broken = check_lease(pool, pool->lease[i])) != NULL)
            return broken;
    for (uint32_t i = 0; i < pool->target_count; i++) {
        if (pool->target[i] == NULL)
            continue;
        if ((broken = check_target(pool, pool->target[i])) != NULL)
            return broken;
        leases += pool->target[i]->waiting.length + pool->target[i]->granted.length;
    }
    for (uint32_t i = 0; i < pool->conn_count; i++)
        leases += pool->conn[i]->drains.length;
    if (leases != pool->lease_count)
        return "a lease slot is on no list";

    if ((broken = check_wants(pool)) != NULL)
        return broken;
    if (!sl_timers_check(&pool->timers))
        return "the heap of timers is wrong";
    if (pool->phase == SL_POOL_STOPPED && (sl_pool_alive(pool) != 0 || pool->timers.count != 0))
        return "something is left after the stop";
    return NULL;
}
