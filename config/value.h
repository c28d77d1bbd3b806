/* SPDX-License-Identifier: MIT */
/* value.h - what a single text of the configuration means: numbers, modes, names. Pure. */
#ifndef SSHLEASE_CONFIG_VALUE_H
#define SSHLEASE_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sl_value {
    SL_VALUE_OK,
    SL_VALUE_MALFORMED,
    SL_VALUE_TOO_LARGE, /* or negative: a number, but none that could be in any range */
};

/* A whole number in decimal digits, without leading zeros, which YAML 1.1 reads as octal. `ret_number` is untouched on
 * failure; so with all of these. */
enum sl_value sl_value_number(const char *text, uint64_t *ret_number);

/* `0660`: octal digits. */
enum sl_value sl_value_mode(const char *text, uint64_t *ret_mode);

/* What is wrong with it as ..., said so that it follows the value ("has a space in it"); NULL when nothing is. Static.
 */
const char *sl_value_target_name_wrong(const char *text); /* letters, digits, . _ -; no leading - */
const char *sl_value_host_wrong(const char *text);        /* a host name or an address, IPv6 without brackets */
const char *sl_value_user_wrong(const char *text);
const char *sl_value_destination_wrong(const char *text);
const char *sl_value_pattern_wrong(const char *text);    /* a variable's name with * and ? */
const char *sl_value_variable_wrong(const char *text);   /* a variable's name */
const char *sl_value_credential_wrong(const char *text); /* a file name without a directory */

/* The one of `name[]` that `text` was probably meant to be (a slip of the fingers, another spelling as in IdentityFile,
 * a part of it), or NULL. */
const char *sl_value_nearest(const char *text, const char *const *name, size_t count);

#endif
