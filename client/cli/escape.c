/* SPDX-License-Identifier: MIT */
/* Follows the beginnings of lines in what is typed, and says what the character behind an escape asks for. */
#include "client/cli/escape.h"

#include <stdio.h>
#include <string.h>

#define CONTROL(letter) ((letter)&31)

void cli_escape_init(struct cli_escape *escape, int character)
{
    *escape = (struct cli_escape){.character = character, .place = CLI_ESCAPE_AT_LINE_START};
}

bool cli_escape_parse(const char *text, int *ret_character)
{
    if (strcmp(text, "none") == 0)
        *ret_character = CLI_ESCAPE_NONE;
    else if (text[0] == '^' && text[1] >= '@' && text[1] <= '~' && text[2] == '\0')
        *ret_character = CONTROL(text[1]);
    else if (text[0] != '\0' && text[1] == '\0')
        *ret_character = (unsigned char)text[0];
    else
        return false;
    return true;
}

static enum cli_escape_verb verb_of(char typed)
{
    /* A break, the command line, rekeying, how much is logged, the background, the list of connections. */
    static const char unsupported[] = {'B', 'C', 'R', 'V', 'v', 'I', '#', '&'};

    switch (typed) {
    case '.':
        return CLI_ESCAPE_END;
    case '?':
        return CLI_ESCAPE_HELP;
    case CONTROL('Z'):
        return CLI_ESCAPE_SUSPEND;
    default:
        return memchr(unsupported, typed, sizeof unsupported) != NULL ? CLI_ESCAPE_UNSUPPORTED : CLI_ESCAPE_NOTHING;
    }
}

size_t cli_escape_feed(
    struct cli_escape *escape, const char *data, size_t len, char *out, size_t *ret_len, enum cli_escape_verb *ret_verb)
{
    size_t at = 0, used = 0;
    *ret_verb = CLI_ESCAPE_NOTHING;
    while (at < len && *ret_verb == CLI_ESCAPE_NOTHING) {
        const char typed = data[at++];
        const bool is_escape = (unsigned char)typed == escape->character;
        if (escape->place == CLI_ESCAPE_AT_LINE_START && is_escape) {
            escape->place = CLI_ESCAPE_AFTER;
            continue;
        }
        if (escape->place == CLI_ESCAPE_AFTER && !is_escape) {
            *ret_verb = verb_of(typed);
            if (*ret_verb != CLI_ESCAPE_NOTHING) {
                escape->asked = typed;
                escape->place = CLI_ESCAPE_AT_LINE_START;
                continue;
            }
            out[used++] = (char)escape->character; /* it was none */
        }
        out[used++] = typed;
        escape->place = typed == '\r' || typed == '\n' ? CLI_ESCAPE_AT_LINE_START : CLI_ESCAPE_IN_LINE;
    }
    *ret_len = used;
    return at;
}

/* As it is typed: "^X" for a control character. */
static const char *name_of(int character, char name[3])
{
    const bool control = character < ' ';
    name[0] = control ? '^' : (char)character;
    name[1] = control ? (char)(character + '@') : '\0';
    name[2] = '\0';
    return name;
}

const char *cli_escape_text(const struct cli_escape *escape, enum cli_escape_verb verb, char *buf, size_t size)
{
    char name[3];
    const char *c = name_of(escape->character, name);
    if (verb == CLI_ESCAPE_UNSUPPORTED)
        snprintf(buf, size, "%s%c is not available here; %s? lists what is\r\n", c, escape->asked, c);
    else
        snprintf(buf, size,
            "%s?\r\n"
            "Supported escape sequences:\r\n"
            " %s.   - end; the daemon ends what was started here and closes its connection\r\n"
            " %s^Z  - suspend sshlease\r\n"
            " %s?   - this message\r\n"
            " %s%s  - send the escape character by typing it twice\r\n"
            "(Escapes are recognized at the start of a line only.)\r\n",
            c, c, c, c, c, c);
    return buf;
}
