/* SPDX-License-Identifier: MIT */
/* Follows the beginnings of lines in a session's input, and takes out what follows an escape character. */
#include "daemon/front/mux/escape.h"

#include <stdio.h>
#include <string.h>

/* What ssh(1) knows besides, and what here is said not to be had: a break, the command line, rekeying, how much is
 * logged, its own background and suspension, the list of connections and what is known of this one. */
static const char unsupported[] = {'B', 'C', 'R', 'V', 'v', 'I', '#', '&', 'Z' - 64};

void sl_mux_escape_init(struct sl_mux_escape *escape, uint32_t character)
{
    *escape = (struct sl_mux_escape){.character = character, .place = SL_MUX_AT_LINE_START};
}

static enum sl_mux_verb verb_of(uint8_t typed)
{
    if (typed == '.')
        return SL_MUX_VERB_DISCONNECT;
    if (typed == '?')
        return SL_MUX_VERB_HELP;
    if (memchr(unsupported, typed, sizeof unsupported) != NULL)
        return SL_MUX_VERB_UNSUPPORTED;
    return SL_MUX_VERB_NONE;
}

size_t sl_mux_escape_feed(struct sl_mux_escape *escape, const uint8_t *data, size_t len, uint8_t *out,
    size_t *ret_out_len, enum sl_mux_verb *ret_verb)
{
    size_t at = 0, used = 0;
    *ret_verb = SL_MUX_VERB_NONE;
    while (at < len && *ret_verb == SL_MUX_VERB_NONE) {
        const uint8_t typed = data[at++];
        const bool is_escape = typed == escape->character;
        if (escape->place == SL_MUX_AT_LINE_START && is_escape) {
            escape->place = SL_MUX_AFTER_ESCAPE;
            continue;
        }
        if (escape->place == SL_MUX_AFTER_ESCAPE && !is_escape) {
            *ret_verb = verb_of(typed);
            if (*ret_verb != SL_MUX_VERB_NONE) {
                escape->asked = (char)typed;
                escape->place = SL_MUX_AT_LINE_START;
                continue;
            }
            out[used++] = (uint8_t)escape->character; /* it was none */
        }
        out[used++] = typed;
        escape->place = typed == '\r' || typed == '\n' ? SL_MUX_AT_LINE_START : SL_MUX_IN_LINE;
    }
    *ret_out_len = used;
    return at;
}

const char *sl_mux_escape_help(const struct sl_mux_escape *escape, char *buf, size_t size)
{
    const char c = (char)escape->character;
    snprintf(buf, size,
        "%c?\r\n"
        "Supported escape sequences:\r\n"
        " %c.   - end this session; the daemon ends what it started and closes its connection\r\n"
        " %c?   - this message\r\n"
        " %c%c   - send the escape character by typing it twice\r\n"
        "(Escapes are recognized at the start of a line only. Sending a break, opening forwards, rekeying and\r\n"
        "going to the background are not available in a session that sshleased serves.)\r\n",
        c, c, c, c, c);
    return buf;
}
