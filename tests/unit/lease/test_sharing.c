/* SPDX-License-Identifier: MIT */
/* Leases that share a connection: each ends for itself, and one for which there is no session goes elsewhere. */
#include "base/container.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/lease/client.h"

#include <stdlib.h>
#include <string.h>

#define CONF(more) "defaults: {" WORLD_LOGIN "}\ntargets:\n  a: {sharing: 4, " more "}\n"

static struct sl_driver_totals totals(const struct sl_world *w)
{
    struct sl_driver_totals now;
    sl_driver_totals(w->driver, &now);
    return now;
}

/* Three leases on one connection; the first two run something. */
static void share(struct sl_world *w, struct client *c)
{
    for (int i = 0; i < 3; i++) {
        client_acquire(&c[i], w, "a");
        WORLD_UNTIL(w, c[i].id != 0);
    }
    assert_int_equal(totals(w).leased, 1);
    for (int i = 0; i < 2; i++) {
        (void)client_run(&c[i], "hang");
        WORLD_UNTIL(w, strstr(c[i].said, "open") != NULL);
    }
}

TEST(a_reclaim_leaves_the_others_alone)
{
    struct sl_world w;
    struct client c[3], late;
    sl_world_init(&w, CONF("max_connections: 2"), false);
    share(&w, c);
    sl_lease_abandon(c[0].lease);
    WORLD_UNTIL(&w, sl_world_counter(&w, "reclaim_signalled", "") == 1);
    sl_world_settle(&w);
    assert_string_equal(c[1].said, "granted open");
    client_acquire(&late, &w, "a");
    WORLD_UNTIL(&w, late.id != 0);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 2);
    (void)client_run(&c[2], "exit 0");
    WORLD_UNTIL(&w, c[2].ends == 1);
    sl_lease_release(c[2].lease);
    WORLD_UNTIL(&w, c[2].lease == NULL);
    assert_int_equal(totals(&w).leased, 2);
    sl_lease_release(c[1].lease); /* unclean */
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 1);
    assert_string_equal(c[1].said, "granted open released");
    assert_int_equal(sl_fake_counts(w.transport).drained, 2);
    assert_int_equal(sl_world_counter(&w, "connections_closed", "drained"), 1);
    sl_lease_release(late.lease);
    sl_world_fini(&w);
}

TEST(a_loss_ends_them_all)
{
    struct sl_world w;
    struct client c[3];
    sl_world_init(&w, CONF("max_connections: 2"), false);
    share(&w, c);
    sl_lease_abandon(c[0].lease);
    sl_fake_drain(w.transport, 60000);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).drained == 1);
    sl_fake_lose_all(w.transport, "reset by peer");
    WORLD_UNTIL(&w, c[1].lease == NULL && c[2].lease == NULL);
    assert_string_equal(c[1].said, "granted open unknown ended");
    assert_string_equal(c[2].said, "granted ended");
    assert_int_equal(c[2].status, SL_E_CONNECTION_LOST);
    sl_world_fini(&w);
}

TEST(one_without_a_session_moves_with_its_stream)
{
    struct sl_world w;
    struct client c[3];
    sl_world_init(&w, CONF("max_connections: 2"), false);
    share(&w, c);
    sl_fake_sessions(w.transport, 2);
    struct sl_stream *stream = client_run(&c[2], "cat");
    assert_int_equal(sl_stream_write(stream, "early", 5), 0);
    sl_stream_eof(stream);
    WORLD_UNTIL(&w, c[2].ends == 1);
    assert_string_equal(c[2].said, "granted open exit");
    assert_int_equal(c[2].data, 5);
    assert_int_equal(totals(&w).leased, 2);
    for (int i = 0; i < 3; i++)
        sl_lease_abandon(c[i].lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    sl_world_fini(&w);
}

TEST(one_that_moves_nowhere_is_told_why)
{
    struct sl_world w;
    struct client c[3];
    sl_world_init(&w, CONF("max_connections: 1, acquire_timeout: 100ms"), false);
    share(&w, c);
    sl_fake_sessions(w.transport, 2);
    (void)client_run(&c[2], "cat");
    WORLD_UNTIL(&w, totals(&w).waiters == 1);
    assert_string_equal(c[2].said, "granted");
    WORLD_UNTIL(&w, c[2].lease == NULL);
    assert_string_equal(c[2].said, "granted ended"); /* its stream calls no more */
    assert_int_equal(c[2].status, SL_E_TIMEOUT);
    assert_non_null(strstr(c[2].text, "no other connection had room"));
    sl_world_fini(&w);
}

/* Given back, abandoned and taken away while it is on no connection. */
TEST(one_that_moves_can_end)
{
    struct sl_world w;
    struct client c[3];
    for (int how = 0; how < 3; how++) {
        sl_world_init(&w, CONF("max_connections: 1"), false);
        share(&w, c);
        sl_fake_sessions(w.transport, 2);
        (void)client_run(&c[2], "cat");
        WORLD_UNTIL(&w, totals(&w).waiters == 1);
        if (how == 0)
            sl_lease_release(c[2].lease);
        else if (how == 1)
            sl_lease_abandon(c[2].lease);
        else
            assert_int_equal(sl_driver_revoke(w.driver, c[2].id, &(struct sl_who){.uid = 0}), 0);
        WORLD_UNTIL(&w, totals(&w).waiters == 0);
        assert_string_equal(c[2].said, how == 0 ? "granted released" : how == 1 ? "granted" : "granted ended");
        assert_int_equal(sl_fake_counts(w.transport).drained, 0);
        sl_world_fini(&w);
    }
}

/* The connection for it is ready, and lost: of the latter the core has not heard when it moves the lease there. */
TEST(one_that_moves_to_what_is_lost_already)
{
    struct sl_world w;
    struct client c[3];
    sl_world_init(&w, CONF("max_connections: 2"), false);
    share(&w, c);
    sl_fake_sessions(w.transport, 2);
    sl_fake_stillborn(w.transport);
    struct sl_stream *stream = client_run(&c[2], "cat");
    assert_int_equal(sl_stream_write(stream, "early", 5), 0);
    sl_stream_eof(stream);
    WORLD_UNTIL(&w, c[2].ends == 1);
    assert_string_equal(c[2].said, "granted open exit");
    assert_int_equal(c[2].data, 5);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 3);
    for (int i = 0; i < 3; i++)
        sl_lease_abandon(c[i].lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    sl_world_fini(&w);
}

/* What ends a lease in some turn, counted from the second dial. */
struct ender {
    uv_idle_t idle;
    struct sl_world *world;
    struct client *client;
    unsigned turns, way;
};

static void on_turn(uv_idle_t *idle)
{
    struct ender *e = SL_CONTAINER(idle, struct ender, idle);
    if (sl_fake_counts(e->world->transport).dialed < 2 || e->turns-- > 1)
        return;
    uv_close((uv_handle_t *)idle, NULL);
    if (e->way == 0)
        sl_lease_abandon(e->client->lease);
    else if (e->way == 1)
        sl_lease_release(e->client->lease);
    else
        (void)sl_driver_revoke(e->world->driver, e->client->id, &(struct sl_who){.uid = 0});
}

/* The same, and it ends in one of the turns about that: also between its move there and the news of the loss. */
TEST(one_that_moves_to_what_is_lost_already_can_end)
{
    for (unsigned i = 0; i < 3 * 12; i++) {
        struct sl_world w;
        struct client c[3];
        struct ender e = {.world = &w, .client = &c[2], .turns = i / 3 + 1, .way = i % 3};
        sl_world_init(&w, CONF("max_connections: 2"), false);
        share(&w, c);
        sl_fake_sessions(w.transport, 2);
        sl_fake_stillborn(w.transport);
        (void)client_run(&c[2], "hang");
        uv_idle_init(&w.loop, &e.idle);
        uv_idle_start(&e.idle, on_turn);
        while (!uv_is_closing((uv_handle_t *)&e.idle))
            uv_run(&w.loop, UV_RUN_NOWAIT);
        for (int k = 0; k < 2; k++)
            sl_lease_abandon(c[k].lease);
        WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
        sl_world_fini(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reclaim_leaves_the_others_alone),
        cmocka_unit_test(a_loss_ends_them_all),
        cmocka_unit_test(one_without_a_session_moves_with_its_stream),
        cmocka_unit_test(one_that_moves_nowhere_is_told_why),
        cmocka_unit_test(one_that_moves_can_end),
        cmocka_unit_test(one_that_moves_to_what_is_lost_already),
        cmocka_unit_test(one_that_moves_to_what_is_lost_already_can_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
