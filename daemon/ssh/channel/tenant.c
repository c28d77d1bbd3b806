/* SPDX-License-Identifier: MIT */
/* A lease's part of a connection begins and ends, counts its streams, and says when it is clean or must go
 * elsewhere. */
#include "daemon/ssh/channel/tenant.h"

#include "base/quota.h"
#include "base/state.h"
#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/stream.h"
#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A server on which nothing can be started is not to keep a lease going round for ever. */
#define MOVES_MAX 4u

#define TO(state) SL_TO(SL_TENANT_##state)

static const struct sl_state states[] = {
    [SL_TENANT_LIVE] = {"live", TO(CROWDED) | TO(LEAVING) | TO(DRAINING)},
    [SL_TENANT_CROWDED] = {"crowded", TO(LEAVING) | TO(DRAINING)},
    [SL_TENANT_LEAVING] = {"leaving", TO(PARKED) | TO(DRAINING)},
    [SL_TENANT_PARKED] = {"parked", TO(LIVE)},
    [SL_TENANT_DRAINING] = {"draining", TO(DRAINED)},
    [SL_TENANT_DRAINED] = {"drained", 0},
};

void sl_tenant_enter(struct sl_tenant *tenant, enum sl_tenant_state state)
{
    SL_MOVE(states, tenant->state, state);
}

int sl_tenant_begin(struct sl_conn *conn, struct sl_tenant **ret_tenant)
{
    struct sl_tenant *tenant = calloc(1, sizeof *tenant);
    if (tenant == NULL)
        return SL_E_NOMEM;
    tenant->conn = conn;
    tenant->target = sl_target_conf_ref(conn->target);
    TAILQ_INIT(&tenant->parked);
    tenant->epoch = ++conn->epoch;
    tenant->commands_before = conn->commands;
    if (conn->phase != SL_CONN_PHASE_READY)
        sl_tenant_enter(tenant, SL_TENANT_LEAVING);
    TAILQ_INSERT_TAIL(&conn->tenants, tenant, link);
    sl_conn_schedule(conn);
    *ret_tenant = tenant;
    return 0;
}

void sl_tenant_account(struct sl_tenant *tenant, struct sl_quota *quota, uid_t uid)
{
    tenant->quota = quota;
    tenant->uid = uid;
}

int sl_tenant_take_stream(const struct sl_tenant *tenant)
{
    return tenant->quota != NULL ? sl_quota_take(tenant->quota, tenant->uid, SL_QUOTA_STREAMS, 1) : 0;
}

void sl_tenant_give_stream(const struct sl_tenant *tenant)
{
    if (tenant->quota != NULL)
        sl_quota_give(tenant->quota, tenant->uid, SL_QUOTA_STREAMS, 1);
}

bool sl_tenant_is_clean(const struct sl_tenant *tenant)
{
    const struct sl_conn *conn = tenant->conn;
    const struct sl_chan *chan;
    if (conn == NULL)
        return tenant->stream_count == 0;
    if (conn->phase != SL_CONN_PHASE_READY || conn->error != 0 || !sl_tenant_goes_on(tenant) ||
        tenant->stream_count > 0 || tenant->remote_count > 0 || tenant->tainted > 0 || tenant->orphans > 0)
        return false;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->tenant == tenant)
            return false; /* its close is not confirmed */
    }
    return true;
}

void sl_tenant_free(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    struct sl_chan *chan;
    assert(tenant->stream_count == 0);
    if (conn != NULL) {
        TAILQ_FOREACH(chan, &conn->chans, link)
        {
            if (chan->tenant == tenant)
                chan->tenant = NULL; /* it is closed later, and nobody is told */
        }
        TAILQ_REMOVE(&conn->tenants, tenant, link);
    }
    sl_target_conf_unref(tenant->target);
    free(tenant->mark);
    free(tenant);
}

uint32_t sl_tenant_streams(const struct sl_tenant *tenant)
{
    return tenant->stream_count;
}

bool sl_tenant_goes_on(const struct sl_tenant *tenant)
{
    return tenant->state != SL_TENANT_DRAINING && tenant->state != SL_TENANT_DRAINED;
}

bool sl_tenant_is_frozen(const struct sl_tenant *tenant)
{
    return tenant->state == SL_TENANT_CROWDED || tenant->state == SL_TENANT_LEAVING ||
           tenant->state == SL_TENANT_PARKED;
}

bool sl_tenant_is_crowded(const struct sl_tenant *tenant)
{
    return tenant->state == SL_TENANT_LEAVING || tenant->state == SL_TENANT_PARKED;
}

bool sl_tenant_is_parked(const struct sl_tenant *tenant)
{
    return tenant->state == SL_TENANT_PARKED;
}

void sl_tenant_mark(struct sl_tenant *tenant, const char *mark)
{
    /* Room is made sixteen at a time. */
    if (tenant->marks % 16 == 0) {
        void *more =
            tenant->marks < SL_MARKS_MAX ? realloc(tenant->mark, (tenant->marks + 16) * sizeof *tenant->mark) : NULL;
        if (more == NULL) {
            tenant->marks_lost++;
            return;
        }
        tenant->mark = more;
    }
    snprintf(tenant->mark[tenant->marks++], SL_COOKIE_SIZE, "%s", mark);
}

static bool is_unsent(const struct sl_stream *stream)
{
    return stream->state == SL_STREAM_WAITING || stream->state == SL_STREAM_SETUP;
}

/* Whether nothing of it is under way on its connection: no command that was sent and has not ended, no forward, no
 * port. */
static bool can_move(const struct sl_tenant *tenant)
{
    const struct sl_conn *conn = tenant->conn;
    const struct sl_stream *stream;
    if (tenant->state != SL_TENANT_LIVE || conn->handler.on_crowded == NULL || tenant->remote_count > 0 ||
        tenant->tainted > 0 || tenant->orphans > 0 || tenant->moves >= MOVES_MAX)
        return false;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        if (stream->tenant == tenant && !is_unsent(stream))
            return false;
    }
    return true;
}

bool sl_tenant_crowd(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    if (sl_tenant_is_frozen(tenant))
        return true;
    /* A lease with a connection for itself has no better one to go to, unless that serves no more, or is lost. */
    bool alone = TAILQ_NEXT(TAILQ_FIRST(&conn->tenants), link) == NULL;
    bool usable = conn->phase == SL_CONN_PHASE_READY && conn->serves == SL_SERVES_COMMANDS;
    if ((alone && usable) || !can_move(tenant))
        return false;
    sl_tenant_enter(tenant, SL_TENANT_CROWDED);
    conn->pending_callbacks |= SL_PENDING_CROWDED;
    sl_conn_schedule(conn);
    return true;
}

void sl_tenant_report(struct sl_conn *conn)
{
    struct sl_tenant *tenant;
    TAILQ_FOREACH(tenant, &conn->tenants, link)
    {
        if (tenant->state == SL_TENANT_CROWDED) {
            sl_tenant_enter(tenant, SL_TENANT_LEAVING);
            conn->handler.on_crowded(conn->arg, tenant);
        }
    }
}
