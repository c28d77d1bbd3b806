/* SPDX-License-Identifier: MIT */
/* world.h - a small made-up system for configurations to be read on, the same on every machine. */
#ifndef SSHLEASE_TESTS_UNIT_CONFIG_WORLD_H
#define SSHLEASE_TESTS_UNIT_CONFIG_WORLD_H

#include "config/world.h"
#include "tests/unit/config/algorithms.h"

#include <errno.h>
#include <string.h>

/* Files under /keys can be read, /keys/open by everybody, as can the user's own id_ed25519 and id_rsa; a name there that
 * ends in .pub is a public key's; /secret is not for us; /dir is a directory; nothing else is there. */
static inline int world_try_read(void *arg, const char *path, enum sl_world_use use)
{
    (void)arg;
    const char *dot = strrchr(path, '.');
    if (use == SL_WORLD_PRIVATE_KEY && dot != NULL && strcmp(dot, ".pub") == 0)
        return SL_WORLD_PUBLIC_KEY;
    if (strncmp(path, "/keys/", 6) == 0 || strcmp(path, "/home/ci/.ssh/id_ed25519") == 0 ||
        strcmp(path, "/home/ci/.ssh/id_rsa") == 0 || strcmp(path, "/run/credentials/db") == 0)
        return 0;
    if (strncmp(path, "/secret/", 8) == 0)
        return EACCES;
    return strcmp(path, "/dir") == 0 ? SL_WORLD_NOT_A_FILE : ENOENT;
}

static inline unsigned world_exposed_mode(void *arg, const char *path)
{
    (void)arg;
    return strcmp(path, "/keys/open") == 0 ? 0644 : 0;
}

static inline const char *world_env(void *arg, const char *name)
{
    (void)arg;
    if (strcmp(name, "SSH_AUTH_SOCK") == 0)
        return "/run/agent.sock";
    if (strcmp(name, "CREDENTIALS_DIRECTORY") == 0)
        return "/run/credentials";
    return strcmp(name, "KEY_PASSPHRASE") == 0 ? "never shown" : NULL;
}

/* ... or a barer one. */
static inline const char *world_no_env(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return NULL;
}

static inline int world_find_user(void *arg, const char *name, uid_t *ret_uid)
{
    (void)arg;
    if (strcmp(name, "stuck") == 0)
        return EIO;
    if (strcmp(name, "ci") != 0)
        return ENOENT;
    *ret_uid = 1000;
    return 0;
}

static inline int world_find_group(void *arg, const char *name, gid_t *ret_gid)
{
    (void)arg;
    if (strcmp(name, "testers") != 0)
        return ENOENT;
    *ret_gid = 2000;
    return 0;
}

static const struct sl_conf_world world = {
    .uid = 1000,
    .user = "ci",
    .home = "/home/ci",
    .algorithms = &some_algorithms,
    .env = world_env,
    .try_read = world_try_read,
    .exposed_mode = world_exposed_mode,
    .find_user = world_find_user,
    .find_group = world_find_group,
};

#endif
