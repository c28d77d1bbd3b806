/* SPDX-License-Identifier: MIT */
/* native.h - the front end for the native protocol (proto/PROTOCOL.md): clients' frames to requests, answers to frames.
 * Decides nothing about leases: the driver does. */
#ifndef SSHLEASE_FRONT_NATIVE_NATIVE_H
#define SSHLEASE_FRONT_NATIVE_NATIVE_H

#include "base/log.h"
#include "daemon/front/native/hooks.h"
#include "daemon/lease/lease.h"
#include "daemon/net/watch.h"

#include <uv.h>

struct sl_native;

/* Borrows `log`, `driver` and `watch`, copies `hooks`. 0 or SL_E_NOMEM. */
int sl_native_new(uv_loop_t *loop, const struct sl_log *log, struct sl_driver *driver, struct sl_watch *watch,
    const struct sl_native_hooks *hooks, struct sl_native **ret_native);
/* When the last client's socket is closed. NULL is fine. */
void sl_native_free(struct sl_native *native);

/* A new client on `fd`, which is taken over. With a `status` other than 0, or beyond limits.clients, it is told why and
 * closed before this returns. */
void sl_native_accept(struct sl_native *native, int fd, int status);

/* Nobody is served: what is asked for is refused with SL_E_CONFIG, and `errors`, a line each, for admins. Copied; what was said
 * before is forgotten. A RELOAD is passed on as always. */
void sl_native_unconfigured(struct sl_native *native, const char *errors);

/* Takes no new clients and closes the others, each when what was queued for it is written, or a little later. When the
 * loop has run their handles out, sl_native_free() may follow. */
void sl_native_stop(struct sl_native *native);

#endif
