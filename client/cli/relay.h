/* SPDX-License-Identifier: MIT */
/* relay.h - carries bytes, signals and window sizes between one stream and this process until the stream ends. Changes
 * no descriptor's flags: they are shared with the shell that started us. */
#ifndef SSHLEASE_CLI_RELAY_H
#define SSHLEASE_CLI_RELAY_H

#include "client/cli/escape.h"
#include "client/cli/tty.h"

#include <stdint.h>

enum cli_relay_end {
    CLI_RELAY_ENDED,        /* the stream did; sshlease_stream_result() says how */
    CLI_RELAY_FAILED,       /* *ret_status and sshlease_error() say why */
    CLI_RELAY_TIMEOUT,      /* `timeout_ms` passed */
    CLI_RELAY_INTERRUPTED,  /* the same signal twice within a second, or TERM or HUP to no avail: *ret_status is its
                               number */
    CLI_RELAY_ESCAPED,      /* by the escape sequence for it */
    CLI_RELAY_PIPE,         /* nobody reads our output any more */
    CLI_RELAY_OUTPUT,       /* our output cannot be written; errno says why */
    CLI_RELAY_OUTPUT_THERE, /* the daemon cannot write it; sshlease_error() says why */
};

struct cli_relay_options {
    bool no_stdin;
    bool passed;         /* the daemon has our descriptors: there is nothing to carry but signals */
    uint32_t timeout_ms; /* 0: none */
    int signal_fd;       /* of cli_relay_signals() */
    int escape;          /* the character; CLI_ESCAPE_NONE */
    struct cli_tty *tty; /* where it is typed; may be NULL without one */
};

/* Blocks the signals that are passed on, for good: the caller ends soon after. To be called before the stream is
 * started, for whoever sees the command's first output may send one. With `resizes` changes of the window's size are
 * passed on, too. A descriptor that tells of them; -1: they end us, as they are. */
int cli_relay_signals(bool resizes);

enum cli_relay_end cli_relay(
    struct sshlease *lease, struct sshlease_stream *stream, const struct cli_relay_options *options, int *ret_status);

#endif
