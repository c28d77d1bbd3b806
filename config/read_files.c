/* SPDX-License-Identifier: MIT */
/* Readers of settings that name files, sockets or secrets: they make the path, and try whether it can be read. */
#include "config/reader.h"

#include "config/build.h"
#include "config/value.h"
#include "proto/status.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- files --- */

/* The path with ~ replaced, from malloc(); or NULL and a problem. Secrets' paths are not shown: it may be the secret
 * itself that somebody wrote there. */
static char *path_of(struct sl_conf_reader *r, const struct sl_setting *s, int node)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return NULL;
    const char *shown = s->kind == SL_SETTING_SECRET_FILE ? "(not shown)" : SL_SHOW(text);
    bool in_home = text[0] == '~' && (text[1] == '\0' || text[1] == '/');
    if (text[0] == '\0') {
        sl_read_refuse(r, s, node, "is empty");
    } else if (text[0] == '~' && !in_home) {
        sl_read_refuse(r, s, node, "%s is in the home of another user, which is not looked up", shown);
    } else if (in_home && r->world->home == NULL) {
        sl_read_refuse(r, s, node, "%s is in a home, and this user has none", shown);
    } else if (text[0] != '/' && !in_home) {
        sl_read_refuse(r, s, node, "%s is a relative path", shown);
    } else {
        char *path;
        if (asprintf(&path, "%s%s", in_home ? r->world->home : "", in_home ? text + 1 : text) < 0) {
            sl_read_out_of_memory(r);
            return NULL;
        }
        if (strlen(path) < PATH_MAX)
            return path;
        sl_read_refuse(r, s, node, "%s is longer than a path can be", shown);
        free(path);
    }
    return NULL;
}

/* Whether the file at `path` can be read, or need not be there yet. */
static bool try_read(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *path, bool may_be_missing)
{
    const char *shown = s->kind == SL_SETTING_SECRET_FILE ? "(not shown)" : SL_SHOW_PATH(path);
    const enum sl_world_use use = s->kind == SL_SETTING_IDENTITIES ? SL_WORLD_PRIVATE_KEY : SL_WORLD_TEXT;
    int error = r->world->try_read(r->world->arg, path, use);
    unsigned mode = 0;
    if (error == 0 && s->kind == SL_SETTING_IDENTITIES && r->world->exposed_mode != NULL)
        mode = r->world->exposed_mode(r->world->arg, path);
    if (mode != 0)
        return sl_read_refuse_with(r, s, node, "give it 0600", "%s " SL_CONF_EXPOSED_TEXT, shown, mode);
    if (error == 0 || (may_be_missing && error == ENOENT))
        return true;
    switch (error) {
    case SL_WORLD_NOT_A_FILE:
        return sl_read_refuse_with(r, s, node, "give a file", "%s is not a regular file", shown);
    case SL_WORLD_PUBLIC_KEY:
        return sl_read_refuse_with(
            r, s, node, "give the private key, whose file has no .pub behind its name", "%s is a public key", shown);
    default:
        return sl_read_refuse_with(r, s, node, "give a file that the daemon's user can read", "%s cannot be read (%s)",
            shown, strerrordesc_np(error));
    }
}

/* A path, a list of paths, or none. True, and a list that the caller frees, when all is right. */
static bool read_files(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, bool may_be_missing, struct sl_strv *ret_list)
{
    struct sl_strv list = {0};
    bool good = true;
    int item;
    bool none = sl_node_type(r->doc, node) == SL_NODE_PLAIN && strcmp(sl_node_text(r->doc, node), "none") == 0;
    for (size_t i = 0; !none && (item = sl_read_nth(r, node, i)) != 0; i++) {
        char *path = path_of(r, s, item);
        if (path == NULL) {
            good = false;
        } else if (!try_read(r, s, item, path, may_be_missing)) {
            free(path);
            good = false;
        } else if (sl_strv_take(&list, path) != 0) {
            good = sl_read_out_of_memory(r);
        }
    }
    if (good)
        *ret_list = list;
    else
        sl_strv_fini(&list);
    return good;
}

bool sl_read_identities(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_target_conf *t = base;
    struct sl_strv list;
    if (!read_files(r, s, node, false, &list))
        return false;
    struct sl_identity *identity = NULL;
    if (list.count != 0 && (identity = calloc(list.count, sizeof *identity)) == NULL) {
        sl_strv_fini(&list);
        return sl_read_out_of_memory(r);
    }
    for (size_t i = 0; i < list.count; i++)
        identity[i].file = list.item[i];
    sl_identities_free(t->identity, t->identity_count);
    t->identity = identity;
    t->identity_count = list.count;
    free(list.item);
    return true;
}

bool sl_read_certificates(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    (void)base;
    struct sl_strv list;
    if (!read_files(r, s, node, false, &list))
        return false;
    sl_strv_fini(&r->certificates);
    r->certificates = list;
    return true;
}

bool sl_read_known_hosts(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_strv list;
    if (!read_files(r, s, node, true, &list))
        return false;
    struct sl_target_conf *t = base;
    const bool user = s->kind == SL_SETTING_USER_KNOWN_HOSTS;
    const enum sl_known_hosts_part part = user ? SL_KNOWN_HOSTS_USER : SL_KNOWN_HOSTS_GLOBAL;
    *(user ? &t->user_known_hosts_named : &t->global_known_hosts_named) = true;
    return sl_target_conf_set_known_hosts(t, part, &list) == 0 || sl_read_out_of_memory(r);
}

/* A path that fits a socket's address, from malloc(). */
static char *socket_path_of(struct sl_conf_reader *r, const struct sl_setting *s, int node)
{
    char *path = path_of(r, s, node);
    if (path == NULL)
        return NULL;
    size_t length = strlen(path);
    if (length > SL_SOCKET_PATH_MAX)
        sl_read_refuse(r, s, node, "is %zu bytes long, and a socket's path can have %zu", length, SL_SOCKET_PATH_MAX);
    else if (path[length - 1] == '/')
        sl_read_refuse(r, s, node, "%s is a directory", SL_SHOW_PATH(path));
    else
        return path;
    free(path);
    return NULL;
}

bool sl_read_socket_path(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    char *path = socket_path_of(r, s, node);
    if (path == NULL)
        return false;
    char **slot = sl_read_member(s, base);
    free(*slot);
    *slot = path;
    return true;
}

/* Whether each socket's path in it fits is looked at when the targets are known. */
bool sl_read_socket_directory(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    char *path = path_of(r, s, node);
    if (path == NULL)
        return false;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    char **slot = sl_read_member(s, base);
    free(*slot);
    *slot = path;
    return true;
}

bool sl_read_agent(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_target_conf *t = base;
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    char *path = NULL;
    if (strcmp(text, "SSH_AUTH_SOCK") == 0) {
        const char *value = r->world->env(r->world->arg, "SSH_AUTH_SOCK");
        if (value == NULL || value[0] != '/')
            return sl_read_refuse_with(r, s, node, "start the daemon where an agent is, or give the socket's path",
                "is SSH_AUTH_SOCK, which the daemon's environment does not have as a path");
        path = strdup(value);
        if (path == NULL)
            return sl_read_out_of_memory(r);
    } else if (strcmp(text, "none") != 0) {
        path = socket_path_of(r, s, node);
        if (path == NULL)
            return false;
    }
    free(t->identity_agent);
    t->identity_agent = path;
    t->identity_agent_set = path != NULL;
    return true;
}

/* --- secrets: nothing that is given there may show in a message --- */

bool sl_read_secret_file(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    char *path = path_of(r, s, node);
    if (path == NULL)
        return false;
    if (!try_read(r, s, node, path, false)) {
        free(path);
        return false;
    }
    *(struct sl_secret *)base = (struct sl_secret){SL_SECRET_FILE, path};
    return true;
}

bool sl_read_secret_env(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    const char *wrong = sl_value_variable_wrong(text);
    if (wrong != NULL)
        return sl_read_refuse(r, s, node, "(not shown) %s", wrong);
    if (r->world->env(r->world->arg, text) == NULL)
        return sl_read_refuse(r, s, node, "names a variable that the daemon's environment does not have");
    struct sl_secret *secret = base;
    secret->kind = SL_SECRET_ENV;
    return sl_read_keep_text(r, &secret->name, text);
}

bool sl_read_secret_credential(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    const char *wrong = sl_value_credential_wrong(text);
    if (wrong != NULL)
        return sl_read_refuse(r, s, node, "(not shown) %s", wrong);
    const char *directory = r->world->env(r->world->arg, "CREDENTIALS_DIRECTORY");
    if (directory == NULL)
        return sl_read_refuse_with(r, s, node,
            "give the service LoadCredential= and restart it; for --check-config, set it to where the credentials are",
            "cannot be looked up: CREDENTIALS_DIRECTORY is not set");
    char *path;
    if (asprintf(&path, "%s/%s", directory, text) < 0)
        return sl_read_out_of_memory(r);
    int error = r->world->try_read(r->world->arg, path, SL_WORLD_CREDENTIAL);
    free(path);
    if (error != 0)
        return sl_read_refuse(r, s, node, "names none that can be read in CREDENTIALS_DIRECTORY (%s)",
            error == SL_WORLD_NOT_A_FILE ? "not a regular file" : strerrordesc_np(error));
    struct sl_secret *secret = base;
    secret->kind = SL_SECRET_CREDENTIAL;
    return sl_read_keep_text(r, &secret->name, text);
}
