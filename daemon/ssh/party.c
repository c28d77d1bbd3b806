#include "daemon/ssh/party.h"

#include "daemon/ssh/channel.h"
#include "proto/status.h"

#include <assert.h>
#include <stdlib.h>

int sl_party_begin(struct sl_conn *conn, struct sl_party **ret_party)
{
    struct sl_party *party = calloc(1, sizeof *party);
    if (party == NULL) {
        return SL_E_NOMEM;
    }
    party->conn = conn;
    party->epoch = ++conn->epoch;
    TAILQ_INSERT_TAIL(&conn->parties, party, link);
    sl_conn_schedule(conn);
    *ret_party = party;
    return 0;
}

bool sl_party_is_clean(const struct sl_party *party)
{
    const struct sl_conn *conn = party->conn;
    const struct sl_chan *chan;
    if (conn->phase != SL_PHASE_READY || conn->error != 0 || party->state != SL_PARTY_LIVE || party->stream_count > 0 ||
        party->remote_count > 0 || party->tainted > 0 || party->orphans > 0) {
        return false;
    }
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->party == party) {
            return false; /* its close is not confirmed */
        }
    }
    return true;
}

void sl_party_free(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    struct sl_chan *chan;
    assert(party->stream_count == 0);
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->party == party) {
            chan->party = NULL; /* closed by and by, for nobody */
        }
    }
    TAILQ_REMOVE(&conn->parties, party, link);
    free(party);
}

void sl_party_end(struct sl_party *party)
{
    assert(party->state == SL_PARTY_LIVE);
    sl_party_free(party);
}

uint32_t sl_party_streams(const struct sl_party *party)
{
    return party->stream_count;
}

uint32_t sl_party_live(const struct sl_conn *conn)
{
    uint32_t count = 0;
    const struct sl_party *party;
    TAILQ_FOREACH(party, &conn->parties, link)
    {
        count += party->state == SL_PARTY_LIVE;
    }
    return count;
}
