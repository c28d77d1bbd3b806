/* SPDX-License-Identifier: MIT */
/* algorithm.h - lists of algorithms as ssh_config(5) has them: names, patterns, a leading + - or ^. Pure. */
#ifndef SSHLEASE_CONFIG_ALGORITHM_H
#define SSHLEASE_CONFIG_ALGORITHM_H

#include "config/parts.h"

/* How a list changes what is offered by default, by its first character; `ret_rest` is what follows that. */
enum sl_algorithm_change {
    SL_ALGORITHM_REPLACE, /* a name: this list, in this order */
    SL_ALGORITHM_APPEND,  /* + */
    SL_ALGORITHM_REMOVE,  /* - */
    SL_ALGORITHM_PREPEND, /* ^ */
};
enum sl_algorithm_change sl_algorithm_change_of(const char *text, const char **ret_rest);

/* Whether a pattern (a name, with * and ? perhaps) is that of any name of the list. */
bool sl_algorithm_matches(const struct sl_strv *names, const char *pattern);

/* What is offered: `patterns` of `has` put in the place of `by_default`, behind or before it, or taken out of it. No
 * name stands there twice. 0 or SL_E_NOMEM; the caller frees it. */
int sl_algorithm_resolve(enum sl_algorithm_change change, const struct sl_strv *patterns, const struct sl_strv *has,
    const struct sl_strv *by_default, struct sl_strv *ret_names);

/* "a,b,c", or "a, b, c" with that between, from malloc(); NULL: no memory. */
char *sl_algorithm_join(const struct sl_strv *names, const char *between);

#endif
