/* SPDX-License-Identifier: MIT */
/* Makes default configurations and targets, copies targets, and builds those of USER@HOST[:PORT]. */
#include "config/build.h"

#include "config/setting.h"
#include "config/value.h"
#include "config/world.h"
#include "proto/status.h"

#include <stdio.h>
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
    return 0;
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
    return 0;
}

static int copy_text(const char *from, char **to)
{
    *to = NULL;
    if (from == NULL)
        return 0;
    *to = strdup(from);
    return *to == NULL ? SL_E_NOMEM : 0;
}

static int copy_secret(const struct sl_secret *from, struct sl_secret *to)
{
    to->kind = from->kind;
    return copy_text(from->name, &to->name);
}

static int copy_identities(const struct sl_target_conf *from, struct sl_target_conf *to)
{
    if (from->identity_count == 0)
        return 0;
    to->identity = calloc(from->identity_count, sizeof *to->identity);
    if (to->identity == NULL)
        return SL_E_NOMEM;
    to->identity_count = from->identity_count;
    for (size_t i = 0; i < from->identity_count; i++) {
        int r;
        if ((r = copy_text(from->identity[i].file, &to->identity[i].file)) != 0 ||
            (r = copy_text(from->identity[i].certificate_file, &to->identity[i].certificate_file)) != 0)
            return r;
    }
    return 0;
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
    return 0;
}

static int copy_algorithms(const struct sl_target_conf *from, struct sl_target_conf *to)
{
    int r = 0;
    for (size_t i = 0; i < SL_ALGORITHM_KINDS && r == 0; i++) {
        to->algorithms[i].in_order = from->algorithms[i].in_order;
        r = copy_text(from->algorithms[i].names, &to->algorithms[i].names);
    }
    return r;
}

int sl_target_conf_copy(const struct sl_target_conf *from, struct sl_target_conf **ret_target)
{
    struct sl_target_conf *t;
    int r = sl_target_conf_new(&t);
    if (r != 0)
        return r;

    for (size_t i = 0; i < sl_section_target.count; i++) {
        const struct sl_setting *s = &sl_section_target.setting[i];
        if (sl_setting_is_number(s))
            sl_setting_set(s, t, sl_setting_get(s, from));
    }
    t->identity_agent_set = from->identity_agent_set;
    t->user_known_hosts_count = from->user_known_hosts_count;
    t->user_known_hosts_named = from->user_known_hosts_named;
    t->global_known_hosts_named = from->global_known_hosts_named;
    t->allow_everyone = from->allow_everyone;
    t->adhoc = from->adhoc;
    t->acquire_timeout_set = from->acquire_timeout_set;
    if ((r = copy_text(from->name, &t->name)) != 0 || (r = copy_text(from->host, &t->host)) != 0 ||
        (r = copy_text(from->user, &t->user)) != 0 || (r = copy_identities(from, t)) != 0 ||
        (r = copy_text(from->identity_agent, &t->identity_agent)) != 0 ||
        (r = copy_secret(&from->passphrase, &t->passphrase)) != 0 ||
        (r = copy_secret(&from->password, &t->password)) != 0 ||
        (r = sl_strv_copy(&from->known_hosts, &t->known_hosts)) != 0 ||
        (r = copy_text(from->host_key_alias, &t->host_key_alias)) != 0 || (r = copy_algorithms(from, t)) != 0 ||
        (r = sl_strv_copy(&from->send_env, &t->send_env)) != 0 ||
        (r = sl_strv_copy(&from->permit_remote_open, &t->permit_remote_open)) != 0 ||
        (r = copy_allowed(from, t)) != 0) {
        sl_target_conf_unref(t);
        return r;
    }
    *ret_target = t;
    return 0;
}

/* --- defaults --- */

/* Where the system-wide daemon looks for host keys unless told otherwise. */
#define SYSTEM_KNOWN_HOSTS "/etc/sshlease/known_hosts"
#define GLOBAL_KNOWN_HOSTS "/etc/ssh/ssh_known_hosts"

static int add_own_identities(const struct sl_conf_world *world, struct sl_target_conf *t)
{
    /* Those that ssh(1) tries without being told, the strongest first. */
    static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};
    enum { NAMES = sizeof names / sizeof names[0] };

    t->identity = calloc(NAMES, sizeof *t->identity);
    if (t->identity == NULL)
        return SL_E_NOMEM;
    for (size_t i = 0; i < NAMES; i++) {
        char *path;
        if (asprintf(&path, "%s/.ssh/%s", world->home, names[i]) < 0)
            return SL_E_NOMEM;
        if (world->try_read(world->arg, path, SL_WORLD_TEXT) == 0)
            t->identity[t->identity_count++].file = path;
        else
            free(path);
    }
    return 0;
}

static int set_known_hosts(struct sl_target_conf *t, const char *user_file)
{
    struct sl_strv user = {0}, global = {0};
    int r;
    if ((r = sl_strv_add(&user, user_file)) != 0 ||
        (r = sl_target_conf_set_known_hosts(t, SL_KNOWN_HOSTS_USER, &user)) != 0 ||
        (r = sl_strv_add(&global, GLOBAL_KNOWN_HOSTS)) != 0 ||
        (r = sl_target_conf_set_known_hosts(t, SL_KNOWN_HOSTS_GLOBAL, &global)) != 0)
        return r;
    return 0;
}

static int set_one_user_defaults(const struct sl_conf_world *world, struct sl_target_conf *t)
{
    if (world->home == NULL)
        return SL_E_CONFIG;
    t->allow_everyone = true;
    if (world->user != NULL && (t->user = strdup(world->user)) == NULL)
        return SL_E_NOMEM;
    int r = add_own_identities(world, t);
    if (r == 0)
        r = sl_strv_add(&t->permit_remote_open, "any");
    if (r != 0)
        return r;
    const char *agent = world->env(world->arg, "SSH_AUTH_SOCK");
    if (agent != NULL && agent[0] == '/') {
        t->identity_agent = strdup(agent);
        if (t->identity_agent == NULL)
            return SL_E_NOMEM;
        t->identity_agent_set = true;
    }
    char *known_hosts;
    if (asprintf(&known_hosts, "%s/.ssh/known_hosts", world->home) < 0)
        return SL_E_NOMEM;
    r = set_known_hosts(t, known_hosts);
    free(known_hosts);
    return r;
}

static int set_system_defaults(const struct sl_conf_world *world, struct sl_target_conf *t)
{
    t->allow_uid = malloc(sizeof *t->allow_uid);
    if (t->allow_uid == NULL)
        return SL_E_NOMEM;
    t->allow_uid[0] = world->uid;
    t->allow_uid_count = 1;
    /* A client may have no network, or less of it than the daemon. */
    int r = sl_strv_add(&t->permit_remote_open, "none");
    if (r != 0)
        return r;
    return set_known_hosts(t, SYSTEM_KNOWN_HOSTS);
}

int sl_conf_new_default_in(const struct sl_conf_world *world, bool one_user, struct sl_conf **ret_conf)
{
    struct sl_conf *conf = calloc(1, sizeof *conf);
    if (conf == NULL)
        return SL_E_NOMEM;
    conf->one_user = one_user;
    conf->daemon_uid = world->uid;
    sl_section_set_defaults(&sl_section_listen, &conf->listen);
    if (one_user) /* whoever may connect may lease: nobody else of the user's group */
        conf->listen.mode = 0600;
    sl_section_set_defaults(&sl_section_limits, &conf->limits);
    if (one_user)
        conf->limits.user_share = 100;
    int r;
    if ((r = sl_target_conf_new(&conf->defaults)) != 0 || (r = sl_strv_add(&conf->defaults->send_env, "LANG")) != 0 ||
        (r = sl_strv_add(&conf->defaults->send_env, "LC_*")) != 0 ||
        (r = one_user ? set_one_user_defaults(world, conf->defaults) : set_system_defaults(world, conf->defaults)) !=
            0) {
        sl_conf_free(conf);
        return r;
    }
    *ret_conf = conf;
    return 0;
}

int sl_conf_new_default(bool one_user, struct sl_conf **ret_conf)
{
    struct sl_conf_world *world;
    int r = sl_conf_world_new(&world);
    if (r != 0)
        return r;
    r = sl_conf_new_default_in(world, one_user, ret_conf);
    sl_conf_world_free(world);
    return r;
}

/* --- targets of the one-user mode --- */

/* `user@host[:port]`: targets of the one-user mode that no file names. */

/* The longest of each, with "@", "[", "]", ":" and a NUL. */
#define NAME_SIZE (255u + 1u + 253u + 2u + 6u + 1u)

struct destination {
    const char *user; /* NULL: the defaults' */
    const char *host;
    uint16_t port; /* 0: the defaults' */
};

static bool parse_port(const char *text, uint16_t *ret_port)
{
    uint64_t port;
    if (sl_value_number(text, &port) != SL_VALUE_OK || port == 0 || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* Takes `name` apart in place. */
static bool parse_destination(char *name, struct destination *ret_destination)
{
    struct destination d = {0};
    char *host = name;
    char *at = strrchr(name, '@'); /* the last: users of a directory service may have one in their names */
    if (at != NULL) {
        *at = '\0';
        d.user = name;
        host = at + 1;
        /* With a colon somebody tries to give a password, which is to stay out of names and logs. */
        if (sl_value_user_wrong(d.user) != NULL || strchr(d.user, ':') != NULL)
            return false;
    }

    char *rest = NULL; /* what follows the host: "" or ":port" */
    if (host[0] == '[') {
        host++;
        char *end = strchr(host, ']');
        if (end == NULL)
            return false;
        *end = '\0';
        if (strchr(host, ':') == NULL)
            return false;
        rest = end + 1;
    } else {
        char *colon = strchr(host, ':');
        bool bare_ipv6 = colon != NULL && strchr(colon + 1, ':') != NULL;
        rest = colon == NULL || bare_ipv6 ? host + strlen(host) : colon;
    }
    if (*rest == ':') {
        if (!parse_port(rest + 1, &d.port))
            return false;
        *rest = '\0';
    } else if (*rest != '\0') {
        return false;
    }
    if (sl_value_host_wrong(host) != NULL)
        return false;

    for (char *c = host; *c != '\0' && *c != '%'; c++) /* a zone is an interface's name: as it is */
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    d.host = host;
    *ret_destination = d;
    return true;
}

static int build(const struct sl_conf *conf, const struct destination *d, struct sl_target_conf **ret_target)
{
    struct sl_target_conf *t;
    int r = sl_target_conf_copy(conf->defaults, &t);
    if (r != 0)
        return r;
    t->adhoc = true;
    if (d->port != 0)
        t->port = d->port;
    if (d->user != NULL) {
        free(t->user);
        t->user = strdup(d->user);
    }
    free(t->host);
    t->host = strdup(d->host);
    if (t->host == NULL || (d->user != NULL && t->user == NULL)) {
        sl_target_conf_unref(t);
        return SL_E_NOMEM;
    }
    if (t->user == NULL) {
        sl_target_conf_unref(t);
        return SL_E_NO_TARGET;
    }

    bool ipv6 = strchr(t->host, ':') != NULL, default_port = t->port == 22;
    char port[8] = "";
    if (!default_port)
        snprintf(port, sizeof port, ":%u", (unsigned)t->port);
    if (asprintf(&t->name, "%s@%s%s%s%s", t->user, ipv6 && !default_port ? "[" : "", t->host,
            ipv6 && !default_port ? "]" : "", port) < 0) {
        t->name = NULL;
        sl_target_conf_unref(t);
        return SL_E_NOMEM;
    }
    *ret_target = t;
    return 0;
}

int sl_conf_adhoc(const struct sl_conf *conf, const char *name, struct sl_target_conf **ret_target)
{
    size_t length = strlen(name);
    if (!conf->one_user || length >= NAME_SIZE)
        return SL_E_NO_TARGET;
    char copy[NAME_SIZE];
    memcpy(copy, name, length + 1);
    struct destination d;
    if (!parse_destination(copy, &d))
        return SL_E_NO_TARGET;
    return build(conf, &d, ret_target);
}
