/* SPDX-License-Identifier: MIT */
/* When a connection is dialed, and what a failed dial means for those who wait. */
#include "proto/status.h"
#include "tests/sim/traces/trace.h"

TRACE(as_many_dials_as_waiters_within_the_limits)
{
    sim_targets(w, "a: max=3 handshakes=2 dial=40");
    sim_warm(w);
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
    sim_warm(w);
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
                  "[   30] grant c1 b.1\n"
                  "[   30] close a.1 make-room\n"
                  "[   30] dial b.2\n"
                  "[   40] grant c2 b.2\n"
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

TRACE(a_failure_from_before_the_wait_is_its_reason_where_nothing_else_is_missing)
{
    sim_targets(w, "a: max=1 dial=10 fail=handshake retry=4000 retry_max=4000 acquire=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 200);
    sim_do(w, "c2 acquire a");
    sim_run_until(w, 400);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[  100] refuse c1 timeout: handshake\n"
                  "[  300] refuse c2 timeout: handshake\n");
}

TRACE(a_failure_from_before_the_wait_is_not_its_reason_where_every_place_is_leased)
{
    sim_targets(w, "a: max=2 dial=10 retry=4 retry_max=4 acquire=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 20);
    sim_do(w, "server a fail=handshake; c2 acquire a");
    sim_run_until(w, 31);
    sim_do(w, "c2 gone");
    sim_targets(w, "a: max=1 dial=10 retry=4 retry_max=4 acquire=100");
    sim_run_until(w, 40);
    sim_do(w, "c3 acquire a");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   20] dial a.2\n"
                  "[   30] close a.2 dial-failed\n"
                  "[  140] refuse c3 timeout: timeout\n");
}

/* ssh has no acquire timeout: it waits for a place as long as it lives, and for a target that is down as others do. */
TRACE(who_is_patient_waits_for_a_place_as_long_as_it_takes)
{
    sim_targets(w, "a: max=1 dial=10 acquire=100 notice=50");
    sim_do(w, "c1 acquire a; c2 acquire a patient; c3 acquire a");
    sim_run_until(w, 5000);
    sim_do(w, "c1 release");
    sim_run_until(w, 5100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   50] notice c2 #1 ok\n"
                  "[   50] notice c3 #2 ok\n"
                  "[  100] refuse c3 timeout: timeout\n"
                  "[ 5000] released c1\n"
                  "[ 5000] grant c2 a.1\n");
}

TRACE(who_is_patient_is_refused_in_time_where_dials_fail)
{
    sim_targets(w, "a: max=1 dial=40 fail=handshake retry=4 retry_max=4 acquire=100");
    sim_do(w, "c1 acquire a patient");
    sim_run_until(w, 105);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   40] close a.1 dial-failed\n"
                  "[   44] dial a.2\n"
                  "[   84] close a.2 dial-failed\n"
                  "[   88] dial a.3\n"
                  "[  100] refuse c1 timeout: handshake\n");
}

/* A host that is back is found within seconds by who waits, however long it was away; nobody else dials it more often.
 */
TRACE(for_who_waits_the_pauses_between_dials_grow_to_seconds_only)
{
    sim_targets(w, "a: max=1 dial=10 fail=handshake retry=1000 retry_max=60000 acquire=300000 min_idle=1");
    sim_run_until(w, 200000);
    uint32_t alone = w->dials[0];
    if (alone < 7 || alone > 11)
        fail_msg("%u dials in 200 seconds that nobody waits in", alone);
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 260000);
    uint32_t waited = w->dials[0] - alone;
    if (waited < 19 || waited > 26)
        fail_msg("%u dials in a minute that somebody waits in", waited);
    sim_do(w, "server a fail=ok");
    world_trace_clear(w);
    sim_run_until(w, 263100);
    assert_non_null(strstr(w->trace, "grant c1"));
}

TRACE(who_comes_while_a_target_is_down_is_told_by_a_dial_of_his_own_within_seconds)
{
    sim_targets(w, "a: max=1 dial=10 fail=connect retry=1000 retry_max=60000");
    for (int i = 0; i < 20; i++) {
        sim_do(w, "c1 acquire a");
        sim_run_until(w, w->now_ms + 3010);
        assert_false(w->client[1].busy);
    }
}

/* retry_min is the operator's word. */
TRACE(for_who_waits_the_pauses_are_not_less_than_retry_min)
{
    sim_targets(w, "a: max=1 dial=10 fail=handshake retry=20000 retry_max=60000 acquire=300000");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100000);
    if (w->dials[0] < 5 || w->dials[0] > 7)
        fail_msg("%u dials in 100 seconds", w->dials[0]);
}

TRACE(dials_that_fail_together_are_one_failure)
{
    sim_targets(w, "a: max=3 dial=10 fail=handshake retry=4 retry_max=100");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 10);
    struct sl_pool_target_info info;
    assert_true(sl_pool_target_info(w->pool, 0, &info));
    assert_int_equal(info.failures, 1);
    assert_int_equal(info.retry_at_ms, 14);
}

TRACE(a_successful_dial_clears_the_backoff_and_the_first_answer_the_count)
{
    sim_targets(w, "a: max=2 dial=10 fail=handshake retry=4 retry_max=4");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "server a fail=ok");
    sim_run_until(w, 30);
    struct sl_pool_target_info info;
    assert_true(sl_pool_target_info(w->pool, 0, &info));
    assert_int_equal(info.failures, 1);
    assert_int_equal(info.last_status, 0);
    sim_do(w, "a.2 alive");
    assert_true(sl_pool_target_info(w->pool, 0, &info));
    assert_int_equal(info.failures, 0);
    sim_do(w, "c2 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   14] dial a.2\n"
                  "[   24] grant c1 a.2\n"
                  "[   30] dial a.3\n");
}

/* Each would be one more failed login to a server that counts them. */
TRACE(until_credentials_have_worked_one_dial_goes_alone)
{
    sim_targets(w, "a: dial=10 fail=auth-failed; b: dial=10");
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a; c4 acquire b; c5 acquire b; c6 acquire b");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial b.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: auth-failed\n"
                  "[   10] refuse c2 target-down: auth-failed\n"
                  "[   10] refuse c3 target-down: auth-failed\n"
                  "[   10] grant c4 b.1\n"
                  "[   10] dial b.2\n"
                  "[   10] dial b.3\n"
                  "[   20] grant c5 b.2\n"
                  "[   20] grant c6 b.3\n");
}

TRACE(after_a_rejection_one_dial_goes_alone_again)
{
    sim_targets(w, "a: dial=10 fail=auth-failed auth_retry=500");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 600);
    sim_do(w, "c3 acquire a; c4 acquire a; c5 acquire a");
    sim_run_until(w, 700);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: auth-failed\n"
                  "[   10] refuse c2 target-down: auth-failed\n"
                  "[   10] close a.2 dial-failed\n"
                  "[  600] dial a.3\n"
                  "[  610] close a.3 dial-failed\n"
                  "[  610] refuse c3 target-down: auth-failed\n"
                  "[  610] refuse c4 target-down: auth-failed\n"
                  "[  610] refuse c5 target-down: auth-failed\n");
}

TRACE(other_credentials_are_tried_alone)
{
    sim_targets(w, "a: dial=10");
    sim_warm(w);
    sim_targets(w, "a: dial=10 id=2");
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   10] dial a.2\n"
                  "[   20] grant c2 a.2\n");
}

TRACE(a_server_that_lets_in_and_hangs_up_is_dialed_less_and_less)
{
    sim_targets(w, "a: min_idle=2 dial=10 hangup=50 retry=1000 retry_max=60000");
    sim_run_until(w, 60000);
    uint32_t dials = w->dials[0];
    if (dials < 5 || dials > 8)
        fail_msg("%u dials in a minute", dials);
    /* Somebody who waits is told why. */
    sim_do(w, "c1 acquire a timeout=100");
    world_trace_clear(w);
    struct sl_pool_target_info info;
    assert_true(sl_pool_target_info(w->pool, 0, &info));
    assert_int_equal(info.last_status, SL_E_CONNECTION_LOST);
    assert_true(info.retry_at_ms > 60000);
}

/* Somebody waiting makes that no better: each dial is a login. */
TRACE(who_waits_for_a_server_that_lets_in_and_hangs_up_has_it_dialed_less_and_less)
{
    sim_targets(w, "a: max=1 dial=10 retry=1000 retry_max=60000 acquire=600000");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 20);
    for (int i = 0; i < 8; i++) {
        sim_do(w, "c1 displaced lost");
        uint32_t dials = w->dials[0];
        while (w->dials[0] == dials)
            assert_true(world_happen(w, UINT64_MAX));
        sim_run_until(w, w->now_ms + 20);
    }
    if (w->now_ms < 120000)
        fail_msg("eight logins in %u s", (unsigned)(w->now_ms / 1000));
}

/* Or it would be dialed as fast as it hangs up, for as long as somebody waits. retry=4: no jitter to speak of. */
TRACE(who_moves_off_a_connection_that_hung_up_waits_as_after_a_failed_dial)
{
    sim_targets(w, "a: max=1 dial=10 retry=4 retry_max=8");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 20);
    sim_do(w, "c1 displaced lost; a.1 lost");
    sim_run_until(w, 40);
    sim_do(w, "c1 displaced lost; a.2 lost");
    sim_run_until(w, 60);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   20] close a.1 connection-lost\n"
                  "[   24] dial a.2\n"
                  "[   34] move c1 a.2\n"
                  "[   40] close a.2 connection-lost\n"
                  "[   48] dial a.3\n"
                  "[   58] move c1 a.3\n");
}

TRACE(a_connection_that_answered_was_worth_its_login)
{
    sim_targets(w, "a: min_idle=1 dial=10 retry=1000 retry_max=60000");
    sim_run_until(w, 20);
    sim_do(w, "a.1 alive; a.1 lost");
    sim_run_until(w, 40);
    sim_do(w, "a.2 lost");
    sim_run_until(w, 60);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[   20] close a.1 connection-lost\n"
                  "[   20] dial a.2 ahead\n"
                  "[   40] close a.2 connection-lost\n");
}

/* Meanwhile no other is dialed ahead beside it. retry=4: no jitter to speak of. */
TRACE(a_connection_that_lasted_was_worth_its_login)
{
    sim_targets(w, "a: min_idle=2 dial=10 hangup=50 retry=4 retry_max=4");
    sim_run_until(w, 61);
    sim_do(w, "server a hangup=0");
    sim_run_until(w, 20000);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[   10] dial a.2 ahead\n"
                  "[   60] close a.1 connection-lost\n"
                  "[   70] close a.2 connection-lost\n"
                  "[   74] dial a.3 ahead\n"
                  "[10084] dial a.4 ahead\n");
}

TRACE(credentials_that_cannot_be_used_are_looked_for_again_soon)
{
    sim_targets(w, "a: max=1 dial=10 fail=credentials retry=4 retry_max=4");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 12);
    sim_do(w, "server a fail=ok; c2 acquire a");
    sim_run_until(w, 100);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: credentials\n"
                  "[   14] dial a.2\n"
                  "[   24] grant c2 a.2\n");
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
    sim_targets(w, "a: max=1 dial=10 retry_epoch=2");
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
    sim_warm(w);
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
        cmocka_unit_test(a_failure_from_before_the_wait_is_its_reason_where_nothing_else_is_missing),
        cmocka_unit_test(a_failure_from_before_the_wait_is_not_its_reason_where_every_place_is_leased),
        cmocka_unit_test(who_is_patient_waits_for_a_place_as_long_as_it_takes),
        cmocka_unit_test(who_is_patient_is_refused_in_time_where_dials_fail),
        cmocka_unit_test(for_who_waits_the_pauses_between_dials_grow_to_seconds_only),
        cmocka_unit_test(who_comes_while_a_target_is_down_is_told_by_a_dial_of_his_own_within_seconds),
        cmocka_unit_test(for_who_waits_the_pauses_are_not_less_than_retry_min),
        cmocka_unit_test(dials_that_fail_together_are_one_failure),
        cmocka_unit_test(a_successful_dial_clears_the_backoff_and_the_first_answer_the_count),
        cmocka_unit_test(until_credentials_have_worked_one_dial_goes_alone),
        cmocka_unit_test(after_a_rejection_one_dial_goes_alone_again),
        cmocka_unit_test(other_credentials_are_tried_alone),
        cmocka_unit_test(a_server_that_lets_in_and_hangs_up_is_dialed_less_and_less),
        cmocka_unit_test(who_waits_for_a_server_that_lets_in_and_hangs_up_has_it_dialed_less_and_less),
        cmocka_unit_test(who_moves_off_a_connection_that_hung_up_waits_as_after_a_failed_dial),
        cmocka_unit_test(a_connection_that_answered_was_worth_its_login),
        cmocka_unit_test(a_connection_that_lasted_was_worth_its_login),
        cmocka_unit_test(credentials_that_cannot_be_used_are_looked_for_again_soon),
        cmocka_unit_test(rejected_credentials_block_the_target_for_a_while),
        cmocka_unit_test(no_algorithm_in_common_is_told_at_once_and_tried_again_after_retry_max),
        cmocka_unit_test(a_wrong_host_key_blocks_the_target_until_an_operator_acts),
        cmocka_unit_test(one_good_host_key_does_not_excuse_a_bad_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
