/* SPDX-License-Identifier: MIT */
/* A reload asks again who may have what: leases, waits, and what is on its way to the core or between connections. */
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/lease/client.h"

#include <string.h>

#define LOGIN       "user: u, password: {env: SL_TEST_PASSWORD}"
#define CONF(allow) "targets:\n  a: {" LOGIN ", max_connections: 1, allow: {" allow "}}\n"
#define SHARING(allow)                                                                                                 \
    "targets:\n  a: {" LOGIN ", max_connections: 1, sharing: 4, owners: shared, allow: {" allow "}}\n"

static void reload(struct sl_world *w, const char *yaml)
{
    assert_int_equal(sl_driver_reload(w->driver, sl_world_conf(yaml, false)), 0);
}

TEST(who_lost_the_right_loses_its_place_in_the_queue)
{
    struct sl_world w;
    struct client held, lost, next;
    sl_world_init(&w, CONF("users: [1, 2]"), false);
    client_acquire_as(&held, &w, "a", 2, 0);
    WORLD_UNTIL(&w, held.id != 0);
    client_acquire_as(&lost, &w, "a", 1, 0);
    client_acquire_as(&next, &w, "a", 2, 0);
    sl_world_settle(&w);
    reload(&w, CONF("users: [2]"));
    assert_string_equal(lost.said, ""); /* not from within the call */
    WORLD_UNTIL(&w, lost.lease == NULL);
    assert_string_equal(lost.said, "refused");
    assert_int_equal(lost.status, SL_E_NOT_ALLOWED);
    assert_string_equal(lost.text, "not allowed to lease a");
    assert_string_equal(held.said, "granted"); /* it notices nothing */
    sl_lease_release(held.lease);
    WORLD_UNTIL(&w, next.id != 0);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 1);
    assert_int_equal(sl_world_counter(&w, "leases_refused", "not-allowed"), 1);
    sl_lease_release(next.lease);
    sl_world_fini(&w);
}

TEST(who_lost_the_right_loses_its_lease)
{
    struct sl_world w;
    struct client lost, next;
    sl_world_init(&w, CONF("users: [1, 2]"), false);
    client_acquire_as(&lost, &w, "a", 1, 0);
    WORLD_UNTIL(&w, lost.id != 0);
    (void)client_run(&lost, "hang");
    WORLD_UNTIL(&w, strstr(lost.said, "open") != NULL);
    client_acquire_as(&next, &w, "a", 2, 0);
    reload(&w, CONF("users: [2]"));
    WORLD_UNTIL(&w, lost.lease == NULL);
    assert_string_equal(lost.said, "granted open ended"); /* its stream calls no more */
    assert_int_equal(lost.status, SL_E_NOT_ALLOWED);
    assert_string_equal(lost.text,
        "no longer allowed: the configuration does not let you lease a any more, and lease 1 of it has ended");
    WORLD_UNTIL(&w, next.id != 0);
    assert_int_equal(sl_fake_counts(w.transport).drained, 1); /* what ran is ended on the far side */
    assert_int_equal(sl_fake_counts(w.transport).dialed, 2);
    assert_int_equal(sl_world_counter(&w, "leases_ended", "not-allowed"), 1);
    /* And is turned away at the door as everybody else. */
    client_acquire_as(&lost, &w, "a", 1, 0);
    WORLD_UNTIL(&w, lost.lease == NULL);
    assert_int_equal(lost.status, SL_E_NOT_ALLOWED);
    sl_lease_release(next.lease);
    sl_world_fini(&w);
}

/* The groups are those that the client had when it connected. */
TEST(a_right_by_group_is_asked_for_like_one_by_name)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, CONF("groups: [100]"), false);
    client_acquire_as(&c, &w, "a", 4242, 0);
    WORLD_UNTIL(&w, c.id != 0);
    reload(&w, CONF("users: [7], groups: [99, 100]"));
    sl_world_settle(&w);
    assert_string_equal(c.said, "granted");
    reload(&w, CONF("users: [7], groups: [99]"));
    WORLD_UNTIL(&w, c.lease == NULL);
    assert_int_equal(c.status, SL_E_NOT_ALLOWED);
    sl_world_fini(&w);
}

TEST(neighbours_on_the_connection_go_on)
{
    struct sl_world w;
    struct client lost, stays;
    sl_world_init(&w, SHARING("users: [1, 2]"), false);
    client_acquire_as(&lost, &w, "a", 1, 0);
    WORLD_UNTIL(&w, lost.id != 0);
    client_acquire_as(&stays, &w, "a", 2, 0);
    WORLD_UNTIL(&w, stays.id != 0);
    (void)client_run(&lost, "hang");
    struct sl_stream *stream = client_run(&stays, "cat");
    WORLD_UNTIL(&w, strstr(lost.said, "open") != NULL && strstr(stays.said, "open") != NULL);
    reload(&w, SHARING("users: [2]"));
    WORLD_UNTIL(&w, lost.lease == NULL && sl_fake_counts(w.transport).drained == 1);
    assert_int_equal(sl_stream_write(stream, "still", 5), 0);
    sl_stream_eof(stream);
    WORLD_UNTIL(&w, stays.ends == 1);
    assert_string_equal(stays.said, "granted open exit");
    assert_int_equal(stays.data, 5);
    sl_lease_release(stays.lease);
    sl_world_fini(&w);
}

TEST(a_lease_between_two_connections_ends_too)
{
    struct sl_world w;
    struct client c[3];
    sl_world_init(&w, SHARING("users: [1, 2]"), false);
    for (int i = 0; i < 3; i++) {
        client_acquire_as(&c[i], &w, "a", i < 2 ? 2 : 1, 0);
        WORLD_UNTIL(&w, c[i].id != 0);
    }
    for (int i = 0; i < 2; i++) {
        (void)client_run(&c[i], "hang");
        WORLD_UNTIL(&w, strstr(c[i].said, "open") != NULL);
    }
    sl_fake_sessions(w.transport, 2);
    (void)client_run(&c[2], "cat");
    struct sl_driver_totals now = {.waiters = 0};
    while (now.waiters == 0) {
        (void)uv_run(&w.loop, UV_RUN_ONCE);
        sl_driver_totals(w.driver, &now);
    }
    reload(&w, SHARING("users: [2]"));
    WORLD_UNTIL(&w, c[2].lease == NULL);
    assert_string_equal(c[2].said, "granted ended");
    assert_int_equal(c[2].status, SL_E_NOT_ALLOWED);
    assert_string_equal(c[0].said, "granted open");
    for (int i = 0; i < 2; i++)
        sl_lease_abandon(c[i].lease);
    sl_world_fini(&w);
}

/* It waits for a look at its target, so that the core has not heard of it. */
TEST(who_is_on_the_way_to_the_queue_is_refused)
{
    static const struct sl_basis made_of = {.host_keys = 1, .keys = 2, .password = 3};
    struct sl_world w;
    struct client c, lost, stays;
    sl_world_init(&w, CONF("users: [1, 2]"), false);
    sl_fake_basis(w.transport, &made_of, false);
    sl_fake_dial(w.transport, 0, SL_E_AUTH_FAILED, "a: no");
    client_acquire_as(&c, &w, "a", 2, 0);
    WORLD_UNTIL(&w, c.lease == NULL);
    sl_fake_basis(w.transport, &made_of, true);
    sl_fake_dial(w.transport, 0, 0, "");
    client_acquire_as(&lost, &w, "a", 1, 0);
    client_acquire_as(&stays, &w, "a", 2, 0);
    sl_world_settle(&w);
    assert_string_equal(lost.said, "");
    reload(&w, CONF("users: [2]"));
    WORLD_UNTIL(&w, lost.lease == NULL);
    assert_int_equal(lost.status, SL_E_NOT_ALLOWED);
    assert_string_equal(lost.text, "not allowed to lease a");
    WORLD_UNTIL(&w, stays.id != 0);
    assert_string_equal(lost.said, "refused");
    sl_lease_release(stays.lease);
    sl_world_fini(&w);
}

/* USER@TARGET is another name for it as long as it logs in as that user. */
TEST(a_wait_for_another_user_is_over)
{
    struct sl_world w;
    struct client held, waits;
    sl_world_init(&w, CONF("users: [1]"), false);
    client_acquire_as(&held, &w, "u@a", 1, 0);
    WORLD_UNTIL(&w, held.id != 0);
    client_acquire_as(&waits, &w, "u@a", 1, 0);
    sl_world_settle(&w);
    reload(
        &w, "targets:\n  a: {user: v, password: {env: SL_TEST_PASSWORD}, max_connections: 1, allow: {users: [1]}}\n");
    WORLD_UNTIL(&w, waits.lease == NULL);
    assert_int_equal(waits.status, SL_E_NO_TARGET);
    assert_string_equal(waits.text, "no such target: \"u@a\" (a logs in as v)");
    sl_world_settle(&w);
    assert_string_equal(held.said, "granted"); /* it is u's connection as before */
    sl_lease_release(held.lease);
    WORLD_UNTIL(&w, held.lease == NULL);
    sl_world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_lost_the_right_loses_its_place_in_the_queue),
        cmocka_unit_test(who_lost_the_right_loses_its_lease),
        cmocka_unit_test(a_right_by_group_is_asked_for_like_one_by_name),
        cmocka_unit_test(neighbours_on_the_connection_go_on),
        cmocka_unit_test(a_lease_between_two_connections_ends_too),
        cmocka_unit_test(who_is_on_the_way_to_the_queue_is_refused),
        cmocka_unit_test(a_wait_for_another_user_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
