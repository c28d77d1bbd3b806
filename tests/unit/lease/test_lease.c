/* SPDX-License-Identifier: MIT */
/* A lease from its request to its last callback, over the real core and a fake transport. */
#include "tests/unit/lease/client.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONF(more) "defaults: {" WORLD_LOGIN "}\ntargets:\n  a: {" more "}\n"

TEST(a_lease_is_asked_for_used_and_given_back)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = "exit 0"};
    struct sl_stream *stream;
    assert_int_equal(sl_lease_stream_open(c.lease, &spec, &client_stream_handler, &c, &stream), SL_E_NO_LEASE);
    WORLD_UNTIL(&w, c.id != 0);
    (void)client_run(&c, "exit 3");
    WORLD_UNTIL(&w, c.ends == 1);
    sl_lease_renew(c.lease, 0);
    WORLD_UNTIL(&w, strstr(c.said, "renewed") != NULL);
    sl_lease_release(c.lease);
    assert_non_null(c.lease);
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_string_equal(c.said, "granted open exit renewed released");
    /* The next one gets the same connection, at once. */
    client_acquire(&c, &w, "a");
    sl_driver_flush(w.driver);
    assert_string_equal(c.said, "granted");
    sl_lease_release(c.lease);
    sl_driver_flush(w.driver);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 1);
    assert_int_equal(sl_fake_counts(w.transport).leases, 2);
    assert_int_equal(sl_world_counter(&w, "leases_granted", "granted"), 2);
    assert_int_equal(sl_world_counter(&w, "leases_released", "released"), 2);
    sl_world_fini(&w);
}

TEST(an_unclean_release_is_reclaimed)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    (void)client_run(&c, "hang");
    WORLD_UNTIL(&w, strstr(c.said, "open") != NULL);
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    /* Its stream does not call any more. */
    assert_string_equal(c.said, "granted open released");
    assert_int_equal(sl_fake_counts(w.transport).drained, 1);
    assert_int_equal(sl_world_counter(&w, "leases_ended", "unclean"), 1);
    assert_int_equal(sl_world_counter(&w, "reclaim_signalled", ""), 1);
    sl_world_fini(&w);
}

TEST(an_abandoned_lease_is_reclaimed_and_the_next_waiter_served)
{
    struct sl_world w;
    struct client c, next;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    (void)client_run(&c, "flood 1000000");
    client_acquire(&next, &w, "a");
    sl_world_settle(&w);
    assert_string_equal(next.said, "");
    unsigned data = c.data;
    assert_true(data > 0);
    sl_lease_abandon(c.lease);
    WORLD_UNTIL(&w, next.id != 0);
    assert_string_equal(c.said, "granted open"); /* nothing after it was abandoned */
    assert_int_equal(c.data, data);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 2); /* never the same connection again */
    assert_int_equal(sl_world_counter(&w, "leases_ended", "client-gone"), 1);
    assert_int_equal(sl_world_counter(&w, "connections_closed", "drained"), 1);
    sl_world_fini(&w);
    assert_string_equal(next.said, "granted ended");
    assert_int_equal(next.status, SL_E_SHUTDOWN);
}

/* Abandoned at each point of its life: nothing is called, nothing is left. */
TEST(a_client_may_go_at_any_time)
{
    for (int turns = 0; turns < 12; turns++) {
        struct sl_world w;
        struct client c;
        sl_world_init(&w, CONF("max_connections: 1"), false);
        client_acquire(&c, &w, "a");
        for (int i = 0; i < turns; i++) {
            (void)uv_run(&w.loop, UV_RUN_NOWAIT);
            if (c.id != 0 && c.ends == 0 && strstr(c.said, "open") == NULL && i % 2 == 0)
                (void)client_run(&c, "hang");
        }
        char said[sizeof c.said];
        memcpy(said, c.said, sizeof said);
        if (turns % 3 == 0)
            sl_lease_release(c.lease); /* and then it goes */
        sl_lease_abandon(c.lease);
        sl_world_settle(&w);
        assert_string_equal(c.said, said);
        sl_world_fini(&w);
        assert_string_equal(c.said, said);
    }
}

TEST(waiting_ends_by_release)
{
    struct sl_world w;
    struct client c, second, third;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    client_acquire(&second, &w, "a");
    sl_world_settle(&w);
    sl_lease_release(second.lease);
    sl_driver_flush(w.driver);
    assert_string_equal(second.said, "released");
    /* Before the core has even heard of it. */
    client_acquire(&third, &w, "a");
    sl_lease_release(third.lease);
    sl_driver_flush(w.driver);
    assert_string_equal(third.said, "released");
    sl_lease_abandon(c.lease);
    sl_world_fini(&w);
}

TEST(refusals_say_why)
{
    struct sl_world w;
    struct client c, second;
    sl_world_init(&w, CONF("max_connections: 1, waiters: 1, acquire_notice: 10ms, acquire_timeout: 60s"), false);
    client_acquire(&c, &w, "b");
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_int_equal(c.status, SL_E_NO_TARGET);
    assert_string_equal(c.text, "no such target: \"b\"");
    client_acquire_as(&c, &w, "a", 77, 0);
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_int_equal(c.status, SL_E_NOT_ALLOWED);
    assert_string_equal(c.text, "not allowed to lease a");
    assert_int_equal(sl_world_counter(&w, "leases_refused", "not-allowed"), 1);

    sl_fake_dial(w.transport, 0, SL_E_CONNECT, "10.0.0.5:22: connection refused");
    client_acquire_as(&c, &w, "a", 0, 300);
    client_acquire(&second, &w, "a");
    WORLD_UNTIL(&w, second.lease == NULL);
    assert_int_equal(second.status, SL_E_QUEUE_FULL);
    assert_string_equal(second.text, "target a: 1 are waiting already (waiters)");
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_int_equal(c.status, SL_E_CONNECT);
    assert_non_null(strstr(c.text, "target a: 10.0.0.5:22: connection refused; next try in "));

    sl_fake_dial(w.transport, 0, SL_E_HANDSHAKE, "10.0.0.5:22: closed in the handshake");
    client_acquire_as(&c, &w, "a", 0, 1500);
    WORLD_UNTIL(&w, strstr(c.said, "waiting") != NULL);
    assert_non_null(strstr(c.text, "target a: 10.0.0.5:22: "));
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_int_equal(c.status, SL_E_HANDSHAKE);
    assert_non_null(
        strstr(c.text, "target a: no connection within 2 s: 10.0.0.5:22: closed in the handshake; next try in"));
    sl_world_fini(&w);

    sl_world_init(&w, CONF("max_connections: 1"), false);
    sl_fake_dial(w.transport, 0, SL_E_HOST_KEY_CHANGED, "10.0.0.5:22: the host key has changed");
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_string_equal(c.text, "target a: 10.0.0.5:22: the host key has changed; tried again when known_hosts says "
                                "something else, or after: sshlease reconnect a");
    sl_world_fini(&w);
}

TEST(credentials_that_fail_are_not_tried_by_everybody)
{
    struct sl_world w;
    struct client c, second;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    sl_fake_dial(w.transport, 0, SL_E_AUTH_FAILED, "u@a:22: the server rejects password");
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_int_equal(c.status, SL_E_AUTH_FAILED);
    client_acquire(&second, &w, "a");
    WORLD_UNTIL(&w, second.lease == NULL);
    assert_int_equal(second.status, SL_E_AUTH_FAILED);
    assert_string_equal(second.text,
        "target a: u@a:22: the server rejects password; next try in 10 min, or after: sshlease reconnect a");
    assert_int_equal(sl_fake_counts(w.transport).dialed, 1);
    assert_int_equal(sl_world_counter(&w, "leases_refused", "target-down"), 2);
    sl_world_fini(&w);
}

TEST(a_lost_connection_ends_its_lease_after_its_streams)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    (void)client_run(&c, "hang");
    sl_world_settle(&w);
    sl_fake_lose_all(w.transport, "reset by peer");
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_string_equal(c.said, "granted open unknown ended");
    assert_int_equal(c.status, SL_E_CONNECTION_LOST);
    assert_string_equal(c.text, "lease 1 of a: the SSH connection was lost: reset by peer");
    assert_int_equal(sl_world_counter(&w, "reclaim_incomplete", ""), 1); /* its command may still run */
    sl_world_fini(&w);
}

/* The server hangs up on who has just logged in: who waits next is told so, and does not dial at once. Where it has
 * answered something, it was the lease's bad luck. */
TEST(a_login_that_came_to_nothing_is_a_failed_dial)
{
    struct sl_world w;
    struct client c, second;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    client_acquire_as(&second, &w, "a", 0, 300);
    sl_fake_lose_all(w.transport, "10.0.0.5:22: the server closed the connection");
    WORLD_UNTIL(&w, second.lease == NULL);
    assert_int_equal(second.status, SL_E_CONNECTION_LOST);
    assert_non_null(strstr(second.text,
        "target a: no connection within 300 ms: 10.0.0.5:22: the server closed the connection; next try in "));
    assert_int_equal(sl_fake_counts(w.transport).dialed, 1);
    sl_world_fini(&w);

    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    (void)client_run(&c, "hang");
    WORLD_UNTIL(&w, strstr(c.said, "open") != NULL);
    client_acquire_as(&second, &w, "a", 0, 300);
    sl_fake_lose_all(w.transport, "10.0.0.5:22: the server closed the connection");
    WORLD_UNTIL(&w, second.id != 0);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 2);
    sl_world_fini(&w);
}

TEST(a_connection_lost_while_it_is_cleaned_up_is_counted_once)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    sl_fake_drain(w.transport, 60000);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    (void)client_run(&c, "hang");
    sl_world_settle(&w);
    sl_lease_abandon(c.lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).drained == 1);
    sl_fake_lose_all(w.transport, "reset by peer");
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    assert_int_equal(sl_world_counter(&w, "reclaim_incomplete", ""), 1);
    assert_int_equal(sl_world_counter(&w, "reclaim_streams", ""), 1);
    sl_world_fini(&w);
}

TEST(release_and_loss_in_one_turn)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    sl_fake_lose_all(w.transport, "reset by peer");
    sl_lease_abandon(c.lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    sl_fake_lose_all(w.transport, "reset by peer");
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    sl_world_fini(&w);
}

TEST(a_lease_expires_and_is_revoked)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 2, lease_timeout: 50ms"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.lease == NULL && c.id != 0);
    assert_string_equal(c.said, "granted ended");
    assert_int_equal(c.status, SL_E_EXPIRED);

    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    assert_int_equal(sl_driver_revoke(w.driver, c.id + 1, &(struct sl_who){.uid = 0}), SL_E_NO_LEASE);
    assert_int_equal(sl_driver_revoke(w.driver, c.id, &(struct sl_who){.uid = 4242}), SL_E_NOT_ALLOWED);
    assert_int_equal(sl_driver_revoke(w.driver, c.id, &(struct sl_who){.uid = 0}), 0);
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_int_equal(c.status, SL_E_REVOKED);
    assert_int_equal(sl_world_counter(&w, "leases_ended", "revoked"), 1);
    sl_world_fini(&w);
}

TEST(shutdown_waits_for_leases_and_refuses_the_rest)
{
    struct sl_world w;
    struct client c, waiter, late;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    client_acquire(&waiter, &w, "a");
    sl_world_settle(&w);
    sl_driver_shutdown(w.driver, false, sl_world_stopped, &w);
    assert_true(sl_driver_stopping(w.driver));
    WORLD_UNTIL(&w, waiter.lease == NULL);
    assert_int_equal(waiter.status, SL_E_SHUTDOWN);
    client_acquire(&late, &w, "a");
    WORLD_UNTIL(&w, late.lease == NULL);
    assert_int_equal(late.status, SL_E_SHUTDOWN);
    assert_false(w.stopped);
    (void)client_run(&c, "exit 0"); /* still its own */
    WORLD_UNTIL(&w, c.ends == 1);
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, w.stopped);
    assert_string_equal(c.said, "granted open exit released");
    sl_world_fini(&w);
}

/* Between the core's last word and the last handle's close clients may still ask. */
TEST(who_asks_at_the_very_end_is_refused)
{
    struct sl_world w;
    struct client c, late;
    sl_world_init(&w, CONF("host: h"), false);
    sl_driver_shutdown(w.driver, true, sl_world_stopped, &w);
    client_acquire(&c, &w, "a");
    sl_driver_flush(w.driver);
    assert_string_equal(c.said, "refused");
    assert_int_equal(c.status, SL_E_SHUTDOWN);
    assert_false(w.stopped);
    client_acquire(&late, &w, "a");
    sl_driver_flush(w.driver);
    assert_string_equal(late.said, "refused");
    assert_int_equal(late.status, SL_E_SHUTDOWN);
    sl_world_fini(&w);
}

TEST(a_second_shutdown_does_not_wait)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 1"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    sl_driver_shutdown(w.driver, false, sl_world_stopped, &w);
    sl_world_settle(&w);
    assert_string_equal(c.said, "granted");
    sl_driver_shutdown(w.driver, true, sl_world_stopped, &w);
    WORLD_UNTIL(&w, w.stopped);
    assert_string_equal(c.said, "granted ended");
    sl_world_fini(&w);
}

TEST(what_was_heard_lately_is_not_pinged)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("max_connections: 1, server_alive_interval: 100ms, validate_after: 10s"), false);
    client_acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    struct sl_stream *stream = client_run(&c, "cat");
    uint64_t until = uv_now(&w.loop) + 350;
    while (uv_now(&w.loop) < until) { /* traffic all the time */
        assert_int_equal(sl_stream_write(stream, "x", 1), 0);
        uint64_t pause = uv_now(&w.loop) + 5;
        WORLD_UNTIL(&w, uv_now(&w.loop) >= pause);
    }
    assert_int_equal(sl_fake_counts(w.transport).pinged, 0);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).pinged > 0); /* and silence is */
    sl_lease_abandon(c.lease);
    sl_world_fini(&w);
}

static void count_lease(void *arg, const struct sl_lease_view *view)
{
    struct client *c = arg;
    assert_string_equal(view->target, "a");
    assert_string_equal(view->label, "a \"label\"");
    assert_int_equal(view->pid, 4711);
    client_say(c, view->granted ? "granted" : "waiting");
}

static void count_target(void *arg, const struct sl_target_view *view)
{
    client_say(arg, view->name);
}

TEST(one_sees_what_is_ones_own)
{
    struct sl_world w;
    struct client c, waiter, seen = {.lease = NULL};
    sl_world_init(&w, CONF("max_connections: 1") "  b: {allow: {users: [2]}}\n", false);
    client_acquire_as(&c, &w, "a", 1, 0);
    WORLD_UNTIL(&w, c.id != 0);
    client_acquire_as(&waiter, &w, "a", 2, 0);
    sl_world_settle(&w);
    sl_driver_each_lease(w.driver, &(struct sl_who){.uid = 0}, count_lease, &seen);
    sl_driver_each_target(w.driver, &(struct sl_who){.uid = 0}, count_target, &seen);
    assert_string_equal(seen.said, "granted waiting a b");
    seen.said[0] = '\0';
    sl_driver_each_lease(w.driver, &(struct sl_who){.uid = 2}, count_lease, &seen);
    sl_driver_each_target(w.driver, &(struct sl_who){.uid = 1}, count_target, &seen);
    assert_string_equal(seen.said, "waiting a");
    struct sl_driver_totals totals;
    sl_driver_totals(w.driver, &totals);
    assert_int_equal(totals.leased, 1);
    assert_int_equal(totals.waiters, 1);
    sl_lease_abandon(c.lease);
    sl_lease_abandon(waiter.lease);
    sl_world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_is_asked_for_used_and_given_back),
        cmocka_unit_test(an_unclean_release_is_reclaimed),
        cmocka_unit_test(an_abandoned_lease_is_reclaimed_and_the_next_waiter_served),
        cmocka_unit_test(a_client_may_go_at_any_time),
        cmocka_unit_test(waiting_ends_by_release),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(credentials_that_fail_are_not_tried_by_everybody),
        cmocka_unit_test(a_lost_connection_ends_its_lease_after_its_streams),
        cmocka_unit_test(a_login_that_came_to_nothing_is_a_failed_dial),
        cmocka_unit_test(a_connection_lost_while_it_is_cleaned_up_is_counted_once),
        cmocka_unit_test(release_and_loss_in_one_turn),
        cmocka_unit_test(a_lease_expires_and_is_revoked),
        cmocka_unit_test(shutdown_waits_for_leases_and_refuses_the_rest),
        cmocka_unit_test(who_asks_at_the_very_end_is_refused),
        cmocka_unit_test(a_second_shutdown_does_not_wait),
        cmocka_unit_test(what_was_heard_lately_is_not_pinged),
        cmocka_unit_test(one_sees_what_is_ones_own),
    };
    return cmocka_run_group_tests_name("driver.driver", tests, NULL, NULL);
}
