/* SPDX-License-Identifier: MIT */
/* Several leases of one owner on one connection, where the target says so. */
#include "tests/sim/traces/trace.h"

TRACE(a_lease_has_its_connection_for_itself_unless_the_target_says_otherwise)
{
    sim_targets(w, "a: max=2 dial=40");
    sim_warm(w);
    sim_do(w, "c1 acquire a owner=7; c2 acquire a owner=7");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.2\n");
}

TRACE(leases_of_one_owner_share_one_connection)
{
    sim_targets(w, "a: sharing=2 dial=40");
    sim_do(w, "c1 acquire a owner=7");
    sim_run_until(w, 100);
    sim_do(w, "c2 acquire a owner=7");
    sim_run_until(w, 200);
    sim_do(w, "c1 release; c3 acquire a owner=7; c2 release; c3 release");
    sim_run_until(w, 300);
    sim_do(w, "c4 acquire a owner=7");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[  100] grant c2 a.1\n"
                  "[  200] released c1\n"
                  "[  200] grant c3 a.1\n"
                  "[  200] released c2\n"
                  "[  200] released c3\n"
                  "[  300] grant c4 a.1\n");
}

TRACE(one_dial_serves_as_many_waiters_of_one_owner_as_may_share)
{
    sim_targets(w, "a: sharing=2 dial=40");
    sim_warm(w);
    sim_do(w, "c1 acquire a owner=7; c2 acquire a owner=7; c3 acquire a owner=7; c4 acquire a owner=8");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] dial a.3\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.1\n"
                  "[   40] grant c3 a.2\n"
                  "[   40] grant c4 a.3\n");
}

TRACE(waiters_kept_from_dialing_share_when_it_is_possible)
{
    sim_targets(w, "limits: handshakes=1; a: sharing=3 dial=40");
    sim_do(w, "c1 acquire a owner=7; c4 acquire a owner=8; c2 acquire a owner=7; c3 acquire a owner=7");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.1\n"
                  "[   40] grant c3 a.1\n"
                  "[   40] dial a.2\n"
                  "[   80] grant c4 a.2\n");
}

TRACE(owners_do_not_mix)
{
    sim_targets(w, "a: max=1 sharing=4");
    sim_do(w, "c1 acquire a owner=7; c2 acquire a owner=8; c3 acquire a owner=7");
    sim_run_until(w, 100);
    sim_do(w, "c1 release; c3 release");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c3 a.1\n"
                  "[  100] released c1\n"
                  "[  100] released c3\n"
                  "[  100] close a.1 make-room\n"
                  "[  100] dial a.2\n"
                  "[  100] grant c2 a.2\n");
}

TRACE(an_idle_connection_comes_before_a_place_on_a_leased_one)
{
    sim_targets(w, "a: max=2 sharing=1");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c2 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.2\n"
                  "[    0] released c2\n");
    /* Only connections dialed from now on are shared. */
    sim_targets(w, "a: max=4 sharing=2");
    sim_do(w, "c3 acquire a; c4 acquire a; c5 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c3 release; c6 acquire a; c7 acquire a");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] grant c3 a.2\n"
                  "[    0] dial a.3\n"
                  "[    0] grant c4 a.3\n"
                  "[    0] grant c5 a.3\n"
                  "[    0] released c3\n"
                  "[    0] grant c6 a.2\n"
                  "[    0] dial a.4\n"
                  "[    0] grant c7 a.4\n");
}

TRACE(the_connection_with_the_fewest_leases_takes_the_next_one)
{
    sim_targets(w, "a: sharing=3");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a; c4 acquire a; c5 acquire a");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[    0] grant c3 a.1\n"
                  "[    0] grant c4 a.2\n"
                  "[    0] grant c5 a.2\n");
    sim_do(w, "c1 release; c2 release; c6 acquire a; c7 acquire a; c8 acquire a");
    sim_run_until(w, 200);
    sim_expect(w, "[  100] released c1\n"
                  "[  100] released c2\n"
                  "[  100] grant c6 a.1\n"
                  "[  100] grant c7 a.1\n"
                  "[  100] grant c8 a.2\n");
}

TRACE(a_reclaim_ends_one_lease_and_the_connection_after_the_last_of_the_others)
{
    sim_targets(w, "a: sharing=3 drain=100 dial=10");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 1000);
    sim_do(w, "c1 gone");
    sim_run_until(w, 1500);
    sim_do(w, "c4 acquire a"); /* not on that one */
    sim_run_until(w, 2000);
    sim_do(w, "c2 release; c3 release");
    sim_run_until(w, 3000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   10] grant c2 a.1\n"
                  "[   10] grant c3 a.1\n"
                  "[ 1000] drain a.1 of c1 client-gone\n"
                  "[ 1500] dial a.2\n"
                  "[ 1510] grant c4 a.2\n"
                  "[ 2000] released c2\n"
                  "[ 2000] released c3\n"
                  "[ 2000] close a.1 drained\n");
}

TRACE(a_connection_waits_for_every_clean_up)
{
    sim_targets(w, "a: sharing=3 max=1 drain=500");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c1 revoke");
    sim_run_until(w, 200);
    sim_do(w, "c2 release; c3 release unclean; c4 acquire a");
    sim_run_until(w, 2000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[    0] grant c3 a.1\n"
                  "[    0] ended c1 revoked: revoked\n"
                  "[    0] drain a.1 of c1 revoked\n"
                  "[  200] released c2\n"
                  "[  200] released c3 unclean\n"
                  "[  200] drain a.1 of c3 unclean\n"
                  "[  700] close a.1 drained\n"
                  "[  700] dial a.2\n"
                  "[  700] grant c4 a.2\n");
}

TRACE(a_clean_up_that_never_ends_is_given_up_each_for_itself)
{
    sim_targets(w, "a: sharing=2 drain_stall=1 grace=1000");
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c1 gone");
    sim_run_until(w, 5000);
    sim_do(w, "c2 gone");
    sim_run_until(w, 30000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[    0] drain a.1 of c1 client-gone\n"
                  "[ 5000] drain a.1 of c2 client-gone\n"
                  "[21000] close a.1 drained\n");
}

TRACE(a_lost_connection_ends_all_its_leases_and_clean_ups)
{
    sim_targets(w, "a: sharing=3 drain_stall=1");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c1 gone; a.1 lost");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[    0] grant c3 a.1\n"
                  "[    0] drain a.1 of c1 client-gone\n"
                  "[    0] ended c2 connection-lost: connection-lost\n"
                  "[    0] ended c3 connection-lost: connection-lost\n"
                  "[    0] close a.1 connection-lost\n");
}

TRACE(a_lease_that_is_crowded_out_moves_to_another_connection)
{
    sim_targets(w, "a: sharing=4 dial=40");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c3 crowded");
    sim_run_until(w, 200);
    sim_do(w, "c4 acquire a; c5 acquire a"); /* the first takes no more than two now */
    sim_do(w, "c1 release; c6 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.1\n"
                  "[   40] grant c3 a.1\n"
                  "[  100] dial a.2\n"
                  "[  140] move c3 a.2\n"
                  "[  200] grant c4 a.2\n"
                  "[  200] grant c5 a.2\n"
                  "[  200] released c1\n"
                  "[  200] grant c6 a.1\n");
}

TRACE(a_lease_that_is_crowded_out_waits_at_its_place_in_the_queue_and_keeps_its_deadline)
{
    sim_targets(w, "a: sharing=2 max=1 lease=1000 notice=50000");
    sim_do(w, "c1 acquire a; c2 acquire a lease=600; c3 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c2 crowded; c4 acquire a");
    sim_run_until(w, 200);
    sim_do(w, "c1 release");
    sim_run_until(w, 700);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[  200] released c1\n"
                  "[  200] move c2 a.1\n"
                  "[  600] ended c2 expired: expired\n"
                  "[  600] drain a.1 of c2 expired\n"
                  "[  600] close a.1 drained\n"
                  "[  600] dial a.2\n"
                  "[  600] grant c3 a.2\n"
                  "[  600] grant c4 a.2\n");
}

TRACE(a_lease_that_finds_no_other_connection_is_ended_in_time)
{
    sim_targets(w, "a: sharing=2 max=1 acquire=5000");
    sim_do(w, "c1 acquire a; c2 acquire a timeout=300");
    sim_run_until(w, 0);
    sim_do(w, "c2 crowded");
    sim_run_until(w, 400);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[  300] ended c2 timeout: timeout\n");
}

TRACE(a_lease_whose_connection_is_lost_before_it_began_goes_on_with_another)
{
    sim_targets(w, "a: max=2 dial=40");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "a.1 alive; c1 displaced lost; a.1 lost");
    sim_run_until(w, 200);
    sim_do(w, "c1 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.2\n"
                  "[  100] close a.1 connection-lost\n"
                  "[  100] dial a.3\n"
                  "[  140] move c1 a.3\n"
                  "[  200] released c1\n"
                  "[  200] grant c3 a.3\n");
}

TRACE(nobody_comes_to_a_spent_connection_and_the_last_lease_closes_it)
{
    sim_targets(w, "a: sharing=2 max=2 dial=40");
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c1 displaced; c3 acquire a");
    sim_run_until(w, 200);
    sim_do(w, "c2 release; c1 release spent; c3 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] grant c2 a.1\n"
                  "[  100] dial a.2\n"
                  "[  140] move c1 a.2\n"
                  "[  140] grant c3 a.2\n"
                  "[  200] released c2\n"
                  "[  200] close a.1 spent\n"
                  "[  200] released c1\n"
                  "[  200] released c3\n"
                  "[  200] close a.2 spent\n");
}

TRACE(a_lease_that_is_moving_leaves_nothing_to_clean_up)
{
    sim_targets(w, "a: sharing=4 max=1");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a; c4 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c2 crowded; c3 crowded; c4 crowded");
    sim_run_until(w, 100);
    sim_do(w, "c3 renew lease=5000; c2 release unclean; c3 gone; c4 revoke; c1 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[    0] grant c3 a.1\n"
                  "[    0] grant c4 a.1\n"
                  "[  100] renewed c3 until 5100\n"
                  "[  100] released c2\n"
                  "[  100] ended c4 revoked: revoked\n"
                  "[  100] released c1\n");
}

TRACE(a_stop_and_a_reload_end_what_is_moving)
{
    sim_targets(w, "a: sharing=2 max=1; b: sharing=2 max=1");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire b; c4 acquire b");
    sim_run_until(w, 10);
    sim_do(w, "c2 crowded; c4 crowded");
    sim_targets(w, "b: sharing=2 max=1");
    sim_run_until(w, 20);
    sim_do(w, "shutdown drain=100");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial b.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[    0] grant c3 b.1\n"
                  "[    0] grant c4 b.1\n"
                  "[   10] ended c2 no-target: no-target\n"
                  "[   20] ended c4 shutdown: shutdown\n"
                  "[  120] ended c1 shutdown: shutdown\n"
                  "[  120] drain a.1 shutdown\n"
                  "[  120] ended c3 shutdown: shutdown\n"
                  "[  120] drain b.1 of c3 shutdown\n"
                  "[  120] close a.1 drained\n"
                  "[  120] close b.1 drained\n"
                  "[  120] stopped\n");
}

TRACE(a_connection_too_old_to_be_idle_takes_nobody_more)
{
    sim_targets(w, "a: sharing=2 lifetime=1000");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 2000);
    sim_do(w, "c2 acquire a; c1 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[ 2000] dial a.2\n"
                  "[ 2000] released c1\n"
                  "[ 2000] close a.1 max-lifetime\n");
}

TRACE(a_leased_connection_not_heard_of_lately_is_asked_before_it_is_shared)
{
    sim_targets(w, "a: sharing=2 validate=1000 pong=20");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 5000);
    sim_do(w, "c2 acquire a");
    sim_run_until(w, 6000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[ 5000] ping a.1\n"
                  "[ 5020] grant c2 a.1\n");
}

TRACE(a_leased_connection_that_does_not_answer_keeps_its_lease_and_the_waiter_gets_another)
{
    sim_targets(w, "a: sharing=2 validate=1000 validate_timeout=300 deaf=1");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 5000);
    sim_do(w, "c2 acquire a");
    sim_run_until(w, 6000);
    sim_do(w, "a.1 alive; c3 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[ 5000] ping a.1\n"
                  "[ 5300] dial a.2\n"
                  "[ 5300] grant c2 a.2\n"
                  "[ 6000] grant c3 a.1\n");
}

TRACE(shared_owners_share_connections_too)
{
    sim_targets(w, "a: max=1 sharing=2 shared=1");
    sim_do(w, "c1 acquire a owner=7; c2 acquire a owner=8");
    sim_run_until(w, 10);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_has_its_connection_for_itself_unless_the_target_says_otherwise),
        cmocka_unit_test(leases_of_one_owner_share_one_connection),
        cmocka_unit_test(one_dial_serves_as_many_waiters_of_one_owner_as_may_share),
        cmocka_unit_test(waiters_kept_from_dialing_share_when_it_is_possible),
        cmocka_unit_test(owners_do_not_mix),
        cmocka_unit_test(an_idle_connection_comes_before_a_place_on_a_leased_one),
        cmocka_unit_test(the_connection_with_the_fewest_leases_takes_the_next_one),
        cmocka_unit_test(a_reclaim_ends_one_lease_and_the_connection_after_the_last_of_the_others),
        cmocka_unit_test(a_connection_waits_for_every_clean_up),
        cmocka_unit_test(a_clean_up_that_never_ends_is_given_up_each_for_itself),
        cmocka_unit_test(a_lost_connection_ends_all_its_leases_and_clean_ups),
        cmocka_unit_test(a_lease_that_is_crowded_out_moves_to_another_connection),
        cmocka_unit_test(a_lease_whose_connection_is_lost_before_it_began_goes_on_with_another),
        cmocka_unit_test(nobody_comes_to_a_spent_connection_and_the_last_lease_closes_it),
        cmocka_unit_test(a_lease_that_is_crowded_out_waits_at_its_place_in_the_queue_and_keeps_its_deadline),
        cmocka_unit_test(a_lease_that_finds_no_other_connection_is_ended_in_time),
        cmocka_unit_test(a_lease_that_is_moving_leaves_nothing_to_clean_up),
        cmocka_unit_test(a_stop_and_a_reload_end_what_is_moving),
        cmocka_unit_test(a_connection_too_old_to_be_idle_takes_nobody_more),
        cmocka_unit_test(a_leased_connection_not_heard_of_lately_is_asked_before_it_is_shared),
        cmocka_unit_test(a_leased_connection_that_does_not_answer_keeps_its_lease_and_the_waiter_gets_another),
        cmocka_unit_test(shared_owners_share_connections_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
