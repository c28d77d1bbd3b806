/* SPDX-License-Identifier: MIT */
/* Forwards of a lease: streams that start nothing, ports that the server listens on, and how both end with it. */
#include "proto/status.h"
#include "tests/support/lease_world.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#define CONF   "defaults: {" WORLD_LOGIN "}\ntargets:\n  a: {max_connections: 1}\n"
#define SHARED "defaults: {" WORLD_LOGIN "}\ntargets:\n  a: {max_connections: 1, sharing: 2}\n"

struct client {
    struct sl_lease *lease;
    struct sl_remote *remote;
    struct sl_stream *stream;
    unsigned granted, released, ended, listening, knocks, closed, opened, data, stream_ends;
    int status;
    uint16_t port;
};

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    (void)arg;
    (void)position;
    (void)waited_ms;
    (void)reason;
}

static void on_granted(void *arg, const struct sl_lease_grant *grant)
{
    (void)grant;
    ((struct client *)arg)->granted++;
}

static void on_refused(void *arg, int status, const char *text)
{
    (void)arg;
    fail_msg("refused: %d %s", status, text);
}

static void on_renewed(void *arg, uint32_t left_ms)
{
    (void)arg;
    (void)left_ms;
}

static void on_released(void *arg)
{
    ((struct client *)arg)->released++;
}

static void on_ended(void *arg, int status, const char *text)
{
    (void)status;
    (void)text;
    ((struct client *)arg)->ended++;
}

static const struct sl_lease_handler lease_handler = {
    on_waiting, on_granted, on_refused, on_renewed, on_released, on_ended};

static void on_open(void *arg, int status, const char *text)
{
    struct client *c = arg;
    (void)text;
    c->opened++;
    c->status = status;
}

static void on_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    (void)fd;
    (void)data;
    ((struct client *)arg)->data += (unsigned)len;
}

static void on_eof(void *arg)
{
    (void)arg;
}

static void on_sent(void *arg, size_t len)
{
    (void)arg;
    (void)len;
}

static void on_end(void *arg, const struct sl_stream_result *result)
{
    (void)result;
    ((struct client *)arg)->stream_ends++;
}

static const struct sl_stream_handler stream_handler = {on_open, on_data, on_eof, on_sent, NULL, on_end};

static void on_listening(void *arg, int status, uint16_t port, const char *text)
{
    struct client *c = arg;
    (void)text;
    c->listening++;
    c->status = status;
    c->port = port;
}

static void on_connection(void *arg)
{
    ((struct client *)arg)->knocks++;
}

static void on_closed(void *arg)
{
    ((struct client *)arg)->closed++;
}

static const struct sl_remote_handler remote_handler = {on_listening, on_connection, on_closed};

static void acquire(struct client *c, struct sl_world *w)
{
    const gid_t gid = 100;
    const struct sl_who who = {.pid = 4711, .gid = &gid, .gid_count = 1};
    *c = (struct client){.status = -1};
    assert_int_equal(sl_lease_acquire(w->driver, &(struct sl_lease_wish){.target = "a", .who = &who, .label = ""},
                         &lease_handler, c, &c->lease),
        0);
}

static void lease(struct client *c, struct sl_world *w)
{
    sl_world_init(w, CONF, false);
    acquire(c, w);
    assert_int_equal(sl_lease_listen(c->lease, "", 0, &remote_handler, c, &c->remote), SL_E_NO_LEASE);
    WORLD_UNTIL(w, c->granted == 1);
}

static void listen_on(struct client *c, struct sl_world *w, uint16_t port)
{
    assert_int_equal(sl_lease_listen(c->lease, "", port, &remote_handler, c, &c->remote), 0);
    assert_int_equal(c->listening, 0);
    WORLD_UNTIL(w, c->listening == 1);
}

TEST(a_port_is_listened_on_and_given_up)
{
    struct sl_world w;
    struct client c;
    lease(&c, &w);
    listen_on(&c, &w, 0);
    assert_int_equal(c.status, 0);
    assert_int_equal(c.port, 40000);
    assert_int_equal(sl_remote_accept(c.remote, &stream_handler, &c, 100, &c.stream), SL_E_AGAIN);
    sl_fake_knock(w.transport);
    WORLD_UNTIL(&w, c.knocks == 1);
    assert_int_equal(sl_remote_accept(c.remote, &stream_handler, &c, 100, &c.stream), 0);
    assert_int_equal(sl_stream_write(c.stream, "12345", 5), 0);
    WORLD_UNTIL(&w, c.data == 5);
    assert_int_equal(c.opened, 1);
    sl_stream_eof(c.stream);
    sl_remote_close(c.remote);
    WORLD_UNTIL(&w, c.closed == 1 && c.stream_ends == 1);
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, c.released == 1);
    assert_int_equal(sl_fake_counts(w.transport).drained, 0);
    assert_int_equal(sl_fake_counts(w.transport).open, 1);
    sl_world_fini(&w);
}

TEST(a_refused_port_says_so_and_is_gone)
{
    struct sl_world w;
    struct client c;
    lease(&c, &w);
    listen_on(&c, &w, 1);
    assert_int_equal(c.status, SL_E_STREAM_REFUSED);
    WORLD_UNTIL(&w, c.closed == 1);
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, c.released == 1);
    assert_int_equal(sl_fake_counts(w.transport).drained, 0);
    sl_world_fini(&w);
}

TEST(a_release_with_a_port_open_is_reclaimed)
{
    struct sl_world w;
    struct client c;
    lease(&c, &w);
    listen_on(&c, &w, 0);
    sl_fake_knock(w.transport);
    WORLD_UNTIL(&w, c.knocks == 1);
    assert_int_equal(sl_remote_accept(c.remote, &stream_handler, &c, 100, &c.stream), 0);
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    /* Neither calls any more. */
    assert_int_equal(c.closed, 0);
    assert_int_equal(c.stream_ends, 0);
    assert_int_equal(c.released, 1);
    assert_int_equal(sl_fake_counts(w.transport).drained, 1);
    assert_int_equal(sl_world_counter(&w, "leases_ended", "unclean"), 1);
    sl_world_fini(&w);
}

TEST(a_lost_connection_takes_the_ports_along)
{
    struct sl_world w;
    struct client c;
    lease(&c, &w);
    listen_on(&c, &w, 0);
    sl_fake_lose_all(w.transport, "gone");
    WORLD_UNTIL(&w, c.ended == 1);
    assert_int_equal(c.closed, 1);
    sl_world_fini(&w);
}

TEST(an_abandoned_lease_is_told_nothing)
{
    struct sl_world w;
    struct client c;
    lease(&c, &w);
    listen_on(&c, &w, 0);
    sl_lease_abandon(c.lease);
    sl_fake_knock(w.transport);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    assert_int_equal(c.knocks, 0);
    assert_int_equal(c.closed, 0);
    sl_world_fini(&w);
}

TEST(a_lease_that_moves_listens_nowhere)
{
    const struct sl_stream_spec hang = {.kind = SL_SPEC_EXEC, .command = "hang", .credit = 100};
    struct sl_world w;
    struct client c[2];
    sl_world_init(&w, SHARED, false);
    for (int i = 0; i < 2; i++) {
        acquire(&c[i], &w);
        WORLD_UNTIL(&w, c[i].granted == 1);
    }
    sl_fake_sessions(w.transport, 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sl_lease_stream_open(c[i].lease, &hang, &stream_handler, &c[i], &c[i].stream), 0);
    struct sl_driver_totals totals = {.waiters = 0};
    while (totals.waiters == 0) { /* the second has no session there: it waits for another connection */
        (void)uv_run(&w.loop, UV_RUN_ONCE);
        sl_driver_totals(w.driver, &totals);
    }
    assert_int_equal(sl_lease_listen(c[1].lease, "", 0, &remote_handler, &c[1], &c[1].remote), SL_E_AGAIN);
    for (int i = 0; i < 2; i++)
        sl_lease_abandon(c[i].lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    assert_int_equal(c[1].listening, 0);
    sl_world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_is_listened_on_and_given_up),
        cmocka_unit_test(a_refused_port_says_so_and_is_gone),
        cmocka_unit_test(a_release_with_a_port_open_is_reclaimed),
        cmocka_unit_test(a_lost_connection_takes_the_ports_along),
        cmocka_unit_test(an_abandoned_lease_is_told_nothing),
        cmocka_unit_test(a_lease_that_moves_listens_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
