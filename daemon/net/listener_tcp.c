/* SPDX-License-Identifier: MIT */
/* Listening on a TCP port of this machine, for forwards. */
#include "daemon/net/listener.h"

#include "proto/status.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128

static int make_socket(const struct addrinfo *ai, int *ret_fd)
{
    const int one = 1;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (ai->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int error = errno;
        (void)close(fd);
        return error;
    }
    *ret_fd = fd;
    return 0;
}

int sl_listener_open_tcp(uv_loop_t *loop, const struct sl_log *log, const char *address, uint16_t port,
    sl_listener_accept_fn fn, void *arg, char *error, size_t error_size, struct sl_listener **ret_listener)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST | AI_PASSIVE};
    struct addrinfo *ai;
    char service[8];
    int fd = -1;
    snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(address, service, &hints, &ai) != 0) {
        snprintf(error, error_size, "%s: not an IP address", address);
        return SL_E_INVALID;
    }
    int failed = make_socket(ai, &fd);
    freeaddrinfo(ai);
    if (failed != 0) {
        snprintf(error, error_size, strchr(address, ':') != NULL ? "[%s]:%u: %s" : "%s:%u: %s", address, (unsigned)port,
            strerror(failed));
        return failed == EADDRNOTAVAIL || failed == EAFNOSUPPORT ? SL_E_UNSUPPORTED : SL_E_IO;
    }
    int r = sl_listener_take(loop, log, fd, fn, arg, error, error_size, ret_listener);
    if (r != 0)
        (void)close(fd);
    return r;
}
