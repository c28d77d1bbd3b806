/* SPDX-License-Identifier: MIT */
/* Goes through the words of ssh's command line: control command or session, with a shell or without, what SOCKS may
 * reach. */
#include "daemon/front/mux/cmdline.h"

#include <string.h>
#include <strings.h>

/* ssh's options: those that take no argument, and those whose argument is the rest of the word or the next one. */
static const char plain_options[] = "1246afgknqstvxACGKMNTVXYy";
static const char argument_options[] = "bceilmopBDEFIJLOPQRSwW";

struct reader {
    const char *at, *end; /* words that are left; each has its NUL */
};

/* NULL: there is none left. */
static const char *next_word(struct reader *r)
{
    const char *word = r->at;
    const char *nul = word < r->end ? memchr(word, '\0', (size_t)(r->end - word)) : NULL;
    if (nul == NULL)
        return NULL;
    r->at = nul + 1;
    return word;
}

/* The value of an -o option that has this keyword; NULL: it has another. */
static const char *value_of(const char *option, const char *keyword)
{
    const size_t len = strlen(keyword);
    option += strspn(option, " \t");
    if (strncasecmp(option, keyword, len) != 0 || strchr(" \t=", option[len]) == NULL)
        return NULL;
    option += len;
    option += strspn(option, " \t");
    option += *option == '=' ? 1 : 0;
    return option + strspn(option, " \t");
}

static void take_argument(struct sl_mux_words *w, char option, const char *argument, bool *session_type_said)
{
    const char *value;
    if (option == 'O') {
        w->control = true;
        w->forward = strcmp(argument, "forward") == 0;
    } else if (option == 'o' && (value = value_of(argument, "SessionType")) != NULL) {
        if (!*session_type_said) /* ssh keeps the first value it is given */
            w->no_shell |= strcasecmp(value, "none") == 0;
        *session_type_said = true;
    } else if (option == 'o' && (value = value_of(argument, "ForkAfterAuthentication")) != NULL) {
        w->fork |= strcasecmp(value, "yes") == 0 || strcasecmp(value, "true") == 0;
    } else if (option == 'o' && (value = value_of(argument, "PermitRemoteOpen")) != NULL) {
        w->limited |= strcasecmp(value, "any") != 0;
    }
}

/* One word of options. False: it is none that ssh knows. */
static bool take_options(struct sl_mux_words *w, const char *word, struct reader *r, bool *session_type_said)
{
    for (const char *option = word + 1; *option != '\0'; option++) {
        if (strchr(plain_options, *option) != NULL) {
            w->no_shell |= *option == 'N';
            w->fork |= *option == 'f';
            continue;
        }
        if (strchr(argument_options, *option) == NULL)
            return false;
        const char *argument = option[1] != '\0' ? option + 1 : next_word(r);
        if (argument == NULL)
            return false;
        take_argument(w, *option, argument, session_type_said);
        return true;
    }
    return true;
}

/* Options, the host, more options; what follows is the command. */
static bool read_all(struct sl_mux_words *w, struct reader *r)
{
    bool host = false, session_type_said = false;
    const char *word;
    if (next_word(r) == NULL) /* the program's own name */
        return false;
    while ((word = next_word(r)) != NULL) {
        if (word[0] == '-' && word[1] != '\0' && strcmp(word, "--") != 0) {
            if (!take_options(w, word, r, &session_type_said))
                return false;
            continue;
        }
        const bool ended = strcmp(word, "--") == 0; /* the options are: the next word is the host, or the command */
        if (host)
            return true;
        if (ended && next_word(r) == NULL)
            return false;
        host = true;
    }
    return host;
}

/* Another program's words: no option among them can be -O. */
static bool is_no_control(const char *words, size_t len)
{
    struct reader r = {.at = words, .end = words + len};
    const char *word;
    if (len == 0 || words[len - 1] != '\0')
        return false;
    while ((word = next_word(&r)) != NULL)
        if (word[0] == '-' && word[1] != '-' && strchr(word, 'O') != NULL)
            return false;
    return true;
}

void sl_mux_words_read(const char *words, size_t len, struct sl_mux_words *ret_words)
{
    struct reader r = {.at = words, .end = words + len};
    *ret_words = (struct sl_mux_words){.known = true};
    if (!read_all(ret_words, &r))
        *ret_words = (struct sl_mux_words){.known = is_no_control(words, len)};
}
