/* SPDX-License-Identifier: MIT */
/* Streams as the daemon asks for them; nothing here calls back or talks to the server: stream_run.c does, in the tick.
 */
#include "daemon/ssh/channel/stream.h"

#include "base/state.h"
#include "daemon/ssh/channel/env.h"
#include "daemon/ssh/channel/forward.h"
#include "daemon/ssh/channel/nobody.h"
#include "daemon/ssh/channel/preopen.h"
#include "proto/status.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* Signals and resizes that wait; a client that sends more than the server takes loses them. */
#define COMMANDS_MAX 64u
#define ENV_MAX      128u
/* libssh2 takes terminal name and modes up to this many bytes in all. */
#define PTY_MAX 256u
/* The least that an item of data is made for, so that the next piece fits in it as well. */
#define DATA_ROOM 4096u
/* For the answer to a request, from the moment the stream is asked for. */
#define OPEN_TIMEOUT_MS 30000u
/* A kind beyond those of a spec: the server has opened it. */
#define ACCEPTED 18

void sl_stream_plan_free(struct sl_stream_plan *plan)
{
    if (plan != NULL) {
        for (size_t i = 0; i < 2 * plan->env_count; i++)
            free(plan->env[i]);
        free(plan->env);
        free(plan->modes);
        free(plan->term);
        free(plan->command);
        free(plan);
    }
}

static bool may_send(const struct sl_target_conf *target, const char *name)
{
    if (strcmp(name, SL_COOKIE_NAME) == 0)
        return false;
    for (size_t i = 0; i < target->send_env.count; i++)
        if (fnmatch(target->send_env.item[i], name, 0) == 0)
            return true;
    return false;
}

static int plan_env(struct sl_stream_plan *plan, const struct sl_target_conf *target, const struct sl_stream_spec *spec)
{
    size_t count = spec->env_count < ENV_MAX ? spec->env_count : ENV_MAX;
    if (count == 0)
        return 0;
    plan->env = calloc(2 * count, sizeof *plan->env);
    if (plan->env == NULL)
        return SL_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (may_send(target, spec->env[i].name)) {
            char **pair = plan->env + 2 * plan->env_count++;
            pair[0] = strdup(spec->env[i].name);
            pair[1] = strdup(spec->env[i].value);
            if (pair[0] == NULL || pair[1] == NULL)
                return SL_E_NOMEM;
        }
    }
    return 0;
}

/* RFC 4254 section 8: five bytes for each mode, then a zero. What does not fit is left to the server's defaults. */
static int plan_pty(struct sl_stream_plan *plan, const struct sl_stream_pty *pty)
{
    if (pty == NULL)
        return 0;
    plan->term = strndup(pty->term != NULL ? pty->term : "", 128);
    if (plan->term == NULL)
        return SL_E_NOMEM;
    plan->cols = pty->cols;
    plan->rows = pty->rows;
    plan->width_px = pty->width_px;
    plan->height_px = pty->height_px;
    size_t room = PTY_MAX - strlen(plan->term) - 1;
    size_t len = 0;
    while (pty->modes != NULL && len + 5 <= pty->modes_len && len + 5 <= room && pty->modes[len] != 0)
        len += 5;
    plan->modes = malloc(len + 1);
    if (plan->modes == NULL)
        return SL_E_NOMEM;
    if (len > 0)
        memcpy(plan->modes, pty->modes, len);
    plan->modes[len] = 0;
    plan->modes_len = len + 1;
    return 0;
}

static int make_plan(
    const struct sl_target_conf *target, const struct sl_stream_spec *spec, struct sl_stream_plan **ret_plan)
{
    struct sl_stream_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL)
        return SL_E_NOMEM;
    if (spec->kind != SL_SPEC_SHELL) {
        plan->command = strdup(spec->command != NULL ? spec->command : "");
        plan->command_len = plan->command != NULL ? strlen(plan->command) : 0;
    }
    if ((spec->kind != SL_SPEC_SHELL && plan->command == NULL) || plan_env(plan, target, spec) != 0 ||
        plan_pty(plan, spec->pty) != 0) {
        sl_stream_plan_free(plan);
        return SL_E_NOMEM;
    }
    *ret_plan = plan;
    return 0;
}

bool sl_stream_is_forward(const struct sl_stream *stream)
{
    return stream->kind >= SL_SPEC_TCP;
}

static struct sl_stream *new_stream(
    struct sl_tenant *tenant, int kind, const struct sl_stream_handler *handler, void *arg, size_t credit)
{
    struct sl_stream *stream = calloc(1, sizeof *stream);
    if (stream != NULL) {
        stream->conn = tenant->conn;
        stream->tenant = tenant;
        stream->kind = kind;
        stream->handler = *handler;
        stream->arg = arg;
        stream->credit = credit;
        stream->deadline_ms = UINT64_MAX;
        TAILQ_INIT(&stream->items);
    }
    return stream;
}

static void wake(struct sl_stream *stream)
{
    if (stream->conn != NULL)
        sl_conn_schedule(stream->conn);
}

static void enter(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    TAILQ_INSERT_TAIL(&conn->streams, stream, link);
    conn->stream_count++;
    conn->forward_count += sl_stream_is_forward(stream);
    sl_conn_schedule(conn);
}

static void add_stream(struct sl_stream *stream)
{
    struct sl_tenant *tenant = stream->tenant;
    tenant->stream_count++;
    if (!sl_stream_is_forward(stream)) {
        tenant->sessions++;
        tenant->streams += tenant->streams < UINT32_MAX;
    }
    if (stream->conn != NULL)
        enter(stream);
    else
        TAILQ_INSERT_TAIL(&tenant->parked, stream, link);
}

#define TO(state) SL_TO(SL_STREAM_##state)

/* From WAITING back to STARTING: a command that was refused would have gone elsewhere, and cannot. */
static const struct sl_state states[] = {
    [SL_STREAM_WAITING] = {"waiting", TO(WAITING) | TO(DIALING) | TO(SETUP) | TO(STARTING) | TO(ENDED)},
    [SL_STREAM_DIALING] = {"dialing", TO(RUNNING) | TO(ENDED)},
    [SL_STREAM_SETUP] = {"setup", TO(WAITING) | TO(STARTING) | TO(ENDED)},
    [SL_STREAM_STARTING] = {"starting", TO(WAITING) | TO(RUNNING) | TO(ENDED)},
    [SL_STREAM_RUNNING] = {"running", TO(FINISHING) | TO(ENDED)},
    [SL_STREAM_FINISHING] = {"finishing", TO(ENDED)},
    [SL_STREAM_ENDED] = {"ended", 0},
};

void sl_stream_move(struct sl_stream *stream, enum sl_stream_state to)
{
    SL_MOVE(states, stream->state, to);
}

static int open_forward(struct sl_stream *stream, const struct sl_stream_spec *spec)
{
    const struct sl_policy *policy = &stream->conn->target->policy;
    sl_stream_move(stream, SL_STREAM_DIALING);
    stream->deadline_ms = sl_conn_now(stream->conn) + OPEN_TIMEOUT_MS + policy->connect_timeout_ms;
    return sl_forward_ask(stream->tenant, spec, &stream->where, &stream->chan);
}

static int open_session(struct sl_stream *stream, const struct sl_stream_spec *spec)
{
    if (stream->conn != NULL)
        stream->deadline_ms = sl_conn_now(stream->conn) + OPEN_TIMEOUT_MS;
    return make_plan(stream->tenant->target, spec, &stream->plan);
}

static bool has_room_to_forward(const struct sl_tenant *tenant)
{
    return !sl_tenant_is_frozen(tenant) && tenant->conn != NULL && tenant->conn->forward_count < SL_FORWARDS_MAX;
}

/* Every lease has a right to one session: a second one must leave room for the first ones of the others. What is about
 * to leave does not count. */
static bool has_room(const struct sl_tenant *tenant)
{
    uint32_t sessions = 0;
    const struct sl_tenant *other;
    TAILQ_FOREACH(other, &tenant->conn->tenants, link)
    {
        if (!sl_tenant_is_frozen(other)) {
            uint32_t kept = other != tenant && tenant->sessions > 0 && sl_tenant_goes_on(other);
            sessions += other->sessions > kept ? other->sessions : kept;
        }
    }
    return sessions < sl_preopen_stream_limit(tenant->conn);
}

/* 0 where there is room, or will be on the connection that the tenant moves to. */
static int look_for_room(struct sl_tenant *tenant, bool forward)
{
    const struct sl_conn *conn = tenant->conn;
    bool frozen = sl_tenant_is_frozen(tenant);
    if (!sl_tenant_goes_on(tenant) || (!frozen && (conn->phase != SL_CONN_PHASE_READY || conn->error != 0)))
        return SL_E_CONNECTION_LOST;
    if (forward)
        return has_room_to_forward(tenant) ? 0 : SL_E_STREAM_LIMIT;
    if (frozen)
        return tenant->sessions < tenant->target->policy.streams ? 0 : SL_E_STREAM_LIMIT;
    return (conn->serves == SL_SERVES_COMMANDS && has_room(tenant)) || sl_tenant_crowd(tenant) ? 0 : SL_E_STREAM_LIMIT;
}

int sl_stream_open(struct sl_tenant *tenant, const struct sl_stream_spec *spec, const struct sl_stream_handler *handler,
    void *arg, struct sl_stream **ret_stream)
{
    bool forward = spec->kind >= SL_SPEC_TCP;
    int r = look_for_room(tenant, forward);
    if (r == 0)
        r = sl_tenant_take_stream(tenant);
    if (r != 0)
        return r;
    struct sl_stream *stream = new_stream(tenant, (int)spec->kind, handler, arg, spec->credit);
    if (stream == NULL)
        r = SL_E_NOMEM;
    else
        r = forward ? open_forward(stream, spec) : open_session(stream, spec);
    if (r != 0) {
        sl_tenant_give_stream(tenant);
        free(stream);
        return r;
    }
    add_stream(stream);
    *ret_stream = stream;
    return 0;
}

int sl_stream_adopt(struct sl_chan *chan, const struct sl_stream_handler *handler, void *arg, size_t credit,
    struct sl_stream **ret_stream)
{
    int r = has_room_to_forward(chan->tenant) ? sl_tenant_take_stream(chan->tenant) : SL_E_STREAM_LIMIT;
    if (r != 0)
        return r;
    struct sl_stream *stream = new_stream(chan->tenant, ACCEPTED, handler, arg, credit);
    if (stream == NULL) {
        sl_tenant_give_stream(chan->tenant);
        return SL_E_NOMEM;
    }
    stream->chan = chan;
    sl_stream_move(stream, SL_STREAM_DIALING); /* and through with that */
    add_stream(stream);
    *ret_stream = stream;
    return 0;
}

void sl_stream_mute(struct sl_stream_list *list, const struct sl_tenant *tenant)
{
    struct sl_stream *stream;
    TAILQ_FOREACH(stream, list, link)
    {
        if (stream->tenant == tenant)
            stream->handler = sl_nobody_stream;
    }
}

/* `room`: for so much data, or a signal's name and its NUL. */
static struct sl_item *add_item(struct sl_stream *stream, enum sl_item_kind kind, size_t room)
{
    struct sl_item *item = malloc(sizeof *item + room);
    if (item != NULL) {
        *item = (struct sl_item){.kind = kind, .room = room};
        TAILQ_INSERT_TAIL(&stream->items, item, link);
        wake(stream);
    }
    return item;
}

static void fill_item(struct sl_item *item, const void *data, size_t len)
{
    memcpy(item->data + item->len, data, len);
    item->len += len;
}

/* What comes in small pieces shares an item: one for each byte would cost eighty. */
static int add_data(struct sl_stream *stream, const uint8_t *data, size_t len)
{
    struct sl_item *last = TAILQ_LAST(&stream->items, sl_item_list);
    size_t room = last != NULL && last->kind == SL_ITEM_DATA ? last->room - last->len : 0;
    size_t first = room < len ? room : len, more = len - first;
    struct sl_item *next = NULL;
    if (more > 0 && (next = add_item(stream, SL_ITEM_DATA, more > DATA_ROOM ? more : DATA_ROOM)) == NULL)
        return SL_E_NOMEM;
    if (first > 0)
        fill_item(last, data, first);
    wake(stream);
    if (next != NULL)
        fill_item(next, data + first, more);
    return 0;
}

void sl_stream_drop_item(struct sl_stream *stream)
{
    struct sl_item *item = TAILQ_FIRST(&stream->items);
    TAILQ_REMOVE(&stream->items, item, link);
    if (item->kind == SL_ITEM_DATA) {
        stream->unsent -= item->len - item->at;
        stream->sent_unreported += item->len - item->at;
    } else if (item->kind == SL_ITEM_SIGNAL || item->kind == SL_ITEM_RESIZE) {
        stream->commands--;
    }
    free(item);
}

int sl_stream_write(struct sl_stream *stream, const void *data, size_t len)
{
    if (stream->input != SL_INPUT_OPEN || len > SL_STREAM_WINDOW - stream->unsent)
        return SL_E_PROTOCOL;
    if (len == 0)
        return 0;
    int r = add_data(stream, data, len);
    if (r == 0)
        stream->unsent += len;
    return r;
}

void sl_stream_eof(struct sl_stream *stream)
{
    if (stream->input == SL_INPUT_OPEN) {
        stream->input = SL_INPUT_EOF_ASKED;
        /* Out of memory: the EOF goes with the close then. */
        (void)add_item(stream, SL_ITEM_EOF, 0);
    }
}

void sl_stream_credit(struct sl_stream *stream, size_t len)
{
    stream->credit = len < SIZE_MAX - stream->credit ? stream->credit + len : SIZE_MAX;
    wake(stream);
}

void sl_stream_signal(struct sl_stream *stream, const char *name)
{
    size_t len = strnlen(name, 64);
    struct sl_item *item = stream->commands < COMMANDS_MAX ? add_item(stream, SL_ITEM_SIGNAL, len + 1) : NULL;
    if (item != NULL) {
        fill_item(item, name, len);
        item->data[len] = '\0';
        stream->commands++;
    }
}

void sl_stream_resize(struct sl_stream *stream, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px)
{
    struct sl_item *item = TAILQ_LAST(&stream->items, sl_item_list);
    if (item == NULL || item->kind != SL_ITEM_RESIZE) {
        if (stream->commands >= COMMANDS_MAX || (item = add_item(stream, SL_ITEM_RESIZE, 0)) == NULL)
            return;
        stream->commands++;
    }
    item->cols = cols;
    item->rows = rows;
    item->width_px = width_px;
    item->height_px = height_px;
}

void sl_stream_close(struct sl_stream *stream)
{
    if (stream->ending == SL_ENDING_NO) {
        stream->ending = SL_ENDING_ASKED;
        wake(stream);
    }
}

uint32_t sl_stream_waiting(const struct sl_conn *conn)
{
    uint32_t count = 0;
    const struct sl_stream *stream;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        count += stream->state == SL_STREAM_WAITING && stream->ending == SL_ENDING_NO &&
                 !sl_tenant_is_frozen(stream->tenant);
    }
    return count;
}

uint64_t sl_stream_deadline(const struct sl_conn *conn)
{
    uint64_t first = UINT64_MAX;
    const struct sl_stream *stream;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        first = stream->deadline_ms < first ? stream->deadline_ms : first;
    }
    return first;
}

void sl_stream_start_over(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    if (stream->chan != NULL && conn->phase == SL_CONN_PHASE_READY)
        sl_chan_give_up(stream->chan);
    stream->chan = NULL;
    sl_stream_move(stream, SL_STREAM_WAITING);
    stream->plan->env_at = 0;
    stream->plan->step = SL_STEP_ENV;
    conn->progressed = true;
}

void sl_stream_leave(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    TAILQ_REMOVE(&conn->streams, stream, link);
    conn->stream_count--;
    conn->forward_count -= sl_stream_is_forward(stream);
    conn->progressed = true;
    stream->conn = NULL;
    stream->deadline_ms = UINT64_MAX;
}

void sl_stream_join(struct sl_stream *stream, struct sl_conn *conn)
{
    stream->conn = conn;
    stream->deadline_ms = sl_conn_now(conn) + OPEN_TIMEOUT_MS;
    enter(stream);
}

/* It is off its connection. */
static void end(struct sl_stream *stream, const struct sl_stream_result *result)
{
    sl_tenant_give_stream(stream->tenant);
    stream->tenant->stream_count--;
    stream->tenant->sessions -= !sl_stream_is_forward(stream);
    sl_stream_move(stream, SL_STREAM_ENDED);
    while (!TAILQ_EMPTY(&stream->items))
        sl_stream_drop_item(stream);
    stream->handler.on_end(stream->arg, result);
    sl_stream_plan_free(stream->plan);
    free(stream->where);
    free(stream);
}

void sl_stream_finish(struct sl_stream *stream, const struct sl_stream_result *result)
{
    sl_stream_leave(stream);
    end(stream, result);
}

void sl_stream_abandon(struct sl_stream *stream)
{
    static const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = "the lease is over"};
    end(stream, &result);
}

void sl_stream_cut(struct sl_tenant *tenant)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = "the lease is over"};
    struct sl_stream *stream, *next;
    for (stream = TAILQ_FIRST(&tenant->conn->streams); stream != NULL; stream = next) {
        next = TAILQ_NEXT(stream, link);
        if (stream->tenant != tenant)
            continue;
        if (stream->state == SL_STREAM_DIALING)
            sl_chan_unask(stream->chan);
        else if (stream->chan != NULL)
            sl_chan_close(stream->chan, stream->state == SL_STREAM_SETUP || stream->state == SL_STREAM_STARTING);
        sl_stream_finish(stream, &result);
    }
}

static void end_each(struct sl_conn *conn, const char *text, bool frozen_too)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = text};
    struct sl_stream *stream;
    do {
        TAILQ_FOREACH(stream, &conn->streams, link)
        {
            if (frozen_too || !sl_tenant_is_frozen(stream->tenant)) {
                /* That it is unlinked from where FOREACH finds it the analyzer cannot see. */
                sl_stream_finish(stream, &result); /* NOLINT(clang-analyzer-unix.Malloc) */
                break;                             /* its callback may have done anything to the others */
            }
        }
    } while (stream != NULL);
}

void sl_stream_end_lost(struct sl_conn *conn, const char *text)
{
    end_each(conn, text, false);
}

void sl_stream_end_all(struct sl_conn *conn, const char *text)
{
    end_each(conn, text, true);
}
