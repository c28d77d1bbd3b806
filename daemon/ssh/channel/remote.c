/* SPDX-License-Identifier: MIT */
/* The way of a port:
 *   ASKED       waits while another one is ASKING: libssh2 keeps that request's state in the session
 *   ASKING      the server's answer is out; it comes in the order of the requests, and is awaited even by one that
 *               nobody wants any more
 *   ANSWERED    it listens, or REFUSED: that is still to be told
 *   LISTENING   libssh2 takes what arrives into a queue of its own; one at a time is taken out and shown
 *   CANCELLING  what waits is closed, the server is told; it does not answer that
 *   ENDED       on_closed, and it is gone */
#include "daemon/ssh/channel/remote.h"

#include "base/state.h"
#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/nobody.h"
#include "daemon/ssh/channel/stream.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum state { ASKED, ASKING, ANSWERED, REFUSED, LISTENING, CANCELLING, ENDED };

static const struct sl_state states[] = {
    [ASKED] = {"asked", SL_TO(ASKING) | SL_TO(ENDED)},
    [ASKING] = {"asking", SL_TO(ANSWERED) | SL_TO(REFUSED) | SL_TO(CANCELLING) | SL_TO(ENDED)},
    [ANSWERED] = {"answered", SL_TO(LISTENING) | SL_TO(CANCELLING)},
    [REFUSED] = {"refused", SL_TO(ENDED)},
    [LISTENING] = {"listening", SL_TO(CANCELLING)},
    [CANCELLING] = {"cancelling", SL_TO(ENDED)},
    [ENDED] = {"ended", 0},
};

struct sl_remote {
    TAILQ_ENTRY(sl_remote) link;
    struct sl_conn *conn;
    struct sl_tenant *tenant; /* NULL: its lease is over */
    struct sl_remote_handler handler;
    void *arg;
    enum state state;
    bool cancelled; /* while its answer is out */
    LIBSSH2_LISTENER *listener;
    struct sl_chan *arrived; /* shown, not accepted yet */
    uint16_t port;
    char host[];
};

static void move(struct sl_remote *remote, enum state to)
{
    SL_MOVE(states, remote->state, to);
}

int sl_remote_open(struct sl_tenant *tenant, const char *host, uint16_t port, const struct sl_remote_handler *handler,
    void *arg, struct sl_remote **ret_remote)
{
    struct sl_conn *conn = tenant->conn;
    if (sl_tenant_is_frozen(tenant))
        return SL_E_STREAM_LIMIT;
    if (conn->phase != SL_CONN_PHASE_READY || conn->error != 0 || !sl_tenant_goes_on(tenant))
        return SL_E_CONNECTION_LOST;
    unsigned count = 0;
    struct sl_remote *remote;
    TAILQ_FOREACH(remote, &conn->remotes, link)
    {
        count++;
    }
    if (count >= SL_REMOTES_MAX)
        return SL_E_STREAM_LIMIT;
    size_t size = strlen(host) + 1;
    remote = calloc(1, sizeof *remote + size);
    if (remote == NULL)
        return SL_E_NOMEM;
    remote->conn = conn;
    remote->tenant = tenant;
    remote->handler = *handler;
    remote->arg = arg;
    remote->port = port;
    memcpy(remote->host, host, size);
    TAILQ_INSERT_TAIL(&conn->remotes, remote, link);
    tenant->remote_count++;
    sl_conn_schedule(conn);
    *ret_remote = remote;
    return 0;
}

void sl_remote_close(struct sl_remote *remote)
{
    if (remote->state == ASKED || remote->state == REFUSED)
        move(remote, ENDED);
    else if (remote->state == ASKING)
        remote->cancelled = true;
    else if (remote->state == ANSWERED || remote->state == LISTENING)
        move(remote, CANCELLING);
    sl_conn_schedule(remote->conn);
}

void sl_remote_close_all(struct sl_tenant *tenant)
{
    struct sl_remote *remote;
    TAILQ_FOREACH(remote, &tenant->conn->remotes, link)
    {
        if (remote->tenant == tenant)
            sl_remote_close(remote);
    }
}

void sl_remote_mute(struct sl_tenant *tenant)
{
    struct sl_remote *remote;
    TAILQ_FOREACH(remote, &tenant->conn->remotes, link)
    {
        if (remote->tenant == tenant)
            remote->handler = sl_nobody_remote;
    }
}

void sl_remote_disown(struct sl_tenant *tenant)
{
    struct sl_remote *remote;
    TAILQ_FOREACH(remote, &tenant->conn->remotes, link)
    {
        if (remote->tenant == tenant) {
            remote->tenant = NULL;
            tenant->remote_count--;
        }
    }
}

static unsigned count_accepted(const struct sl_conn *conn)
{
    unsigned count = 0;
    const struct sl_chan *chan;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        count += chan->kind == SL_CHAN_FORWARDED;
    }
    return count;
}

int sl_remote_accept(struct sl_remote *remote, const struct sl_stream_handler *handler, void *arg, size_t credit,
    struct sl_stream **ret_stream)
{
    if (remote->arrived == NULL || remote->state != LISTENING || remote->conn->phase != SL_CONN_PHASE_READY)
        return SL_E_AGAIN;
    int r = count_accepted(remote->conn) <= SL_ACCEPTED_MAX
                ? sl_stream_adopt(remote->arrived, handler, arg, credit, ret_stream)
                : SL_E_STREAM_LIMIT;
    if (r == 0) {
        remote->arrived = NULL;
        sl_conn_schedule(remote->conn);
    }
    return r;
}

/* --- the turn --- */

static void finish(struct sl_remote *remote)
{
    TAILQ_REMOVE(&remote->conn->remotes, remote, link);
    remote->conn->progressed = true;
    if (remote->tenant != NULL)
        remote->tenant->remote_count--;
    remote->handler.on_closed(remote->arg);
    free(remote);
}

static void tell_listening(struct sl_remote *remote)
{
    move(remote, LISTENING);
    remote->handler.on_listening(remote->arg, 0, remote->port, "");
}

static void tell_refused(struct sl_remote *remote)
{
    char text[448];
    move(remote, ENDED);
    snprintf(text, sizeof text,
        "the server does not listen on port %u%s%.256s: it may be taken, below 1024, or forbidden (AllowTcpForwarding)",
        (unsigned)remote->port, remote->host[0] != '\0' ? " of " : "", remote->host);
    remote->handler.on_listening(remote->arg, SL_E_STREAM_REFUSED, remote->port, text);
}

static void run_asking(struct sl_remote *remote)
{
    struct sl_conn *conn = remote->conn;
    int port = remote->port;
    if (remote->state == ASKED)
        move(remote, ASKING);
    LIBSSH2_LISTENER *listener =
        libssh2_channel_forward_listen_ex(conn->session, remote->host, remote->port, &port, SL_REMOTE_QUEUE);
    if (listener != NULL) {
        remote->listener = listener;
        remote->port = (uint16_t)port;
        move(remote, remote->cancelled ? CANCELLING : ANSWERED);
        conn->progressed = true;
        return;
    }
    int r = libssh2_session_last_errno(conn->session);
    if (r == LIBSSH2_ERROR_REQUEST_DENIED) {
        move(remote, remote->cancelled ? ENDED : REFUSED);
        conn->progressed = true;
    } else if (r != LIBSSH2_ERROR_EAGAIN) {
        /* Whatever survives elsewhere does not here: an answer that comes later would be the next one's. */
        sl_session_failed(conn, sl_session_survives(r) ? LIBSSH2_ERROR_PROTO : r);
    }
}

/* The gate is shut: libssh2 only looks at what it has. NULL: nothing waits, or the connection has died. */
static struct sl_chan *take_arrived(struct sl_remote *remote)
{
    struct sl_conn *conn = remote->conn;
    LIBSSH2_CHANNEL *ch = libssh2_channel_forward_accept(remote->listener);
    if (ch == NULL)
        return NULL;
    struct sl_chan *chan = sl_chan_adopt(conn, remote->tenant, ch);
    if (chan == NULL)
        sl_session_failed(conn, LIBSSH2_ERROR_ALLOC); /* it cannot be put back, nor left without an owner */
    return chan;
}

/* One of several that arrived together is shown in each round, and there is another round as long as they are taken. */
static void run_listening(struct sl_remote *remote)
{
    if (remote->arrived != NULL || (remote->arrived = take_arrived(remote)) == NULL)
        return;
    remote->conn->progressed = true;
    remote->handler.on_connection(remote->arg);
}

static void run_cancelling(struct sl_remote *remote)
{
    struct sl_conn *conn = remote->conn;
    do {
        if (remote->arrived != NULL)
            sl_chan_close(remote->arrived, false);
        remote->arrived = take_arrived(remote);
    } while (remote->arrived != NULL);
    if (conn->phase != SL_CONN_PHASE_READY)
        return;
    int r = libssh2_channel_forward_cancel(remote->listener);
    if (r == LIBSSH2_ERROR_EAGAIN)
        return; /* keys are being exchanged */
    if (!sl_session_survives(r)) {
        sl_session_failed(conn, r);
        return;
    }
    remote->listener = NULL;
    move(remote, ENDED);
}

static struct sl_remote *one_asking(struct sl_conn *conn)
{
    struct sl_remote *remote;
    TAILQ_FOREACH(remote, &conn->remotes, link)
    {
        if (remote->state == ASKING)
            break;
    }
    return remote;
}

/* The answer may have a first connection right behind it, which libssh2 refuses unless it has looked at the answer
 * before: this reads packet by packet until it is there. No other request's answer is of its type. */
void sl_remote_pump(struct sl_conn *conn)
{
    struct sl_remote *remote = one_asking(conn);
    if (remote != NULL)
        run_asking(remote);
}

static void run(struct sl_remote *remote)
{
    struct sl_conn *conn = remote->conn;
    if (remote->state == ASKING || (remote->state == ASKED && one_asking(conn) == NULL))
        run_asking(remote);
    if (remote->state == ANSWERED && conn->phase == SL_CONN_PHASE_READY)
        tell_listening(remote);
    else if (remote->state == REFUSED && conn->phase == SL_CONN_PHASE_READY)
        tell_refused(remote);
    if (remote->state == LISTENING && conn->phase == SL_CONN_PHASE_READY)
        run_listening(remote);
    if (remote->state == CANCELLING && conn->phase == SL_CONN_PHASE_READY)
        run_cancelling(remote);
    if (remote->state == ENDED && conn->phase == SL_CONN_PHASE_READY)
        finish(remote);
}

void sl_remote_tick(struct sl_conn *conn)
{
    struct sl_remote *remote, *next;
    for (remote = TAILQ_FIRST(&conn->remotes); remote != NULL && conn->phase == SL_CONN_PHASE_READY; remote = next) {
        next = TAILQ_NEXT(remote, link);
        run(remote);
    }
}

void sl_remote_end_all(struct sl_conn *conn)
{
    struct sl_remote *remote;
    while ((remote = TAILQ_FIRST(&conn->remotes)) != NULL)
        finish(remote); /* NOLINT(clang-analyzer-unix.Malloc): as in sl_stream_end_all() */
}
