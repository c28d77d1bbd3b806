/* SPDX-License-Identifier: MIT */
/* Who is refused at once, who gets which connection, and in what order. */
#include "tests/sim/traces/trace.h"

TRACE(a_cold_target_is_dialed_and_its_connection_kept)
{
    sim_targets(w, "a: dial=40");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c1 release; c2 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[  100] released c1\n"
                  "[  100] grant c2 a.1\n");
}

TRACE(waiters_are_served_in_the_order_they_came)
{
    sim_targets(w, "a: max=1 dial=40");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c1 release");
    sim_run_until(w, 200);
    sim_do(w, "c2 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[  100] released c1\n"
                  "[  100] grant c2 a.1\n"
                  "[  200] released c2\n"
                  "[  200] grant c3 a.1\n");
}

TRACE(the_most_recently_used_connection_goes_first)
{
    sim_targets(w, "a: max=3");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "c2 release; c3 release; c1 release; c4 acquire a; c5 acquire a; c6 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] dial a.3\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.2\n"
                  "[    0] grant c3 a.3\n"
                  "[   10] released c2\n"
                  "[   10] released c3\n"
                  "[   10] released c1\n"
                  "[   10] grant c4 a.1\n"
                  "[   10] grant c5 a.3\n"
                  "[   10] grant c6 a.2\n");
}

TRACE(an_unknown_target_is_refused_at_once)
{
    sim_targets(w, "a: max=1; b: max=1");
    sim_targets(w, "a: max=1");
    sim_do(w, "c1 acquire b");
    sim_expect(w, "[    0] refuse c1 no-target: no-target\n");
}

TRACE(a_full_queue_refuses_at_once)
{
    sim_targets(w, "a: max=1 waiters=2 dial=1000");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 1000);
    sim_do(w, "c4 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] refuse c3 queue-full: queue-full\n"
                  "[ 1000] grant c1 a.1\n");
}

TRACE(who_waits_is_told_once_and_refused_in_time)
{
    sim_targets(w, "a: max=1 acquire=10000 notice=5000");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a timeout=7000");
    sim_run_until(w, 20000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[ 5000] notice c2 #1 ok\n"
                  "[ 5000] notice c3 #2 ok\n"
                  "[ 7000] refuse c3 timeout: timeout\n"
                  "[10000] refuse c2 timeout: timeout\n");
}

TRACE(a_wait_ends_with_its_client_a_release_or_an_operator)
{
    sim_targets(w, "a: max=1");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a; c4 acquire a; c5 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "c2 gone; c3 release; c4 revoke; c1 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   10] refuse c3 released: cancelled\n"
                  "[   10] refuse c4 revoked: revoked\n"
                  "[   10] released c1\n"
                  "[   10] grant c5 a.1\n");
}

TRACE(owners_are_kept_apart)
{
    sim_targets(w, "a: max=2 dial=40");
    sim_do(w, "c1 acquire a owner=1");
    sim_run_until(w, 50);
    sim_do(w, "c1 release; c2 acquire a owner=2");
    sim_run_until(w, 100);
    sim_do(w, "c3 acquire a owner=1");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[   50] released c1\n"
                  "[   50] dial a.2\n"
                  "[   90] grant c2 a.2\n"
                  "[  100] grant c3 a.1\n");
}

TRACE(owners_may_share)
{
    sim_targets(w, "a: max=2 shared=1");
    sim_do(w, "c1 acquire a owner=1");
    sim_run_until(w, 50);
    sim_do(w, "c1 release; c2 acquire a owner=2");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   50] released c1\n"
                  "[   50] grant c2 a.1\n");
}

TRACE(at_the_limit_the_longest_idle_of_another_owner_makes_room)
{
    sim_targets(w, "a: max=2 dial=40 close=5");
    sim_warm(w);
    sim_do(w, "c1 acquire a owner=1; c2 acquire a owner=1");
    sim_run_until(w, 50);
    sim_do(w, "c2 release; c1 release; c3 acquire a owner=2");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.2\n"
                  "[   50] released c2\n"
                  "[   50] released c1\n"
                  "[   50] close a.2 make-room\n"
                  "[   55] dial a.3\n"
                  "[   95] grant c3 a.3\n");
}

/* Or owner 1 could keep owner 2 waiting for ever. */
TRACE(room_is_made_for_the_first_waiter_before_a_later_one_may_have_that_connection)
{
    sim_targets(w, "a: max=1 dial=40");
    sim_do(w, "c1 acquire a owner=1");
    sim_run_until(w, 50);
    sim_do(w, "c2 acquire a owner=2; c3 acquire a owner=1; c1 release");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[   50] released c1\n"
                  "[   50] close a.1 make-room\n"
                  "[   50] dial a.2\n"
                  "[   90] grant c2 a.2\n");
}

/* Another one than the one that leaves for the first waiter. */
TRACE(a_later_waiter_may_have_its_own_idle_connection)
{
    sim_targets(w, "a: max=2 dial=40 close=20");
    sim_warm(w);
    sim_do(w, "c1 acquire a owner=1; c2 acquire a owner=1");
    sim_run_until(w, 50);
    sim_do(w, "c3 acquire a owner=2; c4 acquire a owner=1; c1 release");
    sim_run_until(w, 60);
    sim_do(w, "c2 release");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.2\n"
                  "[   50] released c1\n"
                  "[   50] close a.1 make-room\n"
                  "[   60] released c2\n"
                  "[   60] grant c4 a.2\n"
                  "[   70] dial a.3\n"
                  "[  110] grant c3 a.3\n");
}

TRACE(a_silent_connection_is_pinged_before_the_grant)
{
    sim_targets(w, "a: max=2 validate=1000 validate_timeout=500 pong=30");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c1 release");
    sim_run_until(w, 1000);
    sim_do(w, "c2 acquire a; c2 release");
    sim_run_until(w, 1001);
    sim_do(w, "c3 acquire a");
    sim_run_until(w, 2000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] released c1\n"
                  "[ 1000] grant c2 a.1\n"
                  "[ 1000] released c2\n"
                  "[ 1001] ping a.1\n"
                  "[ 1031] grant c3 a.1\n");
}

TRACE(a_connection_that_does_not_answer_is_closed_and_the_waiter_keeps_its_place)
{
    sim_targets(w, "a: max=1 validate=1000 validate_timeout=500 dial=40 deaf=1");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "a.1 alive; c1 release");
    sim_run_until(w, 2000);
    sim_do(w, "c2 acquire a; c3 acquire a");
    sim_run_until(w, 3000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[  100] released c1\n"
                  "[ 2000] ping a.1\n"
                  "[ 2500] close a.1 dead\n"
                  "[ 2500] dial a.2\n"
                  "[ 2540] grant c2 a.2\n");
}

/* A pinged connection is promised to the queue, not to a person: the first of it gets what is ready first. */
TRACE(what_is_ready_first_goes_to_who_came_first)
{
    sim_targets(w, "a: max=2 validate=1000 validate_timeout=500 pong=100");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c1 release");
    sim_run_until(w, 2000);
    sim_do(w, "c3 acquire a; c4 acquire a; a.2 alive; c2 release");
    sim_run_until(w, 3000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.2\n"
                  "[    0] released c1\n"
                  "[ 2000] ping a.1\n"
                  "[ 2000] released c2\n"
                  "[ 2000] grant c3 a.2\n"
                  "[ 2100] grant c4 a.1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cold_target_is_dialed_and_its_connection_kept),
        cmocka_unit_test(waiters_are_served_in_the_order_they_came),
        cmocka_unit_test(the_most_recently_used_connection_goes_first),
        cmocka_unit_test(an_unknown_target_is_refused_at_once),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(who_waits_is_told_once_and_refused_in_time),
        cmocka_unit_test(a_wait_ends_with_its_client_a_release_or_an_operator),
        cmocka_unit_test(owners_are_kept_apart),
        cmocka_unit_test(owners_may_share),
        cmocka_unit_test(at_the_limit_the_longest_idle_of_another_owner_makes_room),
        cmocka_unit_test(room_is_made_for_the_first_waiter_before_a_later_one_may_have_that_connection),
        cmocka_unit_test(a_later_waiter_may_have_its_own_idle_connection),
        cmocka_unit_test(a_silent_connection_is_pinged_before_the_grant),
        cmocka_unit_test(a_connection_that_does_not_answer_is_closed_and_the_waiter_keeps_its_place),
        cmocka_unit_test(what_is_ready_first_goes_to_who_came_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
