/* SPDX-License-Identifier: MIT */
/* Walks two sorted lists of targets side by side, and compares those of the same name setting by setting. */
#include "config/diff.h"

#include "config/parts.h"
#include "config/setting.h"

#include <string.h>

const char *sl_conf_change_name(enum sl_conf_change change)
{
    switch (change) {
    case SL_CONF_SAME:
        return "same";
    case SL_CONF_ADDED:
        return "added";
    case SL_CONF_REMOVED:
        return "removed";
    case SL_CONF_POLICY:
        return "policy";
    case SL_CONF_IDENTITY:
        return "identity";
    }
    return "unknown";
}

static bool ids_equal(const uint32_t *a, size_t a_count, const uint32_t *b, size_t b_count)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * sizeof *a) == 0);
}

/* Everything that is not identity. */
static bool same_policy(const struct sl_target_conf *a, const struct sl_target_conf *b)
{
    for (size_t i = 0; i < sl_section_target.count; i++) {
        const struct sl_setting *s = &sl_section_target.setting[i];
        if (sl_setting_is_number(s) && sl_setting_get(s, a) != sl_setting_get(s, b))
            return false;
    }
    return a->acquire_timeout_set == b->acquire_timeout_set && sl_strv_equal(&a->send_env, &b->send_env) &&
           sl_strv_equal(&a->permit_remote_open, &b->permit_remote_open) && a->allow_everyone == b->allow_everyone &&
           ids_equal(a->allow_uid, a->allow_uid_count, b->allow_uid, b->allow_uid_count) &&
           ids_equal(a->allow_gid, a->allow_gid_count, b->allow_gid, b->allow_gid_count);
}

static enum sl_conf_change change_of(const struct sl_target_conf *a, const struct sl_target_conf *b)
{
    if (!sl_target_conf_same_identity(a, b))
        return SL_CONF_IDENTITY;
    return same_policy(a, b) ? SL_CONF_SAME : SL_CONF_POLICY;
}

void sl_conf_diff(const struct sl_conf *old_conf, const struct sl_conf *new_conf, sl_conf_diff_fn fn, void *arg)
{
    size_t i = 0, j = 0;
    while (i < old_conf->target_count || j < new_conf->target_count) {
        int order = i == old_conf->target_count   ? 1
                    : j == new_conf->target_count ? -1
                                                  : strcmp(old_conf->target[i]->name, new_conf->target[j]->name);
        if (order < 0) {
            fn(arg, SL_CONF_REMOVED, old_conf->target[i++], NULL);
        } else if (order > 0) {
            fn(arg, SL_CONF_ADDED, NULL, new_conf->target[j++]);
        } else {
            struct sl_target_conf *a = old_conf->target[i++], *b = new_conf->target[j++];
            fn(arg, change_of(a, b), a, b);
        }
    }
}

const char *sl_conf_needs_restart(const struct sl_conf *old_conf, const struct sl_conf *new_conf)
{
    const struct sl_listen_conf *a = &old_conf->listen, *b = &new_conf->listen;
    if (!sl_text_equal(a->path, b->path))
        return "listen.path";
    if (a->mode != b->mode)
        return "listen.mode";
    if (a->group_set != b->group_set || (a->group_set && a->group != b->group))
        return "listen.group";
    return NULL;
}
