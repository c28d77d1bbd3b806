/* party.h - what one lease has on its connection: the counters of its streams and the cookies that mark what it
 * started. Never ends anything on the far side: reclaim.c does. The public verbs are in transport.h. */
#ifndef SSHLEASE_SSH_PARTY_H
#define SSHLEASE_SSH_PARTY_H

#include "daemon/ssh/conn_base.h"

struct sl_reclaim;

enum sl_party_state {
    SL_PARTY_LIVE,
    SL_PARTY_DRAINING, /* reclaimed: what it started is being ended */
    SL_PARTY_DRAINED,  /* on_drained is owed */
};

#define SL_OLDER_COOKIES 8u

struct sl_party {
    TAILQ_ENTRY(sl_party) link; /* conn->parties */
    struct sl_conn *conn;
    enum sl_party_state state;
    uint32_t epoch;                                  /* of the cookies of channels that were opened for it */
    uint32_t stream_count;                           /* open now */
    uint32_t streams;                                /* opened so far */
    struct sl_cookie older_cookie[SL_OLDER_COOKIES]; /* of channels opened ahead before it began */
    unsigned older_cookies;
    uint32_t cookies_refused; /* streams whose server did not take the cookie */
    uint32_t ended_by_server; /* streams whose channel the server had closed before we did, since the drain began */
    uint32_t remote_count;    /* ports that the server listens on for it */
    unsigned tainted;         /* requests given up on that the server may still answer */
    unsigned orphans;         /* opens given up on: the server may open them yet */
    struct sl_reclaim *reclaim;
};

/* It is gone; nothing of the room refers to it any more. */
void sl_party_free(struct sl_party *party);
/* Parties that go on. */
uint32_t sl_party_live(const struct sl_conn *conn);

#endif
