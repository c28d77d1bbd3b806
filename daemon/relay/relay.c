/* SPDX-License-Identifier: MIT */
/* out: the stream may deliver SL_RELAY_CREDIT bytes; what a descriptor has taken is given back as credit, so a slow one
 *      holds up its own stream and nobody else. A command whose output has lost its reader goes on, as with ssh:
 *      what it writes is dropped, within limits, for a writer that never stops must not run for ever. Beyond them
 *      OpenSSH's server is told: the writer gets SIGPIPE and the rest of a script runs, but its errors are not read any
 *      more, so that is not done at once. With another server it is the end.
 * in:  the source may read what fits into the stream's window; what the stream has sent is allowed to be read again.
 * early: a stream may be taken before its descriptors are there. What it says then is the owner's, up to the credit it was
 *      accepted with; that it is open, or has said EOF, is remembered for them.
 * end: the output's end finishes fd[1]. The stream's end closes fd[0] and finishes the rest; when all is written and
 *      closed, the owner is told. */
#include "daemon/relay/relay.h"

#include "base/container.h"
#include "base/state.h"
#include "daemon/relay/fd_sink.h"
#include "daemon/relay/fd_source.h"
#include "proto/status.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Unsent input; less than the stream takes, for what a filter adds. */
#define INPUT_MAX (SL_STREAM_WINDOW - SL_RELAY_INPUT_EXTRA)

/* Output that nobody reads: so much of it, or any that comes so long after its reader was missed, is too much. */
#define UNREAD_MAX         (64u << 20)
#define UNREAD_PATIENCE_NS (10 * UINT64_C(1000000000))

enum relay_phase {
    RELAY_NEW,     /* without a stream */
    RELAY_OPENING, /* the server has not answered */
    RELAY_OPEN,
    RELAY_ENDED, /* the stream is gone; what is left is being written */
};

static const struct sl_state phases[] = {
    [RELAY_NEW] = {"new", SL_TO(RELAY_OPENING) | SL_TO(RELAY_ENDED)},
    [RELAY_OPENING] = {"opening", SL_TO(RELAY_OPEN) | SL_TO(RELAY_ENDED)},
    [RELAY_OPEN] = {"open", SL_TO(RELAY_ENDED)},
    [RELAY_ENDED] = {"ended", 0},
};

enum relay_ends {
    RELAY_APART,     /* the descriptors are still to come */
    RELAY_APART_EOF, /* the same, and the stream has said EOF */
    RELAY_JOINED,
};

struct relay_output {
    struct sl_relay *relay;
    struct sl_fd_sink *sink; /* NULL: none, or no more */
    size_t unwritten;        /* bytes the sink holds */
    size_t said;             /* of those, ours: they are nobody's credit */
    bool finishing;          /* takes nothing more */
};

struct sl_relay {
    struct sl_watched later; /* tells of the end, where nothing else does */
    struct sl_watch *watch;
    const struct sl_relay_handler *handler;
    void *arg;
    enum relay_phase phase;
    enum relay_ends ends;
    size_t early;             /* APART: what the stream may still say */
    struct sl_stream *stream; /* NULL: none, or no more */
    struct sl_fd_source *source;
    struct relay_output output[2];
    unsigned how;             /* SL_RELAY_… */
    uint64_t unread_since_ns; /* uv_hrtime() when output was found to have no reader; 0: it has one */
    size_t unread;            /* bytes dropped since */
    size_t allowed, unsent;   /* input: may be read; was given to the stream and is not sent */
    bool input_ended;
    bool dropping;  /* output has nobody who wants it */
    bool closing;   /* it is closed when nothing is unsent */
    unsigned calls; /* callbacks of the owner's that run now */
    bool freed;
    bool has_result;
    struct sl_stream_result result;
    char signal[64], text[512]; /* the result's */
};

static void move(struct sl_relay *r, enum relay_phase to)
{
    SL_MOVE(phases, r->phase, to);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void close_all(struct sl_relay *r)
{
    sl_watched_fini(&r->later);
    sl_fd_source_close(r->source);
    r->source = NULL;
    for (int i = 0; i < 2; i++) {
        sl_fd_sink_close(r->output[i].sink);
        r->output[i].sink = NULL;
    }
}

void sl_relay_free(struct sl_relay *r)
{
    if (r == NULL || r->freed)
        return;
    close_all(r);
    r->freed = true;
    if (r->calls == 0)
        free(r);
}

/* Around each callback but on_end. */
static void begin_call(struct sl_relay *r)
{
    r->calls++;
}

/* False: the owner has freed it, and it is gone, or will be with the outermost callback. */
static bool end_call(struct sl_relay *r)
{
    r->calls--;
    if (!r->freed)
        return true;
    if (r->calls == 0)
        free(r);
    return false;
}

/* The last callback, when nothing is left to be written. */
static void conclude(struct sl_relay *r)
{
    if (r->phase != RELAY_ENDED || r->output[0].sink != NULL || r->output[1].sink != NULL)
        return;
    const struct sl_relay_handler *handler = r->handler;
    close_all(r);
    r->freed = true; /* what the callback does to it has no effect */
    handler->on_end(r->arg, r->has_result ? &r->result : NULL);
    free(r);
}

static void on_later(struct sl_watched *later, uint32_t events)
{
    (void)events;
    conclude(SL_CONTAINER(later, struct sl_relay, later));
}

static void end_input(struct sl_relay *r)
{
    r->input_ended = true;
    sl_fd_source_close(r->source);
    r->source = NULL;
}

static void finish_output(struct relay_output *out)
{
    if (out->sink != NULL && !out->finishing)
        sl_fd_sink_finish(out->sink, (out->relay->how & SL_RELAY_SHUTDOWN) != 0 && out == &out->relay->output[0]);
    out->finishing = true;
}

void sl_relay_finish(struct sl_relay *r)
{
    if (r->phase == RELAY_ENDED)
        return;
    move(r, RELAY_ENDED);
    r->stream = NULL;
    end_input(r);
    for (int i = 0; i < 2; i++)
        finish_output(&r->output[i]);
    sl_watched_later(&r->later);
}

/* --- output ------------------------------------------------------------------------------------------------------- */

static void give_credit(struct sl_relay *r, size_t len)
{
    if (len > 0 && r->stream != NULL)
        sl_stream_credit(r->stream, len);
}

static void put_out(struct relay_output *out, const void *data, size_t len, bool ours)
{
    size_t written = len;
    if (out->sink != NULL && !out->finishing && (ours || !out->relay->dropping))
        written = sl_fd_sink_write(out->sink, data, len);
    out->unwritten += len - written;
    if (ours)
        out->said += len - written;
    else
        give_credit(out->relay, written);
}

/* False: the owner has freed the relay, and it is gone, or will be. */
static bool tell_broken(struct sl_relay *r, int status, const char *text)
{
    if (r->handler->on_broken == NULL)
        return true;
    begin_call(r);
    r->handler->on_broken(r->arg, status, text);
    return end_call(r);
}

/* Closes the stream because of its output. False as above. */
static bool give_up(struct sl_relay *r, int status, const char *text)
{
    sl_relay_close(r);
    return tell_broken(r, status, text);
}

/* Bytes that nobody will read. */
static void count_unread(struct sl_relay *r, size_t len)
{
    r->unread += len;
    if (r->dropping || (r->unread <= UNREAD_MAX && uv_hrtime() - r->unread_since_ns <= UNREAD_PATIENCE_NS))
        return;
    if (r->stream != NULL && sl_stream_unread(r->stream)) {
        r->unread = 0; /* what is under way still comes */
        r->unread_since_ns = uv_hrtime();
        return;
    }
    (void)give_up(r, SL_E_CLIENT_GONE, sl_status_text(SL_E_CLIENT_GONE));
}

static void tell_early(struct sl_relay *r, const uint8_t *data, size_t len)
{
    begin_call(r);
    r->handler->on_early(r->arg, data, len);
    (void)end_call(r);
}

static void on_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    struct sl_relay *r = arg;
    if (r->ends != RELAY_JOINED) {
        r->early -= len;
        tell_early(r, data, len);
        return;
    }
    put_out(&r->output[fd == 0 ? 0 : 1], data, len, false);
    if (fd == 0 && r->unread_since_ns != 0)
        count_unread(r, len);
}

static void on_eof(void *arg)
{
    struct sl_relay *r = arg;
    if (r->ends == RELAY_APART) {
        r->ends = RELAY_APART_EOF;
        tell_early(r, NULL, 0);
        return;
    }
    /* Error output stays for what there may be to say about the end. */
    finish_output(&r->output[0]);
}

static void on_written(void *arg, size_t len)
{
    struct relay_output *out = arg;
    size_t ours = len < out->said ? len : out->said;
    out->unwritten -= len;
    out->said -= ours;
    give_credit(out->relay, len - ours);
}

static void forget_sink(struct relay_output *out)
{
    size_t lost = out->unwritten - out->said;
    sl_fd_sink_close(out->sink);
    out->sink = NULL;
    out->unwritten = out->said = 0;
    give_credit(out->relay, lost);
}

static void on_finished(void *arg)
{
    struct relay_output *out = arg;
    forget_sink(out);
    conclude(out->relay);
}

static void on_broken(void *arg, int status, const char *text)
{
    struct relay_output *out = arg;
    struct sl_relay *r = out->relay;
    forget_sink(out);
    if (out == &r->output[0]) { /* error output that nobody reads is just dropped */
        if ((r->how & SL_RELAY_COMMAND) != 0 && status == SL_E_CLIENT_GONE)
            r->unread_since_ns = uv_hrtime();
        else if (!give_up(r, status, text))
            return;
    }
    conclude(r);
}

static const struct sl_fd_sink_handler sink_handler = {
    .on_written = on_written,
    .on_broken = on_broken,
    .on_finished = on_finished,
};

void sl_relay_say(struct sl_relay *r, const char *text)
{
    put_out(&r->output[r->output[1].sink != NULL ? 1 : 0], text, strlen(text), true);
}

/* --- input -------------------------------------------------------------------------------------------------------- */

static void allow_input(struct sl_relay *r)
{
    if (r->source == NULL || r->phase != RELAY_OPEN || r->allowed + r->unsent >= INPUT_MAX)
        return;
    size_t more = INPUT_MAX - r->allowed - r->unsent;
    r->allowed += more;
    sl_fd_source_allow(r->source, more);
}

static void on_sent(void *arg, size_t len)
{
    struct sl_relay *r = arg;
    r->unsent -= len;
    if (r->closing && r->unsent == 0)
        sl_relay_close(r);
    allow_input(r);
}

void sl_relay_input(struct sl_relay *r, const void *data, size_t len)
{
    if (r->freed || r->stream == NULL || r->input_ended || r->dropping || len == 0)
        return;
    r->unsent += len;
    assert(r->unsent <= SL_STREAM_WINDOW);
    if (sl_stream_write(r->stream, data, len) != 0)
        sl_relay_close(r); /* bytes are missing now: nothing true can follow */
}

void sl_relay_input_eof(struct sl_relay *r)
{
    if (r->input_ended)
        return;
    end_input(r);
    if (r->stream != NULL)
        sl_stream_eof(r->stream);
}

static void on_input(void *arg, const uint8_t *data, size_t len)
{
    struct sl_relay *r = arg;
    r->allowed -= len;
    if (r->handler->on_input == NULL) {
        sl_relay_input(r, data, len);
    } else {
        begin_call(r);
        r->handler->on_input(r->arg, data, len);
        if (!end_call(r))
            return;
    }
    allow_input(r);
}

static void on_input_end(void *arg, int status, const char *text)
{
    (void)status; /* a terminal that has hung up ends by an error */
    (void)text;
    sl_relay_input_eof(arg);
}

static const struct sl_fd_source_handler source_handler = {.on_data = on_input, .on_end = on_input_end};

/* --- the stream --------------------------------------------------------------------------------------------------- */

static void on_open(void *arg, int status, const char *text)
{
    struct sl_relay *r = arg;
    if (status == 0)
        move(r, RELAY_OPEN);
    begin_call(r);
    r->handler->on_open(r->arg, status, text);
    if (end_call(r))
        allow_input(r);
}

static void on_stream_end(void *arg, const struct sl_stream_result *result)
{
    struct sl_relay *r = arg;
    begin_call(r);
    if (r->handler->on_result != NULL)
        r->handler->on_result(r->arg, result);
    if (!end_call(r))
        return;
    /* The signal that the lost reader was to give. */
    if (r->unread_since_ns != 0 && result->how == SL_RESULT_SIGNAL && strcmp(result->signal, "PIPE") == 0 &&
        !tell_broken(r, SL_E_CLIENT_GONE, sl_status_text(SL_E_CLIENT_GONE)))
        return;
    r->result = *result;
    snprintf(r->signal, sizeof r->signal, "%s", result->signal != NULL ? result->signal : "");
    snprintf(r->text, sizeof r->text, "%s", result->text != NULL ? result->text : "");
    r->result.signal = r->signal;
    r->result.text = r->text;
    r->has_result = true;
    sl_relay_finish(r);
}

const struct sl_stream_handler sl_relay_stream_handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_sent = on_sent,
    .on_end = on_stream_end,
};

void sl_relay_signal(struct sl_relay *r, const char *name)
{
    if (r->stream != NULL)
        sl_stream_signal(r->stream, name);
}

void sl_relay_resize(struct sl_relay *r, uint32_t cols, uint32_t rows, uint32_t width_px, uint32_t height_px)
{
    if (r->stream != NULL)
        sl_stream_resize(r->stream, cols, rows, width_px, height_px);
}

void sl_relay_close(struct sl_relay *r)
{
    if (r->stream == NULL || r->dropping)
        return;
    r->dropping = true;
    end_input(r);
    sl_stream_close(r->stream);
}

void sl_relay_close_sent(struct sl_relay *r)
{
    r->closing = true;
    if (r->unsent == 0)
        sl_relay_close(r);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

/* The descriptors are nobody's any more. */
static void disown_all(struct sl_relay *r)
{
    sl_fd_source_disown(r->source);
    r->source = NULL;
    for (int i = 0; i < 2; i++) {
        sl_fd_sink_disown(r->output[i].sink);
        r->output[i].sink = NULL;
    }
}

void sl_relay_disown(struct sl_relay *r)
{
    assert(r->phase == RELAY_NEW);
    disown_all(r);
    sl_watched_fini(&r->later);
    free(r);
}

int sl_relay_new_apart(struct sl_watch *watch, size_t credit, unsigned how, const struct sl_relay_handler *handler,
    void *arg, struct sl_relay **ret_relay)
{
    struct sl_relay *r = calloc(1, sizeof *r);
    if (r == NULL)
        return SL_E_NOMEM;
    r->watch = watch;
    r->handler = handler;
    r->arg = arg;
    r->how = how;
    r->early = credit;
    r->output[0].relay = r->output[1].relay = r;
    sl_watched_init(&r->later, watch, on_later);
    *ret_relay = r;
    return 0;
}

static int open_all(struct sl_relay *r, const int fd[3])
{
    int status = 0;
    if (fd[0] >= 0)
        status = sl_fd_source_open(r->watch, fd[0], &source_handler, r, &r->source);
    for (int i = 0; i < 2 && status == 0; i++)
        if (fd[1 + i] >= 0)
            status = sl_fd_sink_open(r->watch, fd[1 + i], &sink_handler, &r->output[i], &r->output[i].sink);
    if (status != 0)
        disown_all(r);
    return status;
}

int sl_relay_attach(struct sl_relay *r, const int fd[3], const void *data, size_t len)
{
    assert(r->ends != RELAY_JOINED && r->phase != RELAY_ENDED);
    const int status = open_all(r, fd);
    if (status != 0)
        return status;
    const bool ended = r->ends == RELAY_APART_EOF;
    r->ends = RELAY_JOINED;
    if (r->source == NULL)
        sl_relay_input_eof(r);
    give_credit(r, SL_RELAY_CREDIT - r->early - len);
    put_out(&r->output[0], data, len, false);
    if (ended)
        finish_output(&r->output[0]);
    allow_input(r);
    return 0;
}

int sl_relay_new(struct sl_watch *watch, const int fd[3], unsigned how, const struct sl_relay_handler *handler,
    void *arg, struct sl_relay **ret_relay)
{
    struct sl_relay *r;
    int status = sl_relay_new_apart(watch, 0, how, handler, arg, &r);
    if (status == 0 && (status = sl_relay_attach(r, fd, NULL, 0)) != 0)
        sl_relay_disown(r);
    else if (status == 0)
        *ret_relay = r;
    return status;
}

void sl_relay_take_stream(struct sl_relay *r, struct sl_stream *stream)
{
    move(r, RELAY_OPENING);
    r->stream = stream;
    if (r->input_ended)
        sl_stream_eof(stream);
}
