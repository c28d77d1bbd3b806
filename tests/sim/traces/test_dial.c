/* When a connection is dialed, and what a failed dial means for those who wait. */
#include "tests/sim/traces/trace.h"

TRACE(as_many_dials_as_waiters_within_the_limits)
{
    sim_targets(w, "a: max=3 handshakes=2 dial=40");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a; c4 acquire a");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] dial a.3\n"
                  "[   40] grant c2 a.2\n"
                  "[   80] grant c3 a.3\n");
}

TRACE(the_daemons_handshakes_go_round_in_turn)
{
    sim_targets(w, "limits: handshakes=1; a: dial=40; b: dial=40");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire b");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] grant c1 a.1\n"
                  "[   40] dial a.2\n"
                  "[   80] grant c2 a.2\n"
                  "[   80] dial b.1\n"
                  "[  120] grant c3 b.1\n");
}

TRACE(the_longest_idle_connection_of_any_target_makes_room_under_the_daemons_limit)
{
    sim_targets(w, "limits: connections=2; a: dial=10; b: dial=10; c: dial=10 ");
    sim_do(w, "c1 acquire b; c2 acquire a");
    sim_run_until(w, 20);
    sim_do(w, "c2 release");
    sim_run_until(w, 30);
    sim_do(w, "c1 release; c3 acquire c");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial b.1\n"
                  "[    0] dial a.1\n"
                  "[   10] grant c1 b.1\n"
                  "[   10] grant c2 a.1\n"
                  "[   20] released c2\n"
                  "[   30] released c1\n"
                  "[   30] close a.1 make-room\n"
                  "[   30] dial c.1\n"
                  "[   40] grant c3 c.1\n");
}

TRACE(min_idle_is_dialed_ahead_and_makes_no_room)
{
    sim_targets(w, "limits: connections=2; a: max=2 dial=10 min_idle=1; b: dial=10");
    sim_run_until(w, 20);
    sim_do(w, "c1 acquire b; c2 acquire b");
    sim_run_until(w, 40);
    sim_do(w, "c1 gone");
    sim_run_until(w, 60);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[   20] dial b.1\n"
                  "[   20] close a.1 make-room\n"
                  "[   20] dial b.2\n"
                  "[   30] grant c1 b.1\n"
                  "[   30] grant c2 b.2\n"
                  "[   40] drain b.1 client-gone\n"
                  "[   40] close b.1 drained\n"
                  "[   40] dial a.2 ahead\n");
}

TRACE(a_lease_takes_the_idle_connection_and_min_idle_dials_another)
{
    sim_targets(w, "a: max=2 dial=10 min_idle=1");
    sim_run_until(w, 20);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 40);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[   20] grant c1 a.1\n"
                  "[   20] dial a.2 ahead\n"
                  "[   30] grant c2 a.2\n");
}

/* Name resolution or TCP says no, and nothing of that target lives: no use in waiting. retry=4: no jitter to speak of.
 */
TRACE(a_target_that_is_down_refuses_all_who_wait)
{
    sim_targets(w, "a: max=1 dial=10 fail=connect retry=4 retry_max=8");
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 10);
    /* who comes during the backoff sees an attempt of its own */
    sim_do(w, "c3 acquire a");
    sim_run_until(w, 30);
    sim_do(w, "server a fail=ok; c4 acquire a");
    sim_run_until(w, 50);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: connect\n"
                  "[   10] refuse c2 target-down: connect\n"
                  "[   14] dial a.2\n"
                  "[   24] close a.2 dial-failed\n"
                  "[   24] refuse c3 target-down: connect\n"
                  "[   32] dial a.3\n"
                  "[   42] grant c4 a.3\n");
}

TRACE(with_another_connection_leased_a_failed_dial_keeps_nobody_from_waiting)
{
    sim_targets(w, "a: max=2 dial=10 retry=4 retry_max=4");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 20);
    sim_do(w, "server a fail=connect; c2 acquire a");
    sim_run_until(w, 40);
    sim_do(w, "c1 release");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   20] dial a.2\n"
                  "[   30] close a.2 dial-failed\n"
                  "[   34] dial a.3\n"
                  "[   40] released c1\n"
                  "[   40] grant c2 a.1\n");
}

TRACE(a_passing_failure_is_retried_until_the_waiters_time_is_over)
{
    sim_targets(w, "a: max=1 dial=1000 fail=handshake retry=4 retry_max=4 acquire=2500 notice=2000");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 5000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[ 1000] close a.1 dial-failed\n"
                  "[ 1004] dial a.2\n"
                  "[ 2000] notice c1 #1 handshake\n"
                  "[ 2004] close a.2 dial-failed\n"
                  "[ 2008] dial a.3\n"
                  "[ 2500] refuse c1 timeout: handshake\n"
                  "[ 3008] close a.3 dial-failed\n");
}

TRACE(a_failure_from_before_the_wait_is_not_its_reason)
{
    sim_targets(w, "a: max=1 dial=10 fail=handshake retry=4000 retry_max=4000 acquire=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 200);
    sim_do(w, "c2 acquire a");
    sim_run_until(w, 400);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[  100] refuse c1 timeout: handshake\n"
                  "[  300] refuse c2 timeout: timeout\n");
}

TRACE(dials_that_fail_together_are_one_failure)
{
    sim_targets(w, "a: max=3 dial=10 fail=handshake retry=4 retry_max=100");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 10);
    struct sl_pool_target_info info;
    assert_true(sl_pool_target_info(w->pool, 0, &info));
    assert_int_equal(info.failures, 1);
    assert_int_equal(info.retry_at_ms, 14);
}

TRACE(a_successful_dial_clears_the_backoff)
{
    sim_targets(w, "a: max=2 dial=10 fail=handshake retry=4 retry_max=4");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "server a fail=ok");
    sim_run_until(w, 30);
    struct sl_pool_target_info info;
    assert_true(sl_pool_target_info(w->pool, 0, &info));
    assert_int_equal(info.failures, 0);
    assert_int_equal(info.last_status, 0);
    sim_do(w, "c2 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   14] dial a.2\n"
                  "[   24] grant c1 a.2\n"
                  "[   30] dial a.3\n");
}

TRACE(rejected_credentials_block_the_target_for_a_while)
{
    sim_targets(w, "a: max=1 dial=10 fail=auth-failed auth_retry=500 min_idle=1");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c2 acquire a; server a fail=ok");
    sim_run_until(w, 509);
    sim_do(w, "c3 acquire a");
    sim_run_until(w, 510);
    sim_do(w, "c4 acquire a");
    sim_run_until(w, 600);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: auth-failed\n"
                  "[  100] refuse c2 target-down: auth-failed\n"
                  "[  509] refuse c3 target-down: auth-failed\n"
                  "[  510] dial a.2 ahead\n"
                  "[  520] grant c4 a.2\n");
}

TRACE(no_algorithm_in_common_is_told_at_once_and_tried_again_after_retry_max)
{
    sim_targets(w, "a: max=1 dial=10 fail=no-algorithm retry=1 retry_max=500 auth_retry=9000");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c2 acquire a; server a fail=ok");
    sim_run_until(w, 509);
    sim_do(w, "c3 acquire a");
    sim_run_until(w, 510);
    sim_do(w, "c4 acquire a");
    sim_run_until(w, 600);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: no-algorithm\n"
                  "[  100] refuse c2 target-down: no-algorithm\n"
                  "[  509] refuse c3 target-down: no-algorithm\n"
                  "[  510] dial a.2\n"
                  "[  520] grant c4 a.2\n");
}

TRACE(a_wrong_host_key_blocks_the_target_until_an_operator_acts)
{
    sim_targets(w, "a: max=1 dial=10 fail=host-key-changed");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "server a fail=ok");
    sim_run_until(w, 99999);
    sim_do(w, "c2 acquire a");
    sim_targets(w, "a: max=1 dial=10 pardon=2");
    sim_do(w, "c3 acquire a");
    sim_run_until(w, 199999);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: host-key-changed\n"
                  "[99999] refuse c2 target-down: host-key-changed\n"
                  "[99999] dial a.2\n"
                  "[100009] grant c3 a.2\n");
}

TRACE(one_good_host_key_does_not_excuse_a_bad_one)
{
    sim_targets(w, "a: max=2 dial=10 fail=host-key-changed");
    sim_do(w, "c1 acquire a; server a fail=ok dial=20; c2 acquire a");
    sim_run_until(w, 30);
    sim_do(w, "c3 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: host-key-changed\n"
                  "[   10] refuse c2 target-down: host-key-changed\n"
                  "[   30] refuse c3 target-down: host-key-changed\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_dials_as_waiters_within_the_limits),
        cmocka_unit_test(the_daemons_handshakes_go_round_in_turn),
        cmocka_unit_test(the_longest_idle_connection_of_any_target_makes_room_under_the_daemons_limit),
        cmocka_unit_test(min_idle_is_dialed_ahead_and_makes_no_room),
        cmocka_unit_test(a_lease_takes_the_idle_connection_and_min_idle_dials_another),
        cmocka_unit_test(a_target_that_is_down_refuses_all_who_wait),
        cmocka_unit_test(with_another_connection_leased_a_failed_dial_keeps_nobody_from_waiting),
        cmocka_unit_test(a_passing_failure_is_retried_until_the_waiters_time_is_over),
        cmocka_unit_test(a_failure_from_before_the_wait_is_not_its_reason),
        cmocka_unit_test(dials_that_fail_together_are_one_failure),
        cmocka_unit_test(a_successful_dial_clears_the_backoff),
        cmocka_unit_test(rejected_credentials_block_the_target_for_a_while),
        cmocka_unit_test(no_algorithm_in_common_is_told_at_once_and_tried_again_after_retry_max),
        cmocka_unit_test(a_wrong_host_key_blocks_the_target_until_an_operator_acts),
        cmocka_unit_test(one_good_host_key_does_not_excuse_a_bad_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
