/* SPDX-License-Identifier: MIT */
/* mux.h - the front end for OpenSSH's multiplexing protocol: one socket per target, at which ssh, scp, rsync and the
 * like find what they take for a ControlMaster. A session there is a lease. Decides nothing about leases: the driver
 * does. */
#ifndef SSHLEASE_FRONT_MUX_MUX_H
#define SSHLEASE_FRONT_MUX_MUX_H

#include "base/log.h"
#include "daemon/lease/lease.h"
#include "daemon/net/watch.h"

#include <uv.h>

struct sl_mux;

/* Borrows `log`, `driver` and `watch`. No socket is made yet. 0, SL_E_NOMEM or SL_E_INTERNAL. */
int sl_mux_new(uv_loop_t *loop, const struct sl_log *log, struct sl_driver *driver, struct sl_watch *watch,
    struct sl_mux **ret_mux);
/* When the last client's socket is closed and the loop has run its handles out. NULL is fine. */
void sl_mux_free(struct sl_mux *mux);

/* Whether the directory that `conf` names can be used; makes it where it is missing. 0 (also where none is named),
 * SL_E_IO or SL_E_INVALID with one line about it, which names the path, in `error`. */
int sl_mux_prepare(const struct sl_conf *conf, char *error, size_t error_size);
/* Makes the sockets what the driver's configuration says now: one for each target in mux.directory, none for those that
 * are gone. One that cannot be made is logged; it is tried again now and then, the next time, and by sl_mux_ensure().
 * From then on they are looked after: one that somebody removes is made again. */
void sl_mux_configure(struct sl_mux *mux);

/* Writes the path of the socket of `target` (borrowed; the caller has looked whether its client may lease it) to
 * `path`, and makes the socket where there is none: in mux.directory, or, in the one-user mode without one, in
 * $XDG_RUNTIME_DIR/sshleased-mux. It bears the target's name, with USER@ before it for the user that it logs
 * in as (a link to the one of the name alone, which is what there is where no file can have that name); or, for
 * user@host[:port] of the one-user mode, USER@HOST:PORT, always with the port: what %r@%h:%p is in ssh_config. 0;
 * SL_E_UNSUPPORTED (no directory), SL_E_INVALID (a name that no socket can have, a path too long), SL_E_LIMIT, SL_E_IO,
 * SL_E_NOMEM or SL_E_SHUTDOWN with the reason in `path`. */
int sl_mux_ensure(struct sl_mux *mux, const struct sl_target_conf *target, char *path, size_t size);

/* One of its sockets is where clients look for it. */
bool sl_mux_is_reachable(const struct sl_mux *mux);

/* Takes the sockets away. Those who are connected stay. */
void sl_mux_stop_listening(struct sl_mux *mux);
/* When the driver has stopped: the same, and the end of those who are still connected. When the loop has run their
 * handles out, sl_mux_free() may follow. */
void sl_mux_stop(struct sl_mux *mux);

#endif
