/* SPDX-License-Identifier: MIT */
/* world.h - virtual time around the real core: servers that answer, refuse, stall and die, and the driver's part
 * between them and the pool. Keeps a trace; compares every step with the model and ends the program where something is
 * broken. */
#ifndef SSHLEASE_SIM_WORLD_H
#define SSHLEASE_SIM_WORLD_H

#include "daemon/core/pool.h"

#define WORLD_TARGETS 16u
#define WORLD_CLIENTS 64u
#define WORLD_CONNS   256u

/* How a target's server behaves from now on. Times in ms. */
struct server {
    uint64_t dial_ms;   /* until a dial ends, well or badly */
    int dial_status;    /* 0: well */
    bool two_machines;  /* behind its name: every second dial ends well */
    uint64_t hangup_ms; /* it lets a dial in and hangs up after so long; 0: it does not */
    bool dial_stalls;   /* it never ends by itself: connect_timeout or login_timeout do */
    uint64_t pong_ms;   /* until a ping is answered */
    bool deaf;          /* pings are not answered */
    uint64_t drain_ms;  /* until it is cleaned up */
    bool drain_stalls;  /* that is never said */
    uint64_t close_ms;  /* until a closed connection is gone */
};

struct client {
    bool busy; /* waits for a lease or has one */
    uint64_t tag;
    uint64_t owner;
    uint32_t target;
    struct sl_id lease; /* none before QUEUED */
    struct sl_id conn;  /* none before GRANT */
    uint64_t lease_ms;
    int revoke; /* the status with which the next configuration takes what it has, or waits for; 0: it does not */
};

struct world_conn {
    struct sl_id id; /* none: the slot was never used */
    bool exists;     /* not gone yet */
    bool dialed;     /* the dial ended well */
    bool close_said;
    bool deaf; /* this one, whatever its server does */
    uint32_t target;
    uint32_t number;          /* web.1, web.2, … in traces */
    enum sl_reason moved_for; /* the last time */
};

struct happening;

struct world {
    struct sl_pool *pool;
    struct model *model;
    uint64_t now_ms;
    uint64_t seed;
    uint64_t steps; /* events fed */
    bool stopped;

    struct sl_limits limits;
    struct sl_pool_target targets[WORLD_TARGETS]; /* as configured last */
    size_t target_count;
    char target_name[WORLD_TARGETS][16];
    uint32_t dials[WORLD_TARGETS]; /* so far, for numbers */
    struct server server[WORLD_TARGETS];
    struct client client[WORLD_CLIENTS];
    uint64_t next_serial;
    struct world_conn conn[WORLD_CONNS];

    struct happening *agenda; /* a heap: what will happen, in order of time */
    size_t agenda_count, agenda_capacity;
    uint64_t agenda_serial;

    bool tracing;
    char *trace;
    size_t trace_length, trace_capacity;
    bool echo;                                            /* to standard output as well */
    void (*on_broken)(struct world *w, const char *what); /* does not return */
};

/* Everything works at once: servers answer in 0 ms until told otherwise. */
struct world *world_new(uint64_t seed, const struct sl_limits *limits);
void world_free(struct world *w);

/* Those of the clients with `revoke` lose what they have by it. */
void world_configure(
    struct world *w, const struct sl_limits *limits, const struct sl_pool_target *targets, size_t count);

/* Feeds one event at the world's time and carries out the answer. */
void world_step(struct world *w, struct sl_event ev);

/* When something will happen next: in the world, or a deadline of the core. UINT64_MAX: never. */
uint64_t world_next_ms(const struct world *w);
/* Lets the next thing happen, if it happens until `until_ms`; time is then what it was due. False when there is none.
 */
bool world_happen(struct world *w, uint64_t until_ms);
/* Everything until then, and it is then. */
void world_run_until(struct world *w, uint64_t until_ms);

/* Clients. acquire: `client` is not busy. */
void world_acquire(struct world *w, uint32_t client, uint32_t target, uint64_t owner, uint64_t acquire_timeout_ms,
    uint64_t lease_timeout_ms, bool patient);
/* An event about what it has; nothing when that is nothing. world_client() for SL_EV_RELEASE, RENEW, REVOKE, CROWDED
 * and CLIENT_GONE. */
void world_lease_event(struct world *w, uint32_t client, struct sl_event ev);
void world_client(struct world *w, uint32_t client, enum sl_event_type type, bool clean, uint64_t lease_timeout_ms);

/* Something about a connection that exists: SL_EV_CONN_LOST, CONN_ALIVE …, now. */
void world_conn_event(struct world *w, struct sl_id conn, enum sl_event_type type, int status);

/* "[  1234] text" as one line of the trace. */
__attribute__((format(printf, 2, 3))) void world_trace(struct world *w, const char *format, ...);
void world_trace_clear(struct world *w);

#endif
