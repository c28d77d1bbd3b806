/* SPDX-License-Identifier: MIT */
/* Keeps a bounded list of problems and sorts it by line and column. */
#include "config/problem.h"

#include "base/text.h"
#include "config/parts.h"
#include "proto/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sl_problems_init(struct sl_problems *problems, const char *file)
{
    memset(problems, 0, sizeof *problems);
    problems->file = file;
}

void sl_problems_fini(struct sl_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        free(problems->item[i].text);
    problems->count = 0;
    sl_strv_fini(&problems->notes);
}

void sl_problem_add(struct sl_problems *problems, struct sl_mark mark, const char *format, ...)
{
    if (sl_problems_full(problems)) {
        problems->left_out++;
        return;
    }
    va_list args;
    va_start(args, format);
    char *text;
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        problems->status = SL_E_NOMEM;
        return;
    }
    problems->item[problems->count++] = (struct sl_problem){mark, text};
}

void sl_problem_note(struct sl_problems *problems, struct sl_mark mark, const char *format, ...)
{
    if (problems->notes.count == SL_CONF_ERRORS_MAX)
        return;
    va_list args;
    va_start(args, format);
    char *text, *line = NULL;
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length >= 0) {
        length = asprintf(&line, "%s:%zu:%zu: note: %s", problems->file, mark.line, mark.column, text);
        free(text);
    }
    if (length < 0 || sl_strv_take(&problems->notes, line) != 0)
        problems->status = SL_E_NOMEM;
}

bool sl_problems_full(const struct sl_problems *problems)
{
    return problems->count == SL_CONF_ERRORS_MAX;
}

/* By place; those of one place stay in the order they were found in, which the insertion sort keeps. */
static void sort_by_place(struct sl_problems *problems)
{
    for (size_t i = 1; i < problems->count; i++) {
        struct sl_problem p = problems->item[i];
        size_t j = i;
        for (; j > 0; j--) {
            const struct sl_problem *q = &problems->item[j - 1];
            if (q->mark.line < p.mark.line || (q->mark.line == p.mark.line && q->mark.column <= p.mark.column))
                break;
            problems->item[j] = *q;
        }
        problems->item[j] = p;
    }
}

int sl_problems_finish(struct sl_problems *problems, struct sl_conf_errors *errors)
{
    if (problems->status != 0)
        return problems->status;
    errors->notes = problems->notes;
    problems->notes = (struct sl_strv){.count = 0};
    if (problems->count == 0)
        return 0;

    sort_by_place(problems);
    for (size_t i = 0; i < problems->count; i++) {
        const struct sl_problem *p = &problems->item[i];
        char *line;
        int length = p->mark.line == 0
                         ? asprintf(&line, "%s: %s", problems->file, p->text)
                         : asprintf(&line, "%s:%zu:%zu: %s", problems->file, p->mark.line, p->mark.column, p->text);
        if (length < 0)
            return SL_E_NOMEM;
        int status = sl_strv_take(&errors->lines, line);
        if (status != 0)
            return status;
    }
    errors->left_out = problems->left_out;
    return SL_E_CONFIG;
}

const char *sl_show(char *buf, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    static const char cut[] = "...\"";
    size_t at = 0;
    buf[at++] = '"';
    for (const char *c = text; *c != '\0';) {
        const size_t shown = sl_text_shown(c, strlen(c)), count = shown > 0 ? shown : 1;
        if (at + 4 + sizeof cut > size) { /* 4: the most that one character becomes */
            memcpy(buf + at, cut, sizeof cut);
            return buf;
        }
        if (shown == 0) {
            buf[at++] = '\\';
            buf[at++] = 'x';
            buf[at++] = hex[(unsigned char)*c >> 4];
            buf[at++] = hex[*c & 15];
        } else {
            if (*c == '"' || *c == '\\')
                buf[at++] = '\\';
            memcpy(buf + at, c, count);
            at += count;
        }
        c += count;
    }
    memcpy(buf + at, "\"", 2);
    return buf;
}
