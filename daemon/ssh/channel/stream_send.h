/* SPDX-License-Identifier: MIT */
/* stream_send.h - a running stream's input, signals and sizes on their way to the server. Calls nobody back. */
#ifndef SSHLEASE_SSH_CHANNEL_STREAM_SEND_H
#define SSHLEASE_SSH_CHANNEL_STREAM_SEND_H

#include "daemon/ssh/channel/stream.h"

/* Whatever the server takes now of what waits in order; drops what nobody reads any more. The connection may die. */
void sl_stream_send_input(struct sl_stream *stream);
/* True when it is done with, false when it has to wait, or the connection has died. */
/* That nobody reads the output; done with, too, where it is not to be said: see sl_stream_can_say_unread(). */
bool sl_stream_send_unread(struct sl_stream *stream);
/* Not of a terminal: its output is its input, and not its end. */
bool sl_stream_can_say_unread(const struct sl_stream *stream);
bool sl_stream_send_signal(struct sl_stream *stream, const char *name);
bool sl_stream_send_eof(struct sl_stream *stream);

#endif
