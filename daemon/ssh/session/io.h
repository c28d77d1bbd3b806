/* SPDX-License-Identifier: MIT */
/* io.h - one session on one socket: libssh2's SEND and RECV, the out-queue, polling, and handing the session to a
 * worker. Knows nothing of what the session is used for. The rules it keeps stand at the head of io.c, those of libssh2
 * as a whole in LIBSSH2.md. */
#ifndef SSHLEASE_SSH_SESSION_IO_H
#define SSHLEASE_SSH_SESSION_IO_H

#include "daemon/ssh/session/conn_base.h"

/* libssh2_init() and its end; counted. */
int sl_io_library_init(void);
void sl_io_library_exit(void);

/* Above it channels take no more from their writers. */
#define SL_IO_OUT_HIGH 262144u
/* Above it nothing is read either: what is read may have to be answered. */
#define SL_IO_OUT_FULL 1048576u

/* Prepares the handles; `conn` must be zeroed. Cannot fail. */
void sl_io_init(struct sl_conn *conn);
/* Takes `fd` over and makes a session for it. 0 or SL_E_NOMEM/SL_E_INTERNAL; `fd` is taken either way. */
int sl_io_open(struct sl_conn *conn, int fd);
/* Session, socket, handles. Not while the session is off-loop. When the last handle has closed, `closed` is called. */
void sl_io_close(struct sl_conn *conn, void (*closed)(struct sl_conn *conn));

/* Runs `step` in a worker, with the session all its own; the connection is scheduled when it has returned, and
 * conn->offloop is then SL_OFF_LOOP_DONE with the answer in conn->offloop_result. */
void sl_io_step_offloop(struct sl_conn *conn, int (*step)(struct sl_conn *conn));

/* Opens the gate for at most `budget` bytes; sl_io_gate_shut() closes it. Only between the two does RECV yield bytes.
 */
void sl_io_gate_open(struct sl_conn *conn, size_t budget);
void sl_io_gate_shut(struct sl_conn *conn);

/* Whether the gate yields anything at all: not while too much waits to be sent, or to be read by somebody. */
bool sl_io_may_read(const struct sl_conn *conn);

/* Has the kernel ask the server's for a sign of life every `interval_ms`; `count` unanswered ones end the connection.
 */
void sl_io_tcp_keepalive(struct sl_conn *conn, uint64_t interval_ms, uint32_t count);
/* All that was sent has arrived, and the server's kernel was heard of in the last `within_ms`. */
bool sl_io_tcp_acknowledged(const struct sl_conn *conn, uint64_t within_ms);

/* Writes what the socket takes. */
void sl_io_flush(struct sl_conn *conn);
/* Sets polling: readable when `read`, writable while something waits to be written. */
void sl_io_watch(struct sl_conn *conn, bool read);
/* Wakes the connection at `deadline_ms` of uv_now(); UINT64_MAX: not at all. */
void sl_io_wake_at(struct sl_conn *conn, uint64_t deadline_ms);

/* What libssh2 says about its last error. Valid until the next call into the session. */
const char *sl_io_error_text(struct sl_conn *conn);

#endif
