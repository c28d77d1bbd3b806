/* SPDX-License-Identifier: MIT */
/* Streams of a client, and the credit both ways.
 *   in    The client may send `in_credit` bytes more. What it sends goes to the transport at once, which takes as much
 *         as the credit ever was. When it has left (on_sent), the client is told by WINDOW.
 *   out   The client takes `out_credit` bytes more. The transport is lent at most SL_NATIVE_LEND_MAX of them at a time,
 *         and nothing while the socket is congested: what waits for one slow client is bounded, whatever it promised. */
#include "base/state.h"
#include "daemon/front/native/handlers.h"
#include "daemon/front/texts.h"
#include "daemon/relay/relay.h"
#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

static const struct sl_state phases[] = {
    [SL_NATIVE_STREAM_ASKED] = {"asked", SL_TO(SL_NATIVE_STREAM_OPENED) | SL_TO(SL_NATIVE_STREAM_REFUSED)},
    [SL_NATIVE_STREAM_OPENED] = {"opened", SL_TO(SL_NATIVE_STREAM_CLOSED)},
    [SL_NATIVE_STREAM_CLOSED] = {"closed", 0},
    [SL_NATIVE_STREAM_REFUSED] = {"refused", 0},
};

static void move(struct sl_client_stream *s, enum sl_native_stream_phase to)
{
    SL_MOVE(phases, s->phase, to);
}

static struct sl_client_stream *find(struct sl_client *c, uint32_t id)
{
    struct sl_client_stream *s;
    TAILQ_FOREACH(s, &c->streams, link)
    {
        if (s->id == id)
            return s;
    }
    return NULL;
}

static void forget(struct sl_client_stream *s)
{
    sl_relay_free(s->relay);
    TAILQ_REMOVE(&s->client->streams, s, link);
    free(s);
}

/* --- output ------------------------------------------------------------------------------------------------------- */

static void lend(struct sl_client_stream *s)
{
    if (s->stream == NULL || s->out_credit == 0 || s->out_lent >= SL_NATIVE_LEND_MAX ||
        s->phase != SL_NATIVE_STREAM_OPENED || sl_socket_congested(s->client->socket))
        return;
    uint32_t room = SL_NATIVE_LEND_MAX - s->out_lent, more = s->out_credit < room ? s->out_credit : room;
    s->out_credit -= more;
    s->out_lent += more;
    sl_stream_credit(s->stream, more);
}

void sl_client_lend_all(struct sl_client *c)
{
    struct sl_client_stream *s;
    TAILQ_FOREACH(s, &c->streams, link)
    lend(s);
}

static void send_data(struct sl_client_stream *s, int fd, const uint8_t *data, size_t len)
{
    const struct sl_bytes bytes = {data, len};
    sl_client_send_bytes(s->client,
        &(struct sl_msg){.type = SL_MSG_DATA, .data = {.stream = s->id, .fd = (uint32_t)fd, .data = bytes}}, bytes);
}

static void on_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    struct sl_client_stream *s = arg;
    s->out_lent -= len < s->out_lent ? (uint32_t)len : s->out_lent;
    if (s->phase != SL_NATIVE_STREAM_OPENED)
        return; /* the client has closed it */
    while (len > 0) {
        size_t part = len < SL_MSG_DATA_MAX ? len : SL_MSG_DATA_MAX;
        send_data(s, fd, data, part);
        data += part;
        len -= part;
    }
    lend(s);
}

static void on_eof(void *arg)
{
    struct sl_client_stream *s = arg;
    if (s->phase == SL_NATIVE_STREAM_OPENED)
        sl_client_send(s->client, &(struct sl_msg){.type = SL_MSG_EOF, .stream.stream = s->id});
}

/* --- input -------------------------------------------------------------------------------------------------------- */

static void on_sent(void *arg, size_t len)
{
    struct sl_client_stream *s = arg;
    s->in_taken += (uint32_t)len;
    if (s->phase != SL_NATIVE_STREAM_OPENED || s->input_ended)
        return;
    if (s->in_taken < SL_NATIVE_WINDOW_STEP && s->in_credit > 0)
        return;
    sl_client_send(
        s->client, &(struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = s->id, .bytes = s->in_taken}});
    s->in_credit += s->in_taken;
    s->in_taken = 0;
}

void sl_client_on_data(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_msg_data *data = &msg->data;
    struct sl_client_stream *s = find(c, data->stream);
    if (data->fd != SL_DATA_STDOUT) {
        sl_client_fault(c, SL_E_PROTOCOL, "a client's DATA is fd 0");
        return;
    }
    if (s == NULL || s->phase == SL_NATIVE_STREAM_CLOSED || s->phase == SL_NATIVE_STREAM_REFUSED)
        return; /* its end and these bytes have crossed */
    if (s->input_ended) {
        sl_client_fault(c, SL_E_PROTOCOL, "DATA came after EOF");
        return;
    }
    if (data->data.len > s->in_credit) {
        sl_client_fault(c, SL_E_PROTOCOL, "DATA came beyond the credit");
        return;
    }
    if (data->data.len == 0)
        return;
    s->in_credit -= (uint32_t)data->data.len;
    int r = sl_stream_write(s->stream, data->data.data, data->data.len);
    if (r != 0)
        sl_client_fault(c, r, sl_status_text(r)); /* bytes are missing now: nothing true can follow */
}

void sl_client_on_eof(struct sl_client *c, const struct sl_msg *msg)
{
    struct sl_client_stream *s = find(c, msg->stream.stream);
    if (s == NULL || s->phase == SL_NATIVE_STREAM_CLOSED || s->phase == SL_NATIVE_STREAM_REFUSED || s->input_ended)
        return;
    s->input_ended = true;
    if (s->relay != NULL)
        sl_relay_input_eof(s->relay);
    else
        sl_stream_eof(s->stream);
}

/* --- opening and ending ------------------------------------------------------------------------------------------- */

static void close_stream(struct sl_client_stream *s)
{
    move(s, SL_NATIVE_STREAM_CLOSED);
    if (s->relay != NULL)
        sl_relay_close(s->relay);
    else
        sl_stream_close(s->stream);
}

void sl_client_stream_opened(struct sl_client_stream *s, int status, const char *text)
{
    if (status != 0) {
        /* Over the limit, nothing was asked of the server; what a server refuses it has at least seen. */
        sl_client_error(s->client, s->rid, status, status == SL_E_STREAM_LIMIT, text);
        move(s, SL_NATIVE_STREAM_REFUSED);
        return;
    }
    move(s, SL_NATIVE_STREAM_OPENED);
    s->in_credit = s->relay != NULL ? 0 : SL_STREAM_WINDOW;
    sl_client_send(s->client, &(struct sl_msg){
                                  .type = SL_MSG_STREAM_OPENED,
                                  .stream_opened = {.rid = s->rid, .stream = s->id, .window = s->in_credit},
                              });
    if (s->close_wanted)
        close_stream(s);
    else
        lend(s);
}

static void on_open(void *arg, int status, const char *text)
{
    sl_client_stream_opened(arg, status, text);
}

/* Said before the end where the output goes on; a client of an old version waits for the end. */
static void on_exit_known(void *arg, const struct sl_stream_result *result)
{
    struct sl_client_stream *s = arg;
    const bool killed = result->how == SL_RESULT_SIGNAL;
    if (s->phase != SL_NATIVE_STREAM_OPENED || s->client->version < sl_msg_since(SL_MSG_EXITED))
        return;
    sl_client_send(s->client, &(struct sl_msg){
                                  .type = SL_MSG_EXITED,
                                  .exited = {.stream = s->id,
                                      .how = (uint32_t)result->how,
                                      .exit_status = killed ? 0 : result->exit_status,
                                      .signal = sl_bytes_of(killed ? result->signal : ""),
                                      .core_dumped = killed && result->core_dumped},
                              });
}

static void send_end(struct sl_client_stream *s, const struct sl_stream_result *result)
{
    const bool killed = result->how == SL_RESULT_SIGNAL;
    sl_client_send(s->client, &(struct sl_msg){
                                  .type = SL_MSG_STREAM_END,
                                  .stream_end = {.stream = s->id,
                                      .how = (uint32_t)result->how,
                                      .exit_status = result->how == SL_RESULT_STATUS ? result->exit_status : 0,
                                      .signal = sl_bytes_of(killed && result->signal != NULL ? result->signal : ""),
                                      .core_dumped = killed && result->core_dumped,
                                      .text = sl_bytes_of(result->text != NULL ? result->text : "")},
                              });
}

void sl_client_stream_ended(struct sl_client_stream *s, const struct sl_stream_result *result)
{
    if (s->phase == SL_NATIVE_STREAM_ASKED)
        sl_client_error(s->client, s->rid, SL_E_CONNECTION_LOST, false,
            result->text != NULL && result->text[0] != '\0' ? result->text : sl_status_text(SL_E_CONNECTION_LOST));
    else if (s->phase != SL_NATIVE_STREAM_REFUSED)
        send_end(s, result);
    forget(s);
}

static void on_end(void *arg, const struct sl_stream_result *result)
{
    sl_client_stream_ended(arg, result);
}

void sl_client_end_streams(struct sl_client *c, int status, const char *text, bool tell)
{
    const struct sl_stream_result unknown = {.how = SL_RESULT_UNKNOWN, .text = text};
    struct sl_client_stream *s, *next;
    for (s = TAILQ_FIRST(&c->streams); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        if (tell && s->phase == SL_NATIVE_STREAM_ASKED)
            sl_client_error(c, s->rid, status, false, text);
        else if (tell && s->phase != SL_NATIVE_STREAM_REFUSED)
            send_end(s, &unknown);
        forget(s);
    }
}

static const struct sl_stream_handler stream_handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_sent = on_sent,
    .on_exit = on_exit_known,
    .on_end = on_end,
};

static int open_stream(
    struct sl_client_stream *s, const struct sl_msg_stream_open *open, sl_client_opener_fn opener, const int fd[3])
{
    const struct sl_msg_pty *pty = &open->pty_req;
    struct sl_stream_env env[SL_MSG_ENV_MAX];
    struct sl_reader pairs = open->env;
    struct sl_bytes name, value;
    size_t count = 0;
    /* Each text of the list has four bytes of length before it, so there is room for the NULs as well. */
    char *room = malloc(open->command.len + 1 + pty->term.len + 1 + sl_reader_left(&open->env));
    if (room == NULL)
        return SL_E_NOMEM;
    struct sl_texts texts = {.at = room};
    const struct sl_stream_pty spec_pty = {
        .term = open->pty ? sl_texts_keep(&texts, pty->term) : "",
        .cols = pty->cols,
        .rows = pty->rows,
        .width_px = pty->width_px,
        .height_px = pty->height_px,
        .modes = pty->modes.len > 0 ? pty->modes.data : NULL,
        .modes_len = pty->modes.len,
    };
    const char *command = sl_texts_keep(&texts, open->command);
    while (count < SL_MSG_ENV_MAX && sl_msg_env_next(&pairs, &name, &value)) {
        env[count].name = sl_texts_keep(&texts, name);
        env[count++].value = sl_texts_keep(&texts, value);
    }
    struct sl_stream_spec spec = {
        .command = open->kind == SL_KIND_SHELL ? NULL : command,
        .pty = open->pty ? &spec_pty : NULL,
        .env = env,
        .env_count = count,
    };
    switch (open->kind) {
    case SL_KIND_SHELL:
        spec.kind = SL_SPEC_SHELL;
        break;
    case SL_KIND_SUBSYSTEM:
        spec.kind = SL_SPEC_SUBSYSTEM;
        break;
    default:
        spec.kind = SL_SPEC_EXEC;
        break;
    }
    int r = opener(s, &spec, fd);
    free(room);
    return r;
}

bool sl_client_open_stream(
    struct sl_client *c, const struct sl_msg_stream_open *open, sl_client_opener_fn opener, const int fd[3])
{
    if (find(c, open->stream) != NULL) {
        sl_client_fault(c, SL_E_PROTOCOL, "STREAM_OPEN names a stream that has not ended");
        return false;
    }
    if (!sl_lease_is_held(c->lease)) {
        sl_client_error(c, open->rid, SL_E_NO_LEASE, true, "there is no lease to open a stream under");
        return false;
    }
    struct sl_client_stream *s = calloc(1, sizeof *s);
    if (s == NULL) {
        sl_client_error(c, open->rid, SL_E_NOMEM, true, sl_status_text(SL_E_NOMEM));
        return false;
    }
    s->client = c;
    s->id = open->stream;
    s->rid = open->rid;
    s->out_lent = open->window < SL_NATIVE_LEND_MAX ? open->window : SL_NATIVE_LEND_MAX;
    s->out_credit = open->window - s->out_lent;
    int r = open_stream(s, open, opener, fd);
    if (r != 0) {
        char text[SL_QUOTA_TEXT_SIZE];
        free(s);
        sl_client_error(c, open->rid, r, true, sl_lease_stream_refusal(c->lease, r, text, sizeof text));
        return false;
    }
    TAILQ_INSERT_TAIL(&c->streams, s, link);
    return true;
}

static int open_framed(struct sl_client_stream *s, const struct sl_stream_spec *spec, const int fd[3])
{
    struct sl_stream_spec with_credit = *spec;
    (void)fd;
    with_credit.credit = s->out_lent;
    return sl_lease_stream_open(s->client->lease, &with_credit, &stream_handler, s, &s->stream);
}

void sl_client_on_stream_open(struct sl_client *c, const struct sl_msg *msg)
{
    (void)sl_client_open_stream(c, &msg->stream_open, open_framed, NULL);
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

void sl_client_on_window(struct sl_client *c, const struct sl_msg *msg)
{
    struct sl_client_stream *s = find(c, msg->window.stream);
    if (s == NULL || s->phase == SL_NATIVE_STREAM_CLOSED || s->phase == SL_NATIVE_STREAM_REFUSED)
        return;
    if ((uint64_t)s->out_credit + s->out_lent + msg->window.bytes > SL_MSG_WINDOW_MAX) {
        sl_client_fault(c, SL_E_PROTOCOL, "WINDOW brings a stream's credit over 16777216");
        return;
    }
    s->out_credit += msg->window.bytes;
    lend(s);
}

void sl_client_on_signal(struct sl_client *c, const struct sl_msg *msg)
{
    struct sl_client_stream *s = find(c, msg->signal.stream);
    char name[SL_MSG_NAME_MAX + 1];
    if (s == NULL || (s->phase != SL_NATIVE_STREAM_ASKED && s->phase != SL_NATIVE_STREAM_OPENED))
        return;
    (void)sl_client_text(msg->signal.name, name, sizeof name);
    if (s->relay != NULL)
        sl_relay_signal(s->relay, name);
    else
        sl_stream_signal(s->stream, name);
}

void sl_client_on_window_change(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_msg_window_change *change = &msg->window_change;
    struct sl_client_stream *s = find(c, change->stream);
    if (s == NULL || (s->phase != SL_NATIVE_STREAM_ASKED && s->phase != SL_NATIVE_STREAM_OPENED))
        return;
    if (s->relay != NULL)
        sl_relay_resize(s->relay, change->cols, change->rows, change->width_px, change->height_px);
    else
        sl_stream_resize(s->stream, change->cols, change->rows, change->width_px, change->height_px);
}

void sl_client_on_close(struct sl_client *c, const struct sl_msg *msg)
{
    struct sl_client_stream *s = find(c, msg->stream.stream);
    if (s == NULL)
        return;
    if (s->phase == SL_NATIVE_STREAM_ASKED)
        s->close_wanted = true; /* when the server has answered */
    else if (s->phase == SL_NATIVE_STREAM_OPENED)
        close_stream(s);
}
