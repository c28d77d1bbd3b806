/* SPDX-License-Identifier: MIT */
/* SETUP and STARTING. Answers on one channel come in the order of their requests, but libssh2 gives them out by kind:
 * so a request follows another one unanswered only where env.h allows it. Until the request that starts the command is
 * sent, the stream can go on with another channel, or on another connection; from then on never. */
#include "daemon/ssh/channel/env.h"
#include "daemon/ssh/channel/preopen.h"
#include "daemon/ssh/channel/stream_send.h"
#include "daemon/ssh/channel/stream_steps.h"
#include "daemon/ssh/session/compat.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a stream that nobody wants any more is waited for: its command may be running already. */
#define UNWANTED_MS 2000u

/* libssh2's answer to a request of the set-up: 0, SL_E_AGAIN, SL_E_STREAM_REFUSED, or the connection has died. */
static int setup_result(struct sl_stream *stream, int r)
{
    if (r == LIBSSH2_ERROR_EAGAIN)
        return SL_E_AGAIN;
    if (!sl_session_survives(r)) {
        sl_session_failed(stream->conn, r);
        return SL_E_CONNECTION_LOST;
    }
    stream->conn->progressed = true;
    return r == 0 ? 0 : SL_E_STREAM_REFUSED;
}

/* The client's variables, one after the other. 0 when nothing is left to send; the last one may be unanswered then. */
static int step_env(struct sl_stream *stream)
{
    struct sl_stream_plan *plan = stream->plan;
    while (plan->env_at < plan->env_count) {
        int r = sl_env_settle(stream->chan, plan->env[2 * plan->env_at], plan->env[2 * plan->env_at + 1]);
        if (r != 0)
            return r;
        plan->env_at++;
    }
    return 0;
}

/* The cookie first, then the client's variables. */
static int collect_env(struct sl_stream *stream)
{
    int r = sl_env_settle_cookie(stream->chan);
    return r == 0 ? step_env(stream) : r;
}

/* Whether what is unanswered of the environment may stay so while the command is sent. */
static bool may_follow(const struct sl_stream *stream)
{
    const struct sl_stream_plan *plan = stream->plan;
    size_t left = plan->env_count - plan->env_at;
    bool last = stream->chan->cookie == SL_COOKIE_SENT ? left == 0 : left <= 1;
    return last && plan->term == NULL && sl_env_may_follow(stream->chan);
}

static int step_pty(struct sl_stream *stream)
{
    struct sl_stream_plan *plan = stream->plan;
    if (plan->term == NULL)
        return 0;
    return setup_result(stream, libssh2_channel_request_pty_ex(stream->chan->ch, plan->term,
                                    (unsigned)strlen(plan->term), (const char *)plan->modes, (unsigned)plan->modes_len,
                                    (int)plan->cols, (int)plan->rows, (int)plan->width_px, (int)plan->height_px));
}

static int step_start(struct sl_stream *stream)
{
    const struct sl_stream_plan *plan = stream->plan;
    static const char *const request[] = {
        [SL_SPEC_EXEC] = "exec", [SL_SPEC_SHELL] = "shell", [SL_SPEC_SUBSYSTEM] = "subsystem"};
    const char *name = request[stream->kind];
    int r = setup_result(stream, libssh2_channel_process_startup(stream->chan->ch, name, (unsigned)strlen(name),
                                     plan->command, (unsigned)plan->command_len));
    if (r == SL_E_STREAM_REFUSED && sl_env_unswap(stream->chan, stream->conn->tap.answer))
        return 0;
    return r;
}

static void remember_cookie(struct sl_stream *stream)
{
    struct sl_tenant *tenant = stream->tenant;
    struct sl_conn *conn = stream->conn;
    const struct sl_chan *chan = stream->chan;
    bool marked = chan->cookie == SL_COOKIE_SENT || chan->cookie == SL_COOKIE_ACCEPTED;
    /* The lease's own are found by their epoch. */
    if (marked && chan->mark.epoch != tenant->epoch) {
        char cookie[SL_COOKIE_SIZE];
        sl_tenant_mark(tenant, sl_chan_cookie(conn, chan->mark, cookie));
    }
    if (tenant->started_here++ == 0)
        tenant->started_ms = sl_conn_now(conn);
    tenant->started++;
}

static bool drop_unsent(struct sl_stream *stream)
{
    /* Nobody wants it any more, and it was not sent yet. */
    sl_chan_close(stream->chan, stream->chan->question.is_out);
    stream->chan = NULL;
    sl_stream_note_end(stream, true);
    sl_stream_end_unknown(stream, "the stream was closed before the command was sent");
    return false;
}

/* Sends and collects until an answer has to be awaited. */
bool sl_stream_run_setup(struct sl_stream *stream)
{
    struct sl_stream_plan *plan = stream->plan;
    int r = collect_env(stream);
    if (r == SL_E_CONNECTION_LOST)
        return false;
    if (r == SL_E_STREAM_REFUSED || sl_chan_look(stream->chan) != SL_CHAN_END_NONE) {
        sl_stream_start_over(stream);
        return false;
    }
    if (r == SL_E_AGAIN && !may_follow(stream))
        return true;
    if (plan->step != SL_STEP_DONE) {
        if (plan->term != NULL && plan->step == SL_STEP_ENV)
            plan->step = SL_STEP_PTY;
        /* The command must not run where its terminal was refused. */
        r = step_pty(stream);
        if (r == SL_E_STREAM_REFUSED) {
            sl_stream_refuse(stream, SL_E_STREAM_REFUSED, "the server refuses a terminal", false);
            return false;
        }
        if (r != 0)
            return r == SL_E_AGAIN;
        plan->step = SL_STEP_DONE;
    }
    if (stream->ending != SL_ENDING_NO)
        return drop_unsent(stream);
    remember_cookie(stream);
    sl_stream_move(stream, SL_STREAM_STARTING);
    if (plan->command_len > SL_REQUEST_LONG)
        stream->conn->long_command = plan->command_len;
    return true;
}

static const char *refusal_text(const struct sl_stream *stream, char *buf, size_t size)
{
    if (stream->kind == SL_SPEC_EXEC && stream->plan->command_len > SL_REQUEST_LONG) {
        snprintf(buf, size, "the server refuses the command, which has %zu bytes; that may be too long for it",
            stream->plan->command_len);
        return buf;
    }
    switch (stream->kind) {
    case SL_SPEC_SHELL:
        return "the server refuses a shell";
    case SL_SPEC_SUBSYSTEM:
        return "the server refuses this subsystem";
    default:
        return "the server refuses to run commands";
    }
}

/* A server that has run commands on this connection and now refuses one may mean the connection: nothing ran, so that
 * it is asked once more on a fresh one. */
static bool try_elsewhere(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    struct sl_tenant *tenant = stream->tenant;
    if (stream->kind != SL_SPEC_EXEC || conn->commands == 0 || tenant->refused_after > 0 ||
        stream->ending != SL_ENDING_NO)
        return false;
    enum sl_stream_state before = stream->state;
    enum sl_serves served = conn->serves;
    sl_stream_move(stream, SL_STREAM_WAITING);
    conn->serves = SL_SERVES_NOTHING;
    if (!sl_tenant_crowd(tenant)) {
        sl_stream_move(stream, before);
        conn->serves = served;
        return false;
    }
    tenant->refused_after = conn->commands;
    sl_stream_start_over(stream);
    return true;
}

static void was_started(struct sl_stream *stream)
{
    struct sl_tenant *tenant = stream->tenant;
    struct sl_conn *conn = stream->conn;
    tenant->moves = 0;
    if (stream->chan->cookie != SL_COOKIE_ACCEPTED) {
        tenant->cookies_refused++;
        tenant->unmarked_here++;
    }
    if (tenant->refused_after > 0 && sl_compat_is(conn->compat, conn->compat_number) &&
        sl_compat_saw_end(conn->compat, tenant->refused_after, sl_conn_now(conn)))
        sl_conn_learned(conn);
    tenant->refused_after = 0;
    stream->has_pty = stream->plan->term != NULL;
    sl_stream_plan_free(stream->plan);
    stream->plan = NULL;
    sl_stream_move(stream, SL_STREAM_RUNNING);
    stream->deadline_ms = UINT64_MAX;
    sl_stream_tell_open(stream);
}

bool sl_stream_run_starting(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    int r = collect_env(stream);
    if (r == SL_E_CONNECTION_LOST)
        return false;
    /* The channel's end comes behind all answers: one that has not come by then does not come. */
    bool missing = r == SL_E_STREAM_REFUSED;
    r = missing || r == 0 || may_follow(stream) ? step_start(stream) : SL_E_AGAIN;
    if (r == SL_E_STREAM_REFUSED) {
        stream->conn->long_command = 0;
        if (!try_elsewhere(stream)) {
            char text[128];
            sl_stream_refuse(stream, SL_E_STREAM_REFUSED, refusal_text(stream, text, sizeof text), false);
        }
        return false;
    }
    if (r == SL_E_AGAIN && sl_chan_look(chan) == SL_CHAN_END_NONE && chan->exit == SL_EXIT_NONE) {
        /* Input goes right behind the request as far as the server's window allows (sshd's opens with the answer, but
         * the end of input needs none). A server that says no drops it. */
        sl_stream_send_input(stream);
        return !sl_stream_is_over(stream);
    }
    if (r == SL_E_CONNECTION_LOST)
        return false;
    /* Answered, or the command has ended already without one: what it said is there to be read. */
    stream->conn->long_command = 0;
    was_started(stream);
    return !sl_stream_is_over(stream);
}

bool sl_stream_check_setup(struct sl_stream *stream)
{
    if (stream->ending == SL_ENDING_ASKED && stream->deadline_ms > sl_stream_in_ms(stream, UNWANTED_MS))
        stream->deadline_ms = sl_stream_in_ms(stream, UNWANTED_MS);
    if (!sl_stream_is_late(stream))
        return true;
    if (stream->state == SL_STREAM_STARTING && stream->chan->cookie != SL_COOKIE_ACCEPTED) {
        stream->tenant->cookies_refused++; /* should it run after all, a sweep would not find it */
        stream->tenant->unmarked_here++;
    }
    if (stream->ending != SL_ENDING_NO) {
        sl_chan_close(stream->chan, true);
        stream->chan = NULL;
        sl_stream_end_unknown(stream, "the stream was closed before the server had opened it");
    } else {
        sl_stream_refuse(stream, SL_E_STREAM_REFUSED, "the server did not answer within 30 s", true);
    }
    return false;
}
