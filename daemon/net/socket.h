/* SPDX-License-Identifier: MIT */
/* socket.h - one client's socket: frames in, bytes out, bounded both ways. Knows no message and no lease.
 * The process must ignore SIGPIPE. */
#ifndef SSHLEASE_NET_SOCKET_H
#define SSHLEASE_NET_SOCKET_H

#include "daemon/net/fd_jobs.h"
#include "proto/frame.h"

#include <uv.h>

struct sl_socket;

/* Bytes waiting to be written above which the socket is congested, and below which it is not any more. */
#define SL_SOCKET_HIGH_WATER 262144u
#define SL_SOCKET_LOW_WATER  65536u
/* Above this no frame is read, until the low-water mark: a client that asks without reading the answers stops itself.
 * It is well above the high-water mark, so that a client slow to read its output is still heard. */
#define SL_SOCKET_HOLD_WATER 1048576u
/* Beyond this, sending fails and the socket ends. Whoever sends more than answers keeps below it by looking at
 * sl_socket_congested(). */
#define SL_SOCKET_QUEUE_MAX 8388608u
/* Passed descriptors that may be held for the taking; more end the socket. */
#define SL_SOCKET_FDS_MAX 8u
/* How long sl_socket_finish() waits for the peer to take what is queued. */
#define SL_SOCKET_FINISH_MS 2000u

struct sl_socket_handler {
    /* A frame has come; borrowed, valid during the callback. */
    void (*on_frame)(void *arg, const struct sl_frame *frame);
    /* Nothing will be read or written any more: the peer closed its end (status 0), the socket failed (SL_E_IO), a
     * length was out of bounds (SL_E_PROTOCOL; can still be written), memory ran out (SL_E_NOMEM), the deadline passed
     * (SL_E_TIMEOUT; can still be written), no more descriptors are taken of this user, or it holds too much memory
     * (SL_E_LIMIT; can still be written). Comes at most once; sl_socket_finish() or sl_socket_close() is left to do.
     */
    void (*on_end)(void *arg, int status, const char *text);
    /* It was congested and is not any more, or what was marked has been written. */
    void (*on_drain)(void *arg);
    /* The last callback: descriptor and memory are gone. */
    void (*on_closed)(void *arg);
    /* As many descriptors have come as sl_socket_expect_fds() said: take them now. NULL: none are ever expected. */
    void (*on_fds)(void *arg);
};

/* Takes over `fd`, a connected Unix stream socket, on success. Reading begins. `jobs` (NULL:
 * none, for tests) closes it, and passed descriptors that nobody takes; a reference is kept. 0, SL_E_NOMEM or SL_E_IO.
 * No callback before the loop runs. */
int sl_socket_open(uv_loop_t *loop, struct sl_fd_jobs *jobs, int fd, const struct sl_socket_handler *handler, void *arg,
    struct sl_socket **ret_socket);

/* What it holds, beyond little, is memory of its client's user from now on: who has no more of that left is ended
 * (SL_E_LIMIT). `quota` outlives it. */
void sl_socket_account(struct sl_socket *socket, struct sl_quota *quota);

/* Sends both pieces, at once where the kernel takes them, else copied and queued. 0; SL_E_LIMIT over
 * SL_SOCKET_QUEUE_MAX, SL_E_NOMEM, SL_E_IO; after any of them on_end follows. Never calls back. Either may be empty. */
int sl_socket_send(struct sl_socket *socket, const void *head, size_t head_len, const void *body, size_t body_len);

/* From within on_frame: the next `count` bytes, at most SL_SOCKET_FDS_MAX, are no frame but one NUL for each passed
 * descriptor; on_fds follows when they have come, before the next frame. */
void sl_socket_expect_fds(struct sl_socket *socket, unsigned count);
/* The first of the passed descriptors, the caller's from here on and close-on-exec; -1: none. Those that came with a
 * frame can be taken from within its on_frame. What nobody takes is a violation (SL_E_PROTOCOL) and closed. */
int sl_socket_take_fd(struct sl_socket *socket);

bool sl_socket_congested(const struct sl_socket *socket);

/* Of what is queued now on_drain tells when all of it is written. One mark at a time. */
void sl_socket_mark(struct sl_socket *socket);
/* Nothing before the mark is queued any more. */
bool sl_socket_is_written(const struct sl_socket *socket);

/* on_end(SL_E_TIMEOUT) in `timeout_ms`; 0 takes the deadline away. */
void sl_socket_deadline(struct sl_socket *socket, uint64_t timeout_ms);

/* Reads no more; closes when what is queued has been written, or after SL_SOCKET_FINISH_MS. on_closed follows. */
void sl_socket_finish(struct sl_socket *socket);

/* Closes at once. Idempotent, legal from any callback but on_closed, which follows. */
void sl_socket_close(struct sl_socket *socket);

/* Shuts down and closes what was never opened here, a socket just accepted. */
void sl_socket_refuse(struct sl_fd_jobs *jobs, int fd);

#endif
