/* SPDX-License-Identifier: MIT */
/* handlers.h - what native.c hands a client's messages to, and what it tells them of its end. */
#ifndef SSHLEASE_FRONT_NATIVE_HANDLERS_H
#define SSHLEASE_FRONT_NATIVE_HANDLERS_H

#include "daemon/front/native/client.h"

/* native/lease.c */
void sl_client_on_acquire(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_renew(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_release(struct sl_client *client, const struct sl_msg *msg);

/* native/stream.c */
void sl_client_on_stream_open(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_data(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_window(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_eof(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_signal(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_window_change(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_close(struct sl_client *client, const struct sl_msg *msg);
/* The socket takes output again. */
void sl_client_lend_all(struct sl_client *client);
/* The lease is over: answers what is open, says STREAM_END to the rest where `tell`, and frees them. */
void sl_client_end_streams(struct sl_client *client, int status, const char *text, bool tell);

/* native/mux_path.c */
void sl_client_on_mux(struct sl_client *client, const struct sl_msg *msg);

/* native/stream.c, for native/passed.c. Opens what `open` describes by `opener`, which gets a spec without credit, and adds it to the
 * client's streams; answers when that cannot be. `fd`: for the opener. */
struct sl_client_stream;
typedef int (*sl_client_opener_fn)(struct sl_client_stream *stream, const struct sl_stream_spec *spec, const int fd[3]);
/* False: it is answered, or a fault. */
bool sl_client_open_stream(
    struct sl_client *client, const struct sl_msg_stream_open *open, sl_client_opener_fn opener, const int fd[3]);
/* The server's answer, and the end, told to the client; the latter frees the stream. */
void sl_client_stream_opened(struct sl_client_stream *stream, int status, const char *text);
void sl_client_stream_ended(struct sl_client_stream *stream, const struct sl_stream_result *result);

/* native/passed.c */
void sl_client_on_stream_open_fds(struct sl_client *client, const struct sl_msg *msg);

/* native/admin.c */
/* The deadline has passed, which says: */
#define SL_NATIVE_UNREAD_TEXT "the answer to STATUS was not read within 10 s"
void sl_client_on_status(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_end(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_reload(struct sl_client *client, const struct sl_msg *msg);
void sl_client_on_reconnect(struct sl_client *client, const struct sl_msg *msg);
/* Sends as much of a status as the socket takes. */
void sl_client_send_status(struct sl_client *client);
/* The client is gone: jobs under way have nobody to answer. */
void sl_client_drop_jobs(struct sl_client *client);

#endif
