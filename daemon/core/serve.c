/* One look at a target (settle) goes like this:
 *  1. Every waiter, in order of arrival, is matched with an idle connection that it may use: granted where the server
 * was heard of lately, else pinged first. Connections that are dialing cover the next waiters, whoever they are.
 *  2. A waiter that nothing covers wants a dial. Where a limit is in the way and an idle connection could leave, the
 *     longest idle one is closed for it, before anybody behind it can be given that connection.
 *  3. What idled too long is closed; min_idle may want dials too.
 *  4. Wishes that its own limits allow put the target on the list of the hungry or the thin. dial_wanted() serves these
 *     in turn as far as the daemon-wide limits go, the hungry first.
 * What changes on the way marks targets again; sl_serve() goes on until no mark is left. Each turn of it grants, pings,
 * dials or closes something, and there is only so much of that, so it ends. */
#include "daemon/core/serve.h"

#include "daemon/core/backoff.h"
#include "daemon/core/conns.h"
#include "daemon/core/leases.h"

/* --- failed dials --- */

bool sl_serve_held_back(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    return pool->now_ms < target->retry_at_ms;
}

static bool is_standing(int status)
{
    enum sl_dial_failure failure = sl_dial_failure_of(status);
    return failure == SL_DIAL_REJECTED || failure == SL_DIAL_UNTRUSTED;
}

int sl_serve_blocked(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    return sl_serve_held_back(pool, target) && is_standing(target->last_status) ? target->last_status : 0;
}

/* Dials that were under way together fail together: that is one round and doubles the wait once. */
static void hold_back(struct sl_pool *pool, struct sl_target_slot *target, uint64_t dialed_ms)
{
    if (target->failures == 0 || dialed_ms > target->failed_ms) {
        target->failures++;
        target->failed_ms = pool->now_ms;
    }
    uint64_t wait = sl_backoff_ms(
        target->failures, target->policy.retry_min_ms, target->policy.retry_max_ms, sl_prng_next(&pool->prng));
    uint64_t retry_at = sl_after(pool->now_ms, wait);
    if (target->retry_at_ms < retry_at)
        target->retry_at_ms = retry_at;
}

void sl_serve_dial_failed(struct sl_pool *pool, struct sl_target_slot *target, uint64_t dialed_ms, int status)
{
    int blocked = sl_serve_blocked(pool, target);
    target->failure_serial++;
    switch (sl_dial_failure_of(status)) {
    case SL_DIAL_REJECTED:
        if (blocked == 0) {
            hold_back(pool, target, dialed_ms);
            target->last_status = status;
            target->retry_at_ms = sl_after(pool->now_ms, target->policy.auth_retry_ms);
        }
        sl_leases_refuse_all(pool, target, SL_REASON_TARGET_DOWN, target->last_status);
        break;
    case SL_DIAL_UNTRUSTED:
        hold_back(pool, target, dialed_ms);
        target->last_status = status;
        target->retry_at_ms = SL_NEVER;
        sl_leases_refuse_all(pool, target, SL_REASON_TARGET_DOWN, status);
        break;
    case SL_DIAL_DEFINITE:
        if (blocked != 0)
            break;
        hold_back(pool, target, dialed_ms);
        target->last_status = status;
        if (target->conns[SL_CONN_DIALING].length + target->conns[SL_CONN_IDLE].length +
                target->conns[SL_CONN_LEASED].length ==
            0)
            sl_leases_refuse_all(pool, target, SL_REASON_TARGET_DOWN, status);
        break;
    case SL_DIAL_TRANSIENT:
        if (blocked != 0)
            break;
        hold_back(pool, target, dialed_ms);
        target->last_status = status;
        break;
    }
    sl_target_mark(pool, target);
}

void sl_serve_forgive(struct sl_pool *pool, struct sl_target_slot *target)
{
    target->failures = 0;
    target->last_status = 0;
    target->failed_ms = 0;
    target->retry_at_ms = 0;
    sl_target_mark(pool, target);
}

void sl_serve_dial_succeeded(struct sl_pool *pool, struct sl_target_slot *target)
{
    /* Some other machine may answer under the same name: one good host key does not excuse a bad one. */
    int blocked = sl_serve_blocked(pool, target);
    if (blocked != 0 && sl_dial_failure_of(blocked) == SL_DIAL_UNTRUSTED)
        return;
    sl_serve_forgive(pool, target);
}

/* --- matching waiters with connections --- */

bool sl_serve_may_use(const struct sl_conn_slot *conn, const struct sl_lease_slot *lease)
{
    return conn->target == lease->target && conn->epoch == conn->target->epoch &&
           (!conn->owned || conn->target->policy.owners_shared || conn->owner == lease->owner);
}

/* For one waiter, the best of each kind; NULL where there is none. */
struct choice {
    struct sl_conn_slot *fresh;      /* can be granted now */
    struct sl_conn_slot *validating; /* has been pinged for a waiter already */
    struct sl_conn_slot *stale;      /* must be pinged first */
};

/* Most recently used first, as the idle list is ordered; but the waiter's own before nobody's, which serve everybody.
 */
static void choose(const struct sl_pool *pool, const struct sl_lease_slot *lease, struct choice *ret_choice)
{
    struct choice choice = {NULL, NULL, NULL};
    struct sl_conn_slot *conn;
    TAILQ_FOREACH_REVERSE (conn, &lease->target->conns[SL_CONN_IDLE].head, sl_conn_head, of_target) {
        if (conn->claim == pool->passes || !sl_serve_may_use(conn, lease))
            continue;
        struct sl_conn_slot **best = sl_conns_fresh(pool, conn)       ? &choice.fresh
                                     : conn->ping == SL_PING_VALIDATE ? &choice.validating
                                                                      : &choice.stale;
        if (*best == NULL || (!(*best)->owned && conn->owned))
            *best = conn;
    }
    *ret_choice = choice;
}

/* True when the waiter is served, or will be by the connection it now has a claim on. */
static bool match(struct sl_pool *pool, struct sl_lease_slot *lease)
{
    struct choice choice;
    choose(pool, lease, &choice);
    if (choice.fresh != NULL) {
        if (choice.fresh->ping == SL_PING_VALIDATE) /* a reload made it fresh while its ping was under way */
            sl_conns_unreserve(pool, choice.fresh);
        sl_leases_grant(pool, lease, choice.fresh);
        return true;
    }
    if (choice.validating != NULL) {
        choice.validating->claim = pool->passes;
        return true;
    }
    if (choice.stale != NULL) {
        choice.stale->claim = pool->passes;
        sl_conns_validate(pool, choice.stale);
        return true;
    }
    return false;
}

/* The longest idle connection that no waiter has a claim on. */
static struct sl_conn_slot *longest_idle_of(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_IDLE].head, of_target)
        if (conn->claim != pool->passes)
            return conn;
    return NULL;
}

/* The same over all targets. Those that wait for a ping's answer were pinged for a waiter. */
static struct sl_conn_slot *longest_idle(const struct sl_pool *pool)
{
    struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &pool->conns[SL_CONN_IDLE].head, of_pool)
        if (conn->ping != SL_PING_VALIDATE)
            return conn;
    return NULL;
}

/* Places that are free, or will be when what is closing is gone. */
static uint32_t places(uint32_t limit, uint32_t alive, uint32_t closing)
{
    return sl_less(limit, alive) + sl_less(closing, sl_less(alive, limit));
}

/* Daemon-wide places to dial in: those that are free, else those of closing connections that no hungry target but
 * `target` counts on. */
static uint32_t places_in_all(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    uint32_t alive = sl_pool_alive(pool);
    if (alive < pool->limits.connections)
        return pool->limits.connections - alive;
    uint32_t left = places(pool->limits.connections, alive, pool->conns[SL_CONN_CLOSING].length);
    const struct sl_target_slot *other;
    TAILQ_FOREACH (other, &pool->hungry, want_link) {
        if (left == 0)
            break;
        if (other != target)
            left = sl_less(left, other->dials_wanted);
    }
    return left;
}

/* What the waiters that nothing covers have left to come by, as one pass over the queue goes on. */
struct means {
    uint32_t dialing;    /* connections under way that nobody counts on yet */
    uint32_t handshakes; /* dials that may begin now */
    uint32_t places;     /* of the target */
    uint32_t places_in_all;
};

/* A waiter that nothing covers: sees to it that a place will be there to dial in. True when a dial is to be wanted. */
static bool find_place(struct sl_pool *pool, struct sl_target_slot *target, struct means *means)
{
    if (means->handshakes == 0)
        return false;
    means->handshakes--;
    struct sl_conn_slot *conn;
    if (means->places == 0) {
        /* Whoever owns it: who may use it and came before has it by now, and who came later comes later. */
        conn = longest_idle_of(pool, target);
        if (conn != NULL)
            sl_conns_close(pool, conn, SL_REASON_MAKE_ROOM, 0);
        return false;
    }
    means->places--;
    if (means->places_in_all > 0) {
        means->places_in_all--;
        return true;
    }
    /* The daemon is full. dial_wanted() will close the longest idle of all; where that is one of ours, now is the time,
     * or somebody behind this waiter gets it. */
    conn = longest_idle(pool);
    if (conn != NULL && conn->target == target && conn->claim != pool->passes)
        sl_conns_close(pool, conn, SL_REASON_MAKE_ROOM, 0);
    return true;
}

/* One pass over the queue. Returns how many dials the target's own limits allow for those whom nothing covers. */
static uint32_t match_all(struct sl_pool *pool, struct sl_target_slot *target, uint32_t *ret_covering)
{
    pool->passes++;
    uint32_t dialing = target->conns[SL_CONN_DIALING].length;
    bool may_dial = !sl_serve_held_back(pool, target);
    struct means means = {
        .dialing = dialing,
        .handshakes = may_dial ? sl_less(target->policy.handshakes, dialing) : 0,
        .places =
            places(target->policy.max_connections, sl_target_alive(target), target->conns[SL_CONN_CLOSING].length),
        .places_in_all = places_in_all(pool, target),
    };
    uint32_t wanted = 0;
    struct sl_lease_slot *lease, *next;
    for (lease = TAILQ_FIRST(&target->waiting.head); lease != NULL; lease = next) {
        next = TAILQ_NEXT(lease, link);
        if (match(pool, lease))
            continue;
        if (means.dialing > 0)
            means.dialing--;
        else if (find_place(pool, target, &means))
            wanted++;
    }
    *ret_covering = dialing - means.dialing;

    struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_IDLE].head, of_target)
        if (conn->ping == SL_PING_VALIDATE && conn->claim != pool->passes)
            sl_conns_unreserve(pool, conn);
    /* Places that are still closing are not there yet. */
    return sl_min_u32(wanted, sl_less(target->policy.max_connections, sl_target_alive(target)));
}

/* --- what idles --- */

/* The longest idle connection that idle_timeout may take: no waiter's, and none that min_idle keeps. */
static struct sl_conn_slot *next_to_time_out(const struct sl_target_slot *target)
{
    if (target->policy.idle_timeout_ms == 0 || target->conns[SL_CONN_IDLE].length <= target->policy.min_idle)
        return NULL;
    struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_IDLE].head, of_target)
        if (conn->ping != SL_PING_VALIDATE)
            return conn;
    return NULL;
}

static void close_timed_out(struct sl_pool *pool, struct sl_target_slot *target)
{
    struct sl_conn_slot *conn;
    while ((conn = next_to_time_out(target)) != NULL &&
           sl_after(conn->since_ms, target->policy.idle_timeout_ms) <= pool->now_ms)
        sl_conns_close(pool, conn, SL_REASON_IDLE_TIMEOUT, 0);
}

/* How many idle connections are missing, those on their way to be idle and no waiter's included. */
static uint32_t missing_idle(const struct sl_pool *pool, const struct sl_target_slot *target, uint32_t covering)
{
    uint32_t spare = target->conns[SL_CONN_DIALING].length - covering;
    const struct sl_conn_slot *conn;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_IDLE].head, of_target)
        if (conn->claim != pool->passes)
            spare++;
    return sl_less(target->policy.min_idle, spare);
}

/* --- one target --- */

static void want(struct sl_pool *pool, struct sl_target_slot *target, enum sl_want what, uint32_t dials)
{
    target->dials_wanted = dials;
    if (target->want == what)
        return; /* and keeps its turn */
    if (target->want == SL_WANT_DEMAND)
        TAILQ_REMOVE(&pool->hungry, target, want_link);
    else if (target->want == SL_WANT_SPARE)
        TAILQ_REMOVE(&pool->thin, target, want_link);
    target->want = what;
    if (what == SL_WANT_DEMAND)
        TAILQ_INSERT_TAIL(&pool->hungry, target, want_link);
    else if (what == SL_WANT_SPARE)
        TAILQ_INSERT_TAIL(&pool->thin, target, want_link);
}

static void settle(struct sl_pool *pool, struct sl_target_slot *target)
{
    if (pool->phase != SL_PHASE_RUNNING || target->state == SL_TARGET_ABSENT) {
        want(pool, target, SL_WANT_NOTHING, 0);
        sl_timers_set(&pool->timers, &target->timer, SL_NEVER);
        return;
    }
    uint32_t covering;
    uint32_t demand = match_all(pool, target, &covering);
    close_timed_out(pool, target);
    uint32_t missing = missing_idle(pool, target, covering);

    if (demand > 0) {
        want(pool, target, SL_WANT_DEMAND, demand);
    } else {
        uint32_t spare = sl_min_u32(missing, sl_less(target->policy.max_connections, sl_target_alive(target)));
        spare = sl_min_u32(spare, sl_less(target->policy.handshakes, target->conns[SL_CONN_DIALING].length));
        if (sl_serve_held_back(pool, target))
            spare = 0;
        want(pool, target, spare > 0 ? SL_WANT_SPARE : SL_WANT_NOTHING, spare);
    }

    uint64_t due = SL_NEVER;
    if (sl_serve_held_back(pool, target) && (target->waiting.length > 0 || missing > 0))
        due = target->retry_at_ms;
    const struct sl_conn_slot *conn = next_to_time_out(target);
    if (conn != NULL)
        due = sl_min_u64(due, sl_after(conn->since_ms, target->policy.idle_timeout_ms));
    sl_timers_set(&pool->timers, &target->timer, due);
}

/* --- all targets --- */

static bool may_dial(const struct sl_pool *pool)
{
    return pool->conns[SL_CONN_DIALING].length < pool->limits.handshakes &&
           sl_pool_alive(pool) < pool->limits.connections;
}

/* One dial each in turn, so that a target with many waiters does not take every place. */
static void dial_in_turn(struct sl_pool *pool, struct sl_target_head *list, enum sl_reason reason)
{
    struct sl_target_slot *target;
    while ((target = TAILQ_FIRST(list)) != NULL && may_dial(pool)) {
        sl_conns_dial(pool, target, reason);
        enum sl_want what = target->want;
        uint32_t left = target->dials_wanted - 1;
        want(pool, target, SL_WANT_NOTHING, 0);
        want(pool, target, left > 0 ? what : SL_WANT_NOTHING, left);
    }
}

/* Waiters are kept from dialing by the number of connections in all: closes the longest idle ones, one for each dial
 * that could begin. None of them is of use to a waiter of its own target: every target is settled by now. */
static void make_room(struct sl_pool *pool)
{
    uint32_t coming = places(pool->limits.connections, sl_pool_alive(pool), pool->conns[SL_CONN_CLOSING].length);
    uint32_t handshakes = sl_less(pool->limits.handshakes, pool->conns[SL_CONN_DIALING].length);
    const struct sl_target_slot *target;
    uint32_t wanted = 0;
    TAILQ_FOREACH (target, &pool->hungry, want_link) {
        wanted = sl_min_u32(wanted + target->dials_wanted, handshakes);
        while (coming < wanted) {
            struct sl_conn_slot *conn = longest_idle(pool);
            if (conn == NULL)
                return;
            sl_conns_close(pool, conn, SL_REASON_MAKE_ROOM, 0);
            coming++;
        }
        if (wanted == handshakes)
            return;
    }
}

static void dial_wanted(struct sl_pool *pool)
{
    dial_in_turn(pool, &pool->hungry, SL_REASON_DEMAND);
    if (TAILQ_EMPTY(&pool->hungry))
        dial_in_turn(pool, &pool->thin, SL_REASON_MIN_IDLE);
    else
        make_room(pool);
}

void sl_serve(struct sl_pool *pool)
{
    do {
        struct sl_target_slot *target;
        while ((target = TAILQ_FIRST(&pool->dirty)) != NULL) {
            TAILQ_REMOVE(&pool->dirty, target, dirty_link);
            target->dirty_link.tqe_prev = NULL;
            settle(pool, target);
        }
        dial_wanted(pool);
    } while (!TAILQ_EMPTY(&pool->dirty));
}
