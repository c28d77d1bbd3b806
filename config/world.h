/* SPDX-License-Identifier: MIT */
/* world.h - what a configuration asks of the system it is read on: its users, files and environment. Decides
 * nothing. An interface, so that tests and fuzzing bring a world of their own. */
#ifndef SSHLEASE_CONFIG_WORLD_H
#define SSHLEASE_CONFIG_WORLD_H

#include "config/yaml.h"

/* What can be wrong with a file, beside an errno. */
#define SL_WORLD_NOT_A_FILE (-1) /* a directory, a pipe, a device ... */
#define SL_WORLD_PUBLIC_KEY (-2) /* where a private one is wanted */

/* What a file is wanted for. */
enum sl_world_use {
    SL_WORLD_TEXT,
    SL_WORLD_PRIVATE_KEY,
    SL_WORLD_CREDENTIAL, /* systemd reads it, for the service */
};

struct sl_conf_world {
    void *arg;                              /* handed to the functions below */
    uid_t uid;                              /* whom this process runs as */
    const char *user;                       /* the name of that, or NULL when it has none */
    const char *home;                       /* absolute, or NULL */
    const struct sl_algorithms *algorithms; /* of the SSH library there; NULL: none can be named */
    /* The value of an environment variable, borrowed, or NULL. */
    const char *(*env)(void *arg, const char *name);
    /* Whether this process can read that regular file, and use it: 0, an errno, or SL_WORLD_... */
    int (*try_read)(void *arg, const char *path, enum sl_world_use use);
    /* Of a file that it can read: sl_conf_exposed_mode(), if there is a private key in it. NULL: there is none. */
    unsigned (*exposed_mode)(void *arg, const char *path);
    /* 0, ENOENT when there is no such name, or another errno when that could not be found out. */
    int (*find_user)(void *arg, const char *name, uid_t *ret_uid);
    int (*find_group)(void *arg, const char *name, gid_t *ret_gid);
};

/* The real one. The functions may block. 0 or SL_E_NOMEM. The caller frees it. */
int sl_conf_world_new(struct sl_conf_world **ret_world);
void sl_conf_world_free(struct sl_conf_world *world);

/* sl_conf_new_default() and sl_conf_parse() in a given world, which is borrowed for the call. */
int sl_conf_new_default_in(const struct sl_conf_world *world, bool one_user, struct sl_conf **ret_conf);
int sl_conf_parse_in(const struct sl_conf_world *world, const char *file, const void *text, size_t len, bool one_user,
    struct sl_conf **ret_conf, struct sl_conf_errors *errors);

#endif
