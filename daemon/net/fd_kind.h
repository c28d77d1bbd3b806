/* SPDX-License-Identifier: MIT */
/* fd_kind.h - what a descriptor is, and whose: what is found out without asking what a client can keep from answering,
 * a file server or a lock. */
#ifndef SSHLEASE_NET_FD_KIND_H
#define SSHLEASE_NET_FD_KIND_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

#define SL_FD_NOBODY ((uid_t)-1)
/* Most descriptors that can come with one message (SCM_MAX_FD of the kernel). */
#define SL_FD_RIGHTS_MAX 253
/* Room for their control message, and for what else a client may have switched on (credentials, labels, pidfds). */
#define SL_FD_RIGHTS_ROOM (CMSG_SPACE(SL_FD_RIGHTS_MAX * sizeof(int)) + 1024u)

enum sl_fd_kind {
    SL_FD_KIND_SOCKET, /* of this machine's (Unix) or of IP */
    SL_FD_KIND_PIPE,
    SL_FD_KIND_DEVICE, /* a character device */
    SL_FD_KIND_FILE,   /* what may block: files, other sockets, and all that does not say what it is */
};
enum sl_fd_kind sl_fd_kind(int fd);
/* Type, device, inode, as known here. 0, or -1 with errno (a FUSE file of another user's). */
int sl_fd_stat(int fd, struct statx *ret_stat);

/* Neither root's nor the daemon's own user's, who can stop us anyhow. */
bool sl_fd_is_strangers(uid_t uid);
/* A file of procfs about this process. The kernel asks who reads it, not who opened it, and shows us what it shows nobody
 * else: where our memory is. May block: it asks the file system. */
bool sl_fd_is_about_us(int fd);
/* Its number is one of the highest: no client's descriptor is to have it. As many as can come with one message are
 * left, for what finds no room then the kernel closes in the call that reads it. */
bool sl_fd_is_spare(int fd);

#endif
