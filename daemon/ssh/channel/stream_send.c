/* SPDX-License-Identifier: MIT */
/* Sends input, signals and sizes in the order they were asked for, as far as the channel's window goes. */
#include "daemon/ssh/channel/stream_send.h"

#include "daemon/ssh/session/compat.h"
#include "daemon/ssh/session/io.h"
#include "daemon/ssh/session/session.h"

#include <libssh2.h>
#include <stdlib.h>
#include <string.h>

#ifndef SL_LIBSSH2_SENDS_EOW
#define SL_LIBSSH2_SENDS_EOW 0
#endif

/* libssh2's answer: true when what was sent is done with, false when it has to wait. */
static bool is_done(struct sl_stream *stream, int r)
{
    if (!sl_session_survives(r)) {
        sl_session_failed(stream->conn, r);
        return false;
    }
    return r != LIBSSH2_ERROR_EAGAIN;
}

static bool send_data(struct sl_stream *stream, struct sl_item *item)
{
    while (item->at < item->len) {
        if (stream->conn->out.len >= SL_IO_OUT_HIGH)
            return false;
        ssize_t n = libssh2_channel_write_ex(stream->chan->ch, 0, item->data + item->at, item->len - item->at);
        if (n <= 0)
            return is_done(stream, n == 0 ? LIBSSH2_ERROR_EAGAIN : (int)n);
        item->at += (size_t)n;
        stream->unsent -= (size_t)n;
        stream->sent_unreported += (size_t)n;
    }
    return true;
}

bool sl_stream_send_eof(struct sl_stream *stream)
{
    int r = libssh2_channel_send_eof(stream->chan->ch);
    if (r == 0)
        stream->input = SL_INPUT_ENDED;
    return is_done(stream, r);
}

bool sl_stream_can_say_unread(const struct sl_stream *stream)
{
    return SL_LIBSSH2_SENDS_EOW && stream->unread != SL_UNREAD_SAID && !stream->has_pty &&
           !sl_stream_is_forward(stream) && stream->chan->end == SL_CHAN_END_NONE &&
           sl_compat_takes_eow(stream->conn->compat);
}

bool sl_stream_unread(struct sl_stream *stream)
{
    if (stream->unread != SL_UNREAD_NO || stream->state != SL_STREAM_RUNNING || !sl_stream_can_say_unread(stream))
        return false;
    stream->unread = SL_UNREAD_ASKED;
    sl_conn_schedule(stream->conn);
    return true;
}

bool sl_stream_send_unread(struct sl_stream *stream)
{
    if (!sl_stream_can_say_unread(stream))
        return true;
#if SL_LIBSSH2_SENDS_EOW
    int r = libssh2_channel_eow(stream->chan->ch);
    if (!is_done(stream, r))
        return false;
#endif
    stream->unread = SL_UNREAD_SAID;
    return true;
}

bool sl_stream_send_signal(struct sl_stream *stream, const char *name)
{
    return is_done(stream, libssh2_channel_signal_ex(stream->chan->ch, name, strlen(name)));
}

static bool send_item(struct sl_stream *stream, struct sl_item *item)
{
    switch (item->kind) {
    case SL_ITEM_DATA:
        return send_data(stream, item);
    case SL_ITEM_EOF:
        return sl_stream_send_eof(stream);
    case SL_ITEM_SIGNAL:
        return sl_stream_send_signal(stream, item->data);
    case SL_ITEM_RESIZE:
        return is_done(stream, libssh2_channel_request_pty_size_ex(stream->chan->ch, (int)item->cols, (int)item->rows,
                                   (int)item->width_px, (int)item->height_px));
    }
    return true;
}

/* Ctrl-C must reach a command that does not read its input: with the server's window shut, the first signal overtakes
 * the data. No packet of data is half made then. */
static void send_blocked_signal(struct sl_stream *stream)
{
    struct sl_item *item;
    TAILQ_FOREACH(item, &stream->items, link)
    {
        if (item->kind == SL_ITEM_SIGNAL) {
            if (sl_stream_send_signal(stream, item->data)) {
                TAILQ_REMOVE(&stream->items, item, link);
                stream->commands--;
                free(item);
            }
            return;
        }
    }
}

void sl_stream_send_input(struct sl_stream *stream)
{
    /* What nobody reads any more is dropped, as a pipe without a reader would. */
    bool drop = stream->chan->end == SL_CHAN_END_CLOSE || stream->ending != SL_ENDING_NO;
    struct sl_item *item;
    while ((item = TAILQ_FIRST(&stream->items)) != NULL && (drop || send_item(stream, item)) &&
           stream->conn->phase == SL_CONN_PHASE_READY)
        sl_stream_drop_item(stream);
    if (stream->conn->phase == SL_CONN_PHASE_READY && item != NULL && item->kind == SL_ITEM_DATA &&
        stream->commands > 0 && libssh2_channel_window_write_ex(stream->chan->ch, NULL) == 0)
        send_blocked_signal(stream);
}
