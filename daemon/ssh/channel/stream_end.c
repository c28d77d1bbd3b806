/* SPDX-License-Identifier: MIT */
/* How a stream ends. An end that is asked for goes the way of a connection that breaks off, first of all: the command
 * sees the end of its input and finds its output without a reader, or its terminal hangs up, and it has a moment to
 * make of it what it makes of that. Only what is still there then is sent TERM, and KILL. (rsync's receiver is gone at
 * the end of its input; on TERM it waits, and then moves a part of a file over the whole one.) The result is worth
 * something only once the server has closed the channel: libssh2 has a status of 0 for a command of which none came. */
#include "daemon/ssh/channel/stream_send.h"
#include "daemon/ssh/channel/stream_steps.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include "base/text.h"
#include <libssh2.h>

/* From the hang-up to TERM, at most; a short kill_grace is halved. From KILL to the channel's close; from our CLOSE to
 * theirs. */
#define HANGUP_WAIT_MS 1000u
#define KILL_WAIT_MS   1000u
#define CLOSE_WAIT_MS  2000u
#define SIGNAL_SIZE    32u

bool sl_stream_is_over(const struct sl_stream *stream)
{
    return stream->conn->phase != SL_CONN_PHASE_READY;
}

uint64_t sl_stream_in_ms(const struct sl_stream *stream, uint64_t ms)
{
    return sl_conn_now(stream->conn) + ms;
}

bool sl_stream_is_late(const struct sl_stream *stream)
{
    return sl_conn_now(stream->conn) >= stream->deadline_ms;
}

void sl_stream_note_end(struct sl_stream *stream, bool by_server)
{
    stream->tenant->ended_by_server += by_server && !sl_stream_is_forward(stream);
}

void sl_stream_tell_open(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    if (!conn->answered) {
        conn->answered = true;
        conn->pending_callbacks |= SL_PENDING_ANSWERED;
    }
    if (stream->ending == SL_ENDING_NO)
        stream->handler.on_open(stream->arg, 0, "");
}

void sl_stream_end_unknown(struct sl_stream *stream, const char *text)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = text};
    sl_stream_finish(stream, &result);
}

void sl_stream_refuse(struct sl_stream *stream, int status, const char *text, bool unanswered)
{
    if (stream->chan != NULL) {
        sl_chan_close(stream->chan, unanswered);
        stream->chan = NULL;
        sl_stream_note_end(stream, !unanswered);
    }
    /* Even a connection that is closed from within on_open owes the on_end; its own clean-up then gives it. */
    stream->handler.on_open(stream->arg, status, text);
    if (!sl_stream_is_over(stream))
        sl_stream_end_unknown(stream, text);
}

/* What the server has said of the command's end by now. */
static void read_exit(struct sl_stream *stream, struct sl_stream_result *result, char *signal, size_t signal_size)
{
    struct sl_chan *chan = stream->chan;
    struct sl_conn *conn = stream->conn;
    char *name = NULL;
    size_t len = 0;
    int status = libssh2_channel_get_exit_status(chan->ch);
    (void)libssh2_channel_get_exit_signal(chan->ch, &name, &len, NULL, NULL, NULL, NULL);
    if (name != NULL) {
        *result = (struct sl_stream_result){
            .how = SL_RESULT_SIGNAL, .text = "", .core_dumped = chan->exit == SL_EXIT_CORE_DUMPED};
        result->signal = sl_text_clean(signal, signal_size, name, len);
        libssh2_free(conn->session, name);
    } else if (status != 0 || chan->exit == SL_EXIT_STATUS_CAME) {
        *result = (struct sl_stream_result){.how = SL_RESULT_STATUS, .exit_status = (uint32_t)status, .text = ""};
    } else {
        *result = (struct sl_stream_result){
            .how = SL_RESULT_UNKNOWN, .text = "the server closed the stream without an exit status"};
    }
}

/* On a channel that the server has closed. */
static void finish_closed(struct sl_stream *stream, struct sl_stream_result *result, char *signal, size_t signal_size)
{
    if (sl_stream_is_forward(stream))
        *result = (struct sl_stream_result){.how = SL_RESULT_CLOSED, .text = ""};
    else
        read_exit(stream, result, signal, signal_size);
}

void sl_stream_tell_exit(struct sl_stream *stream)
{
    struct sl_stream_result result;
    char signal[SIGNAL_SIZE];
    if (stream->exit_told || stream->chan->exit == SL_EXIT_NONE || sl_stream_is_forward(stream) ||
        stream->handler.on_exit == NULL)
        return;
    stream->exit_told = true;
    read_exit(stream, &result, signal, sizeof signal);
    if (result.how != SL_RESULT_UNKNOWN)
        stream->handler.on_exit(stream->arg, &result);
}

static void count_command(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    if (!sl_stream_is_forward(stream)) {
        conn->commands++;
        conn->command_end_ms = sl_conn_now(conn);
    }
}

void sl_stream_run_finishing(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    struct sl_stream_result result;
    char signal[SIGNAL_SIZE];
    /* Latched before the channel is freed, and only worth something once the server has closed it. */
    bool closed = sl_chan_look(chan) == SL_CHAN_END_CLOSE;
    if (closed)
        finish_closed(stream, &result, signal, sizeof signal);
    int r = sl_chan_step_close(chan);
    if (r == SL_E_CONNECTION_LOST)
        return;
    if (r == 0) {
        stream->chan = NULL;
        count_command(stream);
        if (!closed)
            sl_stream_end_unknown(stream, "the stream was closed");
        else if (!sl_tenant_goes_on(stream->tenant))
            sl_stream_end_unknown(stream, "the lease is over");
        else
            sl_stream_finish(stream, &result);
    } else if (sl_stream_is_late(stream)) {
        sl_chan_close(chan, false);
        stream->chan = NULL;
        count_command(stream);
        sl_stream_end_unknown(stream, "the server did not confirm the stream's close");
    }
}

void sl_stream_start_finishing(struct sl_stream *stream)
{
    sl_stream_move(stream, SL_STREAM_FINISHING);
    stream->deadline_ms = sl_stream_in_ms(stream, CLOSE_WAIT_MS);
    sl_stream_note_end(stream, stream->chan->end == SL_CHAN_END_CLOSE);
    sl_stream_run_finishing(stream);
}

/* Whether the hang-up is told to a command that writes, too. It may end a shell before TERM comes for the shell's whole
 * group, and what that leaves is found by the sweep only. */
static bool says_unread(const struct sl_stream *stream)
{
    return stream->conn->target->remote_cleanup == SL_CLEANUP_SWEEP && sl_stream_can_say_unread(stream);
}

/* What is under way goes first; then the next stage, if it is time for that. */
static bool has_sent(struct sl_stream *stream)
{
    if (stream->urgent != NULL && sl_stream_send_signal(stream, stream->urgent))
        stream->urgent = NULL;
    if (stream->ending == SL_ENDING_HANGUP && !stream->has_pty) {
        return (stream->input == SL_INPUT_ENDED || sl_stream_send_eof(stream)) && !sl_stream_is_over(stream) &&
               (!says_unread(stream) || sl_stream_send_unread(stream));
    }
    return stream->urgent == NULL;
}

static void start_ending(struct sl_stream *stream)
{
    uint64_t half_ms = stream->conn->target->policy.kill_grace_ms / 2;
    stream->ending = SL_ENDING_HANGUP;
    /* A command that has seen all of the hang-up has had its moment already. */
    bool seen = !stream->has_pty && stream->input == SL_INPUT_ENDED && !says_unread(stream);
    uint64_t wait_ms = half_ms < HANGUP_WAIT_MS ? half_ms : HANGUP_WAIT_MS;
    stream->deadline_ms = sl_stream_in_ms(stream, seen ? 0 : wait_ms);
    stream->urgent = stream->has_pty ? "HUP" : NULL;
}

void sl_stream_run_ending(struct sl_stream *stream)
{
    const struct sl_target_conf *target = stream->conn->target;
    const struct sl_chan *chan = stream->chan;
    if (!has_sent(stream))
        return;
    if (stream->ending == SL_ENDING_ASKED) {
        if (chan->end == SL_CHAN_END_CLOSE || stream->kind == SL_SPEC_SUBSYSTEM || sl_stream_is_forward(stream) ||
            target->remote_cleanup == SL_CLEANUP_OFF) {
            sl_stream_start_finishing(stream);
            return;
        }
        start_ending(stream);
    } else if (stream->ending == SL_ENDING_HANGUP && sl_stream_is_late(stream)) {
        stream->ending = SL_ENDING_TERM;
        stream->urgent = "TERM";
        stream->deadline_ms = sl_stream_in_ms(stream, target->policy.kill_grace_ms);
    } else if (stream->ending == SL_ENDING_TERM && sl_stream_is_late(stream)) {
        stream->ending = SL_ENDING_KILL;
        stream->urgent = "KILL";
        stream->deadline_ms = sl_stream_in_ms(stream, KILL_WAIT_MS);
    } else if (stream->ending == SL_ENDING_KILL && sl_stream_is_late(stream)) {
        sl_stream_start_finishing(stream);
        return;
    }
    (void)has_sent(stream);
}
