/* SPDX-License-Identifier: MIT */
/* parse.h - reads a configuration in the made-up world and hands out its messages as one text. */
#ifndef SSHLEASE_TESTS_UNIT_CONFIG_PARSE_H
#define SSHLEASE_TESTS_UNIT_CONFIG_PARSE_H

#include "config/yaml.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/config/world.h"

#include <stdio.h>
#include <stdlib.h>

/* Must be right. */
static inline struct sl_conf *parse_good(bool one_user, const char *text)
{
    struct sl_conf *conf = NULL;
    struct sl_conf_errors errors = {0};
    int status = sl_conf_parse_in(&world, "f", text, strlen(text), one_user, &conf, &errors);
    for (size_t i = 0; i < errors.lines.count; i++)
        print_error("%s\n", errors.lines.item[i]);
    sl_conf_errors_fini(&errors);
    assert_int_equal(status, 0);
    assert_non_null(conf);
    return conf;
}

/* Must have exactly these errors, one a line; `len` bytes of text. */
static inline void parse_bad_bytes(
    const struct sl_conf_world *w, bool one_user, const char *text, size_t len, const char *expected)
{
    struct sl_conf *conf = NULL;
    struct sl_conf_errors errors = {0};
    int status = sl_conf_parse_in(w, "f", text, len, one_user, &conf, &errors);
    char got[16 * 1024] = "";
    size_t at = 0;
    for (size_t i = 0; i < errors.lines.count; i++)
        at += (size_t)snprintf(got + at, sizeof got - at, "%s\n", errors.lines.item[i]);
    assert_true(at < sizeof got);
    sl_conf_errors_fini(&errors);
    assert_string_equal(got, expected);
    assert_int_equal(status, SL_E_CONFIG);
    assert_null(conf);
}

static inline void parse_bad(const char *text, const char *expected)
{
    parse_bad_bytes(&world, false, text, strlen(text), expected);
}

#endif
