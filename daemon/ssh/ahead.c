/* With a channel that is open already a command costs one round trip instead of three. */
#include "daemon/ssh/ahead.h"

#include "daemon/ssh/party.h"

/* sshd keeps the slot of a closed session until its child is gone, so a refusal may be over in a moment. */
#define REFUSALS_MAX        7
#define REFUSALS_MAX_SHARED 3 /* where a lease may go elsewhere instead of waiting */
#define REFUSAL_FIRST_MS    10u
#define REFUSED_WAIT_MS     1000u
#define LIMIT_REMEMBERED_MS 60000u
/* Held at most: a command a round trip is all that one connection can take in turn, opening takes as long. */
#define AHEAD_MAX 3u

uint32_t sl_ahead_slot_limit(const struct sl_conn *conn)
{
    return sl_conn_now(conn) < conn->slot_limit_until_ms ? conn->slot_limit : UINT32_MAX;
}

uint32_t sl_ahead_stream_limit(const struct sl_conn *conn)
{
    uint32_t limit = conn->target->policy.streams, seen = sl_ahead_slot_limit(conn);
    return seen < limit ? seen : limit;
}

static uint32_t room_left(const struct sl_conn *conn)
{
    uint32_t limit = sl_ahead_slot_limit(conn);
    return limit > conn->chan_count ? limit - conn->chan_count : 0;
}

/* A lease that has used channels will use more; one that is reclaimed, and a connection with no other, none. */
static uint32_t ahead_for(const struct sl_conn *conn)
{
    uint32_t ahead = 1;
    enum { NONE, SOME } live = TAILQ_EMPTY(&conn->parties) ? SOME : NONE;
    const struct sl_party *party;
    TAILQ_FOREACH(party, &conn->parties, link)
    {
        if (sl_party_goes_on(party)) {
            ahead = party->streams < AHEAD_MAX - ahead ? ahead + party->streams : AHEAD_MAX;
            live = SOME;
        }
    }
    return live == SOME ? ahead : 0;
}

uint32_t sl_ahead_wanted(const struct sl_conn *conn, uint32_t held, uint32_t needed)
{
    if (sl_conn_now(conn) < conn->open_retry_ms) {
        return 0;
    }
    /* The policy's streams bound what is held as well as what is used, the sweep may go one beyond. */
    uint32_t ahead = ahead_for(conn);
    uint32_t used = conn->chan_count - held;
    uint32_t streams = conn->target->policy.streams;
    uint32_t free_streams = streams > used + needed ? streams - used - needed : 0;
    uint32_t target = needed + (ahead < free_streams ? ahead : free_streams);
    uint32_t room = room_left(conn);
    uint32_t wanted = target > held ? target - held : 0;
    return wanted < room ? wanted : room;
}

void sl_ahead_opened(struct sl_conn *conn)
{
    conn->open_refusals = 0;
    conn->open_retry_ms = 0;
}

void sl_ahead_refused(struct sl_conn *conn)
{
    uint64_t now = sl_conn_now(conn);
    const struct sl_party *first = TAILQ_FIRST(&conn->parties);
    unsigned most = first != NULL && TAILQ_NEXT(first, link) != NULL ? REFUSALS_MAX_SHARED : REFUSALS_MAX;
    if (++conn->open_refusals < most) {
        conn->open_retry_ms = now + (REFUSAL_FIRST_MS << conn->open_refusals);
        return;
    }
    conn->open_refusals = 0;
    if (conn->chan_count == 0 && conn->next_cookie > 0) {
        /* It did allow one before, so it is only slow to give the slot back. */
        conn->open_retry_ms = now + REFUSED_WAIT_MS;
        return;
    }
    /* It means it. What is open is what it allows; that is believed for a while. */
    conn->slot_limit = conn->chan_count;
    conn->slot_limit_until_ms = now + LIMIT_REMEMBERED_MS;
    conn->open_retry_ms = 0;
    sl_log(conn->transport->log, SL_LOG_NOTICE, "ssh", "conn=%p server-allows-sessions=%u", (void *)conn,
        (unsigned)conn->slot_limit);
    conn->refusal = SL_REFUSAL_FINAL;
}
