/* SPDX-License-Identifier: MIT */
/* dial.h - from a host name to a connected TCP socket: asks the resolver, then tries each address in turn. Knows not
 * what for. */
#ifndef SSHLEASE_NET_DIAL_H
#define SSHLEASE_NET_DIAL_H

#include <stdint.h>
#include <uv.h>

struct sl_dial;

/* "192.0.2.7:22", "[2001:db8::7]:22", or "?". Returns `buf`. */
#define SL_DIAL_ADDRESS_SIZE 96u
const char *sl_dial_address(const struct sockaddr *sa, socklen_t len, char *buf, size_t size);

/* The resolver's threads: a name that hangs holds up neither addresses nor, while there are threads left, other names.
 */
struct sl_dialer;
/* 0, SL_E_NOMEM or SL_E_IO. */
int sl_dialer_new(uv_loop_t *loop, struct sl_dialer **ret_dialer);
/* When every dial is over or cancelled; what hangs is left behind. NULL is fine. */
void sl_dialer_free(struct sl_dialer *dialer);

struct sl_dial_handler {
    void (*on_resolved)(void *arg);
    /* Connected: `fd` (non-blocking, TCP_NODELAY) is the callee's, `address` is "192.0.2.7:22". The dial is gone. */
    void (*on_connected)(void *arg, int fd, const char *address);
    /* SL_E_RESOLVE, SL_E_CONNECT, SL_E_CONNECT_TIMEOUT; `text` goes behind "host:port: ". The dial is gone. */
    void (*on_failed)(void *arg, int status, const char *text);
};

/* `host` is copied; `handler` is borrowed for the dial's life. All within `timeout_ms`, shared among the addresses.
 * 0, SL_E_NOMEM or SL_E_INTERNAL. No callback runs before this returns. */
int sl_dial_start(struct sl_dialer *dialer, const char *host, uint16_t port, uint64_t timeout_ms,
    uint64_t user_timeout_ms, const struct sl_dial_handler *handler, void *arg, struct sl_dial **ret_dial);
/* No callback comes any more; no resolver is waited for. NULL is fine. */
void sl_dial_cancel(struct sl_dial *dial);

/* Looks `host` up, and does not dial. `fn` gets its addresses, a line each as sl_dial_address() writes them, for it to
 * free; NULL: there are none, or none in time. The look-up is gone then. 0 or SL_E_NOMEM. */
struct sl_dial_lookup;
typedef void (*sl_dial_found_fn)(void *arg, char *addresses);
int sl_dial_look_up(struct sl_dialer *dialer, const char *host, uint16_t port, uint64_t timeout_ms, sl_dial_found_fn fn,
    void *arg, struct sl_dial_lookup **ret_lookup);
/* `fn` is not called any more. NULL is fine. */
void sl_dial_lookup_cancel(struct sl_dial_lookup *lookup);

/* Connects to the Unix socket at `path`, which never has to be waited for: 0 and a descriptor that does not block, the
 * caller's; or SL_E_CONNECT with one line about it, which names the path, in `error`. */
int sl_dial_unix(const char *path, char *error, size_t error_size, int *ret_fd);

#endif
