/* SPDX-License-Identifier: MIT */
/* Asks getsockopt() and statx() for a descriptor's kind, and compares its owner and number. */
#include "daemon/net/fd_kind.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

int sl_fd_stat(int fd, struct statx *ret_stat)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, ret_stat);
}

enum sl_fd_kind sl_fd_kind(int fd)
{
    struct statx st;
    int type;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0)
        return SL_FD_KIND_SOCKET;
    if (sl_fd_stat(fd, &st) != 0)
        return SL_FD_KIND_FILE;
    return S_ISFIFO(st.stx_mode) ? SL_FD_KIND_PIPE : S_ISCHR(st.stx_mode) ? SL_FD_KIND_DEVICE : SL_FD_KIND_FILE;
}

bool sl_fd_is_strangers(uid_t uid)
{
    return uid != SL_FD_NOBODY && uid != 0 && uid != geteuid();
}

bool sl_fd_is_spare(int fd)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return false;
    const rlim_t kept = files.rlim_cur / 8 < SL_FD_RIGHTS_MAX ? files.rlim_cur / 8 : SL_FD_RIGHTS_MAX;
    return (rlim_t)fd >= files.rlim_cur - kept;
}
