/* SPDX-License-Identifier: MIT */
/* Leases on the fake transport's connections. */
#include "daemon/ssh/channel/nobody.h"
#include "proto/status.h"
#include "tests/support/fake_state.h"

#include <assert.h>
#include <stdlib.h>

static void on_party_freed(uv_handle_t *handle)
{
    struct sl_party *p = handle->data;
    struct sl_conn *c = p->conn;
    free(p);
    if (c != NULL)
        sl_fake_drop_handle(c);
}

void sl_fake_free_party(struct sl_party *p)
{
    if (p->conn != NULL)
        TAILQ_REMOVE(&p->conn->parties, p, link);
    uv_close((uv_handle_t *)&p->drain, on_party_freed);
}

static void on_drain_due(uv_timer_t *timer)
{
    struct sl_party *p = timer->data;
    p->state = PARTY_DUE;
    sl_fake_pump(p->conn);
}

int sl_party_begin(struct sl_conn *c, struct sl_party **ret_party)
{
    struct sl_party *p = calloc(1, sizeof *p);
    if (p == NULL)
        return SL_E_NOMEM;
    c->transport->counts.leases++;
    p->conn = c;
    p->state = c->state == CONN_UP ? PARTY_LIVE : PARTY_LEAVING;
    TAILQ_INIT(&p->parked);
    p->drain.data = p;
    (void)uv_timer_init(c->transport->loop, &p->drain);
    c->handles++;
    TAILQ_INSERT_TAIL(&c->parties, p, link);
    *ret_party = p;
    return 0;
}

uint32_t sl_party_streams(const struct sl_party *p)
{
    const struct sl_stream *s;
    uint32_t count = 0;
    TAILQ_FOREACH(s, p->conn != NULL ? &p->conn->streams : &p->parked, link)
    count += s->party == p;
    return count;
}

void sl_party_mute(struct sl_party *p)
{
    struct sl_remote *remote;
    sl_fake_mute(p->conn != NULL ? &p->conn->streams : &p->parked, p);
    if (p->conn == NULL)
        return;
    TAILQ_FOREACH(remote, &p->conn->remotes, link)
    {
        if (remote->party == p)
            remote->handler = &sl_nobody_remote;
    }
}

bool sl_party_is_clean(const struct sl_party *p)
{
    const struct sl_remote *remote;
    if (p->conn != NULL) {
        TAILQ_FOREACH(remote, &p->conn->remotes, link)
        {
            if (remote->party == p)
                return false;
        }
    }
    return p->state <= PARTY_PARKED && sl_party_streams(p) == 0;
}

void sl_party_end(struct sl_party *p)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = "over"};
    assert(sl_party_is_clean(p) || p->state == PARTY_PARKED);
    while (!TAILQ_EMPTY(&p->parked))
        sl_fake_end_stream(TAILQ_FIRST(&p->parked), &result);
    sl_fake_free_party(p);
}

bool sl_party_is_crowded(const struct sl_party *p)
{
    return p->state == PARTY_LEAVING || p->state == PARTY_PARKED;
}

bool sl_party_is_parked(const struct sl_party *p)
{
    return p->state == PARTY_PARKED;
}

static void change_conn(struct sl_party *p, struct sl_conn *c)
{
    struct stream_list *from = p->conn != NULL ? &p->conn->streams : &p->parked;
    struct sl_stream *s, *next;
    for (s = TAILQ_FIRST(from); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        if (s->party != p)
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
        TAILQ_REMOVE(&p->conn->parties, p, link);
        p->conn->handles--;
    }
    p->conn = c;
    if (c != NULL) {
        TAILQ_INSERT_TAIL(&c->parties, p, link);
        c->handles++;
    }
}

void sl_party_park(struct sl_party *p)
{
    if (p->state == PARTY_PARKED)
        return;
    assert(p->state == PARTY_LEAVING);
    change_conn(p, NULL);
    p->state = PARTY_PARKED;
}

void sl_party_move(struct sl_party *p, struct sl_conn *c)
{
    assert(p->state == PARTY_PARKED);
    change_conn(p, c);
    p->state = PARTY_LIVE;
    sl_fake_pump(c);
}

void sl_party_drain(struct sl_party *p)
{
    struct sl_conn *c = p->conn;
    assert(c->state == CONN_UP && p->state <= PARTY_LEAVING);
    c->transport->counts.drained++;
    p->state = PARTY_DRAINING;
    p->drained_streams = sl_party_streams(p);
    (void)uv_timer_start(&p->drain, on_drain_due, c->transport->drain_ms, 0);
}
