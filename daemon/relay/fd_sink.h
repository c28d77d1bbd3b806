/* SPDX-License-Identifier: MIT */
/* fd_sink.h - writes to a descriptor that was passed to us, whatever kind it is. Never waits on the loop, never leaves
 * O_NONBLOCK on what others share with us; holds what is not written yet, which the caller's credit has to bound. */
#ifndef SSHLEASE_RELAY_FD_SINK_H
#define SSHLEASE_RELAY_FD_SINK_H

#include "daemon/net/watch.h"

#include <stddef.h>

struct sl_fd_sink;

/* More than that, not written, is taken for broken: a caller without credit. */
#define SL_FD_SINK_MAX 4194304u

struct sl_fd_sink_handler {
    /* So many bytes, which sl_fd_sink_write() had to keep, have been written since. */
    void (*on_written)(void *arg, size_t len);
    /* It takes nothing any more: nobody reads it (SL_E_CLIENT_GONE), or an error (SL_E_IO, SL_E_NOMEM). What is not
     * written is dropped, from here on too. Comes at most once, instead of on_finished. */
    void (*on_broken)(void *arg, int status, const char *text);
    /* After sl_fd_sink_finish(): all is written and the descriptor closed. */
    void (*on_finished)(void *arg);
};

/* Takes over `fd` on success. 0 or SL_E_NOMEM. No callback before the loop runs. */
int sl_fd_sink_open(
    struct sl_watch *watch, int fd, const struct sl_fd_sink_handler *handler, void *arg, struct sl_fd_sink **ret_sink);

/* Writes at once what the kernel takes without waiting and copies the rest. Returns how many bytes were written;
 * on_written tells of the rest as it goes. What a sink that is broken, or breaks now (on_broken follows), does not
 * write is dropped. Not after sl_fd_sink_finish(). Never calls back. */
size_t sl_fd_sink_write(struct sl_fd_sink *sink, const void *data, size_t len);
/* Bytes that are not written yet. */
size_t sl_fd_sink_pending(const struct sl_fd_sink *sink);

/* Closes the descriptor when all is written; on_finished follows, unless it is or gets broken. Idempotent. With
 * `shutdown`, a socket is told that nothing more comes (SHUT_WR), for one that is ours alone. */
void sl_fd_sink_finish(struct sl_fd_sink *sink, bool shutdown);

/* Borrowed, for looking at it (a terminal's size); the same number until it is closed, then -1. */
int sl_fd_sink_fd(const struct sl_fd_sink *sink);

/* Drops what is not written, closes the descriptor and frees; no callback comes any more. What has to be written by a
 * worker (a file) is written still, and the descriptor closed after that: it waits for nobody. Legal from its own
 * callbacks. NULL is fine. */
void sl_fd_sink_close(struct sl_fd_sink *sink);

/* As if it had not been opened: frees it, the descriptor is the caller's. Before it was ever used. NULL is fine. */
void sl_fd_sink_disown(struct sl_fd_sink *sink);

#endif
