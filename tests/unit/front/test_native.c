/* SPDX-License-Identifier: MIT */
/* Greeting, violations, the life of a lease, and clients that go at any moment. */
#include "tests/unit/front/front_world.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void say_hello(struct sl_raw_client *c, uint32_t min, uint32_t max)
{
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_HELLO,
                      .hello = {.version_min = min, .version_max = max, .program = sl_bytes_of("test 1")}});
}

TEST(versions_are_agreed_on_or_both_named)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_connect(&f);
    say_hello(c, 1, 99);
    sl_raw_expect(c, SL_MSG_WELCOME);
    assert_int_equal(c->msg.welcome.version, SL_MSG_VERSION);
    sl_raw_close(c);
    c = sl_raw_connect(&f);
    say_hello(c, 0, 1);
    sl_raw_expect(c, SL_MSG_WELCOME);
    assert_int_equal(c->msg.welcome.version, 1);
    sl_raw_close(c);
    c = sl_raw_connect(&f);
    say_hello(c, 5, 6);
    sl_raw_expect_fatal(c, SL_E_VERSION, "versions 1 to 4 of the protocol, the client 5 to 6");
    sl_raw_close(c);
    c = sl_raw_connect(&f);
    say_hello(c, 0, 0);
    sl_raw_expect_fatal(c, SL_E_VERSION, "0 to 0");
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(what_is_out_of_place_ends_the_socket)
{
    static const uint8_t garbage[] = "GET / HTTP/1.1\r\n\r\n", oversize[] = {0, 4, 0, 1, 0, 0, 0, 1},
                         bad_magic[] = {0, 0, 0, 22, 0, 0, 0, 1, 0, 0, 0, 2, 'h', 'i', 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
                             0},
                         unknown[] = {0, 0, 0, 4, 0, 0, 0, 77}, short_body[] = {0, 0, 0, 5, 0, 0, 0, 10, 0};
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_connect(&f);
    sl_raw_say_bytes(c, garbage, sizeof garbage);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "length");
    sl_raw_close(c);
    c = sl_raw_hello(&f);
    sl_raw_say_bytes(c, oversize, sizeof oversize);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "length");
    sl_raw_close(c);
    c = sl_raw_connect(&f);
    sl_raw_say_bytes(c, bad_magic, sizeof bad_magic);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "HELLO does not decode");
    sl_raw_close(c);
    c = sl_raw_connect(&f);
    sl_raw_acquire(c, 1, "a");
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "ACQUIRE came before HELLO");
    sl_raw_close(c);
    c = sl_raw_hello(&f);
    say_hello(c, 1, 1);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "HELLO came twice");
    sl_raw_close(c);
    c = sl_raw_hello(&f);
    sl_raw_say_bytes(c, unknown, sizeof unknown);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "type 77");
    sl_raw_close(c);
    c = sl_raw_hello(&f);
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_OK, .request = {.rid = 1}});
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "type 101 (OK)");
    sl_raw_close(c);
    c = sl_raw_hello(&f);
    sl_raw_say_bytes(c, short_body, sizeof short_body);
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "ACQUIRE does not decode");
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(a_violation_gives_the_lease_back)
{
    static const uint8_t unknown[] = {0, 0, 0, 4, 0, 0, 0, 77};
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1"));
    struct sl_raw_client *c = sl_raw_lease(&f), *next = sl_raw_hello(&f);
    sl_raw_acquire(next, 1, "a");
    sl_raw_say_bytes(c, unknown, sizeof unknown);
    sl_raw_expect(next, SL_MSG_GRANTED); /* although the violator has not read its ERROR */
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "77");
    sl_raw_close(c);
    sl_raw_close(next);
    sl_front_fini(&f);
}

TEST(clients_beyond_the_limit_are_told)
{
    struct sl_front_world f;
    sl_front_init_one_user(&f, FRONT_CONF("") "limits: {clients: 2}\n");
    struct sl_raw_client *one = sl_raw_hello(&f), *two = sl_raw_connect(&f), *three = sl_raw_connect(&f);
    sl_raw_expect_fatal(three, SL_E_LIMIT, "2 clients are connected already");
    sl_raw_close(three);
    sl_raw_close(one);
    sl_world_settle(&f.world);
    three = sl_raw_hello(&f);
    sl_raw_close(three);
    sl_raw_close(two);
    /* And when the process has no descriptor to spare. */
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    sl_native_accept(f.native, fd[0], SL_E_LIMIT);
    uint8_t answer[256];
    assert_true(recv(fd[1], answer, sizeof answer, 0) > 20);
    (void)close(fd[1]);
    sl_front_fini(&f);
}

/* Two renewals, 3 and 4, each answered in its turn; and what command 7 says. Where its user has had its part of the
 * loop's turn between two requests, the server is quicker than the later one. */
static void expect_renewals_beside_a_command(struct sl_raw_client *c)
{
    static const uint32_t says[] = {SL_MSG_STREAM_OPENED, SL_MSG_EOF, SL_MSG_STREAM_END};
    unsigned renewed = 0, said = 0;
    while (renewed < 2 || said < 3) {
        uint32_t type = sl_raw_hear(c);
        if (type == SL_MSG_RENEWED && renewed < 2)
            assert_int_equal(c->msg.renewed.rid, 3 + renewed++);
        else
            assert_int_equal(type, said < 3 ? says[said++] : 0);
        if (type == SL_MSG_STREAM_END) {
            assert_int_equal(c->msg.stream_end.stream, 7);
            assert_int_equal(c->msg.stream_end.exit_status, 5);
        }
    }
}

TEST(requests_may_come_all_at_once)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1, min_idle: 1"));
    WORLD_UNTIL(&f.world, sl_world_counter(&f.world, "connections_dialed", "min-idle") == 1);
    sl_world_settle(&f.world);
    struct sl_raw_client *c = sl_raw_connect(&f);
    say_hello(c, 1, 1);
    sl_raw_acquire(c, 1, "a");
    sl_raw_exec(c, 2, 7, "exit 5", 1000);
    sl_raw_request(c, SL_MSG_RENEW, 3);
    sl_raw_request(c, SL_MSG_RENEW, 4);
    sl_raw_expect(c, SL_MSG_WELCOME);
    sl_raw_expect(c, SL_MSG_GRANTED);
    expect_renewals_beside_a_command(c);
    sl_raw_request(c, SL_MSG_RELEASE, 5);
    sl_raw_acquire(c, 6, "a");
    sl_raw_request(c, SL_MSG_RELEASE, 7);
    sl_raw_expect(c, SL_MSG_OK);
    assert_int_equal(c->msg.request.rid, 5);
    sl_raw_expect(c, SL_MSG_GRANTED);
    sl_raw_expect(c, SL_MSG_OK);
    assert_int_equal(c->msg.request.rid, 7);
    assert_int_equal(sl_fake_counts(f.world.transport).dialed, 1);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(requests_out_of_order_are_answered_and_nothing_else_changes)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1"));
    struct sl_raw_client *c = sl_raw_hello(&f);
    sl_raw_request(c, SL_MSG_RENEW, 1);
    sl_raw_expect_error(c, 1, SL_E_NO_LEASE);
    sl_raw_request(c, SL_MSG_RELEASE, 2);
    sl_raw_expect_error(c, 2, SL_E_NO_LEASE);
    sl_raw_exec(c, 3, 1, "exit 0", 1000);
    sl_raw_expect_error(c, 3, SL_E_NO_LEASE);
    assert_true(c->msg.error.unsent);
    /* About streams that are not there: they may just have ended. */
    sl_raw_data(c, 1, "x", 1);
    sl_raw_window(c, 1, 1);
    sl_raw_stream(c, SL_MSG_EOF, 1);
    sl_raw_stream(c, SL_MSG_CLOSE, 1);
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_SIGNAL, .signal = {.stream = 1, .name = sl_bytes_of("TERM")}});
    sl_raw_expect_silence(c);
    sl_raw_acquire(c, 4, "nowhere");
    sl_raw_expect_error(c, 4, SL_E_NO_TARGET);
    sl_raw_acquire(c, 5, "a");
    sl_raw_acquire(c, 6, "a");
    sl_raw_expect_error(c, 6, SL_E_BUSY);
    sl_raw_expect(c, SL_MSG_GRANTED);
    sl_raw_acquire(c, 7, "a");
    sl_raw_expect_error(c, 7, SL_E_BUSY);
    sl_raw_request(c, SL_MSG_RELEASE, 8);
    sl_raw_expect(c, SL_MSG_OK);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(a_release_ends_the_wait)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1, acquire_notice: 10ms"));
    struct sl_raw_client *holder = sl_raw_lease(&f), *c = sl_raw_hello(&f);
    sl_raw_acquire(c, 1, "a");
    sl_raw_expect(c, SL_MSG_WAITING);
    assert_int_equal(c->msg.waiting.rid, 1);
    assert_int_equal(c->msg.waiting.position, 1);
    sl_raw_request(c, SL_MSG_RELEASE, 2);
    sl_raw_expect_error(c, 1, SL_E_CANCELLED);
    sl_raw_expect(c, SL_MSG_OK);
    assert_int_equal(c->msg.request.rid, 2);
    sl_raw_close(c);
    sl_raw_close(holder);
    sl_front_fini(&f);
}

/* Closed at every point of its life, reading or not, by close(2) or by shutting down its side: the lease is reclaimed,
 * the next client served, no descriptor left. */
TEST(a_client_may_go_at_any_moment)
{
    static const char *const phases[] = {
        "connected", "greeted", "waiting", "leased", "opening", "open", "flooded", "released", "half a frame"};
    for (size_t phase = 0; phase < sizeof phases / sizeof phases[0]; phase++) {
        for (int half = 0; half < 2; half++) {
            struct sl_front_world f;
            sl_front_init(&f, FRONT_CONF("max_connections: 1"));
            const unsigned before = open_descriptors();
            struct sl_raw_client *holder = phase == 2 ? sl_raw_lease(&f) : NULL;
            struct sl_raw_client *c = sl_raw_connect(&f);
            if (phase >= 1) {
                say_hello(c, 1, 1);
                sl_raw_expect(c, SL_MSG_WELCOME);
            }
            if (phase >= 2) {
                sl_raw_acquire(c, 1, "a");
                if (phase > 2)
                    sl_raw_expect(c, SL_MSG_GRANTED);
            }
            if (phase == 4)
                sl_raw_exec(c, 2, 1, "slow", 1000);
            if (phase == 5)
                sl_raw_exec(c, 2, 1, "hang", 1000);
            if (phase == 6)
                sl_raw_exec(c, 2, 1, "flood 16000000", SL_MSG_WINDOW_MAX);
            if (phase == 7)
                sl_raw_request(c, SL_MSG_RELEASE, 2);
            if (phase == 8)
                sl_raw_say_bytes(c, "\0\0\0", 3);
            sl_world_settle(&f.world);
            if (half == 0) {
                sl_raw_close(c);
                c = NULL;
            } else {
                assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
            }
            if (holder != NULL)
                sl_raw_close(holder);
            struct sl_raw_client *next = sl_raw_lease(&f);
            if (phase > 2 && phase != 7)
                assert_int_equal(sl_world_counter(&f.world, "leases_ended", "client-gone"), 1);
            sl_raw_close(next);
            if (c != NULL)
                sl_raw_close(c);
            WORLD_UNTIL(&f.world, open_descriptors() == before);
            sl_front_fini(&f);
        }
    }
}

TEST(the_end_of_the_daemon_is_told)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF("max_connections: 1"));
    struct sl_raw_client *c = sl_raw_lease(&f), *waiter = sl_raw_hello(&f);
    sl_raw_acquire(waiter, 1, "a");
    sl_world_settle(&f.world);
    sl_driver_shutdown(f.world.driver, true, sl_world_stopped, &f.world);
    sl_raw_expect(c, SL_MSG_LEASE_ENDED);
    assert_int_equal(c->msg.lease_ended.code, -SL_E_SHUTDOWN);
    sl_raw_expect_error(waiter, 1, SL_E_SHUTDOWN);
    WORLD_UNTIL(&f.world, f.world.stopped);
    sl_raw_acquire(waiter, 2, "a"); /* too late to be answered */
    sl_world_settle(&f.world);
    sl_raw_close(c);
    sl_raw_close(waiter);
    sl_native_stop(f.native);
    struct sl_raw_client *late = sl_raw_connect(&f);
    sl_raw_expect_fatal(late, SL_E_SHUTDOWN, "shutting down");
    sl_raw_close(late);
    sl_front_fini(&f);
}

TEST(a_users_clients_are_its_share_and_leave_room_for_the_others)
{
    struct sl_front_world f;
    if (geteuid() != 0)
        skip(); /* cannot be somebody else */
    sl_front_init(&f, FRONT_CONF("") "limits: {clients: 4}\n");
    struct sl_raw_client *c[8];
    for (int i = 0; i < 2; i++)
        c[i] = sl_raw_connect_as(&f, 1);
    struct sl_raw_client *beyond = sl_raw_connect_as(&f, 1);
    sl_raw_expect_fatal(beyond, SL_E_LIMIT,
        "2 clients of uid 1 are connected already, its share of 4 (limits.clients, limits.user_share): end some");
    sl_raw_close(beyond);
    c[2] = sl_raw_connect_as(&f, 2);
    c[3] = sl_raw_connect_as(&f, 3);
    /* The house is full, but not for who administers it. */
    beyond = sl_raw_connect_as(&f, 4);
    sl_raw_expect_fatal(beyond, SL_E_LIMIT, "4 clients are connected already (limits.clients)");
    sl_raw_close(beyond);
    c[4] = sl_raw_hello(&f);
    sl_raw_request(c[4], SL_MSG_STATUS, 1);
    sl_raw_expect(c[4], SL_MSG_STATUS_REPLY);
    for (int i = 0; i < 5; i++)
        sl_raw_close(c[i]);
    sl_world_settle(&f.world);
    assert_int_equal(sl_quota_total(sl_driver_quota(f.world.driver), SL_QUOTA_CLIENTS), 0);
    sl_front_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_agreed_on_or_both_named),
        cmocka_unit_test(what_is_out_of_place_ends_the_socket),
        cmocka_unit_test(a_violation_gives_the_lease_back),
        cmocka_unit_test(clients_beyond_the_limit_are_told),
        cmocka_unit_test(a_users_clients_are_its_share_and_leave_room_for_the_others),
        cmocka_unit_test(requests_may_come_all_at_once),
        cmocka_unit_test(requests_out_of_order_are_answered_and_nothing_else_changes),
        cmocka_unit_test(a_release_ends_the_wait),
        cmocka_unit_test(a_client_may_go_at_any_moment),
        cmocka_unit_test(the_end_of_the_daemon_is_told),
    };
    return cmocka_run_group_tests_name("front.native", tests, NULL, NULL);
}
