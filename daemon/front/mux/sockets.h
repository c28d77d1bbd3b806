/* SPDX-License-Identifier: MIT */
/* sockets.h - the sockets of the mux front end: their directory, one for each target, made, looked after and taken
 * away. Reads nothing from a client. For daemon/front/mux/ only. */
#ifndef SSHLEASE_FRONT_MUX_SOCKETS_H
#define SSHLEASE_FRONT_MUX_SOCKETS_H

#include "base/log.h"
#include "config/conf.h"
#include "daemon/net/fd_jobs.h"

#include <uv.h>

struct sl_mux_sockets;

/* A client has connected to the socket of `target`; the rest as sl_listener_accept_fn says. */
typedef void (*sl_mux_accept_fn)(void *arg, const char *target, int fd, int status);

/* Called when sockets could not be made and it is time to try again: sl_mux_sockets_sync(). */
typedef void (*sl_mux_again_fn)(void *arg);

/* Borrows `log` and `jobs`, which close the sockets. 0 or SL_E_NOMEM. */
int sl_mux_sockets_new(uv_loop_t *loop, const struct sl_log *log, struct sl_fd_jobs *jobs, sl_mux_accept_fn fn,
    sl_mux_again_fn again, void *arg, struct sl_mux_sockets **ret_sockets);
/* Takes them all away; no callback after it. The listeners' handles close while the loop runs. NULL is fine. */
void sl_mux_sockets_free(struct sl_mux_sockets *all);
void sl_mux_sockets_close_all(struct sl_mux_sockets *all);

/* As sl_mux_prepare(), sl_mux_configure() and sl_mux_ensure() in mux.h. */
int sl_mux_sockets_prepare(const struct sl_conf *conf, char *error, size_t error_size);
void sl_mux_sockets_sync(struct sl_mux_sockets *all, const struct sl_conf *conf);
int sl_mux_sockets_ensure(struct sl_mux_sockets *all, const struct sl_conf *conf, const struct sl_target_conf *target,
    char *path, size_t size);
/* As sl_mux_is_reachable() in mux.h. */
bool sl_mux_sockets_reachable(const struct sl_mux_sockets *all);

#endif
