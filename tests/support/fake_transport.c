/* SPDX-License-Identifier: MIT */
/* Connections and streams that are only timers and strings. */
#include "tests/support/fake_state.h"

#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the transport ------------------------------------------------------------------------------------------------ */

int sl_transport_new(uv_loop_t *loop, const struct sl_log *log, struct sl_transport **ret_transport)
{
    struct sl_transport *t = calloc(1, sizeof *t);
    (void)log;
    if (t == NULL)
        return SL_E_NOMEM;
    t->loop = loop;
    TAILQ_INIT(&t->conns);
    *ret_transport = t;
    return 0;
}

void sl_transport_free(struct sl_transport *t)
{
    assert(t == NULL || TAILQ_EMPTY(&t->conns));
    free(t);
}

const char *sl_transport_version(void)
{
    return "fake";
}

void sl_fake_dial(struct sl_transport *t, uint64_t ms, int status, const char *text)
{
    t->dial_ms = ms;
    t->dial_status = status;
    snprintf(t->dial_text, sizeof t->dial_text, "%s", text);
}

void sl_fake_stillborn(struct sl_transport *t)
{
    t->stillborn = true;
}

void sl_fake_sessions(struct sl_transport *t, unsigned count)
{
    t->sessions = count;
}

void sl_fake_basis(struct sl_transport *t, const struct sl_basis *basis, bool looks_hang)
{
    t->basis = *basis;
    t->looks_hang = looks_hang;
}

void sl_fake_drain(struct sl_transport *t, uint64_t ms)
{
    t->drain_ms = ms;
}

void sl_fake_lose_all(struct sl_transport *t, const char *text)
{
    struct sl_conn *c;
    TAILQ_FOREACH(c, &t->conns, link)
    {
        if (c->state != CONN_UP)
            continue;
        c->status = SL_E_CONNECTION_LOST;
        snprintf(c->text, sizeof c->text, "%s", text);
        c->due |= DUE_LOST;
        sl_fake_pump(c);
    }
}

struct sl_fake_counts sl_fake_counts(const struct sl_transport *t)
{
    struct sl_fake_counts counts = t->counts;
    const struct sl_conn *c;
    const struct sl_stream *s;
    const struct sl_remote *remote;
    TAILQ_FOREACH(c, &t->conns, link)
    {
        counts.open++;
        TAILQ_FOREACH(s, &c->streams, link)
        counts.streams_open++;
        TAILQ_FOREACH(remote, &c->remotes, link)
        counts.remotes++;
    }
    return counts;
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void report(struct sl_tenant *p, struct sl_drain_report said)
{
    p->conn->handler->on_drained(p->conn->arg, p, &said);
    sl_fake_free_tenant(p);
}

static void on_pump(uv_timer_t *timer)
{
    struct sl_conn *c = timer->data;
    unsigned due = c->due;
    struct sl_tenant *p, *next_tenant;
    c->due = 0;
    if ((due & DUE_READY) != 0) {
        c->state = CONN_UP;
        c->received_ms = uv_now(c->transport->loop);
        c->handler->on_ready(c->arg);
    }
    if ((due & DUE_PONG) != 0) {
        c->received_ms = uv_now(c->transport->loop);
        c->handler->on_pong(c->arg);
    }
    if ((due & DUE_LOST) != 0) {
        c->state = CONN_LOST;
        sl_fake_end_streams(c, NULL, c->text);
        for (p = TAILQ_FIRST(&c->tenants); p != NULL; p = next_tenant) {
            next_tenant = TAILQ_NEXT(p, link);
            if (p->state >= TENANT_DRAINING)
                report(p, (struct sl_drain_report){.streams = p->drained_streams, .text = c->text});
        }
        c->handler->on_lost(c->arg, c->status, c->text);
        return;
    }
    for (p = TAILQ_FIRST(&c->tenants); p != NULL; p = next_tenant) {
        next_tenant = TAILQ_NEXT(p, link);
        if (p->state == TENANT_CROWDED) {
            p->state = TENANT_LEAVING;
            c->handler->on_crowded(c->arg, p);
        }
        if (p->state == TENANT_DUE) {
            sl_fake_end_streams(c, p, "reclaimed");
            report(p, (struct sl_drain_report){
                          .streams = p->drained_streams, .signalled = p->drained_streams, .sweep_ran = true});
        }
    }
    sl_fake_run_streams(c);
}

static void on_dialed(uv_timer_t *timer)
{
    struct sl_conn *c = timer->data;
    c->due |= c->status == 0 ? DUE_READY : DUE_LOST;
    if (c->status == 0 && c->transport->stillborn) {
        c->transport->stillborn = false;
        c->due |= DUE_LOST;
        c->status = SL_E_CONNECTION_LOST;
    }
    sl_fake_pump(c);
}

/* Nothing is learned here. */
struct sl_compat *sl_compat_new(void)
{
    return calloc(1, 1);
}

void sl_compat_free(struct sl_compat *compat)
{
    free(compat);
}

void sl_compat_reset(struct sl_compat *compat)
{
    (void)compat;
}

void sl_compat_forgive(struct sl_compat *compat)
{
    (void)compat;
}

const char *sl_compat_describe(const struct sl_compat *compat, uint64_t now_ms, char *buf, size_t size)
{
    (void)compat;
    (void)now_ms;
    snprintf(buf, size, "%s", "");
    return buf;
}

bool sl_conn_is_spent(const struct sl_conn *c)
{
    return c->state != CONN_UP;
}

int sl_conn_open(struct sl_transport *t, struct sl_target_conf *target, struct sl_compat *compat,
    const struct sl_conn_handler *handler, void *arg, struct sl_conn **ret_conn)
{
    (void)compat;
    struct sl_conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return SL_E_NOMEM;
    t->counts.dialed++;
    c->transport = t;
    c->target = sl_target_conf_ref(target);
    c->handler = handler;
    c->arg = arg;
    c->status = t->dial_status;
    c->basis = t->basis;
    memcpy(c->text, t->dial_text, sizeof c->text);
    TAILQ_INIT(&c->streams);
    TAILQ_INIT(&c->tenants);
    TAILQ_INIT(&c->remotes);
    c->dial.data = c->pump.data = c;
    c->on_pump = on_pump;
    (void)uv_timer_init(t->loop, &c->dial);
    (void)uv_timer_init(t->loop, &c->pump);
    c->handles = 2;
    (void)uv_timer_start(&c->dial, on_dialed, t->dial_ms, 0);
    TAILQ_INSERT_TAIL(&t->conns, c, link);
    *ret_conn = c;
    return 0;
}

void sl_conn_basis(const struct sl_conn *c, struct sl_basis *ret_basis)
{
    *ret_basis = c->basis;
}

struct sl_basis_look {
    uv_timer_t timer;
    struct sl_transport *transport;
    sl_basis_fn fn;
    void *arg;
};

static void on_look_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void sl_basis_forget(struct sl_basis_look *look)
{
    if (look != NULL)
        uv_close((uv_handle_t *)&look->timer, on_look_closed);
}

static void on_look(uv_timer_t *timer)
{
    struct sl_basis_look *look = timer->data;
    const struct sl_basis basis = look->transport->basis;
    sl_basis_forget(look);
    look->fn(look->arg, &basis, NULL);
}

int sl_basis_look(struct sl_transport *t, struct sl_target_conf *target, bool resolves, sl_basis_fn fn, void *arg,
    struct sl_basis_look **ret_look)
{
    struct sl_basis_look *look = calloc(1, sizeof *look);
    (void)target;
    (void)resolves;
    if (look == NULL)
        return SL_E_NOMEM;
    t->counts.looks++;
    look->transport = t;
    look->fn = fn;
    look->arg = arg;
    look->timer.data = look;
    (void)uv_timer_init(t->loop, &look->timer);
    if (!t->looks_hang)
        (void)uv_timer_start(&look->timer, on_look, 0, 0);
    *ret_look = look;
    return 0;
}

void sl_conn_ping(struct sl_conn *c)
{
    c->transport->counts.pinged++;
    c->due |= DUE_PONG;
    sl_fake_pump(c);
}

uint64_t sl_conn_last_received_ms(const struct sl_conn *c)
{
    return c->received_ms;
}

static void on_handle_closed(uv_handle_t *handle)
{
    sl_fake_drop_handle(handle->data);
}

void sl_conn_close(struct sl_conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    TAILQ_REMOVE(&c->transport->conns, c, link);
    uv_close((uv_handle_t *)&c->dial, on_handle_closed);
    uv_close((uv_handle_t *)&c->pump, on_handle_closed);
    sl_fake_end_streams(c, NULL, "closed");
    while (!TAILQ_EMPTY(&c->tenants))
        sl_fake_free_tenant(TAILQ_FIRST(&c->tenants));
}

void sl_conn_info(const struct sl_conn *c, struct sl_conn_info *ret_info)
{
    const struct sl_stream *s;
    *ret_info = (struct sl_conn_info){.server = "", .fingerprint = "", .address = ""};
    TAILQ_FOREACH(s, &c->streams, link)
    ret_info->streams++;
}
