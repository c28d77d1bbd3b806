/* What a stream does in its turn:
 *   WAITING    takes a channel that is open; a forward is DIALING instead, until one of its own is
 *   SETUP      cookie, environment, pty; what need not be waited for is sent without waiting
 *   STARTING   exec, shell or subsystem; the answer is on_open
 *   RUNNING    input, output, until the server has closed the channel and all output is delivered
 *   FINISHING  our CLOSE; confirmed, the stream ends with the result that was latched before
 * An end that is asked for (sl_stream_close) sends TERM, KILL, and goes on to FINISHING.
 * Answers on one channel come in the order of their requests, so they are collected in that order, too. Any callback
 * may close the connection: its phase is looked at after each. */
#include "daemon/ssh/stream_run.h"

#include "daemon/ssh/ahead.h"
#include "daemon/ssh/forward.h"
#include "daemon/ssh/session.h"
#include "daemon/ssh/stream.h"
#include "daemon/ssh/stream_send.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Output of one stream per turn, for the others' sake. */
#define TURN_BYTES 65536u
/* libssh2's packet less what stands around a command. */
#define COMMAND_MAX 34000u
/* From KILL to the channel's close; from our CLOSE to theirs; from the command's end to a CLOSE the server owes. */
#define KILL_WAIT_MS   1000u
#define CLOSE_WAIT_MS  2000u
#define LINGER_WAIT_MS 2000u

static bool is_over(const struct sl_stream *stream)
{
    return stream->conn->phase != SL_PHASE_READY;
}

static uint64_t in_ms(const struct sl_stream *stream, uint64_t ms)
{
    return sl_conn_now(stream->conn) + ms;
}

static bool is_late(const struct sl_stream *stream)
{
    return sl_conn_now(stream->conn) >= stream->deadline_ms;
}

/* We are about to close its channel; `by_server`: the server has done so, or nothing runs there. A drain counts these.
 */
static void note_end(struct sl_stream *stream, bool by_server)
{
    stream->party->ended_by_server += by_server && !sl_stream_is_forward(stream);
}

static void end_unknown(struct sl_stream *stream, const char *text)
{
    const struct sl_stream_result result = {.how = SL_RESULT_UNKNOWN, .text = text};
    sl_stream_finish(stream, &result);
}

/* The stream never ran: the channel goes, on_open says why, on_end follows. `unanswered` as for sl_chan_close(). */
static void refuse(struct sl_stream *stream, int status, const char *text, bool unanswered)
{
    if (stream->chan != NULL) {
        sl_chan_close(stream->chan, unanswered);
        stream->chan = NULL;
        note_end(stream, !unanswered);
    }
    /* Even a connection that is closed from within on_open owes the on_end; its own clean-up then gives it. */
    stream->handler.on_open(stream->arg, status, text);
    if (!is_over(stream)) {
        end_unknown(stream, text);
    }
}

/* --- setting up --- */

/* libssh2's answer to a request of the set-up: 0, SL_E_AGAIN, SL_E_STREAM_REFUSED, or the connection has died. */
static int setup_result(struct sl_stream *stream, int r)
{
    if (r == LIBSSH2_ERROR_EAGAIN) {
        return SL_E_AGAIN;
    }
    if (!sl_session_survives(r)) {
        sl_session_failed(stream->conn, r);
        return SL_E_CONNECTION_LOST;
    }
    stream->conn->turn = SL_TURN_MOVED;
    return r == 0 ? 0 : SL_E_STREAM_REFUSED;
}

/* One variable's request can be out at a time, but the last one's answer need not be awaited before what follows is
 * sent. 0 when nothing is left to send; refusals do not matter. */
static int step_env(struct sl_stream *stream)
{
    struct sl_stream_plan *plan = stream->plan;
    while (plan->env_at < plan->env_count) {
        const char *name = plan->env[2 * plan->env_at], *value = plan->env[2 * plan->env_at + 1];
        int r = setup_result(stream,
            libssh2_channel_setenv_ex(stream->chan->ch, name, (unsigned)strlen(name), value, (unsigned)strlen(value)));
        if (r == SL_E_AGAIN) {
            plan->env_answer = SL_ANSWER_OUT;
            return plan->env_at + 1 == plan->env_count ? 0 : SL_E_AGAIN;
        }
        if (r == SL_E_CONNECTION_LOST) {
            return r;
        }
        plan->env_answer = SL_ANSWER_NONE;
        plan->env_at++;
    }
    return 0;
}

static int step_pty(struct sl_stream *stream)
{
    struct sl_stream_plan *plan = stream->plan;
    if (plan->term == NULL) {
        return 0;
    }
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
    return setup_result(stream, libssh2_channel_process_startup(stream->chan->ch, name, (unsigned)strlen(name),
                                    plan->command, (unsigned)plan->command_len));
}

static void remember_cookie(struct sl_stream *stream)
{
    struct sl_party *party = stream->party;
    const struct sl_chan *chan = stream->chan;
    /* The lease's own are found by their epoch. */
    if (chan->cookie != SL_COOKIE_NONE && chan->mark.epoch != party->epoch && party->older_cookies < SL_OLDER_COOKIES) {
        party->older_cookie[party->older_cookies++] = chan->mark;
    }
}

/* Sends and collects until an answer has to be awaited. False when the stream may be gone. */
static bool run_setup(struct sl_stream *stream)
{
    struct sl_stream_plan *plan = stream->plan;
    int r = sl_chan_settle_cookie(stream->chan);
    if (r == SL_E_CONNECTION_LOST) {
        return false;
    }
    if (stream->chan->cookie == SL_COOKIE_SENT && plan->env_count > 0) {
        return true; /* the same request type: one at a time */
    }
    r = step_env(stream);
    if (r != 0) {
        return r == SL_E_AGAIN;
    }
    if (plan->step != SL_STEP_DONE) {
        if (plan->term != NULL && plan->step == SL_STEP_ENV) {
            plan->step = SL_STEP_PTY;
        }
        /* The command must not run where its terminal was refused. */
        r = step_pty(stream);
        if (r == SL_E_STREAM_REFUSED) {
            refuse(stream, SL_E_STREAM_REFUSED, "the server refuses a terminal", false);
            return false;
        }
        if (r != 0) {
            return r == SL_E_AGAIN;
        }
        plan->step = SL_STEP_DONE;
    }
    if (stream->ending != SL_ENDING_NO) {
        /* Nobody wants it any more, and it was not sent yet. */
        sl_chan_close(stream->chan, plan->env_answer == SL_ANSWER_OUT);
        stream->chan = NULL;
        note_end(stream, true);
        end_unknown(stream, "the stream was closed before the command was sent");
        return false;
    }
    remember_cookie(stream);
    stream->state = SL_STREAM_STARTING;
    return true;
}

/* Answers that were not awaited come first. */
static int collect_earlier(struct sl_stream *stream)
{
    int r = sl_chan_settle_cookie(stream->chan);
    if (r == 0 && stream->plan->env_answer == SL_ANSWER_OUT) {
        r = step_env(stream);
        if (r == 0 && stream->plan->env_answer == SL_ANSWER_OUT) {
            r = SL_E_AGAIN;
        }
    }
    return r;
}

static const char *refusal_text(const struct sl_stream *stream)
{
    switch (stream->kind) {
    case SL_SPEC_SHELL:
        return "the server refuses a shell";
    case SL_SPEC_SUBSYSTEM:
        return "the server refuses this subsystem";
    default:
        return "the server refuses to run commands";
    }
}

static bool run_starting(struct sl_stream *stream)
{
    /* While an earlier answer is out this one cannot be in, so that asking for it takes nothing that is not its own. */
    int earlier = collect_earlier(stream);
    if (earlier == SL_E_CONNECTION_LOST) {
        return false;
    }
    int r = step_start(stream);
    if (r == SL_E_STREAM_REFUSED) {
        refuse(stream, SL_E_STREAM_REFUSED, refusal_text(stream), false);
        return false;
    }
    if (r == SL_E_AGAIN) {
        /* Input goes right behind the request as far as the server's window allows (sshd's opens with the answer, but
         * the end of input needs none). A server that says no drops it. */
        sl_stream_send_input(stream);
        return !is_over(stream);
    }
    if (r != 0) {
        return false;
    }
    if (stream->chan->cookie == SL_COOKIE_REFUSED) {
        stream->party->cookies_refused++;
    }
    sl_stream_plan_free(stream->plan);
    stream->plan = NULL;
    stream->state = SL_STREAM_RUNNING;
    stream->deadline_ms = UINT64_MAX;
    if (stream->ending == SL_ENDING_NO) {
        stream->handler.on_open(stream->arg, 0, "");
    }
    return !is_over(stream);
}

/* --- towards the server --- */

static void run_input(struct sl_stream *stream)
{
    sl_stream_send_input(stream);
    if (stream->sent_owed > 0 && !is_over(stream)) {
        size_t sent = stream->sent_owed;
        stream->sent_owed = 0;
        if (stream->ending == SL_ENDING_NO) {
            stream->handler.on_sent(stream->arg, sent);
        }
    }
}

/* --- from the server --- */

/* Reads one of the two outputs as far as credit and turn allow. */
static void run_output(struct sl_stream *stream, int fd, size_t *budget)
{
    struct sl_transport *transport = stream->conn->transport;
    struct sl_chan *chan = stream->chan;
    bool drop = stream->ending != SL_ENDING_NO;
    while (*budget > 0 && !is_over(stream)) {
        size_t len = drop || stream->credit > sizeof transport->scratch ? sizeof transport->scratch : stream->credit;
        /* libssh2 forgets what a window adjustment that could not go out was for unless asked for the same again. */
        len = chan->read_size != 0 ? chan->read_size : len;
        if (len == 0) {
            return;
        }
        ssize_t n = libssh2_channel_read_ex(chan->ch, fd, (char *)transport->scratch, len);
        if (n <= 0) {
            if (n == LIBSSH2_ERROR_EAGAIN) {
                chan->read_size = len;
            } else if (n < 0 && !sl_session_survives((int)n)) {
                sl_session_failed(stream->conn, (int)n);
            }
            return;
        }
        chan->read_size = 0;
        *budget = *budget > (size_t)n ? *budget - (size_t)n : 0;
        stream->conn->turn = SL_TURN_MOVED;
        if (!drop) {
            stream->credit -= (size_t)n;
            stream->handler.on_data(stream->arg, fd, transport->scratch, (size_t)n);
            drop = stream->ending != SL_ENDING_NO;
        }
    }
}

/* --- the end --- */

/* What the server said of the command's end, on a channel it has closed. */
static void finish_closed(struct sl_stream *stream, struct sl_stream_result *result, char *signal, size_t signal_size)
{
    struct sl_chan *chan = stream->chan;
    struct sl_conn *conn = stream->conn;
    char *name = NULL;
    size_t len = 0;
    if (sl_stream_is_forward(stream)) {
        *result = (struct sl_stream_result){.how = SL_RESULT_CLOSED, .text = ""};
        return;
    }
    int status = libssh2_channel_get_exit_status(chan->ch);
    (void)libssh2_channel_get_exit_signal(chan->ch, &name, &len, NULL, NULL, NULL, NULL);
    if (name != NULL) {
        *result = (struct sl_stream_result){
            .how = SL_RESULT_SIGNAL, .text = "", .core_dumped = chan->exit == SL_EXIT_CORE_DUMPED};
        result->signal = sl_session_printable(signal, signal_size, name, len);
        libssh2_free(conn->session, name);
    } else if (status != 0 || chan->exit == SL_EXIT_STATUS_CAME) {
        *result = (struct sl_stream_result){.how = SL_RESULT_STATUS, .exit_status = (uint32_t)status, .text = ""};
    } else {
        *result = (struct sl_stream_result){
            .how = SL_RESULT_UNKNOWN, .text = "the server closed the stream without an exit status"};
    }
}

static void run_finishing(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    struct sl_stream_result result;
    char signal[32];
    /* Latched before the channel is freed, and only worth something once the server has closed it. */
    bool closed = sl_chan_look(chan) == SL_END_CLOSE;
    if (closed) {
        finish_closed(stream, &result, signal, sizeof signal);
    }
    int r = sl_chan_step_close(chan);
    if (r == SL_E_CONNECTION_LOST) {
        return;
    }
    if (r == 0) {
        stream->chan = NULL;
        if (!closed) {
            end_unknown(stream, "the stream was closed");
        } else if (!sl_party_goes_on(stream->party)) {
            end_unknown(stream, "the lease is over");
        } else {
            sl_stream_finish(stream, &result);
        }
    } else if (is_late(stream)) {
        sl_chan_close(chan, false);
        stream->chan = NULL;
        end_unknown(stream, "the server did not confirm the stream's close");
    }
}

static void start_finishing(struct sl_stream *stream)
{
    stream->state = SL_STREAM_FINISHING;
    stream->deadline_ms = in_ms(stream, CLOSE_WAIT_MS);
    note_end(stream, stream->chan->end == SL_END_CLOSE);
    run_finishing(stream);
}

/* TERM, KILL, CLOSE, each when the one before has had its time. */
static void run_ending(struct sl_stream *stream)
{
    const struct sl_target_conf *target = stream->conn->target;
    const struct sl_chan *chan = stream->chan;
    if (stream->urgent != NULL) {
        if (!sl_stream_send_signal(stream, stream->urgent)) {
            return;
        }
        stream->urgent = NULL;
    }
    if (stream->ending == SL_ENDING_ASKED) {
        if (chan->end == SL_END_CLOSE || stream->kind == SL_SPEC_SUBSYSTEM || sl_stream_is_forward(stream) ||
            target->remote_cleanup == SL_CLEANUP_OFF) {
            start_finishing(stream);
            return;
        }
        stream->ending = SL_ENDING_TERM;
        stream->urgent = "TERM";
        stream->deadline_ms = in_ms(stream, target->policy.kill_grace_ms);
    } else if (stream->ending == SL_ENDING_TERM && is_late(stream)) {
        stream->ending = SL_ENDING_KILL;
        stream->urgent = "KILL";
        stream->deadline_ms = in_ms(stream, KILL_WAIT_MS);
    } else if (stream->ending == SL_ENDING_KILL && is_late(stream)) {
        start_finishing(stream);
        return;
    }
    if (stream->urgent != NULL && sl_stream_send_signal(stream, stream->urgent)) {
        stream->urgent = NULL;
    }
}

static void run_running(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    size_t budget = TURN_BYTES;
    run_input(stream);
    if (!is_over(stream)) {
        run_output(stream, 0, &budget);
    }
    if (!is_over(stream)) {
        run_output(stream, 1, &budget);
    }
    if (is_over(stream)) {
        return;
    }
    enum { OPEN, ENDED } output = OPEN;
    if (sl_chan_look(chan) >= SL_END_EOF && libssh2_channel_eof(chan->ch) != 0) {
        output = ENDED;
    }
    if (output == ENDED && stream->output == SL_OUTPUT_OPEN) {
        stream->output = SL_OUTPUT_EOF_TOLD;
        stream->deadline_ms = stream->ending == SL_ENDING_NO ? in_ms(stream, LINGER_WAIT_MS) : stream->deadline_ms;
        if (stream->ending == SL_ENDING_NO) {
            stream->handler.on_eof(stream->arg);
        }
        if (is_over(stream)) {
            return;
        }
    }
    if (output == ENDED && chan->end == SL_END_CLOSE) {
        start_finishing(stream);
        return;
    }
    if (stream->ending != SL_ENDING_NO) {
        run_ending(stream);
    } else if (output == ENDED && is_late(stream)) {
        /* Some servers wait for the client's CLOSE once they have said how the command ended; others let a command go
         * on that has closed its output. */
        if (chan->exit == SL_EXIT_STATUS_CAME) {
            start_finishing(stream);
        } else {
            stream->deadline_ms = UINT64_MAX;
        }
    }
}

/* False when the stream is gone or still waits. */
static bool run_waiting(struct sl_stream *stream)
{
    struct sl_conn *conn = stream->conn;
    if (stream->ending != SL_ENDING_NO) {
        end_unknown(stream, "the stream was closed before it was opened");
        return false;
    }
    if (!sl_party_is_frozen(stream->party)) {
        stream->chan = sl_chan_take(stream->party);
    }
    if (stream->chan != NULL) {
        stream->state = SL_STREAM_SETUP;
        conn->turn = SL_TURN_MOVED;
        if (stream->plan->command_len <= COMMAND_MAX) {
            return true;
        }
        refuse(stream, SL_E_STREAM_REFUSED, "the command is longer than 34000 bytes", false);
    } else if (is_late(stream)) {
        char text[96];
        uint32_t limit = sl_ahead_slot_limit(conn);
        if (limit == UINT32_MAX) {
            refuse(stream, SL_E_STREAM_REFUSED, "the server did not open a session within 30 s", false);
        } else if (limit == 0) {
            refuse(stream, SL_E_STREAM_REFUSED, "the server opens no sessions", false);
        } else {
            snprintf(text, sizeof text, "the server opens only %u sessions at once", (unsigned)limit);
            refuse(stream, SL_E_STREAM_LIMIT, text, false);
        }
    }
    return false;
}

/* A forward's channel is opened for it by and by, or was by the server. False when it is gone or still waits. */
static bool run_dialing(struct sl_stream *stream)
{
    struct sl_chan *chan = stream->chan;
    if (chan->state == SL_CHAN_USED) {
        stream->state = SL_STREAM_RUNNING;
        stream->deadline_ms = UINT64_MAX;
        if (stream->ending == SL_ENDING_NO) {
            stream->handler.on_open(stream->arg, 0, "");
        }
        return !is_over(stream);
    }
    if (stream->ending != SL_ENDING_NO || chan->state == SL_CHAN_REFUSED || is_late(stream)) {
        char why[SL_FORWARD_WHY_SIZE];
        sl_forward_why(chan, stream->where, why, sizeof why);
        sl_chan_unask(chan);
        stream->chan = NULL;
        if (stream->ending != SL_ENDING_NO) {
            end_unknown(stream, "the stream was closed before it was opened");
        } else {
            refuse(stream, SL_E_STREAM_REFUSED, why, false);
        }
    }
    return false;
}

/* Set-up that was not answered in time, or that nobody waits for any more. False when the stream is gone. */
static bool check_setup_deadline(struct sl_stream *stream)
{
    if (stream->ending == SL_ENDING_ASKED && stream->deadline_ms > in_ms(stream, CLOSE_WAIT_MS)) {
        /* The command may be running already: it is waited for, so that it can be ended. */
        stream->deadline_ms = in_ms(stream, CLOSE_WAIT_MS);
    }
    if (!is_late(stream)) {
        return true;
    }
    if (stream->state == SL_STREAM_STARTING && stream->chan->cookie != SL_COOKIE_ACCEPTED) {
        stream->party->cookies_refused++; /* should it run after all, a sweep would not find it */
    }
    if (stream->ending != SL_ENDING_NO) {
        sl_chan_close(stream->chan, true);
        stream->chan = NULL;
        end_unknown(stream, "the stream was closed before the server had opened it");
    } else {
        refuse(stream, SL_E_STREAM_REFUSED, "the server did not answer within 30 s", true);
    }
    return false;
}

/* One turn of one stream. It may be freed when this returns. */
static void run(struct sl_stream *stream)
{
    /* Each state may go over into the next in the same turn. */
    if (stream->state == SL_STREAM_WAITING && !run_waiting(stream)) {
        return;
    }
    if (stream->state == SL_STREAM_DIALING && !run_dialing(stream)) {
        return;
    }
    if (stream->state == SL_STREAM_SETUP && (!check_setup_deadline(stream) || !run_setup(stream))) {
        return;
    }
    if (stream->state == SL_STREAM_STARTING && (!check_setup_deadline(stream) || !run_starting(stream))) {
        return;
    }
    if (stream->state == SL_STREAM_RUNNING) {
        run_running(stream);
    } else if (stream->state == SL_STREAM_FINISHING) {
        run_finishing(stream);
    }
}

/* The server allows no more sessions: those that wait are refused in this turn, or go elsewhere. */
static void refuse_waiting(struct sl_conn *conn)
{
    struct sl_stream *stream;
    TAILQ_FOREACH(stream, &conn->streams, link)
    {
        if (stream->state == SL_STREAM_WAITING && !sl_party_crowd(stream->party)) {
            stream->deadline_ms = 0;
        }
    }
}

void sl_stream_tick(struct sl_conn *conn)
{
    struct sl_stream *stream, *next;
    if (conn->refusal == SL_REFUSAL_FINAL) {
        conn->refusal = SL_REFUSAL_NONE;
        refuse_waiting(conn);
    }
    for (stream = TAILQ_FIRST(&conn->streams); stream != NULL && conn->phase == SL_PHASE_READY; stream = next) {
        next = TAILQ_NEXT(stream, link);
        run(stream);
    }
    /* Whoever was last comes first next time. */
    stream = TAILQ_FIRST(&conn->streams);
    if (stream != NULL && TAILQ_NEXT(stream, link) != NULL && stream->state == SL_STREAM_RUNNING) {
        TAILQ_REMOVE(&conn->streams, stream, link);
        TAILQ_INSERT_TAIL(&conn->streams, stream, link);
    }
}
