/* SPDX-License-Identifier: MIT */
/* notify.h - what systemd is told and gives: readiness, status, the watchdog, listening sockets. Does nothing where no
 * systemd started us, or was built without its library. */
#ifndef SSHLEASE_NET_NOTIFY_H
#define SSHLEASE_NET_NOTIFY_H

#include <stdbool.h>
#include <uv.h>

struct sl_notify;

/* Begins to feed the watchdog from the loop where systemd asks for it ($WATCHDOG_USEC), at a third of its time: if the
 * loop stands still, systemd finds out. 0 or SL_E_NOMEM. */
int sl_notify_new(uv_loop_t *loop, struct sl_notify **ret_notify);
/* Stops that. The memory goes with the handles' close callbacks. NULL is fine. */
void sl_notify_free(struct sl_notify *notify);

/* Idempotent; sent at once. Between reloading and ready, systemd counts a `systemctl reload` as under way. */
void sl_notify_ready(void);
void sl_notify_reloading(void);
void sl_notify_stopping(void);
/* The line in `systemctl status`; sent when it differs from the last one, at most once a second (then the newest). */
void sl_notify_status(struct sl_notify *notify, const char *text);

/* Sockets handed over by socket activation: writes the descriptor of the only one to *ret_fd, or -1 where there is
 * none. 0, or SL_E_INVALID when there are several. */
int sl_notify_listen_fd(int *ret_fd);
/* Whether this process is a service of systemd's, which may start another one when it ends. */
bool sl_notify_is_service(void);

#endif
