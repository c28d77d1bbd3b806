/* SPDX-License-Identifier: MIT */
/* escape.h - what a person types behind an escape character at the beginning of a line, as with ssh(1): found among
 * what goes to the far side. Does nothing of what is asked. */
#ifndef SSHLEASE_CLI_ESCAPE_H
#define SSHLEASE_CLI_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

#define CLI_ESCAPE_DEFAULT '~'
#define CLI_ESCAPE_NONE    (-1)

enum cli_escape_verb {
    CLI_ESCAPE_NOTHING,
    CLI_ESCAPE_END,
    CLI_ESCAPE_SUSPEND,
    CLI_ESCAPE_HELP,
    CLI_ESCAPE_UNSUPPORTED, /* ssh knows it, and here it cannot be had */
};

struct cli_escape {
    int character; /* CLI_ESCAPE_NONE: there is none */
    enum { CLI_ESCAPE_AT_LINE_START, CLI_ESCAPE_IN_LINE, CLI_ESCAPE_AFTER } place;
    char asked; /* by the last verb */
};

void cli_escape_init(struct cli_escape *escape, int character);
/* "none", one character, or "^" and a letter for a control character, as for ssh's -e. False: none of these. */
bool cli_escape_parse(const char *text, int *ret_character);
/* Looks at typed bytes up to the first verb. Returns how many were looked at; writes what goes to the far side to
 * `out`, where *ret_len bytes are used then, and what was asked for to *ret_verb. `out` may be one byte before `data`
 * in the same memory: there are never more than that many more. */
size_t cli_escape_feed(struct cli_escape *escape, const char *data, size_t len, char *out, size_t *ret_len,
    enum cli_escape_verb *ret_verb);
/* The answer to HELP or UNSUPPORTED for a terminal in raw mode; returns `buf`. */
const char *cli_escape_text(const struct cli_escape *escape, enum cli_escape_verb verb, char *buf, size_t size);

#endif
