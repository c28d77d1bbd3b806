/* SPDX-License-Identifier: MIT */
/* Listens, dials, digs and fills at the far end of a forward. */
#include "tests/unit/ssh/far.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int far_listen(uint16_t *ret_port, int backlog)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

/* -1 where nobody listens. */
int far_dial(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void far_expect(int fd, const char *text, size_t len)
{
    char got[256];
    assert_true(len <= sizeof got);
    assert_int_equal(recv(fd, got, len, MSG_WAITALL), (ssize_t)len);
    assert_memory_equal(got, text, len);
}

int far_open_tcp(struct rig_conn *conn, struct rig_stream *stream, uint16_t port)
{
    const struct sl_stream_spec spec = {.kind = SL_SPEC_TCP, .host = "127.0.0.1", .port = port, .credit = 65536};
    return rig_open_spec(conn, stream, &spec);
}

void far_dig(struct far_hole *hole)
{
    hole->listener = far_listen(&hole->port, 0);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(hole->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (hole->fillers = 0; hole->fillers < 8; hole->fillers++) {
        hole->filler[hole->fillers] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(hole->filler[hole->fillers], (struct sockaddr *)&to, sizeof to);
    }
}

void far_fill(struct far_hole *hole)
{
    for (size_t i = 0; i < hole->fillers; i++)
        close(hole->filler[i]);
    close(hole->listener);
}
