/* SPDX-License-Identifier: MIT */
/* cmdline.h - what the command line of a client says where the protocol does not: whether it wants a session, and one
 * with a shell. For daemon/front/mux/ and daemon/front/forward/ only. */
#ifndef SSHLEASE_FRONT_MUX_CMDLINE_H
#define SSHLEASE_FRONT_MUX_CMDLINE_H

#include "daemon/front/mux/client.h"

struct sl_mux_words {
    bool known;    /* it was there, and can be told from `ssh -O`; if not, nothing below is set */
    bool control;  /* -O */
    bool forward;  /* -O forward */
    bool no_shell; /* -N, or -o SessionType=none */
    bool fork;     /* -f, or -o ForkAfterAuthentication=yes */
    bool limited;  /* -o PermitRemoteOpen, and not =any */
};

/* Reads an ssh's arguments, its name the first, each ended by a NUL. Pure. */
void sl_mux_words_read(const char *words, size_t len, struct sl_mux_words *ret_words);

struct sl_mux_cmdline;
typedef void (*sl_mux_cmdline_fn)(void *arg, const struct sl_mux_words *words);

/* Looks at the client's command line in a worker; `done` follows, unless that was cancelled before. 0 or
 * SL_E_NOMEM.
 */
int sl_mux_cmdline_read(
    struct sl_mux_client *client, sl_mux_cmdline_fn done, void *arg, struct sl_mux_cmdline **ret_cmdline);
/* NULL is fine. */
void sl_mux_cmdline_cancel(struct sl_mux_cmdline *cmdline);

/* Waits until an ssh that goes to the background has done so, and no longer than a moment: an ssh as old as 9.2 does
 * not at all. `done` follows, unless cancelled before: `forked` when the process that connected is gone. 0 or
 * SL_E_NOMEM. */
struct sl_mux_fork;
typedef void (*sl_mux_fork_fn)(void *arg, bool forked);
int sl_mux_await_fork(struct sl_mux_client *client, sl_mux_fork_fn done, void *arg, struct sl_mux_fork **ret_fork);
/* NULL is fine. */
void sl_mux_fork_cancel(struct sl_mux_fork *fork);

#endif
