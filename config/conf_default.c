#include "config/conf_build.h"
#include "config/conf_setting.h"
#include "config/conf_world.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        if (world->try_read(world->arg, path) == 0)
            t->identity[t->identity_count++].file = path;
        else
            free(path);
    }
    return SL_OK;
}

static int set_known_hosts(struct sl_target_conf *t, const char *user_file)
{
    struct sl_strv user = {0}, global = {0};
    int r;
    if ((r = sl_strv_add(&user, user_file)) != SL_OK ||
        (r = sl_target_conf_set_known_hosts(t, SL_KNOWN_HOSTS_USER, &user)) != SL_OK ||
        (r = sl_strv_add(&global, GLOBAL_KNOWN_HOSTS)) != SL_OK ||
        (r = sl_target_conf_set_known_hosts(t, SL_KNOWN_HOSTS_GLOBAL, &global)) != SL_OK)
        return r;
    return SL_OK;
}

static int set_one_user_defaults(const struct sl_conf_world *world, struct sl_target_conf *t)
{
    if (world->home == NULL)
        return SL_E_CONFIG;
    t->allow_everyone = true;
    if (world->user != NULL && (t->user = strdup(world->user)) == NULL)
        return SL_E_NOMEM;
    int r = add_own_identities(world, t);
    if (r != SL_OK)
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
    int r;
    if ((r = sl_target_conf_new(&conf->defaults)) != SL_OK ||
        (r = sl_strv_add(&conf->defaults->send_env, "LANG")) != SL_OK ||
        (r = sl_strv_add(&conf->defaults->send_env, "LC_*")) != SL_OK ||
        (r = sl_strv_add(&conf->defaults->permit_remote_open, "any")) != SL_OK ||
        (r = one_user ? set_one_user_defaults(world, conf->defaults) : set_system_defaults(world, conf->defaults)) !=
            SL_OK) {
        sl_conf_free(conf);
        return r;
    }
    *ret_conf = conf;
    return SL_OK;
}

int sl_conf_new_default(bool one_user, struct sl_conf **ret_conf)
{
    struct sl_conf_world *world;
    int r = sl_conf_world_new(&world);
    if (r != SL_OK)
        return r;
    r = sl_conf_new_default_in(world, one_user, ret_conf);
    sl_conf_world_free(world);
    return r;
}
