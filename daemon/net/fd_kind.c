/* SPDX-License-Identifier: MIT */
/* Asks getsockopt() and statx() for a descriptor's kind, and compares its owner and number. */
#include "daemon/net/fd_kind.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

int sl_fd_stat(int fd, struct statx *ret_stat)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, ret_stat);
}

enum sl_fd_kind sl_fd_kind(int fd)
{
    struct statx st;
    int domain;
    socklen_t len = sizeof domain;
    /* Polling one of these takes no lock that a reader can hold. Of others (vsock) it does, or nobody has looked. */
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0)
        return domain == AF_UNIX || domain == AF_INET || domain == AF_INET6 ? SL_FD_KIND_SOCKET : SL_FD_KIND_FILE;
    if (sl_fd_stat(fd, &st) != 0)
        return SL_FD_KIND_FILE;
    return S_ISFIFO(st.stx_mode) ? SL_FD_KIND_PIPE : S_ISCHR(st.stx_mode) ? SL_FD_KIND_DEVICE : SL_FD_KIND_FILE;
}

bool sl_fd_is_strangers(uid_t uid)
{
    return uid != SL_FD_NOBODY && uid != 0 && uid != geteuid();
}

/* A process is its number there, and so is each of its threads. */
static bool names_us(const char *component)
{
    char path[64];
    if (component[0] == '\0' || strspn(component, "0123456789") != strlen(component))
        return false;
    snprintf(path, sizeof path, "/proc/self/task/%.20s", component);
    return access(path, F_OK) == 0;
}

bool sl_fd_is_about_us(int fd)
{
    char link[40], path[PATH_MAX], *rest = path;
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0)
        return true;
    path[len] = '\0';
    for (const char *component; (component = strsep(&rest, "/")) != NULL;)
        if (names_us(component))
            return true;
    return false;
}

bool sl_fd_is_spare(int fd)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return false;
    const rlim_t kept = files.rlim_cur / 8 < SL_FD_RIGHTS_MAX ? files.rlim_cur / 8 : SL_FD_RIGHTS_MAX;
    return (rlim_t)fd >= files.rlim_cur - kept;
}
