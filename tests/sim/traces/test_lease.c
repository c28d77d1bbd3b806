/* SPDX-License-Identifier: MIT */
/* How a lease goes on and ends, and what becomes of its connection. */
#include "tests/sim/traces/trace.h"

TRACE(a_lease_expires_and_its_connection_is_drained_before_the_place_is_free)
{
    sim_targets(w, "a: max=1 lease=30000 dial=40 drain=500 close=10");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 29000);
    sim_do(w, "c2 acquire a");
    sim_run_until(w, 31000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[30040] ended c1 expired: expired\n"
                  "[30040] drain a.1 expired\n"
                  "[30540] close a.1 drained\n"
                  "[30550] dial a.2\n"
                  "[30590] grant c2 a.2\n");
}

TRACE(renewing_moves_the_deadline_up_to_max_lease)
{
    sim_targets(w, "a: lease=1000 max_lease=2500");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 600);
    sim_do(w, "c1 renew");
    sim_run_until(w, 1200);
    sim_do(w, "c1 renew lease=100; c1 renew lease=9000");
    sim_run_until(w, 3000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[  600] renewed c1 until 1600\n"
                  "[ 1200] renewed c1 until 1300\n"
                  "[ 1200] renewed c1 until 2500\n"
                  "[ 2500] ended c1 expired: expired\n"
                  "[ 2500] drain a.1 expired\n"
                  "[ 2500] close a.1 drained\n");
}

TRACE(renewing_without_a_time_takes_what_was_asked_for_at_first)
{
    sim_targets(w, "a: lease=1000");
    sim_do(w, "c1 acquire a lease=300");
    sim_run_until(w, 200);
    sim_do(w, "c1 renew");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[  200] renewed c1 until 500\n");
}

TRACE(a_client_that_goes_is_told_nothing_and_its_connection_is_drained)
{
    sim_targets(w, "a: dial=40 drain=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 50);
    sim_do(w, "c1 gone");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[   50] drain a.1 client-gone\n"
                  "[  150] close a.1 drained\n");
}

TRACE(an_operator_revokes)
{
    sim_targets(w, "a: dial=0 drain=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 50);
    sim_do(w, "c1 revoke");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   50] ended c1 revoked: revoked\n"
                  "[   50] drain a.1 revoked\n"
                  "[  150] close a.1 drained\n");
}

TRACE(what_is_given_back_unclean_is_drained)
{
    sim_targets(w, "a: dial=0 drain=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 50);
    sim_do(w, "c1 release unclean");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   50] released c1 unclean\n"
                  "[   50] drain a.1 unclean\n"
                  "[  150] close a.1 drained\n");
}

TRACE(a_lost_connection_ends_its_lease_and_cannot_be_drained)
{
    sim_targets(w, "a: dial=0 close=10");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 50);
    sim_do(w, "a.1 lost");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   50] ended c1 connection-lost: connection-lost\n"
                  "[   50] close a.1 connection-lost\n");
}

TRACE(a_drain_that_never_ends_is_cut_short)
{
    sim_targets(w, "a: max=1 dial=0 grace=2000 drain_stall=1");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c1 gone; c2 acquire a");
    sim_run_until(w, 20000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[  100] drain a.1 client-gone\n"
                  "[ 5100] notice c2 #1 ok\n"
                  "[17100] close a.1 drained\n"
                  "[17100] dial a.2\n"
                  "[17100] grant c2 a.2\n");
}

TRACE(a_connection_that_dies_while_draining_is_closed)
{
    sim_targets(w, "a: dial=0 drain=1000 close=10");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c1 gone; a.1 lost; a.1 lost");
    sim_run_until(w, 2000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[  100] drain a.1 client-gone\n"
                  "[  100] close a.1 connection-lost\n");
}

/* Deadlines come before the event that arrives with them. */
TRACE(a_release_after_the_deadline_is_too_late)
{
    sim_targets(w, "a: lease=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 0);
    w->now_ms = 100;
    sim_do(w, "c1 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[  100] ended c1 expired: expired\n"
                  "[  100] drain a.1 expired\n");
}

TRACE(a_clock_that_steps_back_stands_still)
{
    sim_targets(w, "a: lease=100 max_lease=100");
    w->now_ms = 1000;
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 1000);
    w->now_ms = 10;
    sim_do(w, "c1 renew");
    sim_run_until(w, 2000);
    sim_expect(w, "[ 1000] dial a.1\n"
                  "[ 1000] grant c1 a.1\n"
                  "[   10] renewed c1 until 1100\n"
                  "[ 1100] ended c1 expired: expired\n"
                  "[ 1100] drain a.1 expired\n"
                  "[ 1100] close a.1 drained\n");
}

TRACE(late_events_are_ignored)
{
    sim_targets(w, "a: max=1");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 10);
    struct sl_id lease = w->client[1].lease, conn = w->client[1].conn;
    sim_do(w, "c1 release unclean");
    sim_run_until(w, 20);
    world_trace_clear(w);
    static const enum sl_event_type late[] = {SL_EV_CLIENT_GONE, SL_EV_RELEASE, SL_EV_RENEW, SL_EV_REVOKE,
        SL_EV_CONN_READY, SL_EV_CONN_LOST, SL_EV_CONN_ALIVE, SL_EV_CONN_DRAINED, SL_EV_CONN_GONE};
    for (size_t i = 0; i < sizeof late / sizeof late[0]; i++) {
        world_step(w, (struct sl_event){.type = late[i], .lease = lease, .conn = conn});
        assert_int_equal(sl_pool_actions(w->pool)->count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_expires_and_its_connection_is_drained_before_the_place_is_free),
        cmocka_unit_test(renewing_moves_the_deadline_up_to_max_lease),
        cmocka_unit_test(renewing_without_a_time_takes_what_was_asked_for_at_first),
        cmocka_unit_test(a_client_that_goes_is_told_nothing_and_its_connection_is_drained),
        cmocka_unit_test(an_operator_revokes),
        cmocka_unit_test(what_is_given_back_unclean_is_drained),
        cmocka_unit_test(a_lost_connection_ends_its_lease_and_cannot_be_drained),
        cmocka_unit_test(a_drain_that_never_ends_is_cut_short),
        cmocka_unit_test(a_connection_that_dies_while_draining_is_closed),
        cmocka_unit_test(a_release_after_the_deadline_is_too_late),
        cmocka_unit_test(a_clock_that_steps_back_stands_still),
        cmocka_unit_test(late_events_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
