/* SPDX-License-Identifier: MIT */
/* escape.h - finds escapes (~. and the like) in what somebody types at a terminal session. Pure. */
#ifndef SSHLEASE_FRONT_MUX_ESCAPE_H
#define SSHLEASE_FRONT_MUX_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sl_mux_verb {
    SL_MUX_VERB_NONE,
    SL_MUX_VERB_DISCONNECT,  /* ~. */
    SL_MUX_VERB_HELP,        /* ~? */
    SL_MUX_VERB_UNSUPPORTED, /* an escape of ssh's that is none here; see `asked` */
};

enum sl_mux_escape_place { SL_MUX_AT_LINE_START, SL_MUX_AFTER_ESCAPE, SL_MUX_IN_LINE };

/* In the caller's memory. */
struct sl_mux_escape {
    uint32_t character; /* above 255: there are no escapes */
    enum sl_mux_escape_place place;
    char asked; /* what was typed after the escape character when the verb was found */
};

/* `character` as NEW_SESSION has it. A session begins at the start of a line. */
void sl_mux_escape_init(struct sl_mux_escape *escape, uint32_t character);

/* Looks through `len` bytes up to the first verb, which is written to *ret_verb. What is to be sent of them goes to
 * `out`, of len + 1 bytes at least; *ret_out_len of them were used. Returns how many bytes of `data` were looked at. */
size_t sl_mux_escape_feed(struct sl_mux_escape *escape, const uint8_t *data, size_t len, uint8_t *out,
    size_t *ret_out_len, enum sl_mux_verb *ret_verb);

/* What ~? says, lines ended by CR LF, for the character in use. Returns `buf`. */
const char *sl_mux_escape_help(const struct sl_mux_escape *escape, char *buf, size_t size);

#endif
