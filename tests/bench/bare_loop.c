/* SPDX-License-Identifier: MIT */
/* The floor: `true` over one open connection with nothing but blocking libssh2, the obvious way. With --sessions N it
 * opens N connections instead and prints what each costs in memory: libssh2's own share. */
#include "tests/bench/batch.h"

#include <libssh2.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct server {
    const char *host, *user, *key;
    unsigned short port;
};

static int fail(LIBSSH2_SESSION *session, const char *what)
{
    char *text = NULL;
    libssh2_session_last_error(session, &text, NULL, 0);
    fprintf(stderr, "bare_loop: %s: %s\n", what, text != NULL ? text : "");
    return -1;
}

static int connect_tcp(const struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, server->host, &address.sin_addr) != 1 ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        perror("bare_loop: connect");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static LIBSSH2_SESSION *log_in(const struct server *server)
{
    LIBSSH2_SESSION *session = libssh2_session_init();
    int fd = connect_tcp(server);
    if (session == NULL || fd < 0)
        return NULL;
    if (libssh2_session_handshake(session, fd) != 0) {
        fail(session, "handshake");
        return NULL;
    }
    if (libssh2_userauth_publickey_fromfile(session, server->user, NULL, server->key, NULL) != 0) {
        fail(session, "authentication");
        return NULL;
    }
    return session;
}

static int run_true(void *arg)
{
    LIBSSH2_SESSION *session = arg;
    LIBSSH2_CHANNEL *channel = libssh2_channel_open_session(session);
    char buffer[4096];
    if (channel == NULL)
        return fail(session, "open");
    if (libssh2_channel_exec(channel, "true") != 0)
        return fail(session, "exec");
    while (libssh2_channel_read(channel, buffer, sizeof buffer) > 0)
        continue;
    if (libssh2_channel_close(channel) != 0 || libssh2_channel_wait_closed(channel) != 0)
        return fail(session, "close");
    if (libssh2_channel_get_exit_status(channel) != 0)
        return fail(session, "exit status");
    return libssh2_channel_free(channel);
}

static long resident_bytes(void)
{
    long total, resident = -1;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL)
        return -1;
    if (fscanf(f, "%ld %ld", &total, &resident) != 2)
        resident = -1;
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

static int hold_sessions(const struct server *server, int count)
{
    long begin;
    /* The first pays for what the process needs once. */
    if (log_in(server) == NULL)
        return 1;
    begin = resident_bytes();
    for (int i = 0; i < count; i++)
        if (log_in(server) == NULL)
            return 1;
    printf("%ld\n", (resident_bytes() - begin) / count);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct batch_work works[] = {{"run", run_true}, {NULL, NULL}};
    struct server server;
    LIBSSH2_SESSION *session;
    if (argc != 5 && !(argc == 7 && strcmp(argv[5], "--sessions") == 0)) {
        fprintf(stderr, "usage: bare_loop ADDRESS PORT USER KEY [--sessions N]\n");
        return 2;
    }
    server = (struct server){
        .host = argv[1], .port = (unsigned short)strtoul(argv[2], NULL, 10), .user = argv[3], .key = argv[4]};
    if (libssh2_init(0) != 0)
        return 1;
    if (argc == 7)
        return hold_sessions(&server, (int)strtol(argv[6], NULL, 10));
    session = log_in(&server);
    if (session == NULL)
        return 1;
    return batch_serve(works, session);
}
