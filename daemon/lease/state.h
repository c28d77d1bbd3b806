/* SPDX-License-Identifier: MIT */
/* state.h - what the driver is made of; for daemon/lease/ only.
 *
 * Nothing here calls the core from within a callback. Whatever happens sets a bit in `todo` of the object it happened
 * to and puts that object on the driver's to-do list; sl_driver_flush() takes the list from its front, feeds the core
 * one event at a time and carries its actions out before the next. It runs twice in each turn of the loop, before
 * polling and right after it, so that nothing waits for a turn. The list needs no memory of its own: noting down cannot
 * fail. */
#ifndef SSHLEASE_LEASE_STATE_H
#define SSHLEASE_LEASE_STATE_H

#include "daemon/core/pool.h"
#include "daemon/lease/lease.h"
#include "daemon/ssh/transport.h"

#include <sys/queue.h>

/* Bits of `todo`, each set an event for the core, fed in this order. */
enum {
    /* of the driver */
    SL_TODO_CONFIGURE = 1u << 0, /* a target was added: tell the core before anything about it */
    SL_TODO_TIME = 1u << 1,
    SL_TODO_SHUTDOWN = 1u << 2,
    SL_TODO_SHUTDOWN_NOW = 1u << 3,
    /* of a connection */
    SL_TODO_READY = 1u << 4,
    SL_TODO_ALIVE = 1u << 5,
    SL_TODO_LOST = 1u << 6,
    SL_TODO_GONE = 1u << 7,
    /* of a lease */
    SL_TODO_REFUSE = 1u << 9, /* by the driver itself: the core never hears of it */
    SL_TODO_ACQUIRE = 1u << 10,
    SL_TODO_RENEW = 1u << 11,
    SL_TODO_REVOKE = 1u << 12,
    SL_TODO_RELEASE = 1u << 13,
    SL_TODO_CLIENT_GONE = 1u << 14,
    SL_TODO_CROWDED = 1u << 15,
    SL_TODO_DRAINED = 1u << 16,
};

struct sl_work {
    TAILQ_ENTRY(sl_work) entry; /* driver->todo while todo != 0 */
    enum { SL_WORK_DRIVER, SL_WORK_CONN, SL_WORK_LEASE } of;
    unsigned todo;
};
TAILQ_HEAD(sl_work_list, sl_work);

TAILQ_HEAD(sl_driver_lease_list, sl_lease);
TAILQ_HEAD(sl_driver_conn_list, sl_driver_conn);

enum sl_driver_target_phase {
    SL_DRIVER_TARGET_NEW, /* not told to the core yet */
    SL_DRIVER_TARGET_PRESENT,
    SL_DRIVER_TARGET_REMOVED, /* cannot be asked for any more; goes with its last connection and lease */
};

struct sl_driver_target {
    uint32_t index; /* the core's name for it */
    enum sl_driver_target_phase phase;
    bool kept; /* by the configuration that is being applied */
    uint64_t identity;
    struct sl_target_conf *conf;
    struct sl_compat *compat; /* what its server was seen to do */
    struct sl_quota *queue;   /* who of its users waits how often */
    uint64_t used_ms;         /* last asked for */
    char *last_error;         /* what the last failed dial said; NULL: nothing */
    struct sl_driver *driver;
    uint64_t retry_epoch;                  /* of this target alone */
    struct sl_basis refused;               /* what the last dial that was refused for good was made of */
    uint64_t refused_ms;                   /* when */
    uint32_t refusals;                     /* in a row, as far as it matters to who asks */
    struct sl_basis_look *look;            /* under way; NULL: none */
    uint64_t looked_ms;                    /* when the last one began */
    TAILQ_ENTRY(sl_driver_target) removed; /* driver->removed */
    struct sl_driver_lease_list leases;
    struct sl_driver_conn_list conns;
};

/* One of the core's connection slots. Never moves in memory: the transport holds a pointer to it from DIAL to
 * on_closed. */
struct sl_driver_conn {
    struct sl_work work;
    struct sl_driver *driver;
    struct sl_id id;                 /* none: free */
    struct sl_driver_target *target; /* NULL when free */
    TAILQ_ENTRY(sl_driver_conn) of_target;
    struct sl_conn *conn;               /* NULL: the transport could not begin, or it is gone again */
    struct sl_driver_lease_list leases; /* on it, those that are cleaned up after included */
    bool answered;                      /* a request made after the login */
    uint64_t identity;                  /* the target's when it was dialed */
    int lost_status;
    char *lost_text; /* for the log line about the loss; NULL: none */
};

enum sl_lease_phase {
    SL_LEASE_PHASE_ASKING, /* waits, in the core or on the way to it */
    SL_LEASE_PHASE_HELD,
    SL_LEASE_PHASE_RELEASING, /* the client gave it back; only the last callback is left */
    SL_LEASE_PHASE_ABANDONED, /* the client is gone; no callback is left */
    SL_LEASE_PHASE_DRAINING,  /* has had its last callback; its far side is being cleaned up */
    SL_LEASE_PHASE_OVER,      /* nothing is left of it; on driver->over until the actions under way are carried out */
};

struct sl_lease {
    struct sl_work work;
    struct sl_driver *driver;
    struct sl_id slot; /* its name in actions (the tag) */
    uint64_t number;   /* its name for people */
    enum sl_lease_phase phase;
    struct sl_id id;                 /* the core's; none before it is queued */
    struct sl_driver_target *target; /* NULL: unknown */
    TAILQ_ENTRY(sl_lease) link;      /* target->leases, or the driver's homeless, draining or over */
    struct sl_driver_conn *conn;     /* from its grant until it has left it; NULL while it is moving */
    TAILQ_ENTRY(sl_lease) on_conn;   /* conn->leases */
    struct sl_tenant *tenant;        /* on that connection, or parked; NULL: no memory for it, or cleaned up */
    uint32_t uncleaned;              /* streams opened under it, of which no clean-up has told yet */
    enum sl_reason reclaim;          /* why it is cleaned up after */
    const struct sl_lease_handler *handler;
    void *arg;
    struct sl_who who;
    char *name; /* that it was asked for by: TARGET or USER@TARGET */
    char *label;
    uint64_t asked_ms, acquire_timeout_ms, lease_timeout_ms, renew_ms;
    bool patient; /* its client knows no acquire timeout */
    bool counts;  /* as one of its user's leases, */
    bool waits;   /* and as one that waits */
    /* Fed to the core after a look at its target: lease/basis.c. */
    enum { SL_LOOKING_NOT, SL_LOOKING_AWAITED, SL_LOOKING_DONE } looking;
    int refuse_status;
    char *refuse_text; /* NULL: no memory for it */
};

struct sl_lease_entry {
    struct sl_lease *lease;
    uint32_t generation;
    uint32_t next_free;
};

#define SL_CONNS_PER_CHUNK 64u
struct sl_conn_chunk {
    struct sl_driver_conn slot[SL_CONNS_PER_CHUNK];
};

struct sl_counters {
    uint64_t lease[SL_LEASE_REFUSED + 1][SL_REASON_COUNT]; /* by state entered and reason */
    uint64_t conn[SL_CONN_CLOSING + 1][SL_REASON_COUNT];
    uint64_t refused_limit; /* by the driver itself */
    uint64_t reclaim_streams, reclaim_signalled, reclaim_swept, reclaim_remaining, reclaim_incomplete;
};

enum sl_driver_phase {
    SL_DRIVER_RUNNING,
    SL_DRIVER_STOPPING,
    SL_DRIVER_STOPPED, /* the core has nothing left; the handles are being closed */
    SL_DRIVER_CLOSED,
};

struct sl_driver {
    struct sl_work work;
    uv_loop_t *loop;
    const struct sl_log *log;
    struct sl_transport *transport;
    struct sl_conf *conf;
    struct sl_pool *pool;
    struct sl_quota *quota;
    enum sl_driver_phase phase;
    bool flushing;   /* guards against re-entry; an assertion, no state */
    bool configured; /* actions of sl_pool_configure() are still to be carried out */
    bool moved;      /* something the observer wants to know of */

    uv_timer_t timer;       /* the core's next deadline */
    uv_timer_t sweep_timer; /* runs while there are ad-hoc targets, to drop unused ones */
    uv_timer_t look_timer;  /* runs while targets are looked at, to let go of who waits for that */
    uv_prepare_t prepare;
    uv_check_t check;
    unsigned handles; /* not yet closed */

    struct sl_work_list todo;

    struct sl_driver_target **target; /* by index; NULL: free */
    uint32_t target_count;
    struct sl_driver_target **by_name; /* new and present ones, sorted */
    uint32_t named_count;
    TAILQ_HEAD(, sl_driver_target) removed;
    uint64_t identities;     /* the last one given out */
    uint64_t configurations; /* applied; a new ad-hoc target is none, and forgives nobody's failed dials */

    struct sl_conn_chunk **chunk;
    uint32_t chunk_count;

    struct sl_lease_entry *lease_slot;
    uint32_t lease_slot_count;
    uint32_t lease_slot_free;             /* head of the list of free ones; UINT32_MAX: none */
    uint64_t lease_numbers;               /* the last one given out */
    struct sl_driver_lease_list homeless; /* of no target: to be refused */
    struct sl_driver_lease_list draining;
    struct sl_driver_lease_list over;

    struct sl_counters counters;
    sl_driver_changed_fn changed;
    void *changed_arg;
    sl_driver_stopped_fn stopped;
    void *stopped_arg;
};

/* lease/todo.c: the to-do list. A bit that is set already stays where it is in line; forgetting takes all of them. */
void sl_driver_note(struct sl_driver *d, struct sl_work *work, unsigned todo);
void sl_driver_forget(struct sl_driver *d, struct sl_work *work);
/* What is noted of it comes after all that is noted now. */
void sl_driver_note_last(struct sl_driver *d, struct sl_work *work);

/* lease/targets.c */
/* The table, and what the core knows of it, become what `conf` says; the actions are carried out with the next flush.
 * `conf` stays the caller's. 0, SL_E_NOMEM or SL_E_LIMIT, then nothing has changed. */
int sl_driver_targets_apply(struct sl_driver *d, const struct sl_conf *conf);
void sl_driver_targets_free(struct sl_driver *d);
/* The target that `conf` is the settings of; one of the one-user mode is made. 0, SL_E_LIMIT or SL_E_NOMEM. */
int sl_driver_targets_take(struct sl_driver *d, struct sl_target_conf *conf, struct sl_driver_target **ret_target);
/* The one of exactly that name, or NULL. */
struct sl_driver_target *sl_driver_targets_known(const struct sl_driver *d, const char *name);
/* The core's owner of what `uid` leases there. */
uint64_t sl_driver_owner_class(const struct sl_driver_target *target, uid_t uid);
/* Drops ad-hoc targets that have nothing to remember and were not asked for in so long. */
void sl_driver_targets_sweep(struct sl_driver *d, uint64_t unused_ms);
/* Tells the core what there is now. True: it has actions to be carried out. */
bool sl_driver_targets_configure(struct sl_driver *d);
/* Frees removed targets that nothing refers to any more. */
void sl_driver_targets_collect(struct sl_driver *d);

/* lease/door.c */
/* The sentence for that status of sl_driver_admit(), or of what follows it. */
void sl_driver_door_says(
    const struct sl_driver *d, int status, const char *name, const struct sl_who *who, char *text, size_t size);
/* The leases and waits that the core knows of and that are not to be had any more under `conf`, by the rights that their
 * clients had when they connected. 0 and an array that the caller frees, or SL_E_NOMEM. */
int sl_driver_door_revokes(
    const struct sl_driver *d, const struct sl_conf *conf, struct sl_pool_revocation **ret_item, size_t *ret_count);

/* lease/basis.c */
/* A client is not refused for want of something that was mended just now, even without an operator. What is mended on the
 * server is found out by a try: after a second, and with each refusal in a row after twice as long, up to this. That many
 * failed logins OpenSSH's PerSourcePenalties does not mind. */
#define SL_KNOCK_MAX_MS 15000u
/* A dial has failed with `status`. */
void sl_driver_basis_failed(struct sl_driver_conn *slot, int status);
/* Whether the lease is to be fed to the core later, after a look at its target: it is then noted again. */
bool sl_driver_basis_awaits(struct sl_lease *lease);
/* When a target that refuses everybody with `status` until `retry_at_ms` is tried for who asks. */
uint64_t sl_driver_basis_retry_ms(
    const struct sl_driver *d, const struct sl_driver_target *target, int status, uint64_t retry_at_ms);
/* After a reload: what was made of other files, or leads to an address that is no longer the host's, goes. */
void sl_driver_basis_verify(struct sl_driver *d);
/* Connections made before are not leased again. */
void sl_driver_target_renew(struct sl_driver *d, struct sl_driver_target *target);
void sl_driver_basis_forget(struct sl_driver_target *target);
void sl_driver_basis_forget_all(struct sl_driver *d);

/* lease/conns.c */
struct sl_driver_conn *sl_driver_conn_find(struct sl_driver *d, struct sl_id id);
int sl_driver_conns_reserve(struct sl_driver *d, uint32_t count);
void sl_driver_conns_free(struct sl_driver *d);
void sl_driver_conn_dial(struct sl_driver *d, const struct sl_action *act);
void sl_driver_conn_ping(struct sl_driver *d, const struct sl_action *act);
void sl_driver_conn_close(struct sl_driver *d, const struct sl_action *act);
void sl_driver_conn_moved(struct sl_driver *d, const struct sl_action *act);
/* Feeds what the slot's todo bit `todo` stands for into *ret_event. */
void sl_driver_conn_event(struct sl_driver_conn *slot, unsigned todo, struct sl_event *ret_event);

/* lease/phase.c */
/* A name for the core (the tag). 0 or SL_E_NOMEM. */
int sl_driver_lease_name(struct sl_driver *d, struct sl_lease *lease);
void sl_driver_lease_unname(struct sl_lease *lease);
struct sl_lease *sl_driver_lease_by_tag(struct sl_driver *d, uint64_t tag);
/* The list that it is on in its phase. */
struct sl_driver_lease_list *sl_driver_lease_home(struct sl_lease *lease);
/* The only way to change its phase. */
void sl_driver_lease_move(struct sl_lease *lease, enum sl_lease_phase phase);
void sl_driver_lease_join(struct sl_lease *lease, struct sl_driver_conn *conn);
/* Its tenant is the transport's from here on, or gone. */
void sl_driver_lease_leave(struct sl_lease *lease);
struct sl_lease *sl_driver_lease_of_tenant(struct sl_driver_conn *slot, const struct sl_tenant *tenant);

/* lease/share.c */
void sl_driver_shares_apply(struct sl_driver *d, const struct sl_limits *limits);
/* It is one more of its user's, and waits. 0, SL_E_LIMIT, SL_E_QUEUE_FULL or SL_E_NOMEM, then it is not and `text` has the
 * sentence. */
int sl_driver_lease_count(struct sl_lease *lease, char *text, size_t size);
/* Both idempotent. */
void sl_driver_lease_waits_no_more(struct sl_lease *lease);
void sl_driver_lease_uncount(struct sl_lease *lease);

/* lease/life.c */
void sl_driver_leases_free(struct sl_driver *d);
/* False: nothing for the core in it. */
bool sl_driver_lease_event(struct sl_lease *lease, unsigned todo, struct sl_event *ret_event);
void sl_driver_lease_answer(struct sl_driver *d, const struct sl_action *act);
void sl_driver_lease_moved(struct sl_driver *d, const struct sl_action *act);
void sl_driver_leases_bury(struct sl_driver *d);
/* After a reload: what the core has not heard of yet is refused where it is not to be had any more. */
void sl_driver_leases_ask_again(struct sl_driver *d);

/* lease/reclaim.c */
void sl_driver_lease_drain(struct sl_driver *d, const struct sl_action *act);
/* The transport has cleaned up after the tenant of one of the connection's leases. */
void sl_driver_lease_drained(
    struct sl_driver_conn *slot, const struct sl_tenant *tenant, const struct sl_drain_report *report);
/* The connection is closing: whatever it left uncleaned is told. */
void sl_driver_leases_uncleaned(struct sl_driver_conn *slot, const struct sl_action *act);
/* Tells that nothing was cleaned up after a lease that was reclaimed while it had no connection. */
void sl_driver_lease_uncleaned(const struct sl_lease *lease, enum sl_reason reason);
/* It is gone: nobody is on it any more. */
void sl_driver_leases_leave(struct sl_driver_conn *slot);

/* lease/words.c: what a person is told. */
#define SL_REFUSAL_SIZE 2048u
void sl_driver_refusal(const struct sl_lease *lease, enum sl_reason reason, int status, char *buf, size_t size);
void sl_driver_waiting(const struct sl_lease *lease, int status, char *buf, size_t size);
void sl_driver_ending(const struct sl_lease *lease, enum sl_reason reason, int status, char *buf, size_t size);

#endif
