/* SPDX-License-Identifier: MIT */
/* vocabulary.h - the words between the core and its driver: events in, actions out. Pure types. */
#ifndef SSHLEASE_CORE_VOCABULARY_H
#define SSHLEASE_CORE_VOCABULARY_H

#include "base/id.h"

#include <stddef.h>

enum sl_conn_state {
    SL_CONN_GONE, /* no connection: the slot is free */
    SL_CONN_DIALING,
    SL_CONN_IDLE,
    SL_CONN_LEASED,
    SL_CONN_RETIRING, /* one of its leases was reclaimed, others go on: it takes no more */
    SL_CONN_DRAINING, /* its last lease is over: the far side is being cleaned up */
    SL_CONN_CLOSING,
};
const char *sl_conn_state_name(enum sl_conn_state state);

enum sl_lease_state {
    SL_LEASE_NONE, /* the slot is free */
    SL_LEASE_WAITING,
    SL_LEASE_GRANTED,
    SL_LEASE_MOVING,   /* granted, but its connection had no room for it, or is over: waits for another one */
    SL_LEASE_RELEASED, /* the client gave it back clean */
    SL_LEASE_ENDED,    /* reclaimed; its connection may still have to be cleaned up after it */
    SL_LEASE_REFUSED,  /* was never granted */
};
const char *sl_lease_state_name(enum sl_lease_state state);

/* Why something moved: the log's reason and the counters' label. */
#define SL_REASON_TABLE(X)                                                                                             \
    X(NONE, "none")                                                                                                    \
    /* leases */                                                                                                       \
    X(ASKED, "asked") /* a client asked */                                                                             \
    X(GRANTED, "granted")                                                                                              \
    X(CROWDED, "crowded")   /* the server opened no session for it beside those of others */                           \
    X(RELEASED, "released") /* given back clean */                                                                     \
    X(UNCLEAN, "unclean")   /* given back with something still open: reclaimed */                                      \
    X(CLIENT_GONE, "client-gone")                                                                                      \
    X(EXPIRED, "expired")                                                                                              \
    X(REVOKED, "revoked")         /* by an operator */                                                                 \
    X(NOT_ALLOWED, "not-allowed") /* its client may not lease the target any more: a reload */                         \
    X(CONNECTION_LOST, "connection-lost")                                                                              \
    X(SHUTDOWN, "shutdown")                                                                                            \
    X(TIMEOUT, "timeout") /* acquire_timeout passed */                                                                 \
    X(QUEUE_FULL, "queue-full")                                                                                        \
    X(TARGET_DOWN, "target-down")                                                                                      \
    X(NO_TARGET, "no-target") /* removed by a reload, or its name means nothing any more */                            \
    /* connections */                                                                                                  \
    X(DEMAND, "demand")     /* dialed for a waiter */                                                                  \
    X(MIN_IDLE, "min-idle") /* dialed ahead */                                                                         \
    X(READY, "ready")       /* authenticated */                                                                        \
    X(DIAL_FAILED, "dial-failed")                                                                                      \
    X(DRAINED, "drained") /* the far side is cleaned up, or could not be in time */                                    \
    X(CLOSED, "closed")   /* really gone */                                                                            \
    X(IDLE_TIMEOUT, "idle-timeout")                                                                                    \
    X(MAX_LIFETIME, "max-lifetime")                                                                                    \
    X(DEAD, "dead")           /* pings unanswered */                                                                   \
    X(OUTDATED, "outdated")   /* its target's settings changed */                                                      \
    X(RESET, "reset")         /* its owner wants new logins */                                                         \
    X(MAKE_ROOM, "make-room") /* idle for another owner or target, closed for a waiter */                              \
    X(SPENT, "spent")         /* it serves no command more: max_uses, or the server's own limit */                     \
    X(SURPLUS, "surplus")     /* over a limit that a reload lowered */

#define SL_REASON_ENUM(name, id) SL_REASON_##name,
enum sl_reason { SL_REASON_TABLE(SL_REASON_ENUM) SL_REASON_COUNT };
#undef SL_REASON_ENUM
const char *sl_reason_name(enum sl_reason reason);

enum sl_event_type {
    SL_EV_TIME,         /* time passed; nothing else */
    SL_EV_ACQUIRE,      /* target, owner, tag, acquire_timeout_ms, lease_timeout_ms, patient */
    SL_EV_CLIENT_GONE,  /* lease: its socket closed; ends a wait as well as a lease */
    SL_EV_RELEASE,      /* lease, clean, spent; ends a wait too */
    SL_EV_RENEW,        /* lease, lease_timeout_ms */
    SL_EV_REVOKE,       /* lease */
    SL_EV_RESET,        /* target, owner: what it has there is not leased again; nobody's, idle, neither */
    SL_EV_CROWDED,      /* lease: the server opens no session for it beside those of others */
    SL_EV_DISPLACED,    /* lease, status: its connection is spent (0) or lost, and nothing of it is under way there */
    SL_EV_CONN_READY,   /* conn */
    SL_EV_CONN_LOST,    /* conn, status: its dial failed, or it died in any later state. Answer: CLOSE */
    SL_EV_CONN_ALIVE,   /* conn: bytes were received, the answer to a PING among them */
    SL_EV_CONN_DRAINED, /* conn, lease: what that one left is cleaned up */
    SL_EV_CONN_GONE,    /* conn: really gone; every CLOSE is followed by exactly one */
    SL_EV_SHUTDOWN,     /* drain_ms: grant nothing more, wait that long for releases */
    SL_EV_SHUTDOWN_NOW, /* reclaim everything at once */
};

/* What is due by `now_ms` is done before the event is looked at: a RELEASE after the deadline finds the lease expired.
 *
 * CLIENT_GONE, RELEASE and REVOKE end whatever the lease is: a waiter is refused (RELEASE: reason released,
 * SL_E_CANCELLED; REVOKE: reason revoked, SL_E_REVOKED), a granted lease is given back or reclaimed. CLIENT_GONE has no
 * answer but the LEASE_MOVED fact (and DRAIN): the driver knows that nobody is there to be told. RENEW of a waiter is
 * ignored.
 *
 * RESET is for an owner whose next lease is to be a new login, with the rights that the account has by now. Its idle
 * connections are closed, and those that are nobody's yet, for they were logged in before; those that are leased are
 * closed when they are released, and taken by nobody else until then. A dial under way logs in from here on and stays.
 *
 * CROWDED takes the lease off its connection, which takes no more leases than it has from then on; MOVE follows, at
 * once or when another connection has room: the lease is moving until then, and waits like those who came when it did.
 * It keeps its deadlines. Where none has room within its acquire_timeout, it is ended (reason timeout). Ignored while
 * stopping, or when the target was removed.
 *
 * DISPLACED is the same, but nobody else is to come to that connection: it is closed with the last lease that leaves
 * it, which may be this one. A RELEASE that says `spent` closes it likewise.
 *
 * A CONN_GONE that no CLOSE asked for counts as CONN_LOST first; the CLOSE it answers names an id that is gone already.
 * SHUTDOWN may be said again, the shorter wait counts; a configuration may still come, but nothing is dialed any more.
 */

/* What happened. `now_ms` is any clock that the driver keeps from running backwards by more than the core forgives:
 * a smaller value than before counts as the value before. Unused fields are zero. An event about an id that is no
 * longer known is ignored: late callbacks are normal. */
struct sl_event {
    enum sl_event_type type;
    uint64_t now_ms;
    uint32_t target; /* index given to sl_pool_configure() */
    uint64_t owner;  /* owner class: the client's uid, or any one number where owners are shared */
    uint64_t tag;    /* the driver's own name for the request; comes back in actions */
    struct sl_id lease;
    struct sl_id conn;
    int status;
    bool clean;
    bool patient;                /* acquire_timeout_ms bounds its wait only where dials fail */
    bool spent;                  /* the connection serves no command more */
    uint64_t acquire_timeout_ms; /* 0: the target's */
    uint64_t lease_timeout_ms;   /* 0: the target's; RENEW: what ACQUIRE said */
    uint64_t drain_ms;
};

enum sl_action_type {
    SL_ACT_QUEUED, /* lease, tag: first answer to every ACQUIRE that is not refused on the spot */
    SL_ACT_NOTICE, /* lease, tag, position, status: still waiting; status says what went wrong last, or 0 */
    SL_ACT_GRANT,  /* lease, tag, conn, deadline_ms, max_deadline_ms */
    SL_ACT_MOVE,   /* lease, tag, conn: a lease that was moving goes on there */
    SL_ACT_REFUSE, /* lease (none if it was never queued; then no LEASE_MOVED either), tag, reason, status: on a timeout
                    * the last dial's, where that failed and a free place was not what was missing. The lease id is
                    * dead now */
    SL_ACT_RENEWED,  /* lease, tag, deadline_ms */
    SL_ACT_RELEASED, /* lease, tag, reason (released, unclean): the answer to RELEASE of a granted lease. The id is dead
                        now */
    SL_ACT_ENDED,    /* lease, tag, conn, reason, status: a granted lease is over, not by RELEASE. The id is dead now */
    SL_ACT_DIAL,     /* conn, target */
    SL_ACT_PING,     /* conn: make its server say something; the core keeps the deadline */
    SL_ACT_DRAIN,    /* conn, lease, tag, reason: clean up what the lease left on it, then CONN_DRAINED. The transport
                      * has a deadline of its own; the core's is a little later, for a transport that says nothing */
    SL_ACT_CLOSE,    /* conn. Its CONN_MOVED says why, as that of DIAL does */
    SL_ACT_CONN_MOVED,  /* conn, target, conn_from, conn_to, reason, status: a fact to log and count */
    SL_ACT_LEASE_MOVED, /* lease, target, lease_from, lease_to, reason, status: a fact to log and count */
    SL_ACT_STOPPED,     /* after SHUTDOWN: nothing is left */
};

struct sl_action {
    enum sl_action_type type;
    uint32_t target;
    uint64_t tag;
    struct sl_id lease;
    struct sl_id conn;
    enum sl_reason reason;
    int status; /* a code of proto/status.h: the error a client is to be told, or why a dial failed */
    uint32_t position;
    uint64_t deadline_ms, max_deadline_ms;
    enum sl_conn_state conn_from, conn_to;
    enum sl_lease_state lease_from, lease_to;
};

/* What one step answers, in order. Its room is reserved by sl_pool_configure(): a step cannot run out. */
struct sl_actions {
    struct sl_action *item;
    size_t count;
    size_t capacity;
};

#endif
