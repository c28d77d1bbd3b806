/* SPDX-License-Identifier: MIT */
/* model_state.h - what the model remembers; shared by its two halves only. */
#ifndef SSHLEASE_SIM_MODEL_STATE_H
#define SSHLEASE_SIM_MODEL_STATE_H

#include "tests/sim/model.h"

enum m_state { M_FREE, M_ASKED, M_WAITING, M_GRANTED, M_MOVING };

struct m_request {
    enum m_state state;
    uint64_t tag, owner, serial;
    uint32_t target;
    struct sl_id lease;
    struct m_conn *conn;
    uint64_t asked_ms, wait_ms, notice_ms, acquire_timeout_ms, lease_timeout_ms, deadline_ms, max_deadline_ms;
    uint64_t failures_seen;
    int fault_before; /* the step: what its wait would have ended with */
    bool noticed, patient;
    int revoked; /* by the configuration under way, with this status; 0: not */
};

struct m_conn {
    struct sl_id id;
    enum sl_conn_state state;
    uint32_t target;
    uint64_t edition; /* of its target's settings, when it was dialed */
    bool owned;
    uint64_t owner;
    uint32_t holders, drains;
    uint32_t sharing; /* as it was when it was dialed */
    uint32_t takes;   /* since a lease was crowded out; UINT32_MAX before */
    uint64_t since_ms, dialed_ms, ready_ms, heard_ms;
    bool pinged;     /* and not heard of since */
    bool was_pinged; /* before the event under way, which says that bytes came */
    bool dial_said, ahead, close_said;
    bool reset;   /* its owner wanted new logins, and had it then, or nobody had */
    bool tainted; /* its lease was reclaimed, or it was lost: never to be leased again */
    bool proved;  /* the server answered after the login, or the connection has lasted */
};

/* A lease that is over, and its connection cleaned up after it. */
struct m_drain {
    struct sl_id lease; /* none: not used */
    struct sl_id conn;
    uint64_t due_ms; /* given up then */
};

struct m_target {
    bool known, present;
    uint64_t identity, retry_epoch, edition;
    struct sl_policy policy;
    uint32_t count[SL_CONN_CLOSING + 1];
    uint32_t waiters;
    bool credentials_work;
    uint32_t streak;    /* rounds of failed dials, at least, since a connection has proved itself */
    uint64_t failed_ms; /* when the last of them failed */
    int blocked_status; /* a standing failure, until blocked_ms */
    uint64_t blocked_ms;
    uint64_t held_ms;        /* the least backoff lets no dial begin before */
    uint64_t demand_held_ms; /* nor one that somebody waits for before */
    int last_status;
    uint64_t failures;
};

struct model {
    uint64_t now_ms;  /* as the core understands it */
    uint64_t next_ms; /* when the core wants to be woken */
    struct sl_limits limits;
    struct m_target target[MODEL_TARGETS];
    struct m_conn conn[MODEL_CONNS];
    uint32_t conn_high; /* all slots from here on were never used */
    uint32_t count[SL_CONN_CLOSING + 1];
    struct m_request request[MODEL_REQUESTS];
    struct m_drain drain[MODEL_LEASES]; /* by the lease's index */
    uint32_t drain_high;                /* all from here on were never used */
    uint64_t serial;
    uint32_t lease_generation[MODEL_LEASES]; /* used last in that slot */
    bool stopping, stopped;
    uint64_t stop_ms; /* leases may be reclaimed for the stop from then on */

    /* of the step under way */
    const struct sl_event *ev;
    struct m_request *asked_about;
    enum m_state asked_while;
    unsigned renewed, moved;
    const struct m_target *readied; /* the target of the dial that the event said went well; NULL: none */
    const struct m_conn *proved;    /* by the event: the connection that it said bytes came from; NULL: none */
    uint32_t streak_before;         /* its target's, before it was proved, and when that failed last */
    uint64_t failed_before_ms;
    int failed_status; /* the dial that the event said has failed */
    uint32_t failed_target;

    char broken[200];
};

__attribute__((format(printf, 2, 3))) void model_broken(struct model *m, const char *format, ...);

/* Leases that the connection may have at once. */
uint32_t model_room(const struct model *m, const struct m_conn *c);

/* What a wait for it that is over ends with. */
int model_fault(const struct model *m, const struct m_request *r);

/* Dials that may be under way for it at once. */
uint32_t model_handshakes(const struct m_target *t);

/* replay_conns.c */
/* A dial, or a login that came to nothing, which began at `began_ms`; where somebody waits, no longer than `most_ms`.
 */
void model_hold_back(struct model *m, struct m_target *t, uint64_t began_ms, uint64_t most_ms);
bool model_is_logged_in(const struct m_conn *c);
void model_prove(struct model *m, struct m_conn *c);
void model_prove_by_time(struct model *m);
struct m_conn *model_conn_of(struct model *m, struct sl_id id);
struct m_request *model_request_of_lease(struct model *m, struct sl_id lease);
void model_forget_drain(struct model *m, struct m_drain *d);
void model_on_conn_moved(struct model *m, const struct sl_action *act);
void model_on_dial(struct model *m, const struct sl_action *act);
/* PING, DRAIN, CLOSE */
void model_on_order(struct model *m, const struct sl_action *act);

/* replay.c */
void model_replay_event(struct model *m, const struct sl_event *ev);
void model_replay_actions(struct model *m, const struct sl_actions *actions);

#endif
