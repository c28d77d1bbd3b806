/* SPDX-License-Identifier: MIT */
/* A bare round trip over a Unix socket between two processes: what acquire and release are measured against. */
#include "tests/bench/batch.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* About the size of an ACQUIRE and of its GRANTED. */
enum { MESSAGE = 40 };

static int round_trip(void *arg)
{
    const int *fd = arg;
    char message[MESSAGE] = {0};
    if (write(*fd, message, sizeof message) != MESSAGE || recv(*fd, message, sizeof message, MSG_WAITALL) != MESSAGE) {
        perror("socket_loop");
        return -1;
    }
    return 0;
}

static int echo(int fd)
{
    char message[MESSAGE];
    while (recv(fd, message, sizeof message, MSG_WAITALL) == MESSAGE)
        if (write(fd, message, sizeof message) != MESSAGE)
            return 1;
    return 0;
}

int main(void)
{
    static const struct batch_work works[] = {{"ping", round_trip}, {NULL, NULL}};
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        perror("socket_loop: socketpair");
        return 1;
    }
    switch (fork()) {
    case -1:
        perror("socket_loop: fork");
        return 1;
    case 0:
        close(pair[0]);
        return echo(pair[1]);
    default:
        close(pair[1]);
        return batch_serve(works, &pair[0]);
    }
}
