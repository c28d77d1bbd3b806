/* SPDX-License-Identifier: MIT */
/* The fake transport's streams, and the ports its servers listen on. */
#include "daemon/ssh/channel/nobody.h"
#include "proto/status.h"
#include "tests/support/fake_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- streams ------------------------------------------------------------------------------------------------------ */

void sl_fake_drop_handle(struct sl_conn *c)
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
    if (c != NULL)
        sl_fake_drop_handle(c);
}

void sl_fake_end_stream(struct sl_stream *s, const struct sl_stream_result *result)
{
    if (s->state == STREAM_ENDED)
        return;
    s->state = STREAM_ENDED;
    if (s->tenant->quota != NULL)
        sl_quota_give(s->tenant->quota, s->tenant->uid, SL_QUOTA_STREAMS, 1);
    TAILQ_REMOVE(s->conn != NULL ? &s->conn->streams : &s->tenant->parked, s, link);
    uv_close((uv_handle_t *)&s->timer, on_stream_freed);
    s->handler->on_end(s->arg, result);
}

static void close_remote(struct sl_remote *remote)
{
    TAILQ_REMOVE(&remote->conn->remotes, remote, link);
    remote->handler->on_closed(remote->arg);
    free(remote);
}

void sl_fake_end_streams(struct sl_conn *c, const struct sl_tenant *tenant, const char *text)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = text};
    struct sl_stream *s, *next;
    struct sl_remote *remote, *next_remote;
    for (s = TAILQ_FIRST(&c->streams); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        if (tenant == NULL || s->tenant == tenant)
            sl_fake_end_stream(s, &result);
    }
    for (remote = TAILQ_FIRST(&c->remotes); remote != NULL; remote = next_remote) {
        next_remote = TAILQ_NEXT(remote, link);
        if (tenant == NULL || remote->tenant == tenant)
            close_remote(remote);
    }
}

void sl_fake_mute(struct stream_list *list, const struct sl_tenant *tenant)
{
    struct sl_stream *s;
    TAILQ_FOREACH(s, list, link)
    {
        if (s->tenant == tenant)
            s->handler = &sl_nobody_stream;
    }
}

static void exit_with(struct sl_stream *s, uint32_t status)
{
    const struct sl_stream_result result = {.how = SL_RESULT_STATUS, .exit_status = status, .text = ""};
    s->handler->on_eof(s->arg);
    sl_fake_end_stream(s, &result);
}

/* The command is over; something else has its output open, until its input ends. */
static void leave(struct sl_stream *s, uint32_t status)
{
    const struct sl_stream_result result = {.how = SL_RESULT_STATUS, .exit_status = status, .text = ""};
    if (!s->left && s->handler->on_exit != NULL)
        s->handler->on_exit(s->arg, &result);
    s->left = true;
    if (s->eof)
        exit_with(s, status);
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
    while (s->flood > 0 && s->credit > 0 && !s->closing) {
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
    if (s->tenant->state == TENANT_CROWDED || s->tenant->state == TENANT_LEAVING)
        return;
    if (s->state == STREAM_ASKED) {
        if (uv_is_active((uv_handle_t *)&s->timer))
            return;
        s->state = STREAM_OPEN;
        if (strcmp(s->command, "refuse") == 0) {
            const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = "refused"};
            s->handler->on_open(s->arg, SL_E_STREAM_REFUSED, "the server said no");
            sl_fake_end_stream(s, &result);
            return;
        }
        if (!s->conn->answered) {
            s->conn->answered = true;
            s->conn->handler->on_answered(s->conn->arg);
        }
        s->handler->on_open(s->arg, 0, "");
    }
    if (s->closing) {
        const struct sl_stream_result result = {.how = SL_RESULT_SIGNAL, .signal = "TERM", .text = ""};
        sl_fake_end_stream(s, &result);
    } else if (strncmp(s->command, "exit ", 5) == 0) {
        exit_with(s, (uint32_t)atoi(s->command + 5));
    } else if (strncmp(s->command, "leave ", 6) == 0) {
        leave(s, (uint32_t)atoi(s->command + 6));
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
    sl_fake_pump(s->conn);
}

int sl_stream_open(struct sl_tenant *tenant, const struct sl_stream_spec *spec, const struct sl_stream_handler *handler,
    void *arg, struct sl_stream **ret_stream)
{
    struct sl_conn *c = tenant->conn;
    struct sl_fake_counts *counts = &c->transport->counts;
    const struct sl_stream *other;
    uint32_t open = 0;
    const bool alone = TAILQ_NEXT(TAILQ_FIRST(&c->tenants), link) == NULL;
    if (c->state != CONN_UP)
        return SL_E_CONNECTION_LOST;
    TAILQ_FOREACH(other, &c->streams, link)
    open++;
    if (open >= c->target->policy.streams)
        return SL_E_STREAM_LIMIT;
    if (c->transport->sessions > 0 && open >= c->transport->sessions) {
        if (tenant->opened > 0 || alone)
            return SL_E_STREAM_LIMIT;
        tenant->state = TENANT_CROWDED;
    }
    if (tenant->quota != NULL && sl_quota_take(tenant->quota, tenant->uid, SL_QUOTA_STREAMS, 1) != 0)
        return SL_E_LIMIT;
    tenant->opened++;
    struct sl_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SL_E_NOMEM;
    s->conn = c;
    s->tenant = tenant;
    s->handler = handler;
    s->arg = arg;
    const char *command = spec->kind == SL_SPEC_TCP    ? spec->host
                          : spec->kind == SL_SPEC_UNIX ? spec->path
                                                       : spec->command;
    s->command = strdup(command != NULL ? command : "hang");
    s->credit = spec->credit;
    s->timer.data = s;
    if (strncmp(s->command, "flood ", 6) == 0)
        s->flood = (size_t)atoll(s->command + 6);
    if (spec->env_count > 0)
        snprintf(counts->last_env, sizeof counts->last_env, "%s=%s", spec->env[0].name, spec->env[0].value);
    (void)uv_timer_init(c->transport->loop, &s->timer);
    c->handles++;
    if (strcmp(s->command, "slow") == 0)
        (void)uv_timer_start(&s->timer, on_stream_timer, 50, 0);
    TAILQ_INSERT_TAIL(&c->streams, s, link);
    sl_fake_pump(c);
    *ret_stream = s;
    return 0;
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
    sl_fake_pump(s->conn);
    return 0;
}

void sl_stream_eof(struct sl_stream *s)
{
    s->eof = true;
    sl_fake_pump(s->conn);
}

void sl_stream_credit(struct sl_stream *s, size_t len)
{
    s->credit += len;
    sl_fake_pump(s->conn);
}

bool sl_stream_unread(struct sl_stream *s)
{
    (void)s;
    return false; /* as of a server that cannot be told */
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
    sl_fake_pump(s->conn);
}

/* --- ports of the server's ---------------------------------------------------------------------------------------- */

int sl_remote_open(struct sl_tenant *tenant, const char *host, uint16_t port, const struct sl_remote_handler *handler,
    void *arg, struct sl_remote **ret_remote)
{
    struct sl_conn *c = tenant->conn;
    (void)host;
    if (c->state != CONN_UP)
        return SL_E_CONNECTION_LOST;
    struct sl_remote *remote = calloc(1, sizeof *remote);
    if (remote == NULL)
        return SL_E_NOMEM;
    remote->tenant = tenant;
    remote->conn = c;
    remote->handler = handler;
    remote->arg = arg;
    remote->port = port != 0 ? port : 40000;
    TAILQ_INSERT_TAIL(&c->remotes, remote, link);
    sl_fake_pump(c);
    *ret_remote = remote;
    return 0;
}

int sl_remote_accept(struct sl_remote *remote, const struct sl_stream_handler *handler, void *arg, size_t credit,
    struct sl_stream **ret_stream)
{
    const struct sl_stream_spec spec = {.kind = SL_SPEC_TCP, .host = "cat", .credit = credit};
    if (remote->waiting == 0)
        return SL_E_AGAIN;
    int r = sl_stream_open(remote->tenant, &spec, handler, arg, ret_stream);
    remote->waiting -= r == 0;
    return r;
}

void sl_remote_close(struct sl_remote *remote)
{
    remote->state = REMOTE_CLOSING;
    sl_fake_pump(remote->conn);
}

void sl_fake_knock(struct sl_transport *t)
{
    struct sl_conn *c;
    struct sl_remote *remote;
    TAILQ_FOREACH(c, &t->conns, link)
    {
        TAILQ_FOREACH(remote, &c->remotes, link)
        remote->knocks++;
        sl_fake_pump(c);
    }
}

static void run_remote(struct sl_remote *remote)
{
    if (remote->state == REMOTE_ASKED) {
        const bool refused = remote->port == 1;
        remote->state = refused ? REMOTE_CLOSING : REMOTE_LISTENING;
        remote->handler->on_listening(
            remote->arg, refused ? SL_E_STREAM_REFUSED : 0, remote->port, refused ? "the server said no" : "");
    }
    for (; remote->state == REMOTE_LISTENING && remote->knocks > 0; remote->knocks--) {
        remote->waiting++;
        remote->handler->on_connection(remote->arg);
    }
    if (remote->state == REMOTE_CLOSING)
        close_remote(remote);
}

void sl_fake_run_streams(struct sl_conn *c)
{
    struct sl_stream *s, *next;
    struct sl_remote *remote, *next_remote;
    for (s = TAILQ_FIRST(&c->streams); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        run_stream(s);
    }
    for (remote = TAILQ_FIRST(&c->remotes); remote != NULL; remote = next_remote) {
        next_remote = TAILQ_NEXT(remote, link);
        run_remote(remote);
    }
}
