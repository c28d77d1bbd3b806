/* SPDX-License-Identifier: MIT */
/* tenant.h - what one lease has on its connection: the counters of its streams and the cookies that mark what it
 * started. Never ends anything on the far side: reclaim.c does. The public verbs are in transport.h. */
#ifndef SSHLEASE_SSH_CHANNEL_TENANT_H
#define SSHLEASE_SSH_CHANNEL_TENANT_H

#include "daemon/ssh/session/conn_base.h"

struct sl_reclaim;

enum sl_tenant_state {
    SL_TENANT_LIVE,
    SL_TENANT_CROWDED,  /* it has to go on elsewhere: on_crowded is pending */
    SL_TENANT_LEAVING,  /* and was told; it waits to be parked */
    SL_TENANT_PARKED,   /* it is on no connection */
    SL_TENANT_DRAINING, /* reclaimed: what it started is being ended */
    SL_TENANT_DRAINED,  /* on_drained is pending */
};

#define SL_COOKIE_SIZE 64u
/* Marks of one lease beyond the present connection's; what has more is not found by its sweep. */
#define SL_MARKS_MAX 256u

struct sl_tenant {
    TAILQ_ENTRY(sl_tenant) link; /* conn->tenants */
    struct sl_conn *conn;        /* NULL: parked */
    struct sl_target_conf *target;
    struct sl_quota *quota; /* that its streams are of; NULL: none */
    uid_t uid;              /* whose they are there */
    enum sl_tenant_state state;
    struct sl_stream_list parked; /* its streams, while it is */
    uint32_t epoch;               /* of the cookies of channels that were opened for it */
    uint32_t stream_count;        /* open now */
    uint32_t sessions;            /* of these, those that are no forwards */
    uint32_t streams;             /* opened so far */
    uint32_t started;             /* commands that were sent, */
    uint32_t started_here;        /* those on the present connection, */
    uint64_t started_ms;          /* and when the first of these was */
    /* What its processes carry, beside the cookies of its epoch: of channels that were opened before it began, and of
     * connections that it has left. */
    char (*mark)[SL_COOKIE_SIZE];
    uint32_t marks, marks_lost;
    unsigned moves;           /* in a row without a command that was started */
    uint32_t refused_after;   /* a command was refused on a connection that had served so many; 0: none */
    uint32_t cookies_refused; /* streams that have no cookie, */
    uint32_t unmarked_here;   /* those on the present connection */
    uint32_t commands_before; /* that had ended on the present connection when it came there */
    uint32_t ended_by_server; /* streams whose channel the server had closed before we did, since the drain began */
    uint32_t remote_count;    /* ports that the server listens on for it */
    unsigned tainted;         /* requests given up on that the server may still answer */
    unsigned orphans;         /* opens given up on: the server may open them yet */
    struct sl_reclaim *reclaim;
};

/* It is gone; nothing of the room refers to it any more. */
void sl_tenant_free(struct sl_tenant *tenant);
/* The one way into another state. */
void sl_tenant_enter(struct sl_tenant *tenant, enum sl_tenant_state state);
/* It was not reclaimed. */
bool sl_tenant_goes_on(const struct sl_tenant *tenant);
/* Its streams wait for nothing here: it is to move, or has no connection. */
bool sl_tenant_is_frozen(const struct sl_tenant *tenant);
/* There is no session for it. True when it can move and the driver is going to be told; false: it has to be refused. */
bool sl_tenant_crowd(struct sl_tenant *tenant);
/* Its processes carry this as well. */
void sl_tenant_mark(struct sl_tenant *tenant, const char *mark);
/* One stream more, or less, of its user's. The former: 0, SL_E_LIMIT or SL_E_NOMEM. */
int sl_tenant_take_stream(const struct sl_tenant *tenant);
void sl_tenant_give_stream(const struct sl_tenant *tenant);
/* Tells the driver. */
void sl_tenant_report(struct sl_conn *conn);

#endif
