/* SPDX-License-Identifier: MIT */
/* problem.h - collects what is wrong with a configuration, by place; decides nothing. Part of a reading. */
#ifndef SSHLEASE_CONFIG_PROBLEM_H
#define SSHLEASE_CONFIG_PROBLEM_H

#include "config/yaml.h"

/* A place in the file, both from 1. Line 0: the file as a whole. */
struct sl_mark {
    size_t line, column;
};

struct sl_problem {
    struct sl_mark mark;
    char *text;
};

struct sl_problems {
    const char *file; /* borrowed; for the messages */
    struct sl_problem item[SL_CONF_ERRORS_MAX];
    size_t count;
    size_t left_out;      /* found after `item` was full */
    struct sl_strv notes; /* of what is no problem */
    int status; /* 0, or SL_E_NOMEM once memory ran out anywhere while reading: the result is then worth nothing */
};

void sl_problems_init(struct sl_problems *problems, const char *file);
void sl_problems_fini(struct sl_problems *problems);

/* Adds "what is wrong; what would be right". Once SL_CONF_ERRORS_MAX are kept, only counts. */
void sl_problem_add(struct sl_problems *problems, struct sl_mark mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds "what is so, and perhaps not meant; what would be otherwise", which makes nothing wrong. In the file's order, for
 * they stay in that of the calls; not more than SL_CONF_ERRORS_MAX. */
void sl_problem_note(struct sl_problems *problems, struct sl_mark mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Whether another one would only be counted, so that its text needs no thought. */
bool sl_problems_full(const struct sl_problems *problems);

/* 0 when there are none; else SL_E_NOMEM, or SL_E_CONFIG and the lines, in the file's order, in `errors`. The notes go
 * there in any case. */
int sl_problems_finish(struct sl_problems *problems, struct sl_conf_errors *errors);

/* `text` for a message: quoted, what would break the line escaped, the rest of a long one cut off. Returns `buf`. */
#define SL_SHOW_SIZE      80u
#define SL_SHOW_PATH_SIZE 320u /* whoever is to mend a file must find it */
const char *sl_show(char *buf, size_t size, const char *text);
#define SL_SHOW(text)      sl_show((char[SL_SHOW_SIZE]){0}, SL_SHOW_SIZE, (text))
#define SL_SHOW_PATH(path) sl_show((char[SL_SHOW_PATH_SIZE]){0}, SL_SHOW_PATH_SIZE, (path))

#endif
