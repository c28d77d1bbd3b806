/* SPDX-License-Identifier: MIT */
/* Finds targets by name, counts their references, and says who may lease one or administer the daemon. */
#include "config/conf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct sl_target_conf *sl_target_conf_ref(struct sl_target_conf *t)
{
    assert(t->refcount > 0);
    t->refcount++;
    return t;
}

void sl_target_conf_unref(struct sl_target_conf *t)
{
    if (t == NULL)
        return;
    assert(t->refcount > 0);
    if (--t->refcount != 0)
        return;
    free(t->name);
    free(t->host);
    free(t->user);
    sl_identities_free(t->identity, t->identity_count);
    free(t->identity_agent);
    sl_secret_fini(&t->passphrase);
    sl_secret_fini(&t->password);
    sl_strv_fini(&t->known_hosts);
    free(t->host_key_alias);
    for (size_t i = 0; i < SL_ALGORITHM_KINDS; i++)
        free(t->algorithms[i].names);
    sl_strv_fini(&t->send_env);
    sl_strv_fini(&t->permit_remote_open);
    free(t->allow_uid);
    free(t->allow_gid);
    free(t);
}

static bool secret_equal(const struct sl_secret *a, const struct sl_secret *b)
{
    return a->kind == b->kind && sl_text_equal(a->name, b->name);
}

bool sl_target_conf_same_identity(const struct sl_target_conf *a, const struct sl_target_conf *b)
{
    if (a->identity_count != b->identity_count)
        return false;
    for (size_t i = 0; i < SL_ALGORITHM_KINDS; i++)
        if (!sl_text_equal(a->algorithms[i].names, b->algorithms[i].names) ||
            a->algorithms[i].in_order != b->algorithms[i].in_order)
            return false;
    for (size_t i = 0; i < a->identity_count; i++)
        if (!sl_text_equal(a->identity[i].file, b->identity[i].file) ||
            !sl_text_equal(a->identity[i].certificate_file, b->identity[i].certificate_file))
            return false;
    return sl_text_equal(a->host, b->host) && a->port == b->port && sl_text_equal(a->user, b->user) &&
           a->identity_agent_set == b->identity_agent_set && sl_text_equal(a->identity_agent, b->identity_agent) &&
           secret_equal(&a->passphrase, &b->passphrase) && secret_equal(&a->password, &b->password) &&
           a->user_known_hosts_named == b->user_known_hosts_named &&
           a->global_known_hosts_named == b->global_known_hosts_named &&
           a->user_known_hosts_count == b->user_known_hosts_count && sl_strv_equal(&a->known_hosts, &b->known_hosts) &&
           sl_text_equal(a->host_key_alias, b->host_key_alias) && a->host_key_checking == b->host_key_checking;
}

unsigned sl_conf_exposed_mode(const struct stat *st)
{
    const unsigned others = st->st_uid == geteuid() ? S_IRWXG | S_IRWXO : S_IRWXO;
    return S_ISREG(st->st_mode) && (st->st_mode & others) != 0 ? st->st_mode & 07777 : 0;
}

static bool is_named(
    const struct sl_who *who, const uid_t *uids, size_t uids_count, const gid_t *gids, size_t gids_count)
{
    for (size_t i = 0; i < uids_count; i++)
        if (uids[i] == who->uid)
            return true;
    for (size_t i = 0; i < gids_count; i++) {
        for (size_t j = 0; j < who->gid_count; j++)
            if (gids[i] == who->gid[j])
                return true;
    }
    return false;
}

bool sl_target_conf_allows(const struct sl_target_conf *t, const struct sl_who *who)
{
    return who->uid == 0 || t->allow_everyone ||
           is_named(who, t->allow_uid, t->allow_uid_count, t->allow_gid, t->allow_gid_count);
}

bool sl_conf_is_admin(const struct sl_conf *conf, const struct sl_who *who)
{
    return who->uid == 0 || who->uid == conf->daemon_uid ||
           is_named(who, conf->admin_uid, conf->admin_uid_count, conf->admin_gid, conf->admin_gid_count);
}

bool sl_conf_is_privileged(const struct sl_conf *conf, const struct sl_who *who)
{
    return conf->one_user ? who->uid == 0 && conf->daemon_uid != 0 : sl_conf_is_admin(conf, who);
}

void sl_conf_free(struct sl_conf *conf)
{
    if (conf == NULL)
        return;
    free(conf->file);
    free(conf->listen.path);
    free(conf->mux.directory);
    free(conf->admin_uid);
    free(conf->admin_gid);
    sl_target_conf_unref(conf->defaults);
    for (size_t i = 0; i < conf->target_count; i++)
        sl_target_conf_unref(conf->target[i]);
    free(conf->target);
    free(conf);
}

static int compare_name(const void *key, const void *element)
{
    const struct sl_target_conf *const *t = element;
    return strcmp(key, (*t)->name);
}

struct sl_target_conf *sl_conf_find(const struct sl_conf *conf, const char *name)
{
    if (conf->target_count == 0)
        return NULL;
    struct sl_target_conf *const *found =
        bsearch(name, conf->target, conf->target_count, sizeof(struct sl_target_conf *), compare_name);
    return found == NULL ? NULL : *found;
}

struct sl_target_conf *sl_conf_find_as(const struct sl_conf *conf, const char *name, bool *ret_same)
{
    const char *at = strrchr(name, '@');
    struct sl_target_conf *target = at != NULL ? sl_conf_find(conf, at + 1) : NULL;
    if (target != NULL)
        *ret_same = target->user != NULL && strlen(target->user) == (size_t)(at - name) &&
                    memcmp(target->user, name, (size_t)(at - name)) == 0;
    return target;
}
