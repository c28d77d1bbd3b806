/* SPDX-License-Identifier: MIT */
/* Makes the mux directory, a socket and an alias for each target, and makes anew what somebody took away. */
#include "daemon/front/mux/sockets.h"

#include "base/fail.h"
#include "daemon/front/mux/directory.h"
#include "daemon/net/dir_watch.h"
#include "daemon/net/listener.h"
#include "proto/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PATH_ROOM sizeof((struct sockaddr_un *)NULL)->sun_path
/* Between two tries to make what the configuration wants and could not be made. */
#define AGAIN_MS 30000u
/* In $XDG_RUNTIME_DIR, for the one-user mode without mux.directory. */
#define USER_DIRECTORY "sshleased-mux"

struct mux_socket {
    TAILQ_ENTRY(mux_socket) link;
    struct sl_mux_sockets *sockets;
    struct sl_listener *listener;
    char *target;
    bool adhoc;
    bool lost; /* somebody removed it, and it cannot be made again yet */
    char path[PATH_ROOM];
    char alias[PATH_ROOM]; /* USER@TARGET, a link to `path`; "": none */
};
TAILQ_HEAD(mux_socket_list, mux_socket);

struct sl_mux_sockets {
    uv_loop_t *loop;
    const struct sl_log *log;
    struct sl_fd_jobs *jobs;
    sl_mux_accept_fn fn;
    sl_mux_again_fn again;
    void *arg;
    struct mux_socket_list list;
    struct sl_dir_watch *watch; /* of the directory where sockets are made now; NULL: none yet */
    bool one_user;
    bool trying_again;
    uint32_t failed;   /* sockets that the configuration wants and that could not be made */
    uint64_t tried_ms; /* the last time */
    uint32_t adhoc;    /* how many of them are of targets that no configuration names */
};

static void on_accept(void *arg, int fd, int status)
{
    struct mux_socket *s = arg;
    s->sockets->fn(s->sockets->arg, s->target, fd, status);
}

/* --- the directory ------------------------------------------------------------------------------------------------ */

int sl_mux_sockets_prepare(const struct sl_conf *conf, char *error, size_t error_size)
{
    if (conf->mux.directory == NULL)
        return 0;
    return sl_mux_directory_make(conf->mux.directory, conf->one_user, error, error_size);
}

/* Where sockets made on demand go. */
static int demand_directory(const struct sl_conf *conf, char *directory, size_t size, char *error, size_t error_size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (conf->mux.directory != NULL) {
        if ((size_t)snprintf(directory, size, "%s", conf->mux.directory) >= size)
            return SL_FAIL(error, error_size, SL_E_INVALID, "mux.directory: the path is too long");
        return sl_mux_sockets_prepare(conf, error, error_size); /* it may have been refused at the start */
    }
    if (!conf->one_user)
        return SL_FAIL(error, error_size, SL_E_UNSUPPORTED,
            "this daemon makes no mux sockets; give it mux: {directory: PATH} in its configuration");
    if (runtime == NULL || runtime[0] != '/')
        return SL_FAIL(error, error_size, SL_E_UNSUPPORTED,
            "this daemon has no XDG_RUNTIME_DIR to make mux sockets in; give it mux: {directory: PATH} in its "
            "configuration");
    if ((size_t)snprintf(directory, size, "%s/%s", runtime, USER_DIRECTORY) >= size)
        return SL_FAIL(error, error_size, SL_E_INVALID, "XDG_RUNTIME_DIR: the path is too long for a socket in it");
    return sl_mux_directory_make(directory, true, error, error_size);
}

/* --- one socket --------------------------------------------------------------------------------------------------- */

static void drop_alias(struct mux_socket *s)
{
    if (s->alias[0] != '\0')
        (void)unlink(s->alias);
    s->alias[0] = '\0';
}

static void close_socket(struct mux_socket *s)
{
    struct sl_mux_sockets *all = s->sockets;
    drop_alias(s);
    TAILQ_REMOVE(&all->list, s, link);
    if (s->adhoc)
        all->adhoc--;
    sl_listener_close(s->listener);
    free(s->target);
    free(s);
}

/* The name that a target's socket has; false for one that no file can have. */
static bool name_of(const struct sl_target_conf *target, char *name, size_t size)
{
    if (!target->adhoc)
        snprintf(name, size, "%s", target->name);
    else
        snprintf(name, size, "%s@%s:%u", target->user, target->host, (unsigned)target->port);
    return name[0] != '.' && strchr(name, '/') == NULL;
}

static int path_of(
    const char *directory, const struct sl_target_conf *target, char path[PATH_ROOM], char *error, size_t error_size)
{
    char name[600];
    if (!name_of(target, name, sizeof name))
        return SL_FAIL(error, error_size, SL_E_INVALID, "target %s: no socket can have this name (mux)", target->name);
    const size_t length = (size_t)snprintf(path, PATH_ROOM, "%s/%s", directory, name);
    if (length >= PATH_ROOM)
        return SL_FAIL(error, error_size, SL_E_INVALID,
            "%s/%s: the path is %zu bytes too long for a Unix socket: the system allows %zu", directory, name,
            length - (PATH_ROOM - 1), PATH_ROOM - 1);
    return 0;
}

/* What %r@NAME is in ssh_config for the user that the target logs in as, and for no other: ssh with another one finds
 * no socket, and its ProxyCommand says why. "" for an ad-hoc target, whose socket has such a name itself, and where no
 * file can have it: then the target has its plain socket only. */
static void alias_of(const char *directory, const struct sl_target_conf *target, char alias[PATH_ROOM])
{
    const bool possible = !target->adhoc && target->user != NULL && target->user[0] != '\0' && target->user[0] != '.' &&
                          strpbrk(target->user, "/:") == NULL;
    if (!possible || (size_t)snprintf(alias, PATH_ROOM, "%s/%s@%s", directory, target->user, target->name) >= PATH_ROOM)
        alias[0] = '\0';
}

static int set_alias(struct mux_socket *s, const char *alias, char *error, size_t error_size)
{
    struct stat st;
    const bool there = alias[0] != '\0' && lstat(alias, &st) == 0;
    if (strcmp(s->alias, alias) != 0)
        drop_alias(s);
    if (alias[0] == '\0' || (s->alias[0] != '\0' && there))
        return 0;
    if (there && S_ISLNK(st.st_mode)) /* a daemon before us left it */
        (void)unlink(alias);
    if (symlink(s->target, alias) != 0)
        return SL_FAIL(error, error_size, SL_E_IO, "%s: cannot be made: %s", alias, strerror(errno));
    snprintf(s->alias, sizeof s->alias, "%s", alias);
    return 0;
}

static struct mux_socket *find(const struct sl_mux_sockets *all, const char *path)
{
    struct mux_socket *s;
    TAILQ_FOREACH(s, &all->list, link)
    {
        if (strcmp(s->path, path) == 0)
            return s;
    }
    return NULL;
}

/* Somebody may have cleaned up. 0: it is where it was made. */
static int keep_socket(struct mux_socket *s, char *error, size_t error_size)
{
    const struct sl_log *log = s->sockets->log;
    char alias[PATH_ROOM];
    bool made;
    int r = sl_listener_keep(s->listener, &made, error, error_size);
    if (r != 0 && !s->lost)
        sl_log(log, SL_LOG_ERROR, "listener", "target=%s its mux socket was removed, and cannot be made again yet: %s",
            s->target, error);
    else if (r == 0 && made)
        sl_log(
            log, SL_LOG_WARNING, "listener", "socket=%s target=%s was removed, and is made again", s->path, s->target);
    s->lost = r != 0;
    if (r != 0)
        return r;
    memcpy(alias, s->alias, sizeof alias);
    return set_alias(s, alias, error, error_size);
}

/* --- looking after them ------------------------------------------------------------------------------------------- */

static bool look(void *arg)
{
    struct sl_mux_sockets *all = arg;
    struct mux_socket *s;
    char error[1024];
    bool well = true;
    if (!TAILQ_EMPTY(&all->list))
        (void)sl_mux_directory_make(sl_dir_watch_directory(all->watch), all->one_user, error, sizeof error);
    TAILQ_FOREACH(s, &all->list, link)
    {
        if (keep_socket(s, error, sizeof error) != 0)
            well = false;
    }
    if (all->failed > 0 && uv_now(all->loop) - all->tried_ms >= AGAIN_MS) {
        all->trying_again = true;
        all->again(all->arg);
        all->trying_again = false;
    }
    return well;
}

/* Those in a directory of earlier, if there are any, are looked after less often. */
static void look_after(struct sl_mux_sockets *all, const char *directory)
{
    if (all->watch != NULL && strcmp(sl_dir_watch_directory(all->watch), directory) == 0)
        return;
    sl_dir_watch_free(all->watch);
    all->watch = NULL;
    if (sl_dir_watch_new(all->loop, directory, SL_DIR_WATCH_MS, look, all, &all->watch) != 0)
        sl_log(all->log, SL_LOG_WARNING, "listener", "the mux sockets are not watched: out of memory");
}

static int open_socket(struct sl_mux_sockets *all, const struct sl_conf *conf, const struct sl_target_conf *target,
    const char *path, const char *alias, char *error, size_t error_size)
{
    const struct sl_listener_options options = {
        .path = path,
        .mode = conf->listen.mode,
        .group_set = conf->listen.group_set,
        .group = conf->listen.group,
    };
    struct mux_socket *s = find(all, path);
    if (s != NULL) {
        int kept = keep_socket(s, error, error_size);
        return kept == 0 ? set_alias(s, alias, error, error_size) : kept;
    }
    s = calloc(1, sizeof *s);
    if (s == NULL || (s->target = strdup(target->name)) == NULL) {
        free(s);
        return SL_FAIL(error, error_size, SL_E_NOMEM, "%s", sl_status_text(SL_E_NOMEM));
    }
    s->sockets = all;
    snprintf(s->path, sizeof s->path, "%s", path);
    int r = sl_listener_open(all->loop, all->log, &options, on_accept, s, error, error_size, &s->listener);
    if (r != 0) {
        free(s->target);
        free(s);
        return r;
    }
    sl_listener_closed_by(s->listener, all->jobs);
    s->adhoc = target->adhoc;
    if (s->adhoc)
        all->adhoc++;
    TAILQ_INSERT_TAIL(&all->list, s, link);
    sl_log(all->log, SL_LOG_INFO, "listener", "socket=%s target=%s", path, s->target);
    return set_alias(s, alias, error, error_size);
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

/* Whether the configuration wants it. Those made on demand stay. */
static bool is_wanted(const struct mux_socket *s, const struct sl_conf *conf)
{
    const struct sl_target_conf *target = sl_conf_find(conf, s->target);
    char path[PATH_ROOM], error[1024];
    if (s->adhoc)
        return true;
    return target != NULL && conf->mux.directory != NULL &&
           path_of(conf->mux.directory, target, path, error, sizeof error) == 0 && strcmp(path, s->path) == 0;
}

void sl_mux_sockets_sync(struct sl_mux_sockets *all, const struct sl_conf *conf)
{
    struct mux_socket *s, *next;
    char path[PATH_ROOM], alias[PATH_ROOM], error[1024];
    for (s = TAILQ_FIRST(&all->list); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        if (!is_wanted(s, conf))
            close_socket(s);
    }
    all->one_user = conf->one_user;
    all->failed = 0;
    all->tried_ms = uv_now(all->loop);
    if (conf->mux.directory != NULL)
        look_after(all, conf->mux.directory);
    for (size_t i = 0; conf->mux.directory != NULL && i < conf->target_count; i++) {
        int r = path_of(conf->mux.directory, conf->target[i], path, error, sizeof error);
        alias_of(conf->mux.directory, conf->target[i], alias);
        if (r == 0)
            r = open_socket(all, conf, conf->target[i], path, alias, error, sizeof error);
        if (r == 0)
            continue;
        all->failed++;
        sl_log(all->log, all->trying_again ? SL_LOG_DEBUG : SL_LOG_ERROR, "listener", "target=%s has no mux socket: %s",
            conf->target[i]->name, error);
    }
}

int sl_mux_sockets_ensure(struct sl_mux_sockets *all, const struct sl_conf *conf, const struct sl_target_conf *target,
    char *path, size_t size)
{
    char directory[PATH_ROOM], place[PATH_ROOM], alias[PATH_ROOM];
    int r = demand_directory(conf, directory, sizeof directory, path, size);
    if (r == 0)
        r = path_of(directory, target, place, path, size);
    if (r != 0)
        return r;
    if (target->adhoc && all->adhoc >= conf->limits.targets && find(all, place) == NULL)
        return SL_FAIL(path, size, SL_E_LIMIT, "target %s: %u sockets were made on demand already (limits.targets)",
            target->name, all->adhoc);
    alias_of(directory, target, alias);
    all->one_user = conf->one_user;
    look_after(all, directory);
    r = open_socket(all, conf, target, place, alias, path, size);
    if (r == 0)
        snprintf(path, size, "%s", alias[0] != '\0' ? alias : place);
    return r;
}

int sl_mux_sockets_new(uv_loop_t *loop, const struct sl_log *log, struct sl_fd_jobs *jobs, sl_mux_accept_fn fn,
    sl_mux_again_fn again, void *arg, struct sl_mux_sockets **ret_sockets)
{
    struct sl_mux_sockets *all = calloc(1, sizeof *all);
    if (all == NULL)
        return SL_E_NOMEM;
    all->loop = loop;
    all->log = log;
    all->jobs = jobs;
    all->fn = fn;
    all->again = again;
    all->arg = arg;
    TAILQ_INIT(&all->list);
    *ret_sockets = all;
    return 0;
}

void sl_mux_sockets_close_all(struct sl_mux_sockets *all)
{
    struct mux_socket *s, *next;
    sl_dir_watch_free(all->watch);
    all->watch = NULL;
    all->failed = 0;
    for (s = TAILQ_FIRST(&all->list); s != NULL; s = next) {
        next = TAILQ_NEXT(s, link);
        close_socket(s);
    }
}

bool sl_mux_sockets_reachable(const struct sl_mux_sockets *all)
{
    const struct mux_socket *s;
    TAILQ_FOREACH(s, &all->list, link)
    {
        if (!s->lost)
            return true;
    }
    return false;
}

void sl_mux_sockets_free(struct sl_mux_sockets *all)
{
    if (all == NULL)
        return;
    sl_mux_sockets_close_all(all);
    free(all);
}
