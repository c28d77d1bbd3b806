/* SPDX-License-Identifier: MIT */
/* A client that may write to the directory could put its own socket in a target's place, and one that may write above it a
 * directory of its own; ssh would then tell it everything. So each directory on the way, links followed, must be root's
 * or ours, and nobody else's to write, as sshd wants it of authorized_keys (StrictModes). */
#include "daemon/front/mux/directory.h"

#include "base/fail.h"
#include "proto/status.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel */

struct walk {
    char at[PATH_MAX];   /* a directory without links in its name; "" is the root */
    char rest[PATH_MAX]; /* of the way, which the next component begins */
    int links;
    bool one_user;
    char *error;
    size_t error_size;
};

/* Where a user's umask is 002, what it makes is its group's to write, and that group is its own. */
static bool is_private_group(const struct walk *w, const struct stat *st)
{
    return w->one_user && st->st_gid == (gid_t)geteuid() && (st->st_mode & S_IWOTH) == 0;
}

static int check_above(const struct walk *w)
{
    const char *name = w->at[0] != '\0' ? w->at : "/";
    struct stat st;
    if (lstat(name, &st) != 0)
        return SL_FAIL(w->error, w->error_size, SL_E_IO, "%s: %s", name, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return SL_FAIL(w->error, w->error_size, SL_E_INVALID, "%s: is not a directory", name);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return SL_FAIL(w->error, w->error_size, SL_E_INVALID,
            "%s: belongs to user %lu, who could put another directory in the place of the one for mux sockets; let it "
            "be "
            "the daemon's or root's",
            name, (unsigned long)st.st_uid);
    /* In one that is sticky nobody else can move what is root's or ours. */
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (st.st_mode & S_ISVTX) == 0 && !is_private_group(w, &st))
        return SL_FAIL(w->error, w->error_size, SL_E_INVALID,
            "%s: others may write there (mode %04o), and so put another directory in the place of the one for mux "
            "sockets; take that away from them",
            name, (unsigned)(st.st_mode & 07777));
    return 0;
}

/* The way goes on where the link at `name` leads. */
static int follow(struct walk *w, const char *name, const struct stat *st)
{
    char to[PATH_MAX], rest[PATH_MAX];
    if (st->st_uid != 0 && st->st_uid != geteuid())
        return SL_FAIL(w->error, w->error_size, SL_E_INVALID,
            "%s: is a link that belongs to user %lu, who could let it lead elsewhere; let it be the daemon's or root's",
            name, (unsigned long)st->st_uid);
    ssize_t len = readlink(name, to, sizeof to - 1);
    if (len < 0 || ++w->links > LINKS_MAX)
        return SL_FAIL(w->error, w->error_size, SL_E_IO, "%s: %s", name, strerror(len < 0 ? errno : ELOOP));
    to[len] = '\0';
    if ((size_t)snprintf(rest, sizeof rest, "%s/%s", to, w->rest) >= sizeof rest)
        return SL_FAIL(w->error, w->error_size, SL_E_INVALID, "%s: the path is too long", name);
    memcpy(w->rest, rest, sizeof rest);
    if (to[0] == '/')
        w->at[0] = '\0';
    return 0;
}

static int step(struct walk *w, const char *component)
{
    char next[PATH_MAX];
    struct stat st;
    if (strcmp(component, "..") == 0) {
        char *slash = strrchr(w->at, '/');
        if (slash != NULL)
            *slash = '\0';
        return 0;
    }
    if ((size_t)snprintf(next, sizeof next, "%s/%s", w->at, component) >= sizeof next)
        return SL_FAIL(w->error, w->error_size, SL_E_INVALID, "%s: the path is too long", w->at);
    if (lstat(next, &st) != 0)
        return SL_FAIL(w->error, w->error_size, SL_E_IO, "%s: %s", next, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return follow(w, next, &st);
    memcpy(w->at, next, sizeof next);
    return 0;
}

/* Takes the next component off the way; false at its end. */
static bool take(struct walk *w, char component[NAME_MAX + 1])
{
    const char *from = w->rest + strspn(w->rest, "/");
    const size_t len = strcspn(from, "/");
    if (len == 0)
        return false;
    snprintf(component, NAME_MAX + 1, "%.*s", (int)len, from);
    memmove(w->rest, from + len, strlen(from + len) + 1);
    return true;
}

/* Everything above `path`, which is there. */
static int check_way(const char *path, bool one_user, char *error, size_t error_size)
{
    struct walk w = {.one_user = one_user, .error = error, .error_size = error_size};
    char component[NAME_MAX + 1];
    int r = 0;
    if ((size_t)snprintf(w.rest, sizeof w.rest, "%s", path) >= sizeof w.rest)
        return SL_FAIL(error, error_size, SL_E_INVALID, "%s: the path is too long", path);
    while (r == 0 && take(&w, component)) {
        if (strcmp(component, ".") == 0)
            continue;
        r = check_above(&w);
        if (r == 0)
            r = step(&w, component);
    }
    return r;
}

int sl_mux_directory_make(const char *path, bool one_user, char *error, size_t error_size)
{
    const mode_t mode = one_user ? 0700 : 0755;
    struct stat st;
    if (mkdir(path, mode) == 0) {
        if (chmod(path, mode) != 0) /* whatever the umask took away */
            return SL_FAIL(error, error_size, SL_E_IO, "%s: its mode cannot be set: %s", path, strerror(errno));
        return check_way(path, one_user, error, error_size);
    }
    if (errno != EEXIST)
        return SL_FAIL(
            error, error_size, SL_E_IO, "%s: the directory for mux sockets cannot be made: %s", path, strerror(errno));
    if (stat(path, &st) != 0)
        return SL_FAIL(error, error_size, SL_E_IO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return SL_FAIL(error, error_size, SL_E_INVALID, "%s: is not a directory", path);
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return SL_FAIL(error, error_size, SL_E_INVALID,
            "%s: belongs to user %lu; the directory for mux sockets must be the daemon's own or root's", path,
            (unsigned long)st.st_uid);
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return SL_FAIL(error, error_size, SL_E_INVALID,
            "%s: others may write there (mode %04o), and so put sockets of their own in the place of ours; take that "
            "away from them",
            path, (unsigned)(st.st_mode & 07777));
    if (access(path, W_OK | X_OK) != 0)
        return SL_FAIL(
            error, error_size, SL_E_IO, "%s: the daemon cannot make sockets there: %s", path, strerror(errno));
    return check_way(path, one_user, error, error_size);
}
