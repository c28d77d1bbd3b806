/* SPDX-License-Identifier: MIT */
/* duration.h - how long: one syntax for the configuration and the command line. Pure. */
#ifndef SSHLEASE_BASE_DURATION_H
#define SSHLEASE_BASE_DURATION_H

#include <stdint.h>

enum sl_duration {
    SL_DURATION_OK,
    SL_DURATION_MALFORMED,
    SL_DURATION_NO_UNIT,   /* a bare number other than 0; it is in *ret_ms */
    SL_DURATION_TOO_LARGE, /* or negative: a duration, but none that could be in any range */
};

/* Whole numbers with the units d, h, m, s and ms, the largest first: `500ms`, `30s`, `1h30m`. `0` needs no unit.
 * *ret_ms is untouched where it is malformed or too large. */
enum sl_duration sl_duration_parse(const char *text, uint64_t *ret_ms);

/* 5400000 as "1h30m", 0 as "0": what sl_duration_parse() reads. Days are written as hours. Returns `buf`. */
#define SL_DURATION_SIZE 48u
const char *sl_duration_write(char buf[SL_DURATION_SIZE], uint64_t ms);

#endif
