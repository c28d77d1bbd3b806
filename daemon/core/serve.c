/* SPDX-License-Identifier: MIT */
/* One look at a target (settle) goes like this:
 *  1. Every waiter, in order of arrival, is matched with an idle connection that it may use, or else with a leased one
 *     of its owner that has room: granted where the server was heard of lately, else pinged first. Connections that are
 *     dialing cover the next waiters, whoever they are, and where connections are shared others of the same owner, too.
 *  2. A waiter that nothing covers wants a dial, and others of its owner share it. Where a limit is in the way and an
 *     idle connection could leave, the longest idle one is closed for it, before anybody behind it can be given that
 *     connection.
 *  3. What idled too long is closed; min_idle may want dials too.
 *  4. Wishes that its own limits allow put the target on the list of the hungry or the thin. dial_wanted() serves these
 *     in turn as far as the daemon-wide limits go, the hungry first.
 * What changes on the way marks targets again; sl_serve() goes on until no mark is left. Each turn of it grants, pings,
 * dials or closes something, and there is only so much of that, so it ends. */
#include "daemon/core/serve.h"

#include "daemon/core/conns.h"
#include "daemon/core/leases.h"
#include "daemon/core/retry.h"

/* --- matching waiters with connections --- */

bool sl_serve_may_use(const struct sl_conn_slot *conn, const struct sl_lease_slot *lease)
{
    return conn->target == lease->target && conn->epoch == conn->target->epoch &&
           (!conn->owned || conn->target->policy.owners_shared || conn->owner == lease->owner);
}

/* How many more of this waiter's owner class the connection will take, after those whom this pass has promised it to.
 */
static uint32_t seats(const struct sl_pool *pool, const struct sl_conn_slot *conn, const struct sl_lease_slot *lease)
{
    bool claimed = conn->claim == pool->passes;
    if (claimed && conn->claim_owner != lease->owner && !conn->target->policy.owners_shared)
        return 0;
    return sl_less(sl_conns_room(conn), conn->held.length + (claimed ? conn->claims : 0));
}

static void claim(const struct sl_pool *pool, struct sl_conn_slot *conn, const struct sl_lease_slot *lease)
{
    if (conn->claim != pool->passes)
        conn->claims = 0;
    conn->claim = pool->passes;
    conn->claim_owner = lease->owner;
    conn->claims++;
}

/* For one waiter, the best of each kind; NULL where there is none. */
struct choice {
    struct sl_conn_slot *fresh;      /* can be granted now */
    struct sl_conn_slot *validating; /* has been pinged for a waiter already */
    struct sl_conn_slot *stale;      /* must be pinged first */
};

static bool may_share(const struct sl_pool *pool, const struct sl_conn_slot *conn, const struct sl_lease_slot *lease)
{
    return sl_conns_room(conn) > 1 && sl_serve_may_use(conn, lease) && sl_conns_spent(pool, conn) == SL_REASON_NONE &&
           seats(pool, conn, lease) > 0;
}

/* A place on a leased connection: where the fewest are, so that a reclaim and a server's limit touch as few as can be.
 * One that has left a ping unanswered is not asked twice. */
static void choose_shared(const struct sl_pool *pool, const struct sl_lease_slot *lease, struct choice *choice)
{
    struct sl_conn_slot *conn;
    struct choice shared = {NULL, NULL, NULL};
    TAILQ_FOREACH (conn, &lease->target->conns[SL_CONN_LEASED].head, of_target) {
        if (!may_share(pool, conn, lease))
            continue;
        bool fresh = sl_conns_fresh(pool, conn);
        if (!fresh && conn->unanswered > 0)
            continue;
        struct sl_conn_slot **best = fresh                            ? &shared.fresh
                                     : conn->ping == SL_PING_VALIDATE ? &shared.validating
                                                                      : &shared.stale;
        if (*best == NULL || (*best)->held.length > conn->held.length)
            *best = conn;
    }
    /* What can be had now comes before what must be asked, or who comes later would be served first. */
    if (choice->fresh == NULL)
        choice->fresh = shared.fresh;
    if (choice->validating == NULL && choice->stale == NULL) {
        choice->validating = shared.validating;
        choice->stale = shared.stale;
    }
}

/* An idle connection: most recently used first, as the list is ordered; but the waiter's own before nobody's, which
 * serve everybody. Where there is none, a place on a leased one. */
static void choose(const struct sl_pool *pool, const struct sl_lease_slot *lease, struct choice *ret_choice)
{
    struct choice choice = {NULL, NULL, NULL};
    struct sl_conn_slot *conn;
    TAILQ_FOREACH_REVERSE (conn, &lease->target->conns[SL_CONN_IDLE].head, sl_conn_head, of_target) {
        if (seats(pool, conn, lease) == 0 || !sl_serve_may_use(conn, lease))
            continue;
        struct sl_conn_slot **best = sl_conns_fresh(pool, conn)       ? &choice.fresh
                                     : conn->ping == SL_PING_VALIDATE ? &choice.validating
                                                                      : &choice.stale;
        if (*best == NULL || (!(*best)->owned && conn->owned))
            *best = conn;
    }
    if (lease->target->policy.sharing > 1)
        choose_shared(pool, lease, &choice);
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
        claim(pool, choice.validating, lease);
        return true;
    }
    if (choice.stale != NULL) {
        claim(pool, choice.stale, lease);
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

/* What is left to dial with for the waiters that nothing covers, as one pass over the queue goes on. */
struct dial_budget {
    struct sl_conn_slot *dialing;  /* the first of those under way that somebody may count on yet */
    struct sl_lease_slot *openers; /* waiters that a dial is wanted for; others may share its connection */
    uint32_t handshakes;           /* dials that may begin now */
    uint32_t places;               /* of the target */
    uint32_t places_in_all;
};

static bool await_dial(const struct sl_pool *pool, const struct sl_lease_slot *lease, struct dial_budget *budget)
{
    struct sl_conn_slot *conn;
    while (budget->dialing != NULL && budget->dialing->claim == pool->passes &&
           budget->dialing->claims >= sl_conns_room(budget->dialing))
        budget->dialing = TAILQ_NEXT(budget->dialing, of_target);
    for (conn = budget->dialing; conn != NULL; conn = TAILQ_NEXT(conn, of_target)) {
        if (seats(pool, conn, lease) > 0) {
            claim(pool, conn, lease);
            return true;
        }
    }
    return false;
}

/* True when a waiter before this one wants a dial, and its connection will have room for both. */
static bool take_seat(const struct sl_lease_slot *lease, const struct dial_budget *budget)
{
    struct sl_lease_slot *opener;
    for (opener = budget->openers; opener != NULL; opener = opener->next_opener) {
        if (opener->seats > 0 && (opener->owner == lease->owner || lease->target->policy.owners_shared)) {
            opener->seats--;
            return true;
        }
    }
    return false;
}

static void open_seats(struct sl_lease_slot *lease, struct dial_budget *budget)
{
    lease->seats = lease->target->policy.sharing - 1;
    if (lease->seats > 0) {
        lease->next_opener = budget->openers;
        budget->openers = lease;
    }
}

/* A waiter that nothing covers: sees to it that a place will be there to dial in. True when a dial is to be wanted. */
static bool find_place(struct sl_pool *pool, struct sl_target_slot *target, struct dial_budget *budget)
{
    if (budget->handshakes == 0)
        return false;
    budget->handshakes--;
    struct sl_conn_slot *conn;
    if (budget->places == 0) {
        /* Whose it is does not matter: a waiter before this one that may use it has it by now; one behind it waits. */
        conn = longest_idle_of(pool, target);
        if (conn != NULL)
            sl_conns_close(pool, conn, SL_REASON_MAKE_ROOM, 0);
        return false;
    }
    budget->places--;
    if (budget->places_in_all > 0) {
        budget->places_in_all--;
        return true;
    }
    /* The daemon is full. dial_wanted() will close the longest idle of all; where that is one of ours, now is the time,
     * or somebody behind this waiter gets it. */
    conn = longest_idle(pool);
    if (conn != NULL && conn->target == target && conn->claim != pool->passes)
        sl_conns_close(pool, conn, SL_REASON_MAKE_ROOM, 0);
    return true;
}

/* Connections that were pinged for waiters who are served otherwise, or gone. */
static void unreserve(struct sl_pool *pool, struct sl_target_slot *target)
{
    static const enum sl_conn_state asked[] = {SL_CONN_IDLE, SL_CONN_LEASED};
    struct sl_conn_slot *conn;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        TAILQ_FOREACH (conn, &target->conns[asked[i]].head, of_target)
            if (conn->ping == SL_PING_VALIDATE && conn->claim != pool->passes)
                sl_conns_unreserve(pool, conn);
}

/* One pass over the queue. Returns how many dials the target's own limits allow for those whom nothing covers. */
static uint32_t match_all(struct sl_pool *pool, struct sl_target_slot *target, uint32_t *ret_covering)
{
    pool->passes++;
    uint32_t dialing = target->conns[SL_CONN_DIALING].length;
    bool may_dial = !sl_retry_demand_held_back(pool, target);
    struct dial_budget budget = {
        .dialing = TAILQ_FIRST(&target->conns[SL_CONN_DIALING].head),
        .handshakes = may_dial ? sl_less(sl_retry_handshakes(target), dialing) : 0,
        .places =
            places(target->policy.max_connections, sl_target_alive(target), target->conns[SL_CONN_CLOSING].length),
        .places_in_all = places_in_all(pool, target),
    };
    uint32_t wanted = 0;
    struct sl_lease_slot *lease, *next;
    for (lease = TAILQ_FIRST(&target->waiting.head); lease != NULL; lease = next) {
        next = TAILQ_NEXT(lease, link);
        if (match(pool, lease) || await_dial(pool, lease, &budget) || take_seat(lease, &budget))
            continue;
        if (budget.handshakes > 0)
            open_seats(lease, &budget);
        if (find_place(pool, target, &budget))
            wanted++;
    }
    struct sl_conn_slot *conn;
    *ret_covering = 0;
    TAILQ_FOREACH (conn, &target->conns[SL_CONN_DIALING].head, of_target)
        *ret_covering += conn->claim == pool->passes;
    unreserve(pool, target);
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

/* Whether a connection is under way or not yet worth its login. */
static bool on_trial(const struct sl_target_slot *target)
{
    static const enum sl_conn_state kept[] = {SL_CONN_IDLE, SL_CONN_LEASED};
    const struct sl_conn_slot *conn;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        TAILQ_FOREACH (conn, &target->conns[kept[i]].head, of_target)
            if (!conn->proved)
                return true;
    return target->conns[SL_CONN_DIALING].length > 0;
}

/* How many connections may be dialed now that nobody waits for. */
static uint32_t spare_dials(const struct sl_pool *pool, const struct sl_target_slot *target)
{
    if (sl_retry_held_back(pool, target))
        return 0;
    uint32_t places = sl_less(target->policy.max_connections, sl_target_alive(target));
    uint32_t dials = sl_less(sl_retry_handshakes(target), target->conns[SL_CONN_DIALING].length);
    /* After failures one at a time, each when the one before it has proved itself. */
    if (target->failures > 0)
        dials = on_trial(target) ? 0 : sl_min_u32(dials, 1);
    return sl_min_u32(places, dials);
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
    if (pool->phase != SL_POOL_RUNNING || target->state == SL_TARGET_ABSENT) {
        want(pool, target, SL_WANT_NOTHING, 0);
        pool->passes++;
        unreserve(pool, target);
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
        uint32_t spare = sl_min_u32(missing, spare_dials(pool, target));
        want(pool, target, spare > 0 ? SL_WANT_SPARE : SL_WANT_NOTHING, spare);
    }

    uint64_t due = SL_NEVER;
    if (sl_retry_demand_held_back(pool, target) && target->waiting.length > 0)
        due = target->demand_at_ms;
    if (sl_retry_held_back(pool, target) && missing > 0)
        due = sl_min_u64(due, target->retry_at_ms);
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
