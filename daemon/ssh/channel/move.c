/* SPDX-License-Identifier: MIT */
/* A lease's streams as a whole. They leave, with their lease, a connection that has no session for it, or none any more,
 * and go on with another one: of those nothing was sent, and the marks of what the lease has started go along. They are
 * muted when their lease is over for its client, and end with it. */
#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/party.h"
#include "daemon/ssh/channel/remote.h"
#include "daemon/ssh/channel/stream.h"

#include <assert.h>
#include <stdio.h>

void sl_party_park(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    struct sl_stream *stream, *next;
    struct sl_chan *chan;
    if (party->state == SL_PARTY_PARKED)
        return;
    assert(party->state == SL_PARTY_LEAVING);
    for (stream = TAILQ_FIRST(&conn->streams); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, link);
        if (stream->party == party) {
            sl_stream_start_over(stream);
            sl_stream_leave(stream);
            TAILQ_INSERT_TAIL(&party->parked, stream, link);
        }
    }
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->party == party)
            chan->party = NULL; /* it is closing */
    }
    if (party->started_here > 0) {
        char mark[SL_COOKIE_SIZE];
        snprintf(mark, sizeof mark, "%s-%u-", conn->cookie_base, (unsigned)party->epoch);
        sl_party_mark(party, mark);
        party->started_here = 0;
    }
    TAILQ_REMOVE(&conn->parties, party, link);
    party->conn = NULL;
    party->state = SL_PARTY_PARKED;
    party->moves++;
    sl_conn_schedule(conn);
}

void sl_party_move(struct sl_party *party, struct sl_conn *conn)
{
    struct sl_stream *stream;
    assert(party->state == SL_PARTY_PARKED);
    party->conn = conn;
    party->state = SL_PARTY_LIVE;
    party->epoch = ++conn->epoch;
    party->commands_before = conn->commands;
    party->unmarked_here = 0;
    TAILQ_INSERT_TAIL(&conn->parties, party, link);
    while ((stream = TAILQ_FIRST(&party->parked)) != NULL) {
        TAILQ_REMOVE(&party->parked, stream, link);
        sl_stream_join(stream, conn);
    }
    sl_conn_schedule(conn);
}

void sl_party_mute(struct sl_party *party)
{
    if (party->conn == NULL) {
        sl_stream_mute(&party->parked, party);
    } else {
        sl_stream_mute(&party->conn->streams, party);
        sl_remote_mute(party);
    }
}

void sl_party_end(struct sl_party *party)
{
    struct sl_stream *stream;
    assert(sl_party_goes_on(party));
    while ((stream = TAILQ_FIRST(&party->parked)) != NULL) {
        TAILQ_REMOVE(&party->parked, stream, link);
        sl_stream_abandon(stream); /* NOLINT(clang-analyzer-unix.Malloc): as in sl_stream_end_all() */
    }
    sl_party_free(party);
}
