/* SPDX-License-Identifier: MIT */
/* SO_PEERCRED and SO_PEERGROUPS of a socket; start time, command line and user name of the process behind it. */
#include "daemon/net/peer.h"

#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* More supplementary groups than the kernel allows (NGROUPS_MAX, 65536) cannot come. */
#define GROUPS_FIRST 32u
#define GROUPS_MAX   65536u
/* The largest entry getpwuid_r() is given room for. */
#define PASSWD_MAX 65536u

uid_t sl_peer_uid(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && len == sizeof cred ? cred.uid : (uid_t)-1;
}

int sl_peer_read(int fd, struct sl_who *ret_who)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0 || len != sizeof cred)
        return SL_E_IO;
    /* The kernel says how much room it wants (ERANGE); the groups were fixed when the client connected. */
    size_t room = GROUPS_FIRST;
    gid_t *gid = NULL;
    for (;;) {
        gid_t *more = realloc(gid, (room + 1) * sizeof *gid);
        if (more == NULL) {
            free(gid);
            return SL_E_NOMEM;
        }
        gid = more;
        len = (socklen_t)(room * sizeof *gid);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gid + 1, &len) == 0)
            break;
        if (errno != ERANGE || len / sizeof *gid <= room || len / sizeof *gid > GROUPS_MAX) {
            free(gid);
            return SL_E_IO;
        }
        room = len / sizeof *gid;
    }
    gid[0] = cred.gid;
    *ret_who = (struct sl_who){
        .pid = cred.pid,
        .uid = cred.uid,
        .gid = gid,
        .gid_count = 1 + len / sizeof *gid,
        .start_time = sl_peer_start_time(cred.pid),
    };
    return 0;
}

/* Reads what there is of /proc/PID/NAME, NUL-terminated. The bytes read, or -1. */
static ssize_t read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
    char path[64];
    size_t at = 0;
    if (pid <= 0)
        return -1;
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while (at < size - 1) {
        ssize_t n = read(fd, buf + at, size - 1 - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    (void)close(fd);
    buf[at] = '\0';
    return (ssize_t)at;
}

uint64_t sl_peer_start_time(pid_t pid)
{
    char stat[1024];
    if (read_proc(pid, "stat", stat, sizeof stat) <= 0)
        return 0;
    /* proc(5): the second field is the command in parentheses, which may hold anything; what follows the last ')' is
     * plain. The start time is field 22, the 20th after it. */
    const char *at = strrchr(stat, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

size_t sl_peer_words(pid_t pid, uint64_t start_time, char *buf, size_t size)
{
    ssize_t len = read_proc(pid, "cmdline", buf, size);
    /* Read first, then asked whether it was the right process: the other way round, one could take the other's place.
     */
    if (len > 0 && start_time != 0 && sl_peer_start_time(pid) == start_time)
        return (size_t)len;
    buf[0] = '\0';
    return 0;
}

void sl_peer_command_line(pid_t pid, uint64_t start_time, char *buf, size_t size)
{
    size_t len = sl_peer_words(pid, start_time, buf, size);
    while (len > 0 && buf[len - 1] == '\0')
        len--;
    for (size_t i = 0; i < len; i++)
        if (buf[i] == '\0')
            buf[i] = ' ';
}

void sl_peer_user_name(uid_t uid, char *buf, size_t size)
{
    struct passwd entry, *found = NULL;
    char *room = NULL;
    for (size_t room_size = 1024; room_size <= PASSWD_MAX; room_size *= 4) {
        free(room);
        room = malloc(room_size);
        if (room == NULL || getpwuid_r(uid, &entry, room, room_size, &found) != ERANGE)
            break;
    }
    if (found != NULL)
        snprintf(buf, size, "%s", found->pw_name);
    else
        snprintf(buf, size, "%lu", (unsigned long)uid);
    free(room);
}
