/* SPDX-License-Identifier: MIT */
/* yaml.h - reads a YAML configuration and checks all of it: every error at once, each with line and column. */
#ifndef SSHLEASE_CONFIG_YAML_H
#define SSHLEASE_CONFIG_YAML_H

#include "config/conf.h"

/* Up to this many errors are kept; a last line says how many more there were. */
#define SL_CONF_ERRORS_MAX 50u

struct sl_conf_errors {
    struct sl_strv lines; /* "FILE:LINE:COLUMN: what is wrong; what would be right" */
    struct sl_strv notes; /* "FILE:LINE:COLUMN: note: what is perhaps not meant"; also where nothing is wrong */
    size_t left_out;
};

/* Reads and checks FILE. May block (file, user and group look-ups): not for the loop. `algorithms` is what targets may
 * name; NULL: none, and it is not kept. 0 and a configuration the caller frees; or SL_E_CONFIG and at least one line in
 * `errors`, which begins zeroed and which the caller finishes with sl_conf_errors_fini() in any case; or SL_E_NOMEM.
 * `one_user` chooses the defaults (the user's own keys, agent and known_hosts) and allows targets that are not
 * configured. */
int sl_conf_load(const char *file, bool one_user, const struct sl_algorithms *algorithms, struct sl_conf **ret_conf,
    struct sl_conf_errors *errors);

/* The same from memory; `file` is only a name for the messages. For tests and fuzzing. */
int sl_conf_parse(const char *file, const void *text, size_t len, bool one_user, const struct sl_algorithms *algorithms,
    struct sl_conf **ret_conf, struct sl_conf_errors *errors);

void sl_conf_errors_fini(struct sl_conf_errors *errors);

#endif
