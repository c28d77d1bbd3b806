/* SPDX-License-Identifier: MIT */
/* Taking it, step by step:
 *   1. lock a file of our own beside it, so that two daemons that start at once cannot both find the name free: what
 *      others may open, a directory for one, they may lock, and keep locked
 *   2. ask who is there: nobody, a dead daemon's socket, a live one, or a file of another kind
 *   3. bind to a temporary name beside it, set group and mode, listen
 *   4. move it to its name: a client sees either the old socket or a new one that answers
 * A failure after the bind removes the temporary name. Where options.guarded says so the lock is kept as long as the
 * place: when somebody removes the socket, no other daemon takes its place before we make it again. */
#include "daemon/net/listener_place.h"

#include "base/fail.h"
#include "proto/msg.h"
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
/* Lock files that went away while they were being locked, until one stays. */
#define LOCK_TRIES 8

struct sl_place {
    struct sl_listener_options options; /* path: name.sun_path */
    struct sockaddr_un name;
    struct sockaddr_un temporary;
    char lock[sizeof((struct sockaddr_un *)NULL)->sun_path + 16]; /* ".sl-NAME.lock", in the same directory */
    int lock_fd;                                                  /* -1: it is not locked */
    char left[sizeof((struct sockaddr_un *)NULL)->sun_path + 16]; /* SL_MSG_LEFT_FILE */
    bool taken;                                                   /* once; then the socket is these two */
    dev_t device;
    ino_t inode;
};

static int name_place(const char *path, struct sl_place *place, char *error, size_t error_size)
{
    const size_t room = sizeof place->name.sun_path;
    const char *slash = strrchr(path, '/');
    size_t directory_len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    char suffix[32];
    if (path[directory_len] == '\0')
        return SL_FAIL(error, error_size, SL_E_INVALID, "%s: not the name of a socket", path);
    int suffix_len = snprintf(suffix, sizeof suffix, ".sl-%ld", (long)getpid());
    size_t longest = directory_len + (size_t)suffix_len;
    if (strlen(path) > longest)
        longest = strlen(path);
    if (longest >= room) {
        return SL_FAIL(error, error_size, SL_E_INVALID,
            "%s: the path is %zu bytes too long for a Unix socket: the system allows %zu", path, longest - (room - 1),
            room - 1);
    }
    place->name.sun_family = place->temporary.sun_family = AF_UNIX;
    memcpy(place->name.sun_path, path, strlen(path) + 1);
    memcpy(place->temporary.sun_path, path, directory_len);
    memcpy(place->temporary.sun_path + directory_len, suffix, (size_t)suffix_len + 1);
    snprintf(place->lock, sizeof place->lock, "%.*s.sl-%s.lock", (int)directory_len, path, path + directory_len);
    snprintf(place->left, sizeof place->left, "%.*s" SL_MSG_LEFT_FILE, (int)directory_len, path, path + directory_len);
    return 0;
}

/* Another user's file would be that user's to lock. */
static int open_lock(const struct sl_place *place, int *ret_fd, struct stat *ret_st, char *error, size_t error_size)
{
    const char *path = place->name.sun_path;
    int fd = open(place->lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, ret_st) != 0) {
        int r = SL_FAIL(
            error, error_size, SL_E_IO, "%s: its lock file %s cannot be used: %s", path, place->lock, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    if (!S_ISREG(ret_st->st_mode) || ret_st->st_uid != geteuid() || (ret_st->st_mode & 077) != 0) {
        (void)close(fd);
        return SL_FAIL(error, error_size, SL_E_IO,
            "%s: its lock file %s belongs to somebody else, or others may open it; remove it", path, place->lock);
    }
    *ret_fd = fd;
    return 0;
}

static bool is_the_file(const char *path, const struct stat *st)
{
    struct stat named;
    return lstat(path, &named) == 0 && named.st_dev == st->st_dev && named.st_ino == st->st_ino;
}

static bool is_locked(const struct sl_place *place)
{
    struct stat locked;
    return place->lock_fd >= 0 && fstat(place->lock_fd, &locked) == 0 && is_the_file(place->lock, &locked);
}

/* A daemon that finds it gone had opened it while it was still locked. */
static void unlock_place(struct sl_place *place)
{
    if (is_locked(place))
        (void)unlink(place->lock);
    if (place->lock_fd >= 0)
        (void)close(place->lock_fd);
    place->lock_fd = -1;
}

/* 0 when the name may be taken. */
static int check_name_free(const struct sl_place *place, char *error, size_t error_size)
{
    const char *path = place->name.sun_path;
    struct stat st;
    if (lstat(path, &st) != 0) {
        if (errno == ENOENT)
            return 0;
        return SL_FAIL(error, error_size, SL_E_IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode))
        return SL_FAIL(
            error, error_size, SL_E_IO, "%s: exists and is not a socket; move it away or choose another path", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return SL_FAIL(error, error_size, SL_E_IO, "%s: %s", path, strerror(errno));
    int answer = connect(fd, (const struct sockaddr *)&place->name, sizeof place->name) == 0 ? 0 : errno;
    (void)close(fd);
    switch (answer) {
    case ECONNREFUSED: /* left behind by a daemon that was killed */
    case ENOENT:
        return 0;
    case 0:
    case EAGAIN: /* its backlog is full: somebody listens */
        return SL_FAIL(error, error_size, SL_E_BUSY, "%s: another daemon is listening there", path);
    default:
        return SL_FAIL(error, error_size, SL_E_IO, "%s: exists, and whether somebody listens cannot be known: %s", path,
            strerror(answer));
    }
}

static int say_who_locks(const struct sl_place *place, int error_number, char *error, size_t error_size)
{
    const char *path = place->name.sun_path;
    if (error_number != EWOULDBLOCK)
        return SL_FAIL(error, error_size, SL_E_IO, "%s: its lock file %s cannot be locked: %s", path, place->lock,
            strerror(error_number));
    if (check_name_free(place, error, error_size) == SL_E_BUSY)
        return SL_E_BUSY;
    return SL_FAIL(error, error_size, SL_E_BUSY,
        "%s: another daemon is starting there, or has lost its socket (it has locked %s)", path, place->lock);
}

static int lock_place(struct sl_place *place, char *error, size_t error_size)
{
    struct stat locked;
    if (is_locked(place))
        return 0;
    unlock_place(place);
    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd, r = open_lock(place, &fd, &locked, error, error_size);
        if (r != 0)
            return r;
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            r = say_who_locks(place, errno, error, error_size);
            (void)close(fd);
            return r;
        }
        if (is_the_file(place->lock, &locked)) {
            place->lock_fd = fd;
            return 0;
        }
        (void)close(fd); /* another daemon has removed it meanwhile */
    }
    return SL_FAIL(error, error_size, SL_E_IO, "%s: its lock file %s does not stay", place->name.sun_path, place->lock);
}

static int publish(const struct sl_place *place, int fd, struct stat *ret_st, char *error, size_t error_size)
{
    const struct sl_listener_options *options = &place->options;
    const char *temporary = place->temporary.sun_path;
    const char *what;
    (void)unlink(temporary); /* a dead process that had our number */
    mode_t old_mask = umask(077);
    int r = bind(fd, (const struct sockaddr *)&place->temporary, sizeof place->temporary);
    int bind_errno = errno;
    (void)umask(old_mask);
    if (r != 0)
        return SL_FAIL(error, error_size, SL_E_IO, "%s: %s", options->path, strerror(bind_errno));
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
    return 0;

err_bound:
    r = SL_FAIL(error, error_size, SL_E_IO, "%s: %s: %s", options->path, what, strerror(errno));
    (void)unlink(temporary);
    return r;
}

int sl_place_new(const struct sl_listener_options *options, char *error, size_t error_size, struct sl_place **ret_place)
{
    struct sl_place *place = calloc(1, sizeof *place);
    if (place == NULL)
        return SL_FAIL(error, error_size, SL_E_NOMEM, "out of memory");
    int r = name_place(options->path, place, error, error_size);
    if (r != 0) {
        free(place);
        return r;
    }
    place->options = *options;
    place->options.path = place->name.sun_path;
    place->lock_fd = -1;
    *ret_place = place;
    return 0;
}

const char *sl_place_path(const struct sl_place *place)
{
    return place->name.sun_path;
}

static bool is_there(const struct sl_place *place)
{
    const struct stat st = {.st_dev = place->device, .st_ino = place->inode};
    return place->taken && is_the_file(place->name.sun_path, &st);
}

bool sl_place_is_held(struct sl_place *place)
{
    char error[1024];
    if (!is_there(place))
        return false;
    /* A daemon that gets it instead of us finds a live socket. */
    if (place->options.guarded)
        (void)lock_place(place, error, sizeof error);
    return true;
}

int sl_place_take(struct sl_place *place, char *error, size_t error_size, int *ret_fd)
{
    struct stat st;
    int fd = -1;
    int r = lock_place(place, error, error_size);
    if (r != 0)
        return r;
    r = check_name_free(place, error, error_size);
    if (r == 0) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        r = fd >= 0 ? publish(place, fd, &st, error, error_size)
                    : SL_FAIL(error, error_size, SL_E_IO, "%s: %s", place->name.sun_path, strerror(errno));
    }
    if (r != 0) {
        if (fd >= 0)
            (void)close(fd);
        if (!place->options.guarded || !place->taken)
            unlock_place(place);
        return r;
    }
    if (!place->options.guarded)
        unlock_place(place);
    if (place->options.succeeded)
        (void)unlink(place->left);
    place->taken = true;
    place->device = st.st_dev;
    place->inode = st.st_ino;
    *ret_fd = fd;
    return 0;
}

/* For those who find no socket from now on. Without it they take it that nobody comes. */
static void say_left(const struct sl_place *place)
{
    int fd = open(place->left, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    (void)futimens(fd, NULL);
    (void)close(fd);
}

void sl_place_free(struct sl_place *place)
{
    if (place == NULL)
        return;
    if (is_there(place)) {
        if (place->options.succeeded)
            say_left(place);
        (void)unlink(place->name.sun_path);
    }
    unlock_place(place);
    free(place);
}
