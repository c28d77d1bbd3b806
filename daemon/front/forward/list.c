/* SPDX-License-Identifier: MIT */
/* The forwards of one client: added, found again, named for the log, answered, and freed. */
#include "daemon/front/forward/forward.h"

#include "base/state.h"
#include "base/text.h"
#include "daemon/front/texts.h"
#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sl_forward_is_socks_there(const struct sl_forward *f)
{
    return f->kind == SL_MUX_FWD_REMOTE && f->connect.port == 0;
}

static bool same_end(const struct sl_forward_end *end, struct sl_bytes host, uint32_t port)
{
    return end->port == port && strlen(end->host) == host.len && memcmp(end->host, host.data, host.len) == 0;
}

bool sl_forward_is(const struct sl_forward *f, const struct sl_mux_fwd *fwd)
{
    if ((uint32_t)f->kind != fwd->kind || f->phase == SL_FORWARD_CLOSING)
        return false;
    /* A port that the server chose can be named as it was asked for, or as it came. */
    const bool listen = same_end(&f->listen, fwd->listen_host, fwd->listen_port) ||
                        (f->listen.port == 0 && f->port != 0 && fwd->listen_port == f->port);
    return listen && (f->kind == SL_MUX_FWD_DYNAMIC || same_end(&f->connect, fwd->connect_host, fwd->connect_port));
}

static char *keep(struct sl_bytes text)
{
    return strndup(text.data != NULL ? (const char *)text.data : "", text.len);
}

static struct sl_mux_forwards *list_of(struct sl_mux_client *c)
{
    if (c->forwards == NULL && (c->forwards = calloc(1, sizeof *c->forwards)) != NULL) {
        c->forwards->client = c;
        TAILQ_INIT(&c->forwards->forwards);
        TAILQ_INIT(&c->forwards->conns);
    }
    return c->forwards;
}

struct sl_forward *sl_forward_add(struct sl_mux_client *c, const struct sl_mux_fwd *fwd, uint32_t rid)
{
    struct sl_mux_forwards *fs = list_of(c);
    struct sl_forward *f = fs != NULL ? calloc(1, sizeof *f) : NULL;
    if (f == NULL)
        return NULL;
    f->owner = fs;
    f->kind = (enum sl_mux_fwd_kind)fwd->kind;
    f->rid = rid;
    f->listen = (struct sl_forward_end){keep(fwd->listen_host), fwd->listen_port};
    f->connect = (struct sl_forward_end){keep(fwd->connect_host), fwd->connect_port};
    TAILQ_INSERT_TAIL(&fs->forwards, f, link);
    if (f->listen.host == NULL || f->connect.host == NULL) {
        f->answered = true; /* by the caller */
        sl_forward_free(f, NULL);
        return NULL;
    }
    return f;
}

static void put_end(char *buf, size_t size, const struct sl_forward_end *end)
{
    if (end->port == SL_MUX_PORT_PATH)
        snprintf(buf, size, "%s", end->host);
    else if (end->host[0] == '\0')
        snprintf(buf, size, "%u", end->port);
    else
        snprintf(buf, size, strchr(end->host, ':') != NULL ? "[%s]:%u" : "%s:%u", end->host, end->port);
    sl_text_clean(buf, strlen(buf) + 1, buf, strlen(buf));
}

const char *sl_forward_name(const struct sl_forward *f, char *buf, size_t size)
{
    static const char option[] = {[SL_MUX_FWD_LOCAL] = 'L', [SL_MUX_FWD_REMOTE] = 'R', [SL_MUX_FWD_DYNAMIC] = 'D'};
    char listen[150], connect[150];
    put_end(listen, sizeof listen, &f->listen);
    put_end(connect, sizeof connect, &f->connect);
    if (f->kind == SL_MUX_FWD_DYNAMIC || sl_forward_is_socks_there(f))
        snprintf(buf, size, "-%c %s", option[f->kind], listen);
    else
        snprintf(buf, size, "-%c %s:%s", option[f->kind], listen, connect);
    return buf;
}

static void note(const struct sl_forward *f, enum sl_log_level level, const char *what, const char *text)
{
    const struct sl_mux_client *c = f->owner->client;
    char name[SL_FORWARD_NAME_SIZE], quoted_name[SL_LOG_QUOTE_SIZE], quoted[SL_LOG_QUOTE_SIZE];
    sl_log_of(c->mux->log, c->who.uid, SL_LOG_FORWARDS, level, "forward", "target=%s pid=%ld uid=%lu forward=%s %s%s%s",
        c->target, (long)c->who.pid, (unsigned long)c->who.uid,
        sl_log_quote(quoted_name, sizeof quoted_name, sl_forward_name(f, name, sizeof name)), what,
        text != NULL ? " text=" : "", text != NULL ? sl_log_quote(quoted, sizeof quoted, text) : "");
}

#define TO(phase) SL_TO(SL_FORWARD_##phase)

static const struct sl_state phases[] = {
    [SL_FORWARD_NEW] = {"new", TO(WAITING)},
    [SL_FORWARD_WAITING] = {"waiting", TO(ASKING) | TO(OPEN)},
    [SL_FORWARD_ASKING] = {"asking", TO(OPEN) | TO(CLOSING)},
    [SL_FORWARD_OPEN] = {"open", TO(CLOSING)},
    [SL_FORWARD_CLOSING] = {"closing", 0},
};

void sl_forward_move(struct sl_forward *f, enum sl_forward_phase to)
{
    SL_MOVE(phases, f->phase, to);
}

void sl_forward_opened(struct sl_forward *f)
{
    struct sl_mux_client *c = f->owner->client;
    uint8_t room[SL_FRAME_HEADER + 8];
    struct sl_writer w;
    sl_forward_move(f, SL_FORWARD_OPEN);
    f->answered = true;
    note(f, SL_LOG_INFO, "open", NULL);
    if (f->kind == SL_MUX_FWD_REMOTE && f->listen.port == 0) {
        sl_writer_init(&w, room, sizeof room);
        sl_mux_put_remote_port(&w, f->rid, f->port);
        sl_mux_client_send(c, &w);
    } else {
        sl_mux_client_ok(c, f->rid);
    }
}

static void refuse(struct sl_mux_client *c, enum sl_forward_client client_kind, uint32_t rid, const char *text)
{
    if (client_kind == SL_FORWARD_CLIENT_SESSION && c->refusal == NULL)
        c->refusal = strdup(sl_mux_client_reason(c, text));
    if (client_kind == SL_FORWARD_CLIENT_CONTROL)
        sl_mux_client_refuse(c, SL_MUX_FAILURE, rid, text);
    else if (client_kind == SL_FORWARD_CLIENT_SESSION && c->refusal != NULL)
        sl_mux_client_ok(c, rid);
    else
        sl_mux_client_refuse_loudly(c, rid, text);
}

void sl_forward_tell_refused(struct sl_forward *f, const char *text)
{
    note(f, SL_LOG_WARNING, "refused", text);
    if (!f->answered)
        refuse(f->owner->client, f->owner->client_kind, f->rid, text);
    f->answered = true;
}

void sl_forward_refused(struct sl_forward *f, const char *text)
{
    sl_forward_tell_refused(f, text);
    sl_forward_free(f, NULL);
}

void sl_forward_free(struct sl_forward *f, const char *why)
{
    struct sl_mux_forwards *fs = f->owner;
    if (why != NULL)
        note(f, SL_LOG_INFO, "closed", why);
    sl_listener_close(f->listener[0]);
    sl_listener_close(f->listener[1]);
    if (f->counts)
        sl_quota_give(
            sl_driver_quota(fs->client->mux->driver), fs->client->who.uid, SL_QUOTA_DESCRIPTORS, SL_FORWARD_LISTENERS);
    TAILQ_REMOVE(&fs->forwards, f, link);
    free(f->listen.host);
    free(f->connect.host);
    free(f);
}

void sl_forwards_settle(struct sl_mux_forwards *fs)
{
    struct sl_mux_client *c = fs->client;
    if (!TAILQ_EMPTY(&fs->forwards) || !TAILQ_EMPTY(&fs->conns))
        return;
    assert(fs->conn_count == 0);
    c->forwards = NULL;
    sl_mux_cmdline_cancel(fs->cmdline);
    if (fs->lease != SL_FORWARDS_OVER)
        sl_mux_lease_leave(c, &fs->user);
    free(fs);
    if (c->phase == SL_MUX_STANDING)
        sl_mux_client_finish(c);
}
