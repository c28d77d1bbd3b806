/* The way of a drain:
 *   1. STREAMS: every stream is closed as sl_stream_close() does it: TERM, grace, KILL, CLOSE
 *   2. CHANNEL: the sweep takes a held channel, or one is opened for it
 *   3. RUN, READ: the script goes to a shell's standard input, its last line comes back
 *   4. DONE: reported, and the party is gone
 * All before one deadline. What could not be done is said in the report. Other parties of the connection go on. */
#include "daemon/ssh/reclaim.h"

#include "daemon/ssh/channel.h"
#include "daemon/ssh/party.h"
#include "daemon/ssh/remote.h"
#include "daemon/ssh/session.h"
#include "daemon/ssh/stream.h"
#include "daemon/ssh/sweep.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beyond the kill_grace; transport.h promises ten seconds. */
#define DRAIN_MS   9000u
#define OUTPUT_MAX 4096u

struct sl_reclaim {
    enum { RECLAIM_STREAMS, RECLAIM_CHANNEL, RECLAIM_RUN, RECLAIM_READ, RECLAIM_DONE } stage;
    uint64_t deadline_ms;
    struct sl_drain_report report;
    char text[256];
    struct sl_chan *chan; /* the sweep's */
    char *script;
    size_t script_len, script_at;
    char output[OUTPUT_MAX];
    size_t output_len;
};

static void done(struct sl_party *party)
{
    party->state = SL_PARTY_DRAINED;
    party->conn->owed |= SL_OWED_DRAINED;
    sl_conn_schedule(party->conn);
}

static void finish(struct sl_party *party)
{
    struct sl_reclaim *reclaim = party->reclaim;
    if (reclaim->chan != NULL) {
        sl_chan_close(reclaim->chan, false);
        reclaim->chan = NULL;
    }
    reclaim->stage = RECLAIM_DONE;
    reclaim->report.text = reclaim->text[0] != '\0' ? reclaim->text : NULL;
    done(party);
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

void sl_party_drain(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    if (!sl_party_goes_on(party) || conn->phase >= SL_PHASE_CLOSING) {
        return;
    }
    struct sl_reclaim *reclaim = calloc(1, sizeof *reclaim);
    party->reclaim = reclaim;
    party->state = SL_PARTY_DRAINING;
    party->ended_by_server = 0;
    if (reclaim == NULL && conn->phase != SL_PHASE_READY) {
        done(party);
        return;
    }
    if (conn->phase != SL_PHASE_READY) {
        say(reclaim, "the connection was lost before the far side could be cleaned up");
        finish(party);
        return;
    }
    uint32_t open = 0;
    struct sl_stream *stream;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        if (stream->party == party) {
            open += stream->chan != NULL && !sl_stream_is_forward(stream);
            sl_stream_close(stream);
        }
    }
    sl_remote_close_all(party);
    sl_conn_schedule(conn);
    if (reclaim == NULL) {
        return; /* the streams end; reported as not done */
    }
    reclaim->deadline_ms = sl_conn_now(conn) + conn->target->policy.kill_grace_ms + DRAIN_MS;
    reclaim->report.streams = open;
    if (conn->target->remote_cleanup == SL_CLEANUP_OFF && open > 0) {
        say(reclaim, "remote_cleanup is off: nothing was ended");
    }
}

/* The texts that mark the lease's processes: its epoch's, and those of channels that were opened before it began. */
static char *make_script(const struct sl_party *party)
{
    const struct sl_conn *conn = party->conn;
    char mark[SL_OLDER_COOKIES + 1][sizeof SL_COOKIE_NAME + SL_COOKIE_SIZE];
    const char *text[SL_OLDER_COOKIES + 1];
    size_t count = 0;
    snprintf(mark[0], sizeof mark[0], SL_COOKIE_NAME "=%s-%u-", conn->cookie_base, (unsigned)party->epoch);
    text[count++] = mark[0];
    for (unsigned i = 0; i < party->older_cookies; i++) {
        char cookie[SL_COOKIE_SIZE];
        snprintf(mark[count], sizeof mark[count], SL_COOKIE_NAME "=%s",
            sl_chan_cookie(conn, party->older_cookie[i], cookie));
        text[count] = mark[count];
        count++;
    }
    return sl_sweep_script(text, count);
}

/* After the streams: whether there is anything to sweep, and a way to. */
static void start_sweep(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    struct sl_reclaim *reclaim = party->reclaim;
    const struct sl_drain_report *report = &reclaim->report;
    if (party->ended_by_server < report->streams && conn->target->remote_cleanup == SL_CLEANUP_SIGNAL) {
        say(reclaim, "%u of %u commands did not end on TERM and KILL",
            (unsigned)(report->streams - party->ended_by_server), (unsigned)report->streams);
    } else if (party->tainted > 0 && conn->target->remote_cleanup == SL_CLEANUP_SIGNAL) {
        say(reclaim, "the server left %u requests unanswered: what it may have started for them is not known",
            party->tainted);
    }
    if (conn->target->remote_cleanup != SL_CLEANUP_SWEEP) {
        finish(party);
    } else if (party->streams == 0) {
        reclaim->report.sweep_ran = true; /* nothing was ever started */
        finish(party);
    } else if (party->cookies_refused >= party->streams) {
        say(reclaim, "the server does not accept " SL_COOKIE_NAME " (AcceptEnv): what left its process group cannot be "
                     "found");
        finish(party);
    } else if ((reclaim->script = make_script(party)) == NULL) {
        say(reclaim, "out of memory for the sweep");
        finish(party);
    } else {
        reclaim->script_len = strlen(reclaim->script);
        reclaim->stage = RECLAIM_CHANNEL;
    }
}

/* libssh2's answer on the sweep's channel: true to go on, false to wait or because it is over. */
static bool goes_on(struct sl_party *party, int r, const char *trouble)
{
    struct sl_conn *conn = party->conn;
    if (r == LIBSSH2_ERROR_EAGAIN) {
        return false;
    }
    if (!sl_session_survives(r)) {
        sl_session_failed(conn, r);
        return false;
    }
    conn->turn = SL_TURN_MOVED;
    if (r < 0) {
        say(party->reclaim, "%s", trouble);
        finish(party);
        return false;
    }
    return true;
}

static void run_script(struct sl_party *party)
{
    struct sl_reclaim *reclaim = party->reclaim;
    struct sl_chan *chan = reclaim->chan;
    /* A held channel's cookie may still be unanswered; its answer comes before the shell's. */
    if (chan->cookie == SL_COOKIE_SENT && sl_chan_settle_cookie(chan) != 0) {
        return;
    }
    static const char command[] = SL_SWEEP_COMMAND;
    int r = libssh2_channel_process_startup(chan->ch, "exec", 4, command, sizeof command - 1);
    if (goes_on(party, r, "the server refuses to run the sweep")) {
        reclaim->stage = RECLAIM_READ;
    }
}

static void finish_sweep(struct sl_party *party)
{
    struct sl_reclaim *reclaim = party->reclaim;
    struct sl_sweep_result result;
    sl_sweep_parse(reclaim->output, reclaim->output_len, &result);
    reclaim->report.swept = result.swept;
    reclaim->report.remaining = result.remaining;
    reclaim->report.sweep_ran = result.ran && party->cookies_refused == 0;
    if (!result.ran) {
        say(reclaim, result.has_proc ? "the server did not run the sweep (it has no POSIX shell, or forces a command)"
                                     : "the server has no /proc to sweep");
    } else if (result.remaining > 0) {
        say(reclaim, "%u processes could not be ended", (unsigned)result.remaining);
    } else if (party->cookies_refused > 0) {
        say(reclaim, "%u streams had no cookie: what left their process groups cannot be found",
            (unsigned)party->cookies_refused);
    }
    finish(party);
}

static void read_output(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    struct sl_reclaim *reclaim = party->reclaim;
    struct sl_chan *chan = reclaim->chan;
    while (reclaim->script_at < reclaim->script_len) {
        ssize_t n = libssh2_channel_write_ex(
            chan->ch, 0, reclaim->script + reclaim->script_at, reclaim->script_len - reclaim->script_at);
        if (n <= 0) {
            (void)goes_on(party, n == 0 ? LIBSSH2_ERROR_EAGAIN : (int)n, "the server ended the sweep early");
            break;
        }
        reclaim->script_at += (size_t)n;
        if (reclaim->script_at == reclaim->script_len) {
            /* Cannot wait but in a rekey; the script exits without it. */
            (void)libssh2_channel_send_eof(chan->ch);
        }
    }
    while (conn->phase == SL_PHASE_READY && reclaim->stage == RECLAIM_READ) {
        /* A read of constant size; what does not fit is not ours. */
        char piece[512];
        ssize_t n = libssh2_channel_read_ex(chan->ch, 0, piece, sizeof piece);
        if (n < 0) {
            (void)goes_on(party, (int)n, "the server ended the sweep early");
            break;
        }
        if (n == 0) {
            break;
        }
        size_t room = sizeof reclaim->output - reclaim->output_len;
        size_t len = (size_t)n < room ? (size_t)n : room;
        memcpy(reclaim->output + reclaim->output_len, piece, len);
        reclaim->output_len += len;
        conn->turn = SL_TURN_MOVED;
    }
    if (conn->phase == SL_PHASE_READY && reclaim->stage == RECLAIM_READ && sl_chan_look(chan) != SL_END_NONE &&
        libssh2_channel_eof(chan->ch) != 0) {
        finish_sweep(party);
    }
}

static void run(struct sl_party *party)
{
    struct sl_conn *conn = party->conn;
    struct sl_reclaim *reclaim = party->reclaim;
    if (reclaim == NULL) {
        if (party->stream_count == 0) {
            done(party);
        }
        return;
    }
    if (reclaim->stage == RECLAIM_STREAMS && party->stream_count == 0 && party->remote_count == 0) {
        start_sweep(party);
    }
    if (reclaim->stage == RECLAIM_CHANNEL && (reclaim->chan = sl_chan_take(party)) != NULL) {
        reclaim->stage = RECLAIM_RUN;
    }
    if (reclaim->stage == RECLAIM_RUN) {
        run_script(party);
    }
    if (reclaim->stage == RECLAIM_READ && conn->phase == SL_PHASE_READY) {
        read_output(party);
    }
    if (reclaim->stage != RECLAIM_DONE && conn->phase == SL_PHASE_READY && sl_conn_now(conn) >= reclaim->deadline_ms) {
        say(reclaim, reclaim->stage == RECLAIM_CHANNEL ? "the server opened no session for the sweep in time"
                                                       : "the server did not answer the sweep in time");
        finish(party);
    }
}

void sl_reclaim_tick(struct sl_conn *conn)
{
    struct sl_party *party;
    TAILQ_FOREACH(party, &conn->parties, link)
    {
        if (party->state == SL_PARTY_DRAINING && conn->phase == SL_PHASE_READY) {
            run(party);
        }
    }
}

uint64_t sl_reclaim_deadline(const struct sl_conn *conn)
{
    uint64_t first = UINT64_MAX;
    const struct sl_party *party;
    TAILQ_FOREACH(party, &conn->parties, link)
    {
        const struct sl_reclaim *reclaim = party->state == SL_PARTY_DRAINING ? party->reclaim : NULL;
        if (reclaim != NULL && reclaim->deadline_ms < first) {
            first = reclaim->deadline_ms;
        }
    }
    return first;
}

uint32_t sl_reclaim_needs_channels(const struct sl_conn *conn)
{
    uint32_t count = 0;
    const struct sl_party *party;
    TAILQ_FOREACH(party, &conn->parties, link)
    {
        const struct sl_reclaim *reclaim = party->state == SL_PARTY_DRAINING ? party->reclaim : NULL;
        count += reclaim != NULL && reclaim->stage == RECLAIM_CHANNEL;
    }
    return count;
}

void sl_reclaim_lost(struct sl_conn *conn)
{
    struct sl_party *party;
    TAILQ_FOREACH(party, &conn->parties, link)
    {
        if (party->state == SL_PARTY_DRAINING && party->reclaim == NULL) {
            done(party);
        } else if (party->state == SL_PARTY_DRAINING) {
            say(party->reclaim, "the connection was lost before the far side was cleaned up");
            party->reclaim->chan = NULL;
            finish(party);
        }
    }
}

void sl_reclaim_report(struct sl_conn *conn)
{
    static const struct sl_drain_report not_done = {.text = "out of memory: the far side was not cleaned up"};
    struct sl_party *party, *next;
    for (party = TAILQ_FIRST(&conn->parties); party != NULL && conn->phase != SL_PHASE_CLOSING; party = next) {
        next = TAILQ_NEXT(party, link);
        if (party->state != SL_PARTY_DRAINED) {
            continue;
        }
        if (party->reclaim != NULL) {
            party->reclaim->report.signalled = party->ended_by_server;
        }
        sl_stream_cut(party); /* none, but where time or memory ran out */
        conn->handler.on_drained(conn->arg, party, party->reclaim != NULL ? &party->reclaim->report : &not_done);
        sl_reclaim_free(party);
        sl_remote_disown(party);
        sl_party_free(party);
    }
}

void sl_reclaim_free(struct sl_party *party)
{
    if (party->reclaim != NULL) {
        free(party->reclaim->script);
        free(party->reclaim);
        party->reclaim = NULL;
    }
}
