/* SPDX-License-Identifier: MIT */
/* fd_source.h - reads a descriptor that was passed to us: a pipe, a socket, a terminal, a file, whatever it is. Never
 * reads more than it is allowed, never waits on the loop, never leaves O_NONBLOCK on what others share with us. */
#ifndef SSHLEASE_RELAY_FD_SOURCE_H
#define SSHLEASE_RELAY_FD_SOURCE_H

#include "daemon/net/watch.h"

#include <stddef.h>

struct sl_fd_source;

struct sl_fd_source_handler {
    /* At most what is allowed; valid during the callback. */
    void (*on_data)(void *arg, const uint8_t *data, size_t len);
    /* Nothing more comes: its end (status 0) or an error (SL_E_IO, SL_E_NOMEM). Comes at most once;
     * sl_fd_source_close() is left to do. */
    void (*on_end)(void *arg, int status, const char *text);
};

/* Takes over `fd` on success. Nothing is read before something is allowed. 0 or SL_E_NOMEM. No callback before the loop
 * runs. */
int sl_fd_source_open(struct sl_watch *watch, int fd, const struct sl_fd_source_handler *handler, void *arg,
    struct sl_fd_source **ret_source);

/* So many bytes more may be delivered. Never calls back itself. */
void sl_fd_source_allow(struct sl_fd_source *source, size_t bytes);

/* Closes the descriptor, at once unless a worker is reading it, and frees; no callback comes any more. Legal from its
 * own callbacks. NULL is fine. */
void sl_fd_source_close(struct sl_fd_source *source);

/* As if it had not been opened: frees it, the descriptor is the caller's. Before it was ever used. NULL is fine. */
void sl_fd_source_disown(struct sl_fd_source *source);

#endif
