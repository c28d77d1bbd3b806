/* SPDX-License-Identifier: MIT */
/* Problems with a value, told with its key and what would be right; texts that readers keep. */
#include "config/reader.h"

#include "proto/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sl_read_out_of_memory(struct sl_conf_reader *r)
{
    r->problems->status = SL_E_NOMEM;
    return false;
}

/* Adds "KEY what is wrong; what would be right" at the node. False, for the reader to return. */
static bool vrefuse(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *right,
    const char *format, va_list args) __attribute__((format(printf, 5, 0)));
static bool vrefuse(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *right, const char *format, va_list args)
{
    char *what;
    if (vasprintf(&what, format, args) < 0)
        return sl_read_out_of_memory(r);
    sl_problem_add(r->problems, sl_node_mark(r->doc, node), "%s %s; %s", s->key, what, right);
    free(what);
    return false;
}

bool sl_read_refuse_with(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *right, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vrefuse(r, s, node, right, format, args);
    va_end(args);
    return false;
}

bool sl_read_refuse(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *format, ...)
{
    char right[SL_SETTING_RIGHT_SIZE];
    va_list args;
    va_start(args, format);
    vrefuse(r, s, node, sl_setting_right(s, right), format, args);
    va_end(args);
    return false;
}

void *sl_read_member(const struct sl_setting *s, void *base)
{
    return (char *)base + s->offset;
}

const char *sl_read_text(struct sl_conf_reader *r, const struct sl_setting *s, int node)
{
    enum sl_node_type type = sl_node_type(r->doc, node);
    if (type == SL_NODE_PLAIN || type == SL_NODE_QUOTED)
        return sl_node_text(r->doc, node);
    sl_read_refuse(r, s, node, "%s", sl_node_is(r->doc, node));
    return NULL;
}

int sl_read_nth(const struct sl_conf_reader *r, int node, size_t i)
{
    if (sl_node_type(r->doc, node) == SL_NODE_LIST)
        return sl_node_item(r->doc, node, i);
    return i == 0 ? node : 0;
}

bool sl_read_keep_text(struct sl_conf_reader *r, char **slot, const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return sl_read_out_of_memory(r);
    free(*slot);
    *slot = copy;
    return true;
}
