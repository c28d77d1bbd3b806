/* The lists of algorithms: what is given there, against what this build's SSH library has. */
#include "config/conf_algorithm.h"
#include "config/conf_reader.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where no library was named there is nothing to name. */
static const struct sl_algorithms none;

static enum sl_algorithm_kind kind_of(const struct sl_setting *s)
{
    return (enum sl_algorithm_kind)(
        (s->offset - offsetof(struct sl_target_conf, algorithms)) / sizeof(struct sl_algorithm_choice));
}

/* With everything that there is. */
static bool refuse(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, const struct sl_strv *has, const char *name)
{
    char *all = sl_algorithm_join(has, ", "), *right = NULL;
    if (all == NULL || asprintf(&right, "it has %s", has->count > 0 ? all : "none") < 0) {
        free(all);
        return sl_read_out_of_memory(r);
    }
    free(all);
    sl_read_refuse_with(r, s, node, right, "%s is none that this build's SSH library has", SL_SHOW(name));
    free(right);
    return false;
}

/* Adds what stands between the commas of `text`. */
static bool read_names(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *text,
    const struct sl_strv *has, struct sl_strv *patterns)
{
    bool good = true;
    for (bool more = true; more;) {
        size_t len = strcspn(text, ",");
        more = text[len] == ',';
        char *name = strndup(text, len);
        if (name == NULL)
            return sl_read_out_of_memory(r);
        text += len + more;
        if (!sl_algorithm_matches(has, name)) {
            good = refuse(r, s, node, has, name);
            free(name);
        } else if (sl_strv_take(patterns, name) != SL_OK) {
            return sl_read_out_of_memory(r);
        }
    }
    return good;
}

/* Keeps what `change` and `patterns` make of the defaults. */
static bool keep(struct sl_conf_reader *r, const struct sl_setting *s, int node, enum sl_algorithm_change change,
    const struct sl_strv *patterns, const struct sl_algorithms *there, struct sl_algorithm_choice *choice)
{
    enum sl_algorithm_kind kind = kind_of(s);
    struct sl_strv names;
    if (sl_algorithm_resolve(change, patterns, &there->has[kind], &there->by_default[kind], &names) != SL_OK)
        return sl_read_out_of_memory(r);
    if (names.count == 0)
        return sl_read_refuse_with(r, s, node, "leave one at least", "takes away all that are offered");
    char *text = sl_algorithm_join(&names, ",");
    sl_strv_fini(&names);
    if (text == NULL)
        return sl_read_out_of_memory(r);
    free(choice->names);
    choice->names = text;
    choice->in_order = change == SL_ALGORITHM_REPLACE || change == SL_ALGORITHM_PREPEND;
    return true;
}

bool sl_read_algorithms(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const struct sl_algorithms *there = r->world->algorithms != NULL ? r->world->algorithms : &none;
    const struct sl_strv *has = &there->has[kind_of(s)];
    enum sl_algorithm_change change = SL_ALGORITHM_REPLACE;
    struct sl_strv patterns = {0};
    bool good = true, any = false;
    int item;
    for (size_t i = 0; (item = sl_read_nth(r, node, i)) != 0; i++) {
        const char *text = sl_read_text(r, s, item);
        if (text != NULL && i == 0)
            change = sl_algorithm_change_of(text, &text);
        good = text != NULL && read_names(r, s, item, text, has, &patterns) && good;
        any = true;
    }
    if (!any)
        good = sl_read_refuse(r, s, node, "is an empty list");
    good = good && keep(r, s, node, change, &patterns, there, sl_read_member(s, base));
    sl_strv_fini(&patterns);
    return good;
}
