/* SPDX-License-Identifier: MIT */
/* tty_modes.h - a terminal's modes as SSH encodes them (RFC 4254 section 8, RFC 8160). Pure: asks no terminal. */
#ifndef SSHLEASE_PROTO_TTY_MODES_H
#define SSHLEASE_PROTO_TTY_MODES_H

#include <stddef.h>
#include <stdint.h>
#include <termios.h>

/* Every mode fits: five bytes each, and the end. */
#define SL_TTY_MODES_MAX 512

/* Writes the modes into `modes`, SL_TTY_MODES_MAX bytes; returns how many were used. */
size_t sl_tty_modes_encode(const struct termios *termios, uint8_t *modes);

#endif
