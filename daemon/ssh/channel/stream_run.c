/* SPDX-License-Identifier: MIT */
/* What a stream does in its turn:
 *   WAITING    takes a channel that is open; a forward is DIALING instead, until one of its own is
 *   SETUP      cookie, environment, pty; what need not be waited for is sent without waiting
 *   STARTING   exec, shell or subsystem; the answer is on_open
 *   RUNNING    input, output, until the server has closed the channel and all output is delivered
 *   FINISHING  our CLOSE; confirmed, the stream ends with the result that was latched before
 * An end that is asked for (sl_stream_close) hangs up, sends TERM, KILL, and goes on to FINISHING.
 * SETUP and STARTING are in stream_start.c, the end in stream_end.c. Any callback may close the connection: its phase
 * is looked at after each. */
#include "daemon/ssh/channel/stream_run.h"

#include "daemon/ssh/channel/forward.h"
#include "daemon/ssh/channel/preopen.h"
#include "daemon/ssh/channel/stream.h"
#include "daemon/ssh/channel/stream_send.h"
#include "daemon/ssh/channel/stream_steps.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Output of one stream per turn, for the others' sake. */
#define TURN_BYTES 65536u
/* From the command's end to a CLOSE the server owes. */
#define LINGER_WAIT_MS 2000u

/* --- towards the server --- */

static void run_input(struct sl_stream *stream)
{
    sl_stream_send_input(stream);
    if (stream->sent_unreported > 0 && !sl_stream_is_over(stream)) {
        size_t sent = stream->sent_unreported;
        stream->sent_unreported = 0;
        if (stream->ending == SL_ENDING_NO)
            stream->handler.on_sent(stream->arg, sent);
    }
}

/* --- from the server --- */

/* libssh2 looks for data only when the window's adjustment that is due is out; "would block" may mean either. */
static bool has_looked(const struct sl_chan *chan, size_t len)
{
    unsigned long initial = 0, window = libssh2_channel_window_read_ex(chan->ch, NULL, &initial);
    return window >= initial / 4 * 3 + len;
}

/* Reads one of the two outputs as far as credit and turn allow. Whether there is none left. */
static bool run_output(struct sl_stream *stream, int fd, size_t *budget)
{
    struct sl_transport *transport = stream->conn->transport;
    struct sl_chan *chan = stream->chan;
    bool drop = stream->ending != SL_ENDING_NO;
    while (*budget > 0 && !sl_stream_is_over(stream)) {
        size_t len = drop || stream->credit > sizeof transport->scratch ? sizeof transport->scratch : stream->credit;
        /* libssh2 forgets what a window adjustment that could not go out was for unless asked for the same again. */
        len = chan->read_size != 0 ? chan->read_size : len;
        if (len == 0)
            return false;
        ssize_t n = libssh2_channel_read_ex(chan->ch, fd, (char *)transport->scratch, len);
        if (n <= 0) {
            if (n == LIBSSH2_ERROR_EAGAIN)
                chan->read_size = len;
            else if (n < 0 && !sl_session_survives((int)n))
                sl_session_failed(stream->conn, (int)n);
            return n == 0 || (n == LIBSSH2_ERROR_EAGAIN && has_looked(chan, len));
        }
        chan->read_size = 0;
        *budget = *budget > (size_t)n ? *budget - (size_t)n : 0;
        stream->conn->progressed = true;
        if (!drop) {
            stream->credit -= (size_t)n;
            stream->handler.on_data(stream->arg, fd, transport->scratch, (size_t)n);
            drop = stream->ending != SL_ENDING_NO;
        }
    }
    return false;
}

/* Both outputs are read. What is left is extended data of a type that is not standard error's, and nobody's: it would
 * use up the window, and the output would never end. To look for it costs a walk through all that the session holds, so
 * that is done where it may fill half of the window, and at the end. */
static void drop_strange(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    unsigned long left = 0;
    if (chan->end < SL_CHAN_END_EOF && stream->conn->tap.bytes < chan->window / 2)
        return;
    (void)libssh2_channel_window_read_ex(chan->ch, &left, NULL);
    if (left > 0)
        (void)libssh2_channel_flush_ex(chan->ch, LIBSSH2_CHANNEL_FLUSH_EXTENDED_DATA);
}

static void run_running(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    size_t budget = TURN_BYTES;
    run_input(stream);
    if (!sl_stream_is_over(stream) && stream->unread == SL_UNREAD_ASKED)
        (void)sl_stream_send_unread(stream);
    bool dry = !sl_stream_is_over(stream) && run_output(stream, 0, &budget);
    if (!sl_stream_is_over(stream))
        dry = run_output(stream, 1, &budget) && dry;
    if (sl_stream_is_over(stream))
        return;
    sl_chan_look(chan);
    if (dry)
        drop_strange(stream);
    bool output_ended = chan->end >= SL_CHAN_END_EOF && libssh2_channel_eof(chan->ch) != 0;
    if (output_ended && !stream->eof_told) {
        stream->eof_told = true;
        stream->deadline_ms =
            stream->ending == SL_ENDING_NO ? sl_stream_in_ms(stream, LINGER_WAIT_MS) : stream->deadline_ms;
        if (stream->ending == SL_ENDING_NO)
            stream->handler.on_eof(stream->arg);
        if (sl_stream_is_over(stream))
            return;
    }
    if (output_ended && chan->end == SL_CHAN_END_CLOSE) {
        sl_stream_start_finishing(stream);
        return;
    }
    if (stream->ending == SL_ENDING_NO) {
        sl_stream_tell_exit(stream);
        if (sl_stream_is_over(stream))
            return;
    }
    if (stream->ending != SL_ENDING_NO) {
        sl_stream_run_ending(stream);
    } else if (output_ended && sl_stream_is_late(stream)) {
        /* Some servers wait for the client's CLOSE once they have said how the command ended; others let a command go
         * on that has closed its output. */
        if (chan->exit == SL_EXIT_STATUS_CAME)
            sl_stream_start_finishing(stream);
        else
            stream->deadline_ms = UINT64_MAX;
    }
}

/* The connection serves no command more. */
static void leave_spent(struct sl_stream *stream)
{
    const struct sl_tenant *tenant = stream->tenant;
    if (sl_tenant_crowd(stream->tenant))
        return;
    if (tenant->sessions > 1) {
        sl_stream_refuse(stream, SL_E_STREAM_LIMIT, "the server serves no more commands on this connection", false);
    } else {
        sl_stream_refuse(stream, SL_E_STREAM_REFUSED,
            "the server ended one connection after the other before the command could be sent", false);
    }
}

static void refuse_long(struct sl_stream *stream)
{
    char text[128];
    snprintf(text, sizeof text, "the command has %zu bytes and may have %u: %s", stream->plan->command_len,
        (unsigned)SL_REQUEST_MAX, SL_REQUEST_WHY);
    sl_stream_refuse(stream, SL_E_STREAM_REFUSED, text, false);
}

static void refuse_late(struct sl_stream *stream)
{
    char text[96];
    uint32_t limit = sl_preopen_slot_limit(stream->conn);
    if (limit == UINT32_MAX) {
        sl_stream_refuse(stream, SL_E_STREAM_REFUSED, "the server did not open a session within 30 s", false);
    } else if (limit == 0) {
        sl_stream_refuse(stream, SL_E_STREAM_REFUSED, "the server opens no sessions", false);
    } else {
        snprintf(text, sizeof text, "the server opens only %u sessions at once", (unsigned)limit);
        sl_stream_refuse(stream, SL_E_STREAM_LIMIT, text, false);
    }
}

/* False when the stream is gone or still waits. */
static bool run_waiting(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    if (stream->ending != SL_ENDING_NO) {
        sl_stream_end_unknown(stream, "the stream was closed before it was opened");
        return false;
    }
    if (sl_tenant_is_frozen(stream->tenant))
        return false;
    if (conn->serves != SL_SERVES_COMMANDS) {
        leave_spent(stream);
        return false;
    }
    stream->chan = sl_chan_take(stream->tenant);
    if (stream->chan != NULL) {
        sl_stream_move(stream, SL_STREAM_SETUP);
        conn->progressed = true;
        if (stream->plan->command_len <= SL_REQUEST_MAX)
            return true;
        refuse_long(stream);
    } else if (sl_stream_is_late(stream)) {
        refuse_late(stream);
    } else if (sl_preopen_is_full(conn)) {
        (void)sl_tenant_crowd(stream->tenant); /* where it cannot go elsewhere it waits */
    }
    return false;
}

/* A forward's channel is opened for it by and by, or was by the server. False when it is gone or still waits. */
static bool run_dialing(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    if (chan->state == SL_CHAN_USED) {
        sl_stream_move(stream, SL_STREAM_RUNNING);
        stream->deadline_ms = UINT64_MAX;
        sl_stream_tell_open(stream);
        return !sl_stream_is_over(stream);
    }
    if (stream->ending != SL_ENDING_NO || chan->state == SL_CHAN_REFUSED || sl_stream_is_late(stream)) {
        char why[SL_FORWARD_WHY_SIZE];
        sl_forward_why(chan, stream->where, why, sizeof why);
        sl_chan_unask(chan);
        stream->chan = NULL;
        if (stream->ending != SL_ENDING_NO)
            sl_stream_end_unknown(stream, "the stream was closed before it was opened");
        else
            sl_stream_refuse(stream, SL_E_STREAM_REFUSED, why, false);
    }
    return false;
}

/* One turn of one stream. It may be freed when this returns. */
static void run(struct sl_stream *stream)
{
    /* A tenant that leaves sends nothing more: what is sent here would be sent there once more. */
    if (stream->state == SL_STREAM_SETUP && stream->ending == SL_ENDING_NO && sl_tenant_is_frozen(stream->tenant))
        return;
    /* Each state may go over into the next in the same turn. */
    if (stream->state == SL_STREAM_WAITING && !run_waiting(stream))
        return;
    if (stream->state == SL_STREAM_DIALING && !run_dialing(stream))
        return;
    if (stream->state == SL_STREAM_SETUP && (!sl_stream_check_setup(stream) || !sl_stream_run_setup(stream)))
        return;
    if (stream->state == SL_STREAM_STARTING && (!sl_stream_check_setup(stream) || !sl_stream_run_starting(stream)))
        return;
    if (stream->state == SL_STREAM_RUNNING)
        run_running(stream);
    else if (stream->state == SL_STREAM_FINISHING)
        sl_stream_run_finishing(stream);
}

/* The server allows no more sessions: those that wait are refused in this turn, or go elsewhere. */
static void refuse_waiting(struct sl_conn *conn)
{
    struct sl_stream *stream;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        if (stream->state == SL_STREAM_WAITING && !sl_tenant_crowd(stream->tenant))
            stream->deadline_ms = 0;
    }
}

void sl_stream_tick(struct sl_conn *conn)
{
    struct sl_stream *stream, *next;
    if (conn->serves == SL_SERVES_COMMANDS && sl_preopen_uses_left(conn) == 0) {
        conn->serves = SL_SERVES_SWEEP;
        conn->progressed = true;
    }
    if (conn->open_refused) {
        conn->open_refused = false;
        refuse_waiting(conn);
    }
    for (stream = TAILQ_FIRST(&conn->streams); stream != NULL && conn->phase == SL_CONN_PHASE_READY; stream = next) {
        next = TAILQ_NEXT(stream, link);
        run(stream);
    }
    /* The stream that was first comes last next time. */
    stream = TAILQ_FIRST(&conn->streams);
    if (stream != NULL && TAILQ_NEXT(stream, link) != NULL && stream->state == SL_STREAM_RUNNING) {
        TAILQ_REMOVE(&conn->streams, stream, link);
        TAILQ_INSERT_TAIL(&conn->streams, stream, link);
    }
}
