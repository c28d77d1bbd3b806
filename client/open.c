/* SPDX-License-Identifier: MIT */
/* A handle's beginning and end, and what an event loop asks of it. sshlease_open() connects, queues HELLO and turns the
 * loop until WELCOME is here. */
#include "client/handle.h"

#include "proto/status.h"
#include "sshlease_version.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define OUT_FIRST 4096u

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
        return sl_loop_end(lease, SL_E_NOT_ALLOWED, "no permission to connect to %s", path);
    case EAGAIN:
        return sl_loop_end(lease, SL_E_TIMEOUT, "sshleased at %s does not accept connections in time", path);
    case EPROTOTYPE:
        return sl_loop_end(lease, SL_E_NO_DAEMON, "%s is not sshleased's socket", path);
    default:
        return sl_loop_end(lease, SL_E_IO, "cannot connect to %s: %m", path);
    }
}

static int open_link(struct sshlease *lease, const char *path, int timeout_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char default_path[sizeof address.sun_path];
    int64_t deadline_ms = sl_deadline(timeout_ms);
    int status;
    if (path == NULL) {
        if (sshlease_default_socket(default_path, sizeof default_path) != 0)
            return sl_loop_end(
                lease, SL_E_INVALID, "the socket's path is longer than %zu bytes", sizeof address.sun_path - 1);
        path = default_path;
    }
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path)
        return sl_loop_end(lease, SL_E_INVALID, "the socket's path has %zu bytes; it may have 1 to %zu", len,
            sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, len + 1);

    lease->link.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (lease->link.fd < 0)
        return sl_loop_end(lease, SL_E_IO, "cannot make a socket: %m");
    if (connect_to(
            lease->link.fd, &address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1), deadline_ms) != 0)
        return connect_failed(lease, path, errno);

    struct sl_msg hello = {.type = SL_MSG_HELLO,
        .hello = {.version_min = SL_MSG_VERSION_MIN,
            .version_max = SL_MSG_VERSION,
            .program = sl_bytes_of("libsshlease " SSHLEASE_VERSION)}};
    if ((status = sl_link_queue(lease, &hello)) != 0)
        return sl_loop_end(lease, status, "out of memory");
    if (timeout_ms == 0)
        return 0;
    while (lease->link.state == SL_LINK_GREETING || lease->link.state == SL_LINK_HANGUP) {
        status = sl_loop_turn(lease, deadline_ms);
        if (status == SL_E_AGAIN)
            return sl_loop_end(lease, SL_E_TIMEOUT, "sshleased at %s does not answer", path);
        if (status != 0)
            return status;
    }
    return 0;
}

int sshlease_open(const char *path, int timeout_ms, struct sshlease **ret_lease)
{
    struct sshlease *lease = calloc(1, sizeof *lease);
    if (lease == NULL) {
        *ret_lease = NULL;
        return SL_E_NOMEM;
    }
    TAILQ_INIT(&lease->streams);
    lease->owner = getpid();
    lease->next_stream = 1;
    lease->held.renew_at_ms = SL_NEVER;
    lease->link = (struct sl_link){
        .fd = -1, .next_rid = 1, .in = {.max = SIZE_MAX, .keep = SIZE_MAX}, .out = {.max = SIZE_MAX, .keep = SIZE_MAX}};
    if (sl_buf_reserve(&lease->link.in, SL_LINK_IN_FIRST) == NULL ||
        sl_buf_reserve(&lease->link.out, OUT_FIRST) == NULL) {
        sshlease_free(lease);
        *ret_lease = NULL;
        return SL_E_NOMEM;
    }
    *ret_lease = lease;
    return open_link(lease, path, timeout_ms);
}

void sshlease_free(struct sshlease *lease)
{
    if (lease == NULL)
        return;
    sl_streams_fini(lease);
    sl_held_fini(lease);
    sl_asked_fini(lease);
    if (lease->link.fd >= 0)
        close(lease->link.fd);
    sl_buf_fini(&lease->link.in);
    sl_buf_fini(&lease->link.out);
    free(lease);
}

const char *sshlease_error(const struct sshlease *lease)
{
    return lease->error;
}

bool sshlease_error_unsent(const struct sshlease *lease)
{
    return lease->error_unsent;
}

int sshlease_fd(const struct sshlease *lease)
{
    return lease->link.fd;
}

int sshlease_want(const struct sshlease *lease)
{
    if (lease->link.state == SL_LINK_ENDED)
        return 0;
    return SSHLEASE_WANT_READ | (lease->link.out.len > 0 ? SSHLEASE_WANT_WRITE : 0);
}

int sshlease_timeout_ms(const struct sshlease *lease)
{
    if (lease->held.renew_at_ms == SL_NEVER || lease->link.state == SL_LINK_ENDED)
        return -1;
    int64_t left_ms = lease->held.renew_at_ms - sl_now_ms();
    if (left_ms < 0)
        return 0;
    return left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
}
