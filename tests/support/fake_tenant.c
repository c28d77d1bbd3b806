/* SPDX-License-Identifier: MIT */
/* Leases on the fake transport's connections. */
#include "daemon/ssh/channel/nobody.h"
#include "proto/status.h"
#include "tests/support/fake_state.h"

#include <assert.h>
#include <stdlib.h>

static void on_tenant_freed(uv_handle_t *handle)
{
    struct sl_tenant *p = handle->data;
    struct sl_conn *c = p->conn;
    free(p);
    if (c != NULL)
        sl_fake_drop_handle(c);
}

void sl_fake_free_tenant(struct sl_tenant *p)
{
    if (p->conn != NULL)
        TAILQ_REMOVE(&p->conn->tenants, p, link);
    uv_close((uv_handle_t *)&p->drain, on_tenant_freed);
}

static void on_drain_due(uv_timer_t *timer)
{
    struct sl_tenant *p = timer->data;
    p->state = TENANT_DUE;
    sl_fake_pump(p->conn);
}

int sl_tenant_begin(struct sl_conn *c, struct sl_tenant **ret_tenant)
{
    struct sl_tenant *p = calloc(1, sizeof *p);
    if (p == NULL)
        return SL_E_NOMEM;
    c->transport->counts.leases++;
    p->conn = c;
    p->state = c->state == CONN_UP ? TENANT_LIVE : TENANT_LEAVING;
    TAILQ_INIT(&p->parked);
    p->drain.data = p;
    (void)uv_timer_init(c->transport->loop, &p->drain);
    c->handles++;
    TAILQ_INSERT_TAIL(&c->tenants, p, link);
    *ret_tenant = p;
    return 0;
}

void sl_tenant_account(struct sl_tenant *p, struct sl_quota *quota, uid_t uid)
{
    p->quota = quota;
    p->uid = uid;
}

uint32_t sl_tenant_streams(const struct sl_tenant *p)
{
    const struct sl_stream *s;
    uint32_t count = 0;
    TAILQ_FOREACH(s, p->conn != NULL ? &p->conn->streams : &p->parked, link)
    count += s->tenant == p;
    return count;
}

void sl_tenant_mute(struct sl_tenant *p)
{
    struct sl_remote *remote;
    sl_fake_mute(p->conn != NULL ? &p->conn->streams : &p->parked, p);
    if (p->conn == NULL)
        return;
    TAILQ_FOREACH(remote, &p->conn->remotes, link)
    {
        if (remote->tenant == p)
            remote->handler = &sl_nobody_remote;
    }
}

bool sl_tenant_is_clean(const struct sl_tenant *p)
{
    const struct sl_remote *remote;
    if (p->conn != NULL) {
        TAILQ_FOREACH(remote, &p->conn->remotes, link)
        {
            if (remote->tenant == p)
                return false;
        }
    }
    return p->state <= TENANT_PARKED && sl_tenant_streams(p) == 0;
}

void sl_tenant_end(struct sl_tenant *p)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = "over"};
    assert(sl_tenant_is_clean(p) || p->state == TENANT_PARKED);
    while (!TAILQ_EMPTY(&p->parked))
        sl_fake_end_stream(TAILQ_FIRST(&p->parked), &result);
    sl_fake_free_tenant(p);
}

bool sl_tenant_is_crowded(const struct sl_tenant *p)
{
    return p->state == TENANT_LEAVING || p->state == TENANT_PARKED;
}

bool sl_tenant_is_parked(const struct sl_tenant *p)
{
    return p->state == TENANT_PARKED;
}

static void change_conn(struct sl_tenant *p, struct sl_conn *c)
{
    struct stream_list *from = p->conn != NULL ? &p->conn->streams : &p->parked;
    struct sl_stream *s, *next;
    for (s = TAILQ_FIRST(from); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        if (s->tenant != p)
            continue;
        TAILQ_REMOVE(from, s, link);
        if (p->conn != NULL)
            p->conn->handles--;
        s->conn = c;
        if (c != NULL)
            c->handles++;
        TAILQ_INSERT_TAIL(c != NULL ? &c->streams : &p->parked, s, link);
    }
    if (p->conn != NULL) {
        TAILQ_REMOVE(&p->conn->tenants, p, link);
        p->conn->handles--;
    }
    p->conn = c;
    if (c != NULL) {
        TAILQ_INSERT_TAIL(&c->tenants, p, link);
        c->handles++;
    }
}

void sl_tenant_park(struct sl_tenant *p)
{
    if (p->state == TENANT_PARKED)
        return;
    assert(p->state == TENANT_LEAVING);
    change_conn(p, NULL);
    p->state = TENANT_PARKED;
}

void sl_tenant_move(struct sl_tenant *p, struct sl_conn *c)
{
    assert(p->state == TENANT_PARKED);
    change_conn(p, c);
    p->state = TENANT_LIVE;
    sl_fake_pump(c);
}

void sl_tenant_drain(struct sl_tenant *p)
{
    struct sl_conn *c = p->conn;
    assert(c->state == CONN_UP && p->state <= TENANT_LEAVING);
    c->transport->counts.drained++;
    p->state = TENANT_DRAINING;
    p->drained_streams = sl_tenant_streams(p);
    (void)uv_timer_start(&p->drain, on_drain_due, c->transport->drain_ms, 0);
}
