/* SPDX-License-Identifier: MIT */
/* Applies a list with patterns and a leading +, - or ^ to a default list; the result is a list of names. */
#include "config/algorithm.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

enum sl_algorithm_change sl_algorithm_change_of(const char *text, const char **ret_rest)
{
    static const char sign[] = {[SL_ALGORITHM_APPEND] = '+', [SL_ALGORITHM_REMOVE] = '-', [SL_ALGORITHM_PREPEND] = '^'};
    for (size_t i = SL_ALGORITHM_APPEND; i < sizeof sign; i++) {
        if (text[0] == sign[i]) {
            *ret_rest = text + 1;
            return (enum sl_algorithm_change)i;
        }
    }
    *ret_rest = text;
    return SL_ALGORITHM_REPLACE;
}

/* Iterative: a pattern of many stars must not cost more than length times length. */
static bool matches(const char *pattern, const char *name)
{
    const char *star = NULL, *after_star = NULL;
    while (*name != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            after_star = name;
        } else if (*pattern != '\0' && (*pattern == '?' || *pattern == *name)) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star + 1;
            name = ++after_star;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool sl_algorithm_matches(const struct sl_strv *names, const char *pattern)
{
    for (size_t i = 0; i < names->count; i++)
        if (matches(pattern, names->item[i]))
            return true;
    return false;
}

static bool matches_any(const struct sl_strv *patterns, const char *name)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (matches(patterns->item[i], name))
            return true;
    return false;
}

static bool holds(const struct sl_strv *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->item[i], name) == 0)
            return true;
    return false;
}

static int add_once(struct sl_strv *names, const char *name)
{
    return holds(names, name) ? 0 : sl_strv_add(names, name);
}

static int add_all(struct sl_strv *names, const struct sl_strv *more)
{
    int r = 0;
    for (size_t i = 0; i < more->count && r == 0; i++)
        r = add_once(names, more->item[i]);
    return r;
}

/* In the order of the patterns. */
static int add_matching(struct sl_strv *names, const struct sl_strv *patterns, const struct sl_strv *has)
{
    int r = 0;
    for (size_t i = 0; i < patterns->count; i++) {
        for (size_t k = 0; k < has->count && r == 0; k++)
            if (matches(patterns->item[i], has->item[k]))
                r = add_once(names, has->item[k]);
    }
    return r;
}

static int add_others(struct sl_strv *names, const struct sl_strv *patterns, const struct sl_strv *from)
{
    int r = 0;
    for (size_t i = 0; i < from->count && r == 0; i++)
        if (!matches_any(patterns, from->item[i]))
            r = add_once(names, from->item[i]);
    return r;
}

int sl_algorithm_resolve(enum sl_algorithm_change change, const struct sl_strv *patterns, const struct sl_strv *has,
    const struct sl_strv *by_default, struct sl_strv *ret_names)
{
    struct sl_strv names = {0};
    int r = 0;
    if (change == SL_ALGORITHM_APPEND)
        r = add_all(&names, by_default);
    if (r == 0)
        r = change == SL_ALGORITHM_REMOVE ? add_others(&names, patterns, by_default)
                                          : add_matching(&names, patterns, has);
    if (r == 0 && change == SL_ALGORITHM_PREPEND)
        r = add_all(&names, by_default);
    if (r != 0) {
        sl_strv_fini(&names);
        return r;
    }
    *ret_names = names;
    return 0;
}

char *sl_algorithm_join(const struct sl_strv *names, const char *between)
{
    size_t size = 1;
    for (size_t i = 0; i < names->count; i++)
        size += strlen(names->item[i]) + strlen(between);
    char *text = malloc(size), *at = text;
    if (text == NULL)
        return NULL;
    *at = '\0';
    for (size_t i = 0; i < names->count; i++) {
        at = i > 0 ? stpcpy(at, between) : at;
        at = stpcpy(at, names->item[i]);
    }
    return text;
}
