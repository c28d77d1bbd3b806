/* A lease leaves a connection that has no session for it and goes on with another one: its streams, which have not
 * begun anything, go along. */
#include "daemon/ssh/party.h"
#include "daemon/ssh/stream.h"

#include <assert.h>

void sl_party_park(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    struct sl_stream *stream, *next;
    assert(party->state == SL_PARTY_LEAVING && party->channels == 0);
    for (stream = TAILQ_FIRST(&conn->streams); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, link);
        if (stream->party == party) {
            sl_stream_leave(stream);
            TAILQ_INSERT_TAIL(&party->parked, stream, link);
        }
    }
    TAILQ_REMOVE(&conn->parties, party, link);
    party->conn = NULL;
    party->state = SL_PARTY_PARKED;
    sl_conn_schedule(conn);
}

void sl_party_move(struct sl_party *party, struct sl_conn *conn)
{
    struct sl_stream *stream;
    assert(party->state == SL_PARTY_PARKED);
    party->conn = conn;
    party->state = SL_PARTY_LIVE;
    party->epoch = ++conn->epoch;
    TAILQ_INSERT_TAIL(&conn->parties, party, link);
    while ((stream = TAILQ_FIRST(&party->parked)) != NULL) {
        TAILQ_REMOVE(&party->parked, stream, link);
        sl_stream_join(stream, conn);
    }
    sl_conn_schedule(conn);
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
