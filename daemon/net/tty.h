/* SPDX-License-Identifier: MIT */
/* tty.h - what a passed terminal is like, or /dev/null in its place: its size, its modes as SSH has them. Changes nothing. */
#ifndef SSHLEASE_NET_TTY_H
#define SSHLEASE_NET_TTY_H

#include "proto/tty_modes.h"

#include <stdbool.h>

struct sl_tty_size {
    uint32_t cols, rows, width_px, height_px;
};

bool sl_tty_is(int fd);
/* Whether it is /dev/null. */
bool sl_tty_is_null(int fd);
/* False, and nothing changed, when `fd` is no terminal or does not know its size. */
bool sl_tty_size(int fd, struct sl_tty_size *ret_size);
/* The modes as RFC 4254 section 8 encodes them, in `modes`, SL_TTY_MODES_MAX bytes; how many were used: 0 when `fd` is
 * no terminal. */
size_t sl_tty_modes(int fd, uint8_t *modes);

#endif
