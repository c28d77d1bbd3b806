#include "tests/support/fake_transport.h"

#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct sl_stream {
    TAILQ_ENTRY(sl_stream) link;
    struct sl_conn *conn;
    struct sl_party *party;
    const struct sl_stream_handler *handler;
    void *arg;
    char *command;
    enum { STREAM_ASKED, STREAM_OPEN, STREAM_ENDED } state;
    uv_timer_t timer; /* until the server's answer */
    size_t credit;
    size_t unsent; /* written by us, not yet taken */
    char *echo;
    size_t echo_len;
    size_t flood;
    bool eof, closing;
};
TAILQ_HEAD(stream_list, sl_stream);

enum { DUE_READY = 1, DUE_LOST = 2, DUE_PONG = 4 };

struct sl_party {
    TAILQ_ENTRY(sl_party) link;
    struct sl_conn *conn;
    enum { PARTY_LIVE, PARTY_DRAINING, PARTY_DUE } state;
    uv_timer_t drain;
    unsigned drained_streams;
};

struct sl_conn {
    TAILQ_ENTRY(sl_conn) link;
    struct sl_transport *transport;
    struct sl_target_conf *target;
    const struct sl_conn_handler *handler;
    void *arg;
    uv_timer_t dial, pump;
    unsigned handles;
    unsigned due;
    enum { CONN_DIALING, CONN_UP, CONN_LOST, CONN_CLOSING } state;
    int status;
    char text[128];
    uint64_t received_ms;
    struct stream_list streams;
    TAILQ_HEAD(, sl_party) parties;
};

struct sl_transport {
    uv_loop_t *loop;
    TAILQ_HEAD(, sl_conn) conns;
    uint64_t dial_ms, drain_ms;
    int dial_status;
    char dial_text[128];
    struct sl_fake_counts counts;
};

static void on_pump(uv_timer_t *timer);

static void pump(struct sl_conn *c)
{
    if (c->state != CONN_CLOSING)
        (void)uv_timer_start(&c->pump, on_pump, 0, 0);
}

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
    return SL_OK;
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
    (void)snprintf(t->dial_text, sizeof t->dial_text, "%s", text);
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
        (void)snprintf(c->text, sizeof c->text, "%s", text);
        c->due |= DUE_LOST;
        pump(c);
    }
}

struct sl_fake_counts sl_fake_counts(const struct sl_transport *t)
{
    struct sl_fake_counts counts = t->counts;
    const struct sl_conn *c;
    const struct sl_stream *s;

    TAILQ_FOREACH(c, &t->conns, link)
    {
        counts.open++;
        TAILQ_FOREACH(s, &c->streams, link)
        counts.streams_open++;
    }
    return counts;
}

/* --- streams ------------------------------------------------------------------------------------------------------ */

static void drop_handle(struct sl_conn *c)
{
    if (--c->handles > 0)
        return;
    c->handler->on_closed(c->arg);
    sl_target_conf_unref(c->target);
    free(c);
}

static void on_stream_freed(uv_handle_t *handle)
{
    struct sl_stream *s = handle->data;
    struct sl_conn *c = s->conn;

    free(s->command);
    free(s->echo);
    free(s);
    drop_handle(c);
}

static void end_stream(struct sl_stream *s, const struct sl_stream_result *result)
{
    if (s->state == STREAM_ENDED)
        return;
    s->state = STREAM_ENDED;
    TAILQ_REMOVE(&s->conn->streams, s, link);
    uv_close((uv_handle_t *)&s->timer, on_stream_freed);
    s->handler->on_end(s->arg, result);
}

/* Those of `party`; of all when NULL. */
static void end_unknown(struct sl_conn *c, const struct sl_party *party, const char *text)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = text};
    struct sl_stream *s, *next;

    for (s = TAILQ_FIRST(&c->streams); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        if (party == NULL || s->party == party)
            end_stream(s, &result);
    }
}

static void exit_with(struct sl_stream *s, uint32_t status)
{
    const struct sl_stream_result result = {.how = SL_RESULT_STATUS, .exit_status = status, .text = ""};

    s->handler->on_eof(s->arg);
    end_stream(s, &result);
}

static void give(struct sl_stream *s, const char *data, size_t len)
{
    s->conn->received_ms = uv_now(s->conn->transport->loop);
    s->credit -= len;
    s->handler->on_data(s->arg, 0, (const uint8_t *)data, len);
}

static void run_cat(struct sl_stream *s)
{
    size_t len = s->echo_len < s->credit ? s->echo_len : s->credit;

    if (len > 0) {
        give(s, s->echo, len);
        memmove(s->echo, s->echo + len, s->echo_len - len);
        s->echo_len -= len;
        s->unsent -= len;
        s->handler->on_sent(s->arg, len);
    }
    if (s->eof && s->echo_len == 0)
        exit_with(s, 0);
}

static void run_flood(struct sl_stream *s)
{
    static const char block[32768];

    while (s->flood > 0 && s->credit > 0) {
        size_t len = s->flood < sizeof block ? s->flood : sizeof block;
        if (len > s->credit)
            len = s->credit;
        s->flood -= len;
        give(s, block, len);
    }
    if (s->flood == 0)
        exit_with(s, 0);
}

static void run_stream(struct sl_stream *s)
{
    if (s->state == STREAM_ASKED) {
        if (uv_is_active((uv_handle_t *)&s->timer))
            return;
        s->state = STREAM_OPEN;
        if (strcmp(s->command, "refuse") == 0) {
            const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = "refused"};
            s->handler->on_open(s->arg, SL_E_STREAM_REFUSED, "the server said no");
            end_stream(s, &result);
            return;
        }
        s->handler->on_open(s->arg, SL_OK, "");
    }
    if (s->closing) {
        const struct sl_stream_result result = {.how = SL_RESULT_SIGNAL, .signal = "TERM", .text = ""};
        end_stream(s, &result);
    } else if (strncmp(s->command, "exit ", 5) == 0) {
        exit_with(s, (uint32_t)atoi(s->command + 5));
    } else if (strcmp(s->command, "cat") == 0) {
        run_cat(s);
    } else if (strncmp(s->command, "flood ", 6) == 0) {
        run_flood(s);
    } else if (strcmp(s->command, "sink") == 0 && s->eof) {
        exit_with(s, 0);
    }
}

static void on_stream_timer(uv_timer_t *timer)
{
    struct sl_stream *s = timer->data;

    pump(s->conn);
}

int sl_stream_open(struct sl_party *party, const struct sl_stream_spec *spec, const struct sl_stream_handler *handler,
    void *arg, struct sl_stream **ret_stream)
{
    struct sl_conn *c = party->conn;
    struct sl_fake_counts *counts = &c->transport->counts;
    const struct sl_stream *other;
    uint32_t open = 0;

    if (c->state != CONN_UP)
        return SL_E_CONNECTION_LOST;
    TAILQ_FOREACH(other, &c->streams, link)
    open++;
    if (open >= c->target->policy.streams)
        return SL_E_STREAM_LIMIT;
    struct sl_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SL_E_NOMEM;
    s->conn = c;
    s->party = party;
    s->handler = handler;
    s->arg = arg;
    s->command = strdup(spec->command != NULL ? spec->command : "hang");
    s->credit = spec->credit;
    s->timer.data = s;
    if (strncmp(s->command, "flood ", 6) == 0)
        s->flood = (size_t)atoll(s->command + 6);
    if (spec->env_count > 0)
        (void)snprintf(counts->last_env, sizeof counts->last_env, "%s=%s", spec->env[0].name, spec->env[0].value);
    (void)uv_timer_init(c->transport->loop, &s->timer);
    c->handles++;
    if (strcmp(s->command, "slow") == 0)
        (void)uv_timer_start(&s->timer, on_stream_timer, 50, 0);
    TAILQ_INSERT_TAIL(&c->streams, s, link);
    pump(c);
    *ret_stream = s;
    return SL_OK;
}

int sl_stream_write(struct sl_stream *s, const void *data, size_t len)
{
    if (s->eof || s->unsent + len > SL_STREAM_WINDOW)
        return SL_E_PROTOCOL;
    s->conn->transport->counts.written += len;
    s->unsent += len;
    if (strcmp(s->command, "cat") == 0) {
        char *echo = realloc(s->echo, s->echo_len + len);
        if (echo == NULL)
            return SL_E_NOMEM;
        memcpy(echo + s->echo_len, data, len);
        s->echo = echo;
        s->echo_len += len;
    }
    pump(s->conn);
    return SL_OK;
}

void sl_stream_eof(struct sl_stream *s)
{
    s->eof = true;
    pump(s->conn);
}

void sl_stream_credit(struct sl_stream *s, size_t len)
{
    s->credit += len;
    pump(s->conn);
}

void sl_stream_signal(struct sl_stream *s, const char *name)
{
    (void)name;
    s->conn->transport->counts.signals++;
}

void sl_stream_resize(struct sl_stream *s, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px)
{
    (void)s;
    (void)cols;
    (void)rows;
    (void)width_px;
    (void)height_px;
}

void sl_stream_close(struct sl_stream *s)
{
    s->closing = true;
    pump(s->conn);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void on_party_freed(uv_handle_t *handle)
{
    struct sl_party *p = handle->data;
    struct sl_conn *c = p->conn;

    free(p);
    drop_handle(c);
}

static void free_party(struct sl_party *p)
{
    TAILQ_REMOVE(&p->conn->parties, p, link);
    uv_close((uv_handle_t *)&p->drain, on_party_freed);
}

static void report(struct sl_party *p, struct sl_drain_report said)
{
    p->conn->handler->on_drained(p->conn->arg, p, &said);
    free_party(p);
}

static void on_pump(uv_timer_t *timer)
{
    struct sl_conn *c = timer->data;
    unsigned due = c->due;
    struct sl_stream *s, *next;
    struct sl_party *p, *next_party;

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
        end_unknown(c, NULL, c->text);
        for (p = TAILQ_FIRST(&c->parties); p != NULL; p = next_party) {
            next_party = TAILQ_NEXT(p, link);
            if (p->state != PARTY_LIVE)
                report(p, (struct sl_drain_report){.streams = p->drained_streams, .text = c->text});
        }
        c->handler->on_lost(c->arg, c->status, c->text);
        return;
    }
    for (p = TAILQ_FIRST(&c->parties); p != NULL; p = next_party) {
        next_party = TAILQ_NEXT(p, link);
        if (p->state == PARTY_DUE) {
            end_unknown(c, p, "reclaimed");
            report(p, (struct sl_drain_report){
                          .streams = p->drained_streams, .signalled = p->drained_streams, .sweep_ran = true});
        }
    }
    for (s = TAILQ_FIRST(&c->streams); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        run_stream(s);
    }
}

static void on_dialed(uv_timer_t *timer)
{
    struct sl_conn *c = timer->data;

    c->due |= c->status == 0 ? DUE_READY : DUE_LOST;
    pump(c);
}

static void on_drain_due(uv_timer_t *timer)
{
    struct sl_party *p = timer->data;

    p->state = PARTY_DUE;
    pump(p->conn);
}

int sl_conn_open(struct sl_transport *t, struct sl_target_conf *target, const struct sl_conn_handler *handler,
    void *arg, struct sl_conn **ret_conn)
{
    struct sl_conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return SL_E_NOMEM;
    t->counts.dialed++;
    c->transport = t;
    c->target = sl_target_conf_ref(target);
    c->handler = handler;
    c->arg = arg;
    c->status = t->dial_status;
    memcpy(c->text, t->dial_text, sizeof c->text);
    TAILQ_INIT(&c->streams);
    TAILQ_INIT(&c->parties);
    c->dial.data = c->pump.data = c;
    (void)uv_timer_init(t->loop, &c->dial);
    (void)uv_timer_init(t->loop, &c->pump);
    c->handles = 2;
    (void)uv_timer_start(&c->dial, on_dialed, t->dial_ms, 0);
    TAILQ_INSERT_TAIL(&t->conns, c, link);
    *ret_conn = c;
    return SL_OK;
}

void sl_conn_ping(struct sl_conn *c)
{
    c->transport->counts.pinged++;
    c->due |= DUE_PONG;
    pump(c);
}

uint64_t sl_conn_last_received_ms(const struct sl_conn *c)
{
    return c->received_ms;
}

int sl_party_begin(struct sl_conn *c, struct sl_party **ret_party)
{
    struct sl_party *p = calloc(1, sizeof *p);

    if (p == NULL)
        return SL_E_NOMEM;
    c->transport->counts.leases++;
    p->conn = c;
    p->drain.data = p;
    (void)uv_timer_init(c->transport->loop, &p->drain);
    c->handles++;
    TAILQ_INSERT_TAIL(&c->parties, p, link);
    *ret_party = p;
    return SL_OK;
}

uint32_t sl_party_streams(const struct sl_party *p)
{
    const struct sl_stream *s;
    uint32_t count = 0;

    TAILQ_FOREACH(s, &p->conn->streams, link)
    count += s->party == p;
    return count;
}

bool sl_party_is_clean(const struct sl_party *p)
{
    return p->state == PARTY_LIVE && sl_party_streams(p) == 0;
}

void sl_party_end(struct sl_party *p)
{
    assert(sl_party_is_clean(p));
    free_party(p);
}

void sl_party_drain(struct sl_party *p)
{
    struct sl_conn *c = p->conn;

    assert(c->state == CONN_UP && p->state == PARTY_LIVE);
    c->transport->counts.drained++;
    p->state = PARTY_DRAINING;
    p->drained_streams = sl_party_streams(p);
    (void)uv_timer_start(&p->drain, on_drain_due, c->transport->drain_ms, 0);
}

static void on_handle_closed(uv_handle_t *handle)
{
    drop_handle(handle->data);
}

void sl_conn_close(struct sl_conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    TAILQ_REMOVE(&c->transport->conns, c, link);
    uv_close((uv_handle_t *)&c->dial, on_handle_closed);
    uv_close((uv_handle_t *)&c->pump, on_handle_closed);
    end_unknown(c, NULL, "closed");
    while (!TAILQ_EMPTY(&c->parties))
        free_party(TAILQ_FIRST(&c->parties));
}

void sl_conn_info(const struct sl_conn *c, struct sl_conn_info *ret_info)
{
    const struct sl_stream *s;

    *ret_info = (struct sl_conn_info){.server = "", .fingerprint = "", .address = ""};
    TAILQ_FOREACH(s, &c->streams, link)
    ret_info->streams++;
}
