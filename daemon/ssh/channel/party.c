/* SPDX-License-Identifier: MIT */
/* A lease's part of a connection begins and ends, counts its streams, and says when it is clean or must go
 * elsewhere. */
#include "daemon/ssh/channel/party.h"

#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/stream.h"
#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A server on which nothing can be started is not to keep a lease going round for ever. */
#define MOVES_MAX 4u

int sl_party_begin(struct sl_conn *conn, struct sl_party **ret_party)
{
    struct sl_party *party = calloc(1, sizeof *party);
    if (party == NULL)
        return SL_E_NOMEM;
    party->conn = conn;
    party->target = sl_target_conf_ref(conn->target);
    TAILQ_INIT(&party->parked);
    party->epoch = ++conn->epoch;
    party->commands_before = conn->commands;
    party->state = conn->phase == SL_PHASE_READY ? SL_PARTY_LIVE : SL_PARTY_LEAVING;
    TAILQ_INSERT_TAIL(&conn->parties, party, link);
    sl_conn_schedule(conn);
    *ret_party = party;
    return 0;
}

bool sl_party_is_clean(const struct sl_party *party)
{
    const struct sl_conn *conn = party->conn;
    const struct sl_chan *chan;
    if (conn == NULL)
        return party->stream_count == 0;
    if (conn->phase != SL_PHASE_READY || conn->error != 0 || !sl_party_goes_on(party) || party->stream_count > 0 ||
        party->remote_count > 0 || party->tainted > 0 || party->orphans > 0)
        return false;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->party == party)
            return false; /* its close is not confirmed */
    }
    return true;
}

void sl_party_free(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    struct sl_chan *chan;
    assert(party->stream_count == 0);
    if (conn != NULL) {
        TAILQ_FOREACH(chan, &conn->chans, link)
        {
            if (chan->party == party)
                chan->party = NULL; /* it is closed later, and nobody is told */
        }
        TAILQ_REMOVE(&conn->parties, party, link);
    }
    sl_target_conf_unref(party->target);
    free(party->mark);
    free(party);
}

uint32_t sl_party_streams(const struct sl_party *party)
{
    return party->stream_count;
}

bool sl_party_goes_on(const struct sl_party *party)
{
    return party->state < SL_PARTY_DRAINING;
}

bool sl_party_is_frozen(const struct sl_party *party)
{
    return party->state == SL_PARTY_CROWDED || party->state == SL_PARTY_LEAVING || party->state == SL_PARTY_PARKED;
}

bool sl_party_is_crowded(const struct sl_party *party)
{
    return party->state == SL_PARTY_LEAVING || party->state == SL_PARTY_PARKED;
}

bool sl_party_is_parked(const struct sl_party *party)
{
    return party->state == SL_PARTY_PARKED;
}

void sl_party_mark(struct sl_party *party, const char *mark)
{
    /* Room is made sixteen at a time. */
    if (party->marks % 16 == 0) {
        void *more =
            party->marks < SL_MARKS_MAX ? realloc(party->mark, (party->marks + 16) * sizeof *party->mark) : NULL;
        if (more == NULL) {
            party->marks_lost++;
            return;
        }
        party->mark = more;
    }
    snprintf(party->mark[party->marks++], SL_COOKIE_SIZE, "%s", mark);
}

static bool is_unsent(const struct sl_stream *stream)
{
    return stream->state == SL_STREAM_WAITING || stream->state == SL_STREAM_SETUP;
}

bool sl_party_can_move(const struct sl_party *party)
{
    const struct sl_conn *conn = party->conn;
    const struct sl_stream *stream;
    if (party->state != SL_PARTY_LIVE || conn->handler.on_crowded == NULL || party->remote_count > 0 ||
        party->tainted > 0 || party->orphans > 0 || party->moves >= MOVES_MAX)
        return false;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        if (stream->party == party && !is_unsent(stream))
            return false;
    }
    return true;
}

bool sl_party_crowd(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    if (sl_party_is_frozen(party))
        return true;
    /* A lease with a connection for itself has no better one to go to, unless that serves no more, or is lost. */
    bool alone = TAILQ_NEXT(TAILQ_FIRST(&conn->parties), link) == NULL;
    bool usable = conn->phase == SL_PHASE_READY && conn->serves == SL_SERVES_COMMANDS;
    if ((alone && usable) || !sl_party_can_move(party))
        return false;
    party->state = SL_PARTY_CROWDED;
    conn->owed |= SL_OWED_CROWDED;
    sl_conn_schedule(conn);
    return true;
}

void sl_party_report(struct sl_conn *conn)
{
    struct sl_party *party;
    TAILQ_FOREACH(party, &conn->parties, link)
    {
        if (party->state == SL_PARTY_CROWDED) {
            party->state = SL_PARTY_LEAVING;
            conn->handler.on_crowded(conn->arg, party);
        }
    }
}
