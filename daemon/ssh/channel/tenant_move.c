/* SPDX-License-Identifier: MIT */
/* A lease's streams as a whole. They leave, with their lease, a connection that has no session for it, or none any more,
 * and go on with another one: of those nothing was sent, and the marks of what the lease has started go along. They are
 * muted when their lease is over for its client, and end with it. */
#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/remote.h"
#include "daemon/ssh/channel/stream.h"
#include "daemon/ssh/channel/tenant.h"

#include <assert.h>
#include <stdio.h>

void sl_tenant_park(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    struct sl_stream *stream, *next;
    struct sl_chan *chan;
    if (tenant->state == SL_TENANT_PARKED)
        return;
    for (stream = TAILQ_FIRST(&conn->streams); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, link);
        if (stream->tenant == tenant) {
            sl_stream_start_over(stream);
            sl_stream_leave(stream);
            TAILQ_INSERT_TAIL(&tenant->parked, stream, link);
        }
    }
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->tenant == tenant)
            chan->tenant = NULL; /* it is closing */
    }
    if (tenant->started_here > 0) {
        char mark[SL_COOKIE_SIZE];
        snprintf(mark, sizeof mark, "%s-%u-", conn->cookie_base, (unsigned)tenant->epoch);
        sl_tenant_mark(tenant, mark);
        tenant->started_here = 0;
    }
    TAILQ_REMOVE(&conn->tenants, tenant, link);
    tenant->conn = NULL;
    sl_tenant_enter(tenant, SL_TENANT_PARKED);
    tenant->moves++;
    sl_conn_schedule(conn);
}

void sl_tenant_move(struct sl_tenant *tenant, struct sl_conn *conn)
{
    struct sl_stream *stream;
    tenant->conn = conn;
    sl_tenant_enter(tenant, SL_TENANT_LIVE);
    tenant->epoch = ++conn->epoch;
    tenant->commands_before = conn->commands;
    tenant->unmarked_here = 0;
    TAILQ_INSERT_TAIL(&conn->tenants, tenant, link);
    while ((stream = TAILQ_FIRST(&tenant->parked)) != NULL) {
        TAILQ_REMOVE(&tenant->parked, stream, link);
        sl_stream_join(stream, conn);
    }
    sl_conn_schedule(conn);
}

void sl_tenant_mute(struct sl_tenant *tenant)
{
    if (tenant->conn == NULL) {
        sl_stream_mute(&tenant->parked, tenant);
    } else {
        sl_stream_mute(&tenant->conn->streams, tenant);
        sl_remote_mute(tenant);
    }
}

void sl_tenant_end(struct sl_tenant *tenant)
{
    struct sl_stream *stream;
    assert(sl_tenant_goes_on(tenant));
    while ((stream = TAILQ_FIRST(&tenant->parked)) != NULL) {
        TAILQ_REMOVE(&tenant->parked, stream, link);
        sl_stream_abandon(stream); /* NOLINT(clang-analyzer-unix.Malloc): as in sl_stream_end_all() */
    }
    sl_tenant_free(tenant);
}
