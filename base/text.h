/* SPDX-License-Identifier: MIT */
/* text.h - texts from outside, made fit for a terminal, a log line or a message. Pure. */
#ifndef SSHLEASE_BASE_TEXT_H
#define SSHLEASE_BASE_TEXT_H

#include <stddef.h>

/* How many bytes the character at `text` has that may be shown as it is; 0: it may not. Shown are printable ASCII and
 * well-formed UTF-8 (RFC 3629), but no control characters (C0, DEL, C1, U+2028 and U+2029) and none that turn the
 * direction of what follows (U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069). `len` is at least 1. */
size_t sl_text_shown(const void *text, size_t len);

/* Copies what may be shown, and '?' for each byte of what may not; cut to `size` (at least 1) between two characters, and
 * ended by a NUL. `out` may be `text`. Returns `out`. */
char *sl_text_clean(char *out, size_t size, const void *text, size_t len);

#endif
