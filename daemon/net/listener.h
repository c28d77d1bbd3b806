/* SPDX-License-Identifier: MIT */
/* listener.h - listening sockets: made, published, watched, taken away. Never reads from a client. */
#ifndef SSHLEASE_NET_LISTENER_H
#define SSHLEASE_NET_LISTENER_H

#include "base/log.h"
#include "daemon/net/fd_jobs.h"

#include <sys/types.h>
#include <uv.h>

struct sl_listener;

/* A client has connected; `fd` is the callee's from here on, non-blocking and close-on-exec. `status` is 0, or
 * SL_E_LIMIT when the process is short of descriptors: then `fd` is to be let go at once. */
typedef void (*sl_listener_accept_fn)(void *arg, int fd, int status);

struct sl_listener_options {
    const char *path;
    mode_t mode;
    bool group_set;
    gid_t group;
    bool guarded;   /* no other daemon may take the path while this one lives, even when somebody removes the socket */
    bool succeeded; /* when it is closed, clients are to know that another daemon may be about to come: SL_MSG_LEFT_FILE
                       is left in its directory */
};

/* Listens at options->path. A socket that nobody listens on is replaced; one with a live daemon behind it, or a file of
 * another kind, is left alone. The socket gets its name only when mode and group are set and it listens. Meanwhile a
 * lock file beside it, ".sl-NAME.lock", which only this user can open, keeps another daemon from doing the same; it
 * does not wait for that one; options->guarded: as long as the listener lives. `log` is borrowed. 0; SL_E_BUSY: another
 * daemon; SL_E_INVALID, SL_E_IO or SL_E_NOMEM; with one line about it, which names the path, in `error`. No callback
 * before the loop runs. */
int sl_listener_open(uv_loop_t *loop, const struct sl_log *log, const struct sl_listener_options *options,
    sl_listener_accept_fn fn, void *arg, char *error, size_t error_size, struct sl_listener **ret_listener);

/* Looks whether the socket of sl_listener_open() still has its name, and makes it again, with the same mode and under
 * the same rules, where it has not: who had connected is accepted first. 0, *ret_made: it was made; or as
 * sl_listener_open(), and then it is to be called again later. May call `fn`. Other listeners keep what they have. */
int sl_listener_keep(struct sl_listener *listener, bool *ret_made, char *error, size_t error_size);

/* Listens on a socket that listens already, from systemd. Takes `fd` over on success. Its name stays systemd's. */
int sl_listener_adopt(uv_loop_t *loop, const struct sl_log *log, int fd, sl_listener_accept_fn fn, void *arg,
    char *error, size_t error_size, struct sl_listener **ret_listener);

/* A socket of ours, of any family, that listens already and does not block. Takes `fd` over on success. */
int sl_listener_take(uv_loop_t *loop, const struct sl_log *log, int fd, sl_listener_accept_fn fn, void *arg,
    char *error, size_t error_size, struct sl_listener **ret_listener);

/* Listens on a TCP port of this machine. `address` is numeric, IPv4 or IPv6 (then of IPv6 only). 0; SL_E_INVALID: no
 * address; SL_E_UNSUPPORTED: an address or a family that this machine does not have; SL_E_IO or SL_E_NOMEM; with one
 * line about it, which names the address, in `error`. */
int sl_listener_open_tcp(uv_loop_t *loop, const struct sl_log *log, const char *address, uint16_t port,
    sl_listener_accept_fn fn, void *arg, char *error, size_t error_size, struct sl_listener **ret_listener);

/* A Unix socket is closed by `jobs`: clients that were not accepted yet go with it, and what they have sent. A
 * reference is kept. */
void sl_listener_closed_by(struct sl_listener *listener, struct sl_fd_jobs *jobs);

/* Stops listening and removes the socket's name if it still is ours. The memory goes with the handles' close callbacks.
 * NULL is fine. */
void sl_listener_close(struct sl_listener *listener);

#endif
