/* SPDX-License-Identifier: MIT */
/* tty.h - the local terminal: its size, its modes as SSH encodes them, raw mode and back. Never talks to the daemon. */
#ifndef SSHLEASE_CLI_TTY_H
#define SSHLEASE_CLI_TTY_H

#include "client/sshlease.h"

#include <termios.h>

#define CLI_TTY_MODES_MAX 512

struct cli_tty {
    int fd;               /* -1: there is no local terminal */
    bool raw;             /* raw mode is on, and cli_tty_restore() has work to do */
    struct termios saved; /* as it was */
};

/* Looks at standard input; false when it is no terminal. */
bool cli_tty_init(struct cli_tty *tty);
/* The size of the first of standard input, output and error that is a terminal, else 80 x 24. */
void cli_tty_size(struct sshlease_pty *ret_pty);
/* Writes the modes as RFC 4254 section 8 encodes them into `modes`, CLI_TTY_MODES_MAX bytes; returns how many were
 * used. */
size_t cli_tty_modes(const struct cli_tty *tty, unsigned char *modes);
void cli_tty_raw(struct cli_tty *tty);
/* Any number of times. */
void cli_tty_restore(struct cli_tty *tty);

#endif
