/* SPDX-License-Identifier: MIT */
/* hooks.h - what the native front end asks of the application: to read the configuration again, and which socket
 * `ssh` finds a target at. */
#ifndef SSHLEASE_FRONT_NATIVE_HOOKS_H
#define SSHLEASE_FRONT_NATIVE_HOOKS_H

#include <stddef.h>

struct sl_target_conf;

/* The answer to a reload: 0, or a status with all that is wrong in `text`. */
typedef void (*sl_native_reloaded_fn)(void *arg, int status, const char *text);

struct sl_native_hooks {
    /* An admin wants the configuration read again. 0: `done` is called exactly once, not before this has returned. Or a
     * status: it is not. */
    int (*reload)(void *arg, sl_native_reloaded_fn done, void *done_arg);
    /* Writes the path of the mux socket of `target` (borrowed), which the client may lease, to `buf`, and makes the
     * socket if there is none yet. 0, or a status with the reason in `buf`. NULL: there are no mux sockets. */
    int (*mux_path)(void *arg, const struct sl_target_conf *target, char *buf, size_t size);
    void *arg;
};

#endif
