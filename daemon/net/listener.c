/* Making the socket, step by step:
 *   1. lock a file of our own beside it, so that two daemons that start at once cannot both find the name free: what
 *      others may open, a directory for one, they may lock, and keep locked
 *   2. ask who is there: nobody, a dead daemon's socket, a live one, or a file of another kind
 *   3. bind to a temporary name beside it, set group and mode, listen
 *   4. move it to its name: a client sees either the old socket or a new one that answers
 * A failure after the bind removes the temporary name. */
#include "daemon/net/listener.h"

#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 512
/* Clients accepted in one turn of the loop; the others wait in the backlog while leases are served. */
#define ACCEPTS_PER_TURN 32
/* How long accepting rests when the system has no room for another socket. */
#define REST_MS 100u
/* Lock files that went away while they were being locked, until one stays. */
#define LOCK_TRIES 8

struct sl_listener {
    uv_poll_t poll;
    uv_timer_t rest;
    unsigned handles; /* not yet closed */
    const struct sl_log *log;
    int fd;
    int reserve; /* given up for a moment when descriptors run out, so that a client can be told; -1: gone */
    sl_listener_accept_fn fn;
    void *arg;
    struct sl_fd_jobs *jobs; /* closes it; NULL: we do */
    /* The name that goes away with us; NULL when it is systemd's. */
    char *path;
    dev_t device;
    ino_t inode;
};

/* One line about what went wrong for the caller's `error`; its value is `status`. */
#define FAIL(error, error_size, status, ...) ((void)snprintf(error, error_size, __VA_ARGS__), (status))

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_rested(uv_timer_t *timer);

static void rest(struct sl_listener *l, int error)
{
    sl_log(l->log, SL_LOG_WARNING, "listener", "accepting rests for %u ms: %s", REST_MS, strerror(error));
    (void)uv_poll_stop(&l->poll);
    (void)uv_timer_start(&l->rest, on_rested, REST_MS, 0);
}

static void accept_without_room(struct sl_listener *l)
{
    if (l->reserve < 0) {
        l->reserve = open_reserve();
        rest(l, EMFILE);
        return;
    }
    (void)close(l->reserve);
    l->reserve = -1;
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        l->fn(l->arg, fd, SL_E_LIMIT);
    else if (errno != EAGAIN)
        rest(l, errno);
    l->reserve = open_reserve();
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct sl_listener *l = poll->data;

    (void)status;
    (void)events;
    /* The callee may close the listener, which stops the poll. */
    for (int i = 0; i < ACCEPTS_PER_TURN && uv_is_active((uv_handle_t *)&l->poll); i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->fn(l->arg, fd, sl_fd_is_spare(fd) ? SL_E_LIMIT : SL_OK);
            continue;
        }
        switch (errno) {
        case EAGAIN:
            return;
        case EINTR:
        case ECONNABORTED:
            continue;
        case EMFILE:
            accept_without_room(l);
            continue;
        default:
            rest(l, errno);
            return;
        }
    }
}

static void on_rested(uv_timer_t *timer)
{
    struct sl_listener *l = timer->data;

    (void)uv_poll_start(&l->poll, UV_READABLE, on_readable);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_listener *l = handle->data;

    if (--l->handles > 0)
        return;
    if (l->reserve >= 0)
        (void)close(l->reserve);
    sl_fd_jobs_unref(l->jobs);
    free(l->path);
    free(l);
}

void sl_listener_closed_by(struct sl_listener *l, struct sl_fd_jobs *jobs)
{
    l->jobs = sl_fd_jobs_ref(jobs);
}

int sl_listener_take(uv_loop_t *loop, const struct sl_log *log, int fd, sl_listener_accept_fn fn, void *arg,
    char *error, size_t error_size, struct sl_listener **ret_listener)
{
    struct sl_listener *l = calloc(1, sizeof *l);

    if (l == NULL)
        return FAIL(error, error_size, SL_E_NOMEM, "out of memory");
    l->log = log;
    l->fd = fd;
    l->fn = fn;
    l->arg = arg;
    l->poll.data = l;
    l->rest.data = l;
    int r = uv_poll_init(loop, &l->poll, fd);
    if (r != 0) {
        free(l);
        return FAIL(error, error_size, SL_E_IO, "descriptor %d: %s", fd, uv_strerror(r));
    }
    l->reserve = open_reserve();
    (void)uv_timer_init(loop, &l->rest);
    l->handles = 2;
    (void)uv_poll_start(&l->poll, UV_READABLE, on_readable);
    *ret_listener = l;
    return SL_OK;
}

int sl_listener_adopt(uv_loop_t *loop, const struct sl_log *log, int fd, sl_listener_accept_fn fn, void *arg,
    char *error, size_t error_size, struct sl_listener **ret_listener)
{
    int type = 0, listening = 0;
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof type, address_len = sizeof address;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM ||
        getsockname(fd, (struct sockaddr *)&address, &address_len) != 0 || address.sun_family != AF_UNIX)
        return FAIL(error, error_size, SL_E_INVALID, "descriptor %d is not a Unix stream socket", fd);
    len = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || listening == 0)
        return FAIL(error, error_size, SL_E_INVALID, "the socket given as descriptor %d does not listen", fd);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return FAIL(error, error_size, SL_E_IO, "descriptor %d: %s", fd, strerror(errno));
    return sl_listener_take(loop, log, fd, fn, arg, error, error_size, ret_listener);
}

/* --- the name ---------------------------------------------------------------------------------------------------- */

struct place {
    struct sockaddr_un name;
    struct sockaddr_un temporary;
    char lock[sizeof((struct sockaddr_un *)NULL)->sun_path + 16]; /* ".sl-NAME.lock", in the same directory */
};

static int name_place(const char *path, struct place *ret_place, char *error, size_t error_size)
{
    const size_t room = sizeof ret_place->name.sun_path;
    const char *slash = strrchr(path, '/');
    size_t directory_len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    char suffix[32];

    if (path[directory_len] == '\0')
        return FAIL(error, error_size, SL_E_INVALID, "%s: not the name of a socket", path);
    int suffix_len = snprintf(suffix, sizeof suffix, ".sl-%ld", (long)getpid());
    size_t longest = directory_len + (size_t)suffix_len;
    if (strlen(path) > longest)
        longest = strlen(path);
    if (longest >= room) {
        return FAIL(error, error_size, SL_E_INVALID,
            "%s: the path is %zu bytes too long for a Unix socket: the system allows %zu", path, longest - (room - 1),
            room - 1);
    }
    *ret_place = (struct place){.name.sun_family = AF_UNIX, .temporary.sun_family = AF_UNIX};
    memcpy(ret_place->name.sun_path, path, strlen(path) + 1);
    memcpy(ret_place->temporary.sun_path, path, directory_len);
    memcpy(ret_place->temporary.sun_path + directory_len, suffix, (size_t)suffix_len + 1);
    (void)snprintf(
        ret_place->lock, sizeof ret_place->lock, "%.*s.sl-%s.lock", (int)directory_len, path, path + directory_len);
    return SL_OK;
}

/* Another user's file would be that user's to lock. */
static int open_lock(const struct place *place, int *ret_fd, struct stat *ret_st, char *error, size_t error_size)
{
    const char *path = place->name.sun_path;

    int fd = open(place->lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, ret_st) != 0) {
        int r = FAIL(
            error, error_size, SL_E_IO, "%s: its lock file %s cannot be used: %s", path, place->lock, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    if (!S_ISREG(ret_st->st_mode) || ret_st->st_uid != geteuid() || (ret_st->st_mode & 077) != 0) {
        (void)close(fd);
        return FAIL(error, error_size, SL_E_IO,
            "%s: its lock file %s belongs to somebody else, or others may open it; remove it", path, place->lock);
    }
    *ret_fd = fd;
    return SL_OK;
}

static int lock_place(const struct place *place, int *ret_fd, char *error, size_t error_size)
{
    const char *path = place->name.sun_path;
    struct stat locked, named;

    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd, r = open_lock(place, &fd, &locked, error, error_size);
        if (r != 0)
            return r;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            r = errno == EWOULDBLOCK ? FAIL(error, error_size, SL_E_IO,
                                           "%s: another daemon is starting there (it has locked %s)", path, place->lock)
                                     : FAIL(error, error_size, SL_E_IO, "%s: its lock file %s cannot be locked: %s",
                                           path, place->lock, strerror(errno));
            (void)close(fd);
            return r;
        }
        if (lstat(place->lock, &named) == 0 && named.st_dev == locked.st_dev && named.st_ino == locked.st_ino) {
            *ret_fd = fd;
            return SL_OK;
        }
        (void)close(fd); /* another daemon has removed it meanwhile */
    }
    return FAIL(error, error_size, SL_E_IO, "%s: its lock file %s does not stay", path, place->lock);
}

/* Whoever finds it gone has found it while it was locked. */
static void unlock_place(const struct place *place, int fd)
{
    (void)unlink(place->lock);
    (void)close(fd);
}

/* 0 when the name may be taken. */
static int check_name_free(const struct place *place, char *error, size_t error_size)
{
    const char *path = place->name.sun_path;
    struct stat st;

    if (lstat(path, &st) != 0) {
        if (errno == ENOENT)
            return SL_OK;
        return FAIL(error, error_size, SL_E_IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode))
        return FAIL(
            error, error_size, SL_E_IO, "%s: exists and is not a socket; move it away or choose another path", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return FAIL(error, error_size, SL_E_IO, "%s: %s", path, strerror(errno));
    int answer = connect(fd, (const struct sockaddr *)&place->name, sizeof place->name) == 0 ? 0 : errno;
    (void)close(fd);
    switch (answer) {
    case ECONNREFUSED: /* left behind by a daemon that was killed */
    case ENOENT:
        return SL_OK;
    case 0:
    case EAGAIN: /* its backlog is full: somebody listens */
        return FAIL(error, error_size, SL_E_IO, "%s: another daemon is listening there", path);
    default:
        return FAIL(error, error_size, SL_E_IO, "%s: exists, and whether somebody listens cannot be known: %s", path,
            strerror(answer));
    }
}

static int publish(const struct place *place, const struct sl_listener_options *options, int fd, struct stat *ret_st,
    char *error, size_t error_size)
{
    const char *temporary = place->temporary.sun_path;
    const char *what;

    (void)unlink(temporary); /* a dead process that had our number */
    mode_t old_mask = umask(077);
    int r = bind(fd, (const struct sockaddr *)&place->temporary, sizeof place->temporary);
    int bind_errno = errno;
    (void)umask(old_mask);
    if (r != 0)
        return FAIL(error, error_size, SL_E_IO, "%s: %s", options->path, strerror(bind_errno));
    what = "its group cannot be set";
    if (lstat(temporary, ret_st) != 0)
        goto err_bound;
    /* A sandbox may forbid chown(2) where there is nothing to change. */
    if (options->group_set && ret_st->st_gid != options->group && lchown(temporary, (uid_t)-1, options->group) != 0)
        goto err_bound;
    what = "its mode cannot be set";
    if (chmod(temporary, options->mode & 07777) != 0)
        goto err_bound;
    what = "cannot listen";
    if (listen(fd, BACKLOG) != 0)
        goto err_bound;
    what = "cannot be moved into place";
    if (rename(temporary, options->path) != 0)
        goto err_bound;
    return SL_OK;

err_bound:
    r = FAIL(error, error_size, SL_E_IO, "%s: %s: %s", options->path, what, strerror(errno));
    (void)unlink(temporary);
    return r;
}

int sl_listener_open(uv_loop_t *loop, const struct sl_log *log, const struct sl_listener_options *options,
    sl_listener_accept_fn fn, void *arg, char *error, size_t error_size, struct sl_listener **ret_listener)
{
    struct place place;
    struct stat st;
    struct sl_listener *l = NULL;
    int lock = -1;

    int r = name_place(options->path, &place, error, error_size);
    if (r != 0 || (r = lock_place(&place, &lock, error, error_size)) != 0)
        return r;
    char *path = strdup(options->path);
    int fd = -1;
    if (path == NULL) {
        r = FAIL(error, error_size, SL_E_NOMEM, "out of memory");
        goto err_locked;
    }
    r = check_name_free(&place, error, error_size);
    if (r != 0)
        goto err_locked;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        r = FAIL(error, error_size, SL_E_IO, "%s: %s", path, strerror(errno));
        goto err_locked;
    }
    r = publish(&place, options, fd, &st, error, error_size);
    if (r != 0)
        goto err_socket;
    r = sl_listener_adopt(loop, log, fd, fn, arg, error, error_size, &l);
    if (r != 0)
        goto err_published;
    unlock_place(&place, lock);
    l->path = path;
    l->device = st.st_dev;
    l->inode = st.st_ino;
    *ret_listener = l;
    return SL_OK;

err_published:
    (void)unlink(path);
err_socket:
    (void)close(fd);
err_locked:
    free(path);
    unlock_place(&place, lock);
    return r;
}

void sl_listener_close(struct sl_listener *l)
{
    struct stat st;

    if (l == NULL || uv_is_closing((uv_handle_t *)&l->poll))
        return;
    if (l->path != NULL && lstat(l->path, &st) == 0 && st.st_dev == l->device && st.st_ino == l->inode)
        (void)unlink(l->path);
    uv_close((uv_handle_t *)&l->poll, on_handle_closed);
    uv_close((uv_handle_t *)&l->rest, on_handle_closed);
    /* Now, so that nobody finds it open who has been told that it is not. */
    if (l->path != NULL)
        (void)shutdown(l->fd, SHUT_RDWR); /* not systemd's, who goes on listening */
    sl_fd_jobs_close(l->jobs, l->fd);
}
