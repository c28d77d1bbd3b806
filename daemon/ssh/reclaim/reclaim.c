/* SPDX-License-Identifier: MIT */
/* The way of a drain:
 *   1. STREAMS: every stream is closed as sl_stream_close() does it: hang-up, TERM, grace, KILL, CLOSE
 *   2. CHANNEL: the sweep takes a held channel, or one is opened for it
 *   3. RUN, GREET: a shell is asked for, and says that it is one
 *   4. READ: the script goes to its standard input, its last line comes back
 *   5. DONE: reported, and the tenant is gone
 * All before one deadline. What could not be done is said in the report. Other tenants of the connection go on. */
#include "daemon/ssh/reclaim/reclaim.h"

#include "base/state.h"
#include "daemon/ssh/channel/channel.h"
#include "daemon/ssh/channel/env.h"
#include "daemon/ssh/channel/remote.h"
#include "daemon/ssh/channel/stream.h"
#include "daemon/ssh/channel/tenant.h"
#include "daemon/ssh/reclaim/sweep.h"
#include "daemon/ssh/session/compat.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beyond the kill_grace; transport.h promises ten seconds. */
#define DRAIN_MS   9000u
#define GREET_MS   5000u
#define OUTPUT_MAX 4096u

enum stage {
    RECLAIM_STREAMS, /* are being ended */
    RECLAIM_CHANNEL, /* is awaited, for the sweep */
    RECLAIM_RUN,     /* its shell is asked for */
    RECLAIM_GREET,   /* it is to say that it is one */
    RECLAIM_READ,    /* it works */
    RECLAIM_DONE,
};

#define TO(stage) SL_TO(RECLAIM_##stage)

static const struct sl_state stages[] = {
    [RECLAIM_STREAMS] = {"streams", TO(CHANNEL) | TO(DONE)},
    [RECLAIM_CHANNEL] = {"channel", TO(RUN) | TO(DONE)},
    [RECLAIM_RUN] = {"run", TO(CHANNEL) | TO(GREET) | TO(DONE)},
    [RECLAIM_GREET] = {"greet", TO(READ) | TO(DONE)},
    [RECLAIM_READ] = {"read", TO(DONE)},
    [RECLAIM_DONE] = {"done", 0},
};

struct sl_reclaim {
    enum stage stage;
    uint64_t deadline_ms;
    struct sl_drain_report report;
    char text[256];
    struct sl_chan *chan; /* the sweep's */
    uint64_t greet_ms;    /* the shell is to have said that it is one by then */
    bool by_connection;   /* the sweep knows the lease's processes by the connection, too */
    char *script;
    size_t script_len, script_at;
    char output[OUTPUT_MAX];
    size_t output_len;
};

static void move(struct sl_reclaim *reclaim, enum stage to)
{
    SL_MOVE(stages, reclaim->stage, to);
}

static void done(struct sl_tenant *tenant)
{
    sl_tenant_enter(tenant, SL_TENANT_DRAINED);
    tenant->conn->pending_callbacks |= SL_PENDING_DRAINED;
    sl_conn_schedule(tenant->conn);
}

static void finish(struct sl_tenant *tenant)
{
    struct sl_reclaim *reclaim = tenant->reclaim;
    if (reclaim->chan != NULL) {
        sl_chan_close(reclaim->chan, false);
        reclaim->chan = NULL;
    }
    move(reclaim, RECLAIM_DONE);
    reclaim->report.text = reclaim->text[0] != '\0' ? reclaim->text : NULL;
    done(tenant);
}

static void say(struct sl_reclaim *reclaim, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct sl_reclaim *reclaim, const char *format, ...)
{
    if (reclaim->text[0] == '\0') { /* the first trouble is the one that led to the others */
        va_list args;
        va_start(args, format);
        vsnprintf(reclaim->text, sizeof reclaim->text, format, args);
        va_end(args);
    }
}

void sl_tenant_drain(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    if (!sl_tenant_goes_on(tenant) || sl_conn_is_closing(conn))
        return;
    struct sl_reclaim *reclaim = calloc(1, sizeof *reclaim);
    tenant->reclaim = reclaim;
    sl_tenant_enter(tenant, SL_TENANT_DRAINING);
    tenant->ended_by_server = 0;
    if (reclaim == NULL && conn->phase != SL_CONN_PHASE_READY) {
        done(tenant);
        return;
    }
    if (conn->phase != SL_CONN_PHASE_READY) {
        say(reclaim, "the connection was lost before the far side could be cleaned up");
        finish(tenant);
        return;
    }
    uint32_t open = 0;
    struct sl_stream *stream;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        if (stream->tenant == tenant) {
            open += stream->chan != NULL && !sl_stream_is_forward(stream);
            sl_stream_close(stream);
        }
    }
    sl_remote_close_all(tenant);
    sl_conn_schedule(conn);
    if (reclaim == NULL)
        return; /* the streams end; reported as not done */
    reclaim->deadline_ms = sl_conn_now(conn) + conn->target->policy.kill_grace_ms + DRAIN_MS;
    reclaim->report.streams = open;
    if (conn->target->remote_cleanup == SL_CLEANUP_OFF && open > 0)
        say(reclaim, "remote_cleanup is off: nothing was ended");
}

/* The texts that mark the lease's processes: its epoch's, and those it has collected. */
static char *make_script(const struct sl_tenant *tenant, const struct sl_sweep_shell *shell)
{
    const struct sl_conn *conn = tenant->conn;
    const struct sl_reclaim *reclaim = tenant->reclaim;
    size_t count = tenant->marks + 1;
    char(*mark)[sizeof SL_COOKIE_NAME + SL_COOKIE_SIZE] = calloc(count, sizeof *mark);
    const char **text = calloc(count, sizeof *text);
    char *script = NULL;
    if (mark != NULL && text != NULL) {
        for (size_t i = 0; i < tenant->marks; i++) {
            snprintf(mark[i], sizeof mark[i], SL_COOKIE_NAME "=%s", tenant->mark[i]);
            text[i] = mark[i];
        }
        snprintf(
            mark[tenant->marks], sizeof mark[0], SL_COOKIE_NAME "=%s-%u-", conn->cookie_base, (unsigned)tenant->epoch);
        text[tenant->marks] = mark[tenant->marks];
        /* By the clock itself: the loop's time is that of its turn's beginning, and on a busy machine the shell may have
         * said the uptime after that. What the lease started first would then seem older than the lease. */
        uint64_t age_ms = uv_hrtime() / 1000000 - tenant->started_ms;
        bool first = tenant->commands_before == 0;
        const struct sl_sweep_marks marks = {
            .text = text,
            .count = count,
            .connection = reclaim->by_connection ? shell->connection : NULL,
            .since_cs = first ? 0 : sl_sweep_since(shell->uptime_cs, age_ms),
        };
        script = sl_sweep_script(&marks);
    }
    free(mark);
    free(text);
    return script;
}

/* What TERM and KILL have not ended, where nothing else is done about it. */
static void say_signalled(struct sl_tenant *tenant)
{
    struct sl_reclaim *reclaim = tenant->reclaim;
    const struct sl_drain_report *report = &reclaim->report;
    if (tenant->ended_by_server < report->streams) {
        say(reclaim, "%u of %u commands did not end on TERM and KILL",
            (unsigned)(report->streams - tenant->ended_by_server), (unsigned)report->streams);
    } else if (tenant->tainted > 0) {
        say(reclaim, "the server left %u requests unanswered: what it may have started for them is not known",
            tenant->tainted);
    }
}

/* After the streams: whether there is anything to sweep, and a way to. */
static void start_sweep(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    struct sl_reclaim *reclaim = tenant->reclaim;
    if (conn->target->remote_cleanup == SL_CLEANUP_SIGNAL)
        say_signalled(tenant);
    if (conn->target->remote_cleanup != SL_CLEANUP_SWEEP) {
        finish(tenant);
    } else if (tenant->started == 0 && tenant->tainted == 0) {
        reclaim->report.sweep_ran = true; /* nothing was ever started */
        finish(tenant);
    } else if (conn->serves == SL_SERVES_NOTHING) {
        say_signalled(tenant);
        say(reclaim, "the server opens no session for the sweep: what left its process group cannot be found");
        finish(tenant);
    } else if (sl_compat_shell(conn->compat) == SL_SHELL_OTHER) {
        say_signalled(tenant);
        say(reclaim, "the server runs no POSIX shell for the sweep: what left its process group cannot be found");
        finish(tenant);
    } else {
        move(reclaim, RECLAIM_CHANNEL);
        conn->progressed = true; /* a channel may have to be opened for it */
    }
}

/* libssh2's answer on the sweep's channel: true to go on, false to wait or because it is over. */
static bool goes_on(struct sl_tenant *tenant, int r, const char *trouble)
{
    struct sl_conn *conn = tenant->conn;
    if (r == LIBSSH2_ERROR_EAGAIN)
        return false;
    if (!sl_session_survives(r)) {
        sl_session_failed(conn, r);
        return false;
    }
    conn->progressed = true;
    if (r < 0) {
        say(tenant->reclaim, "%s", trouble);
        finish(tenant);
        return false;
    }
    return true;
}

/* `sure`: the same server will say the same again. */
static void no_shell(struct sl_tenant *tenant, bool sure, const char *text)
{
    struct sl_conn *conn = tenant->conn;
    if (sure && sl_compat_is(conn->compat, conn->compat_number) && sl_compat_saw_shell(conn->compat, SL_SHELL_OTHER))
        sl_conn_learned(conn);
    say_signalled(tenant);
    say(tenant->reclaim, "%s: what left its process group cannot be found", text);
    finish(tenant);
}

static void run_shell(struct sl_tenant *tenant)
{
    struct sl_reclaim *reclaim = tenant->reclaim;
    struct sl_chan *chan = reclaim->chan;
    /* A held channel's cookie may still be unanswered; its answer comes before the shell's. */
    int r = sl_env_settle_cookie(chan);
    if (r == SL_E_STREAM_REFUSED) {
        sl_chan_give_up(chan);
        reclaim->chan = NULL;
        move(reclaim, RECLAIM_CHANNEL);
    }
    if (r != 0)
        return;
    static const char command[] = SL_SWEEP_COMMAND;
    r = libssh2_channel_process_startup(chan->ch, "exec", 4, command, sizeof command - 1);
    if (r == LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED || r == LIBSSH2_ERROR_CHANNEL_FAILURE) {
        no_shell(tenant, true, "the server refuses to run the sweep");
    } else if (goes_on(tenant, r, "the server refuses to run the sweep")) {
        move(reclaim, RECLAIM_GREET);
        reclaim->greet_ms = sl_conn_now(tenant->conn) + GREET_MS;
    }
}

static void finish_sweep(struct sl_tenant *tenant)
{
    struct sl_reclaim *reclaim = tenant->reclaim;
    struct sl_sweep_result result;
    uint32_t lost = tenant->cookies_refused - (reclaim->by_connection ? tenant->unmarked_here : 0) + tenant->marks_lost;
    sl_sweep_parse(reclaim->output, reclaim->output_len, &result);
    reclaim->report.swept = result.swept;
    reclaim->report.remaining = result.remaining;
    reclaim->report.sweep_ran = result.ran && lost == 0 && result.spared == 0;
    if (!result.ran) {
        say(reclaim, result.has_proc ? "the shell did not run the sweep to its end"
                                     : "the server has no /proc to sweep: what left its process group cannot be found");
    } else if (result.remaining > 0) {
        say(reclaim, "%u processes could not be ended", (unsigned)result.remaining);
    } else if (lost > 0) {
        say(reclaim,
            "%u commands have no mark there (the server takes no " SL_COOKIE_NAME
            "; see AcceptEnv): what left their process groups cannot be found",
            (unsigned)lost);
    } else if (result.spared > 0) {
        say(reclaim, "%u processes were left: they may be what an earlier lease of the connection has left running",
            (unsigned)result.spared);
    }
    finish(tenant);
}

/* Takes what the server says: standard output as far as there is room, the rest for nothing. False: the tenant is done,
 * or the connection has died. */
static bool take_output(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    struct sl_reclaim *reclaim = tenant->reclaim;
    for (int fd = 0; fd < 2; fd++) {
        for (;;) {
            /* A read of constant size; what does not fit is not ours. */
            char piece[512];
            ssize_t n = libssh2_channel_read_ex(reclaim->chan->ch, fd, piece, sizeof piece);
            if (n < 0 && !goes_on(tenant, (int)n, "the server ended the sweep early") && n != LIBSSH2_ERROR_EAGAIN)
                return false;
            if (n <= 0)
                break;
            conn->progressed = true;
            if (fd == 0) {
                size_t room = sizeof reclaim->output - reclaim->output_len;
                size_t len = (size_t)n < room ? (size_t)n : room;
                memcpy(reclaim->output + reclaim->output_len, piece, len);
                reclaim->output_len += len;
            }
        }
    }
    return conn->phase == SL_CONN_PHASE_READY;
}

static bool has_output_ended(const struct sl_reclaim *reclaim)
{
    /* Everything of the two outputs is read: extended data of other types is nobody's. */
    return sl_chan_look(reclaim->chan) != SL_CHAN_END_NONE;
}

static void greet(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    struct sl_reclaim *reclaim = tenant->reclaim;
    struct sl_sweep_shell shell;
    if (!take_output(tenant))
        return;
    if (sl_sweep_greeted(reclaim->output, reclaim->output_len, &shell) == 0) {
        if (has_output_ended(reclaim))
            no_shell(tenant, true, "the server runs no POSIX shell for the sweep");
        else if (sl_conn_now(conn) >= reclaim->greet_ms)
            no_shell(tenant, false, "what the server runs for the sweep does not answer as a POSIX shell");
        return;
    }
    (void)sl_compat_saw_shell(conn->compat, SL_SHELL_POSIX);
    /* On a connection that leases share the others' processes have the same value. */
    reclaim->by_connection = tenant->unmarked_here > 0 && shell.connection[0] != '\0' &&
                             conn->target->policy.sharing <= 1 && (tenant->commands_before == 0 || shell.uptime_cs > 0);
    reclaim->output_len = 0;
    reclaim->script = make_script(tenant, &shell);
    if (reclaim->script == NULL) {
        say(reclaim, "out of memory for the sweep");
        finish(tenant);
        return;
    }
    reclaim->script_len = strlen(reclaim->script);
    move(reclaim, RECLAIM_READ);
}

static void feed_script(struct sl_tenant *tenant)
{
    struct sl_reclaim *reclaim = tenant->reclaim;
    struct sl_chan *chan = reclaim->chan;
    while (reclaim->script_at < reclaim->script_len) {
        ssize_t n = libssh2_channel_write_ex(
            chan->ch, 0, reclaim->script + reclaim->script_at, reclaim->script_len - reclaim->script_at);
        if (n <= 0) {
            (void)goes_on(tenant, n == 0 ? LIBSSH2_ERROR_EAGAIN : (int)n, "the server ended the sweep early");
            return;
        }
        reclaim->script_at += (size_t)n;
        if (reclaim->script_at == reclaim->script_len) {
            /* Cannot wait but in a rekey; the script exits without it. */
            (void)libssh2_channel_send_eof(chan->ch);
        }
    }
}

static void read_output(struct sl_tenant *tenant)
{
    struct sl_reclaim *reclaim = tenant->reclaim;
    feed_script(tenant);
    if (tenant->conn->phase == SL_CONN_PHASE_READY && reclaim->stage == RECLAIM_READ && take_output(tenant) &&
        has_output_ended(reclaim))
        finish_sweep(tenant);
}

static void run(struct sl_tenant *tenant)
{
    struct sl_conn *conn = tenant->conn;
    struct sl_reclaim *reclaim = tenant->reclaim;
    if (reclaim == NULL) {
        if (tenant->stream_count == 0)
            done(tenant);
        return;
    }
    if (reclaim->stage == RECLAIM_STREAMS && tenant->stream_count == 0 && tenant->remote_count == 0)
        start_sweep(tenant);
    if (reclaim->stage == RECLAIM_CHANNEL && (reclaim->chan = sl_chan_take(tenant)) != NULL)
        move(reclaim, RECLAIM_RUN);
    if (reclaim->stage == RECLAIM_CHANNEL && conn->serves == SL_SERVES_NOTHING)
        start_sweep(tenant); /* says why not */
    if (reclaim->stage == RECLAIM_RUN)
        run_shell(tenant);
    if (reclaim->stage == RECLAIM_GREET && conn->phase == SL_CONN_PHASE_READY)
        greet(tenant);
    if (reclaim->stage == RECLAIM_READ && conn->phase == SL_CONN_PHASE_READY)
        read_output(tenant);
    if (reclaim->stage != RECLAIM_DONE && conn->phase == SL_CONN_PHASE_READY &&
        sl_conn_now(conn) >= reclaim->deadline_ms) {
        say(reclaim, reclaim->stage == RECLAIM_CHANNEL ? "the server opened no session for the sweep in time"
                                                       : "the server did not answer the sweep in time");
        finish(tenant);
    }
}

void sl_reclaim_tick(struct sl_conn *conn)
{
    struct sl_tenant *tenant;
    TAILQ_FOREACH(tenant, &conn->tenants, link)
    {
        if (tenant->state == SL_TENANT_DRAINING && conn->phase == SL_CONN_PHASE_READY)
            run(tenant);
    }
}

uint64_t sl_reclaim_deadline(const struct sl_conn *conn)
{
    uint64_t first = UINT64_MAX;
    const struct sl_tenant *tenant;
    TAILQ_FOREACH(tenant, &conn->tenants, link)
    {
        const struct sl_reclaim *reclaim = tenant->state == SL_TENANT_DRAINING ? tenant->reclaim : NULL;
        if (reclaim != NULL && reclaim->deadline_ms < first)
            first = reclaim->deadline_ms;
        if (reclaim != NULL && reclaim->stage == RECLAIM_GREET && reclaim->greet_ms < first)
            first = reclaim->greet_ms;
    }
    return first;
}

uint32_t sl_reclaim_needs_channels(const struct sl_conn *conn)
{
    uint32_t count = 0;
    const struct sl_tenant *tenant;
    TAILQ_FOREACH(tenant, &conn->tenants, link)
    {
        const struct sl_reclaim *reclaim = tenant->state == SL_TENANT_DRAINING ? tenant->reclaim : NULL;
        count += reclaim != NULL && reclaim->stage == RECLAIM_CHANNEL;
    }
    return count;
}

void sl_reclaim_lost(struct sl_conn *conn)
{
    struct sl_tenant *tenant;
    TAILQ_FOREACH(tenant, &conn->tenants, link)
    {
        if (tenant->state == SL_TENANT_DRAINING && tenant->reclaim == NULL) {
            done(tenant);
        } else if (tenant->state == SL_TENANT_DRAINING) {
            say(tenant->reclaim, "the connection was lost before the far side was cleaned up");
            tenant->reclaim->chan = NULL;
            finish(tenant);
        }
    }
}

void sl_reclaim_report(struct sl_conn *conn)
{
    static const struct sl_drain_report not_done = {.text = "out of memory: the far side was not cleaned up"};
    struct sl_tenant *tenant, *next;
    for (tenant = TAILQ_FIRST(&conn->tenants); tenant != NULL && conn->phase != SL_CONN_PHASE_CLOSING; tenant = next) {
        next = TAILQ_NEXT(tenant, link);
        if (tenant->state != SL_TENANT_DRAINED)
            continue;
        if (tenant->reclaim != NULL)
            tenant->reclaim->report.signalled = tenant->ended_by_server;
        sl_stream_cut(tenant); /* none, but where time or memory ran out */
        conn->handler.on_drained(conn->arg, tenant, tenant->reclaim != NULL ? &tenant->reclaim->report : &not_done);
        sl_reclaim_free(tenant);
        sl_remote_disown(tenant);
        sl_tenant_free(tenant);
    }
}

void sl_reclaim_free(struct sl_tenant *tenant)
{
    if (tenant->reclaim != NULL) {
        free(tenant->reclaim->script);
        free(tenant->reclaim);
        tenant->reclaim = NULL;
    }
}
