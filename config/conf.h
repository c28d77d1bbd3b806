/* SPDX-License-Identifier: MIT */
/* conf.h - the checked settings of one configuration: types, lifetime, who may use what. Reads no file (yaml.c
 * does). */
#ifndef SSHLEASE_CONFIG_CONF_H
#define SSHLEASE_CONFIG_CONF_H

#include "base/who.h"
#include "config/parts.h"
#include "config/policy.h"

#include <stddef.h>
#include <sys/types.h>

enum sl_host_key_checking { SL_HOST_KEY_STRICT, SL_HOST_KEY_ACCEPT_NEW };
enum sl_remote_cleanup { SL_CLEANUP_SWEEP, SL_CLEANUP_SIGNAL, SL_CLEANUP_OFF };

/* Everything about one target. Immutable once built; shared by reference count, so that a dialing connection keeps the
 * settings it started with while a reload replaces them. */
struct sl_target_conf {
    char *name;
    char *host;
    uint16_t port;
    char *user;
    struct sl_identity *identity;
    size_t identity_count;
    bool identity_agent_set;     /* true: ask the agent at identity_agent */
    char *identity_agent;        /* socket path, ~ and $SSH_AUTH_SOCK expanded */
    struct sl_secret passphrase; /* for encrypted keys */
    struct sl_secret password;   /* for password and keyboard-interactive */
    struct sl_strv
        known_hosts; /* user_known_hosts_file and global_known_hosts_file, in order; the first takes new keys */
    size_t user_known_hosts_count; /* so many of known_hosts are user_known_hosts_file; not 0 with accept-new */
    bool user_known_hosts_named;   /* by the file, not by default: what is in them must be known */
    bool global_known_hosts_named;
    char *host_key_alias; /* NULL: host */
    enum sl_host_key_checking host_key_checking;
    enum sl_remote_cleanup remote_cleanup;
    struct sl_algorithm_choice algorithms[SL_ALGORITHM_KINDS];
    struct sl_strv permit_remote_open; /* patterns of HOST:PORT, [IPv6]:PORT, or any, none */
    struct sl_strv send_env;           /* patterns of variables clients may set; default LANG, LC_* */
    bool allow_everyone;               /* no `allow` in the one-user mode: whoever may connect to the socket */
    uid_t *allow_uid;
    size_t allow_uid_count;
    gid_t *allow_gid;
    size_t allow_gid_count;
    struct sl_policy policy;
    bool acquire_timeout_set; /* by the file: it then bounds what has no such limit of its own, too */
    bool adhoc;               /* user@host[:port] of the one-user mode; not from the file */
    unsigned refcount;        /* touched on the loop's thread only */
};

struct sl_target_conf *sl_target_conf_ref(struct sl_target_conf *t);
void sl_target_conf_unref(struct sl_target_conf *t); /* NULL is fine */

struct stat;
/* The mode of a private key's file if others may have the key by it, else 0: what ssh refuses where the file is this
 * user's, and whatever everybody may read or change, whosesoever it is. */
unsigned sl_conf_exposed_mode(const struct stat *st);
#define SL_CONF_EXPOSED_TEXT "is an UNPROTECTED PRIVATE KEY FILE: its mode is %04o"

/* Whether both mean the same connection: host, port, user, credentials, host-key rules, algorithms. If not, connections
 * made under one must not be leased under the other. */
bool sl_target_conf_same_identity(const struct sl_target_conf *a, const struct sl_target_conf *b);

/* Whether `who` may lease this target. Root always may. */
bool sl_target_conf_allows(const struct sl_target_conf *t, const struct sl_who *who);

struct sl_listen_conf {
    char *path;  /* NULL: the default of the mode */
    mode_t mode; /* 0660; 0600 in the one-user mode */
    bool group_set;
    gid_t group;
};

struct sl_mux_conf {
    char *directory; /* of the mux sockets; NULL: none are made but on demand in the one-user mode */
};

struct sl_conf {
    char *file;       /* where it was read from; NULL for the built-in configuration of the one-user mode */
    bool one_user;    /* no root, targets user@host[:port] need no configuration */
    uid_t daemon_uid; /* of the process that made it: an administrator, and who may lease where nobody else is named */
    struct sl_listen_conf listen;
    struct sl_mux_conf mux;
    struct sl_limits limits;
    bool admins_set; /* `admin: {users, groups}`: who may status/end/reload besides root and the daemon's own uid */
    uid_t *admin_uid;
    size_t admin_uid_count;
    gid_t *admin_gid;
    size_t admin_gid_count;
    struct sl_target_conf *defaults; /* a nameless target that carries the defaults */
    struct sl_target_conf **target;  /* sorted by name */
    size_t target_count;
};

/* One-user built-in configuration (the user's keys, agent and known_hosts) or an empty system-wide one. 0 or
 * SL_E_NOMEM, or SL_E_CONFIG when the user's home cannot be found. The caller frees it. */
int sl_conf_new_default(bool one_user, struct sl_conf **ret_conf);
void sl_conf_free(struct sl_conf *conf); /* NULL is fine; drops its references to targets */

/* The target of that name, borrowed, or NULL. */
struct sl_target_conf *sl_conf_find(const struct sl_conf *conf, const char *name);
/* Of USER@NAME: the target NAME, and in *ret_same whether USER is who it logs in as; NULL when there is none. Borrowed.
 */
struct sl_target_conf *sl_conf_find_as(const struct sl_conf *conf, const char *name, bool *ret_same);

/* A target for `user@host[:port]` (or `host`, `[v6]:port`) from the defaults of a one-user configuration. Its name is
 * the canonical spelling, user@host with a host in small letters and :port where that is not 22, so that all spellings
 * of one destination come to one pool; no target of the file can have such a name. 0, SL_E_NO_TARGET when `name` is no
 * such thing or the configuration is not a one-user one, SL_E_NOMEM. The caller owns the reference. */
int sl_conf_adhoc(const struct sl_conf *conf, const char *name, struct sl_target_conf **ret_target);

/* Whether a client may use the administrative verbs on what is not its own. */
bool sl_conf_is_admin(const struct sl_conf *conf, const struct sl_who *who);
/* Whether a client has no share of the limits, and room beyond them: whoever administers the daemon, and in the one-user
 * mode, where everything is its user's, root. */
bool sl_conf_is_privileged(const struct sl_conf *conf, const struct sl_who *who);

#endif
