#include "config/conf_build.h"

#include "config/conf_setting.h"
#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

int sl_target_conf_new(struct sl_target_conf **ret_target)
{
    struct sl_target_conf *t = calloc(1, sizeof *t);
    if (t == NULL)
        return SL_E_NOMEM;
    t->refcount = 1;
    sl_section_set_defaults(&sl_section_target, t);
    *ret_target = t;
    return SL_OK;
}

int sl_target_conf_set_known_hosts(struct sl_target_conf *target, enum sl_known_hosts_part part, struct sl_strv *files)
{
    struct sl_strv *list = &target->known_hosts;
    size_t user = target->user_known_hosts_count, global = list->count - user;
    size_t old_count = part == SL_KNOWN_HOSTS_USER ? user : global;
    size_t count = list->count - old_count + files->count;
    size_t capacity = 1; /* as sl_strv_take() expects it */
    while (capacity < count)
        capacity *= 2;
    char **item = calloc(capacity, sizeof *item);
    if (item == NULL) {
        sl_strv_fini(files);
        return SL_E_NOMEM;
    }

    const struct sl_strv kept_user = {list->item, user},
                         kept_global = {user == 0 ? list->item : list->item + user, global};
    const struct sl_strv *first = part == SL_KNOWN_HOSTS_USER ? files : &kept_user;
    const struct sl_strv *second = part == SL_KNOWN_HOSTS_USER ? &kept_global : files;
    const struct sl_strv *old = part == SL_KNOWN_HOSTS_USER ? &kept_user : &kept_global;
    for (size_t i = 0; i < first->count; i++)
        item[i] = first->item[i];
    for (size_t i = 0; i < second->count; i++)
        item[first->count + i] = second->item[i];
    for (size_t i = 0; i < old->count; i++)
        free(old->item[i]);
    target->user_known_hosts_count = first->count;
    free(list->item);
    free(files->item);
    *files = (struct sl_strv){0};
    *list = (struct sl_strv){item, count};
    return SL_OK;
}

static int copy_text(const char *from, char **to)
{
    *to = NULL;
    if (from == NULL)
        return SL_OK;
    *to = strdup(from);
    return *to == NULL ? SL_E_NOMEM : SL_OK;
}

static int copy_secret(const struct sl_secret *from, struct sl_secret *to)
{
    to->kind = from->kind;
    return copy_text(from->name, &to->name);
}

static int copy_identities(const struct sl_target_conf *from, struct sl_target_conf *to)
{
    if (from->identity_count == 0)
        return SL_OK;
    to->identity = calloc(from->identity_count, sizeof *to->identity);
    if (to->identity == NULL)
        return SL_E_NOMEM;
    to->identity_count = from->identity_count;
    for (size_t i = 0; i < from->identity_count; i++) {
        int r;
        if ((r = copy_text(from->identity[i].file, &to->identity[i].file)) != SL_OK ||
            (r = copy_text(from->identity[i].certificate_file, &to->identity[i].certificate_file)) != SL_OK)
            return r;
    }
    return SL_OK;
}

static int copy_allowed(const struct sl_target_conf *from, struct sl_target_conf *to)
{
    if (from->allow_uid_count != 0) {
        to->allow_uid = calloc(from->allow_uid_count, sizeof *to->allow_uid);
        if (to->allow_uid == NULL)
            return SL_E_NOMEM;
        to->allow_uid_count = from->allow_uid_count;
        memcpy(to->allow_uid, from->allow_uid, from->allow_uid_count * sizeof *to->allow_uid);
    }
    if (from->allow_gid_count != 0) {
        to->allow_gid = calloc(from->allow_gid_count, sizeof *to->allow_gid);
        if (to->allow_gid == NULL)
            return SL_E_NOMEM;
        to->allow_gid_count = from->allow_gid_count;
        memcpy(to->allow_gid, from->allow_gid, from->allow_gid_count * sizeof *to->allow_gid);
    }
    return SL_OK;
}

static int copy_algorithms(const struct sl_target_conf *from, struct sl_target_conf *to)
{
    int r = SL_OK;
    for (size_t i = 0; i < SL_ALGORITHM_KINDS && r == SL_OK; i++) {
        to->algorithms[i].in_order = from->algorithms[i].in_order;
        r = copy_text(from->algorithms[i].names, &to->algorithms[i].names);
    }
    return r;
}

int sl_target_conf_copy(const struct sl_target_conf *from, struct sl_target_conf **ret_target)
{
    struct sl_target_conf *t;
    int r = sl_target_conf_new(&t);
    if (r != SL_OK)
        return r;

    for (size_t i = 0; i < sl_section_target.count; i++) {
        const struct sl_setting *s = &sl_section_target.setting[i];
        if (sl_setting_is_number(s))
            sl_setting_set(s, t, sl_setting_get(s, from));
    }
    t->identity_agent_set = from->identity_agent_set;
    t->user_known_hosts_count = from->user_known_hosts_count;
    t->allow_everyone = from->allow_everyone;
    t->adhoc = from->adhoc;
    t->acquire_timeout_set = from->acquire_timeout_set;
    if ((r = copy_text(from->name, &t->name)) != SL_OK || (r = copy_text(from->host, &t->host)) != SL_OK ||
        (r = copy_text(from->user, &t->user)) != SL_OK || (r = copy_identities(from, t)) != SL_OK ||
        (r = copy_text(from->identity_agent, &t->identity_agent)) != SL_OK ||
        (r = copy_secret(&from->passphrase, &t->passphrase)) != SL_OK ||
        (r = copy_secret(&from->password, &t->password)) != SL_OK ||
        (r = sl_strv_copy(&from->known_hosts, &t->known_hosts)) != SL_OK ||
        (r = copy_text(from->host_key_alias, &t->host_key_alias)) != SL_OK || (r = copy_algorithms(from, t)) != SL_OK ||
        (r = sl_strv_copy(&from->send_env, &t->send_env)) != SL_OK ||
        (r = sl_strv_copy(&from->permit_remote_open, &t->permit_remote_open)) != SL_OK ||
        (r = copy_allowed(from, t)) != SL_OK) {
        sl_target_conf_unref(t);
        return r;
    }
    *ret_target = t;
    return SL_OK;
}
