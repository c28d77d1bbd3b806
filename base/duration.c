/* SPDX-License-Identifier: MIT */
/* Sums of numbers with units ("1h30m", "250ms") to milliseconds, and back. */
#include "base/duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The largest first: the order in which they may follow each other. */
static const struct {
    const char *name;
    uint64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
#define UNITS (sizeof units / sizeof units[0])

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the digits at `*at`; false when the number is too large for 64 bits. */
static bool digits(const char **at, uint64_t *ret_number)
{
    uint64_t n = 0;
    bool fits = true;
    for (; is_digit(**at); (*at)++)
        fits = fits && !__builtin_mul_overflow(n, UINT64_C(10), &n) &&
               !__builtin_add_overflow(n, (uint64_t)(**at - '0'), &n);
    *ret_number = n;
    return fits;
}

/* The unit at `*at`, not before the one that may come next; UNITS: none. */
static size_t unit_at(const char **at, size_t next)
{
    const size_t length = strspn(*at, "dhms");
    size_t unit = next;
    while (unit < UNITS && (strlen(units[unit].name) != length || strncmp(units[unit].name, *at, length) != 0))
        unit++;
    *at += length;
    return unit;
}

enum sl_duration sl_duration_parse(const char *text, uint64_t *ret_ms)
{
    const bool negative = *text == '-';
    const char *at = text + negative;
    uint64_t total = 0, n;
    bool fits = !negative;
    size_t next = 0; /* the first unit that may still come */
    do {
        if (!is_digit(*at))
            return SL_DURATION_MALFORMED;
        fits = digits(&at, &n) && fits;
        if (*at == '\0' && next == 0 && (n != 0 || !fits)) {
            *ret_ms = fits ? n : UINT64_MAX;
            return SL_DURATION_NO_UNIT;
        }
        if (*at == '\0' && next == 0)
            break;
        const size_t unit = unit_at(&at, next);
        if (unit == UNITS)
            return SL_DURATION_MALFORMED;
        next = unit + 1;
        fits = fits && !__builtin_mul_overflow(n, units[unit].ms, &n) && !__builtin_add_overflow(total, n, &total);
    } while (*at != '\0');
    if (!fits)
        return SL_DURATION_TOO_LARGE;
    *ret_ms = total;
    return SL_DURATION_OK;
}

const char *sl_duration_write(char buf[SL_DURATION_SIZE], uint64_t ms)
{
    int at = snprintf(buf, SL_DURATION_SIZE, "%s", ms == 0 ? "0" : "");
    for (size_t u = 1; u < UNITS; u++) {
        const uint64_t n = ms / units[u].ms;
        ms %= units[u].ms;
        if (n != 0)
            at += snprintf(buf + at, SL_DURATION_SIZE - (size_t)at, "%llu%s", (unsigned long long)n, units[u].name);
    }
    return buf;
}
