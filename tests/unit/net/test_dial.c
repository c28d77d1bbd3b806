/* SPDX-License-Identifier: MIT */
/* From a name to a connection: each address in turn, in the time there is, and what is said when none answers. */
#include "daemon/net/dial.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct dialed {
    uv_loop_t loop;
    struct sl_dialer *dialer;
    struct sl_dial *dial;
    bool over, resolved;
    int fd, status;
    char said[256]; /* the address, or what went wrong */
};

/* --- a resolver that knows two names ------------------------------------------------------------------------------ */

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list);

/* It is asked in a thread, which a test does not share anything with but what was there before it began. */
static int resolver_pipe[2];

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret_list)
{
    if ((hints->ai_flags & AI_NUMERICHOST) != 0)
        return __real_getaddrinfo(host, service, hints, ret_list);
    if (strcmp(host, "hangs") == 0) {
        char byte;
        (void)!read(resolver_pipe[0], &byte, 1);
    }
    if (strcmp(host, "two") != 0)
        return EAI_NONAME;
    int r = __real_getaddrinfo("127.0.0.1", service, hints, ret_list);
    return r == 0 ? __real_getaddrinfo("127.0.0.2", service, hints, &(*ret_list)->ai_next) : r;
}

/* --- dialing ------------------------------------------------------------------------------------------------------ */

static void on_resolved(void *arg)
{
    struct dialed *d = arg;
    d->resolved = true;
}

static void on_connected(void *arg, int fd, const char *address)
{
    struct dialed *d = arg;
    d->over = true;
    d->fd = fd;
    snprintf(d->said, sizeof d->said, "%s", address);
}

static void on_failed(void *arg, int status, const char *text)
{
    struct dialed *d = arg;
    d->over = true;
    d->status = status;
    snprintf(d->said, sizeof d->said, "%s", text);
}

static const struct sl_dial_handler handler = {on_resolved, on_connected, on_failed};

static void start(struct dialed *d, const char *host, uint16_t port, uint64_t timeout_ms)
{
    *d = (struct dialed){.fd = -1};
    assert_int_equal(uv_loop_init(&d->loop), 0);
    assert_int_equal(sl_dialer_new(&d->loop, &d->dialer), 0);
    assert_int_equal(sl_dial_start(d->dialer, host, port, timeout_ms, 4321, &handler, d, &d->dial), 0);
    assert_false(d->resolved || d->over);
}

static void finish(struct dialed *d)
{
    if (d->fd >= 0)
        (void)close(d->fd);
    sl_dialer_free(d->dialer);
    (void)uv_run(&d->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&d->loop), 0);
}

static void dial(struct dialed *d, const char *host, uint16_t port, uint64_t timeout_ms)
{
    start(d, host, port, timeout_ms);
    while (!d->over)
        (void)uv_run(&d->loop, UV_RUN_ONCE);
}

/* A socket bound to an address of 127.0.0.0/8 and a port (0: one that is free), and its name as a dial says it. */
static int bound(const char *address, uint16_t port, char *name, uint16_t *ret_port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *ret_port = ntohs(at.sin_port);
    snprintf(name, 32, "%s:%u", address, (unsigned)*ret_port);
    return fd;
}

/* Makes a bound socket one that answers nobody: its queue is full. */
static int fill(int fd)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof at), 0);
    return client;
}

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

TEST(a_connection_is_handed_out_as_it_has_to_be)
{
    struct dialed d;
    char name[32];
    uint16_t port;
    int far = bound("127.0.0.1", 0, name, &port);
    assert_int_equal(listen(far, 1), 0);
    dial(&d, "127.0.0.1", port, 10000);
    assert_true(d.resolved && d.fd >= 0);
    assert_string_equal(d.said, name);
    assert_true((fcntl(d.fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(d.fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(option(d.fd, IPPROTO_TCP, TCP_NODELAY) != 0);
    assert_true(option(d.fd, SOL_SOCKET, SO_KEEPALIVE) != 0);
    assert_int_equal(option(d.fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 4321);
    finish(&d);
    (void)close(far);
}

TEST(what_is_refused_is_said_with_the_last_of_several_addresses)
{
    struct dialed d;
    char name[32], said[96];
    uint16_t port;
    int far = bound("127.0.0.2", 0, name, &port); /* nobody listens, and nobody else gets it */
    dial(&d, "127.0.0.2", port, 10000);
    assert_int_equal(d.status, SL_E_CONNECT);
    assert_string_equal(d.said, "connection refused");
    finish(&d);
    dial(&d, "two", port, 10000);
    assert_int_equal(d.status, SL_E_CONNECT);
    snprintf(said, sizeof said, "connection refused (tried every address, %s last)", name);
    assert_string_equal(d.said, said);
    finish(&d);
    (void)close(far);
}

TEST(the_next_address_is_tried)
{
    struct dialed d;
    char name[32], second[32];
    uint16_t port;
    int far = bound("127.0.0.1", 0, name, &port), other = bound("127.0.0.2", port, second, &port);
    assert_int_equal(listen(other, 2), 0);
    dial(&d, "two", port, 10000);
    assert_true(d.fd >= 0);
    assert_string_equal(d.said, second);
    finish(&d);
    /* One that answers nobody has its share of the time and no more. */
    int client = fill(far);
    dial(&d, "two", port, 1000);
    assert_true(d.fd >= 0);
    assert_string_equal(d.said, second);
    finish(&d);
    dial(&d, "127.0.0.1", port, 100);
    assert_int_equal(d.status, SL_E_CONNECT_TIMEOUT);
    assert_string_equal(d.said, "no answer");
    finish(&d);
    (void)close(client);
    (void)close(other);
    (void)close(far);
}

TEST(a_name_that_does_not_resolve_and_one_that_hangs)
{
    struct dialed d;
    dial(&d, "none", 22, 10000);
    assert_int_equal(d.status, SL_E_RESOLVE);
    assert_string_equal(d.said, "the host name does not resolve (Name or service not known)");
    assert_false(d.resolved);
    finish(&d);
    dial(&d, "hangs", 22, 50);
    assert_int_equal(d.status, SL_E_RESOLVE);
    assert_string_equal(d.said, "the resolver does not answer");
    assert_int_equal(write(resolver_pipe[1], "x", 1), 1);
    finish(&d);
}

static void on_found(void *arg, char *addresses)
{
    struct dialed *d = arg;
    d->over = true;
    snprintf(d->said, sizeof d->said, "%s", addresses != NULL ? addresses : "none");
    free(addresses);
}

static const char *look_up(struct dialed *d, const char *host, uint64_t timeout_ms)
{
    struct sl_dial_lookup *lookup;
    *d = (struct dialed){.fd = -1};
    assert_int_equal(uv_loop_init(&d->loop), 0);
    assert_int_equal(sl_dialer_new(&d->loop, &d->dialer), 0);
    assert_int_equal(sl_dial_look_up(d->dialer, host, 2222, timeout_ms, on_found, d, &lookup), 0);
    assert_false(d->over);
    while (!d->over)
        (void)uv_run(&d->loop, UV_RUN_ONCE);
    return d->said;
}

TEST(addresses_are_looked_up_without_a_dial)
{
    struct dialed d;
    assert_string_equal(look_up(&d, "two", 10000), "127.0.0.1:2222\n127.0.0.2:2222\n");
    finish(&d);
    assert_string_equal(look_up(&d, "none", 10000), "none");
    finish(&d);
    assert_string_equal(look_up(&d, "hangs", 50), "none");
    assert_int_equal(write(resolver_pipe[1], "x", 1), 1);
    finish(&d);
}

TEST(a_cancelled_dial_calls_nobody)
{
    struct dialed d;
    char name[32];
    uint16_t port;
    int far = bound("127.0.0.1", 0, name, &port), client = fill(far);
    start(&d, "127.0.0.1", port, 10000);
    while (!d.resolved) /* the loop must not wait for what comes then */
        (void)uv_run(&d.loop, UV_RUN_NOWAIT);
    sl_dial_cancel(d.dial);
    finish(&d); /* the loop ends: no timer, no socket is left */
    assert_false(d.over);
    (void)close(client);
    (void)close(far);
}

static int open_resolver(void **state)
{
    (void)state;
    return pipe(resolver_pipe);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_handed_out_as_it_has_to_be),
        cmocka_unit_test(what_is_refused_is_said_with_the_last_of_several_addresses),
        cmocka_unit_test(the_next_address_is_tried),
        cmocka_unit_test(a_name_that_does_not_resolve_and_one_that_hangs),
        cmocka_unit_test(addresses_are_looked_up_without_a_dial),
        cmocka_unit_test(a_cancelled_dial_calls_nobody),
    };
    return cmocka_run_group_tests(tests, open_resolver, NULL);
}
