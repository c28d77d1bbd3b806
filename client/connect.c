/* SPDX-License-Identifier: MIT */
/* The link's beginning: connects, queues HELLO and turns the loop until WELCOME is here. A handle without a lease may go
 * through it again, when the daemon has ended and another one takes its place. */
#include "client/handle.h"

#include "proto/status.h"
#include "sshlease_version.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Connects within the deadline. 0, or -1 with errno. */
static int connect_to(int fd, const struct sockaddr_un *address, socklen_t len, int64_t deadline_ms)
{
    for (;;) {
        if (deadline_ms != SL_NEVER) {
            /* connect() waits as long as a send may when the daemon's backlog is full; 0 would mean for ever. */
            int64_t left_ms = deadline_ms - sl_now_ms();
            struct timeval limit = {.tv_usec = 1000};
            if (left_ms > 0)
                limit = (struct timeval){.tv_sec = left_ms / 1000, .tv_usec = (left_ms % 1000) * 1000};
            if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
                return -1;
        }
        if (connect(fd, (const struct sockaddr *)address, len) == 0 || errno == EISCONN)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

static int connect_failed(struct sshlease *lease, const char *path, int error)
{
    errno = error; /* for %m */
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
        return sl_loop_end(lease, SL_E_NO_DAEMON, "no sshleased is listening at %s", path);
    case EACCES:
    case EPERM:
        return sl_link_denied(lease, path);
    case EAGAIN:
        return sl_loop_end(lease, SL_E_TIMEOUT, "sshleased at %s does not accept connections in time", path);
    case EPROTOTYPE:
        return sl_loop_end(lease, SL_E_NO_DAEMON, "%s is not sshleased's socket", path);
    default:
        return sl_loop_end(lease, SL_E_IO, "cannot connect to %s: %m", path);
    }
}

/* A link that has ended keeps its descriptor's number. 0, or why it has ended again. */
static int open_socket(struct sshlease *lease)
{
    struct sl_link *link = &lease->link;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sl_loop_begin(link);
    if (fd >= 0 && link->fd >= 0) {
        int r = dup3(fd, link->fd, O_CLOEXEC);
        close(fd);
        fd = r;
    }
    if (fd < 0)
        return sl_loop_end(lease, SL_E_IO, "cannot make a socket: %m");
    link->fd = fd;
    return 0;
}

int sl_link_connect(struct sshlease *lease, int64_t deadline_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t len = strlen(lease->path);
    int status = open_socket(lease);
    if (status != 0)
        return status;
    memcpy(address.sun_path, lease->path, len + 1);
    if (connect_to(
            lease->link.fd, &address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1), deadline_ms) != 0)
        return connect_failed(lease, lease->path, errno);

    struct sl_msg hello = {.type = SL_MSG_HELLO,
        .hello = {.version_min = SL_MSG_VERSION_MIN,
            .version_max = SL_MSG_VERSION,
            .program = sl_bytes_of("libsshlease " SSHLEASE_VERSION)}};
    if ((status = sl_link_queue(lease, &hello)) != 0)
        return sl_loop_end(lease, status, "out of memory");
    return 0;
}

int sl_link_greet(struct sshlease *lease, int64_t deadline_ms)
{
    while (lease->link.state == SL_LINK_GREETING || lease->link.state == SL_LINK_HANGUP) {
        int status = sl_loop_turn(lease, deadline_ms);
        if (status == SL_E_AGAIN)
            return sl_loop_end(lease, SL_E_TIMEOUT, "sshleased at %s does not answer", lease->path);
        if (status != 0)
            return status;
    }
    return 0;
}
