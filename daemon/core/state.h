/* SPDX-License-Identifier: MIT */
/* state.h - what a pool is made of, and the least that every module does to it: new actions, counts, marks. Decides
 * nothing. For the modules of daemon/core only; nobody else includes it.
 *
 * A state is membership in a list and a count is that list's length. Slots never move in memory; lists link them. */
#ifndef SSHLEASE_CORE_STATE_H
#define SSHLEASE_CORE_STATE_H

#include "daemon/core/pool.h"
#include "daemon/core/prng.h"
#include "daemon/core/timers.h"

#include <assert.h>
#include <sys/queue.h>

#define SL_NEVER UINT64_MAX

/* Beyond kill_grace, a drain gets this much before the core closes anyway: a little more than the transport allows
 * itself. */
#define SL_DRAIN_SLACK_MS 15000u

/* A connection that has lasted so long after its login was worth it: there are servers that let one in and hang up. */
#define SL_TRIAL_MS 10000u

/* Somebody who waits for a target that could not be reached has it tried at least so often (where retry_min is more, as
 * often as that says): a host that is back is found within seconds, however long it was away. */
#define SL_DEMAND_RETRY_MS 3000u

/* Leases reserved beyond limits.clients, for clients that the driver has accepted while others are on their way out. */
#define SL_CLIENT_SLACK 64u

#define SL_CONN_STATES  (SL_CONN_CLOSING + 1)
#define SL_LEASE_STATES (SL_LEASE_REFUSED + 1)

/* What an unanswered ping means for an idle or leased connection. */
enum sl_ping {
    SL_PING_NONE,      /* none is under way */
    SL_PING_KEEPALIVE, /* silence for server_alive_interval; several in a row unanswered mean death */
    SL_PING_VALIDATE,  /* a waiter is to get this idle connection; unanswered once means death */
};

/* Daemon-wide limits make targets queue for the right to dial, waiters before spare connections. */
enum sl_want {
    SL_WANT_NOTHING,
    SL_WANT_DEMAND, /* dials for waiters; on pool->hungry */
    SL_WANT_SPARE,  /* dials up to min_idle; on pool->thin */
};

enum sl_pool_phase {
    SL_POOL_RUNNING,
    SL_POOL_STOPPING, /* nothing is granted or dialed any more */
    SL_POOL_STOPPED,  /* and nothing is left; said once */
};

TAILQ_HEAD(sl_conn_head, sl_conn_slot);
struct sl_conn_list {
    struct sl_conn_head head;
    uint32_t length;
};

TAILQ_HEAD(sl_lease_head, sl_lease_slot);
struct sl_lease_list {
    struct sl_lease_head head;
    uint32_t length;
};

struct sl_conn_slot {
    struct sl_id id; /* the generation changes when the connection is gone */
    enum sl_conn_state state;
    struct sl_target_slot *target;     /* NULL when gone */
    struct sl_lease_list held;         /* the leases it serves, by lease->of_conn; none unless leased or retiring */
    struct sl_lease_list drains;       /* reclaimed ones that it is cleaned up after, by lease->link */
    TAILQ_ENTRY(sl_conn_slot) of_pool; /* pool->conns[state], all targets together */
    TAILQ_ENTRY(sl_conn_slot) of_target;
    struct sl_timer timer;
    uint64_t since_ms;  /* in this state */
    uint64_t ready_ms;  /* authenticated */
    uint64_t heard_ms;  /* bytes were last received */
    uint64_t pinged_ms; /* when the ping under way is overdue */
    enum sl_ping ping;
    uint32_t unanswered;   /* keepalives in a row */
    uint32_t lifetime_cut; /* this connection's share of chance in max_lifetime, of SL_LIFETIME_CUT_MAX */
    uint64_t epoch;        /* target->epoch when it was dialed; leased again only while they agree */
    bool reset;            /* its owner wants new logins: not leased again */
    uint32_t sharing;      /* leases it may have at once, as the policy said when it was dialed */
    uint32_t takes;        /* the same, as the server was seen to allow; 0: it is closed with its last lease */
    uint64_t claim;        /* the pass over the queue that has promised it to waiters */
    uint32_t claims;       /* to so many of them */
    uint64_t claim_owner;  /* of this class */
    bool proved;           /* the server has answered something since the login, or SL_TRIAL_MS are over */
    bool owned;            /* false until its first grant */
    uint64_t owner;
};
#define SL_LIFETIME_CUT_MAX 65536u

struct sl_lease_slot {
    struct sl_id id; /* the generation changes when the lease is over */
    enum sl_lease_state state;
    struct sl_target_slot *target;      /* NULL when free */
    struct sl_conn_slot *conn;          /* granted; ended: the one that is cleaned up after it */
    TAILQ_ENTRY(sl_lease_slot) link;    /* pool->free_leases, target->waiting, target->granted or conn->drains */
    TAILQ_ENTRY(sl_lease_slot) of_conn; /* conn->held while granted */
    struct sl_timer timer;
    uint64_t owner, tag;
    uint64_t serial;             /* order of arrival */
    uint64_t since_ms;           /* when it was asked for */
    uint64_t wait_ms;            /* refused then */
    uint64_t notice_ms;          /* told that it waits then; SL_NEVER once told */
    uint64_t failures_seen;      /* target->failure_serial on arrival: tells failures during the wait from older ones */
    uint64_t acquire_timeout_ms; /* what the client asked for, 0: the target's */
    uint64_t lease_timeout_ms;   /* the same */
    bool patient;                /* its wait has no end while what is missing is a free connection */
    uint64_t granted_ms, deadline_ms, max_deadline_ms;
    struct sl_lease_slot *next_opener; /* of those that this pass over the queue wants a dial for */
    uint32_t seats;                    /* of that connection to be, for others of the same owner */
};

enum sl_target_state {
    SL_TARGET_ABSENT, /* never configured, or removed while connections of it may still be on their way out */
    SL_TARGET_PRESENT,
};

struct sl_target_slot {
    uint32_t index;
    enum sl_target_state state;
    uint64_t identity;
    uint64_t retry_epoch; /* the operator's, as told last */
    uint64_t epoch;       /* connections of an older one are not leased again */
    struct sl_policy policy;
    struct sl_conn_list conns[SL_CONN_STATES]; /* idle: longest idle first */
    struct sl_lease_list waiting;              /* and moving; first come first */
    struct sl_lease_list granted;
    struct sl_timer timer;   /* retry or idle_timeout, whichever is first */
    bool credentials_work;   /* as they are now, and not rejected since */
    uint32_t failures;       /* rounds of failed dials in a row, until a connection has proved itself */
    int last_status;         /* of the last failed dial; 0 after a success */
    uint64_t failed_ms;      /* when the last round failed */
    uint64_t retry_at_ms;    /* no dial ahead of demand before */
    uint64_t demand_at_ms;   /* no dial for those who wait before; not later than retry_at_ms */
    uint64_t failure_serial; /* counts failed dials; never reset */
    enum sl_want want;
    uint32_t dials_wanted; /* how many more dials its own limits allow for what it wants */
    uint32_t ceiling;      /* max_connections, or what a reload that lowered it found above it */
    uint64_t configured;   /* the configuration that named it last */
    TAILQ_ENTRY(sl_target_slot) want_link;
    TAILQ_ENTRY(sl_target_slot) dirty_link; /* pool->dirty; tqe_prev is NULL when not on it */
};
TAILQ_HEAD(sl_target_head, sl_target_slot);

struct sl_chunk; /* reserve.c */

struct sl_pool {
    struct sl_limits limits;
    enum sl_pool_phase phase;
    uint64_t now_ms; /* never runs backwards */
    struct sl_prng prng;
    struct sl_actions actions;

    struct sl_conn_slot **conn;
    uint32_t conn_count;
    struct sl_conn_list conns[SL_CONN_STATES]; /* SL_CONN_GONE: the free slots; idle: longest idle first */
    uint32_t ceiling;                          /* limits.connections, or what a reload that lowered it found above it */

    struct sl_lease_slot **lease;
    uint32_t lease_count;
    struct sl_lease_list free_leases;
    uint64_t lease_serial;

    struct sl_target_slot **target; /* by index; NULL where none was ever configured */
    uint32_t target_count;
    uint64_t configurations;

    struct sl_target_head dirty;  /* something changed: look again at its waiters and idle connections */
    struct sl_target_head hungry; /* SL_WANT_DEMAND, first come first */
    struct sl_target_head thin;   /* SL_WANT_SPARE */
    uint64_t passes;              /* over wait queues, to tell this pass's claims from older ones */

    struct sl_timers timers;
    struct sl_timer stop_timer; /* leases still held are reclaimed then */

    struct sl_chunk *chunks;
};

/* a + b, or SL_NEVER where that does not fit. */
static inline uint64_t sl_after(uint64_t a, uint64_t b)
{
    return a > SL_NEVER - b ? SL_NEVER : a + b;
}

static inline uint64_t sl_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint32_t sl_min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t sl_max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* a - b, or 0. */
static inline uint32_t sl_less(uint32_t a, uint32_t b)
{
    return a > b ? a - b : 0;
}

/* Begins a step: no actions yet, it is `now_ms`, and what was due by then is done. Deadlines come before the event: a
 * release that arrives after its lease's deadline is too late. */
void sl_pool_begin(struct sl_pool *pool, uint64_t now_ms);

/* A new action at the end of the step's answer, zeroed but for its type. Its room was reserved. */
struct sl_action *sl_pool_act(struct sl_pool *pool, enum sl_action_type type);

/* Connections that exist: everything but gone. */
uint32_t sl_pool_alive(const struct sl_pool *pool);
uint32_t sl_target_alive(const struct sl_target_slot *target);

/* Something about this target changed: sl_serve() will look at it. */
void sl_target_mark(struct sl_pool *pool, struct sl_target_slot *target);

#endif
