/* SPDX-License-Identifier: MIT */
/* Another configuration, and the end. */
#include "tests/sim/traces/trace.h"

TRACE(a_removed_target_refuses_its_waiters_and_closes_as_it_can)
{
    sim_targets(w, "a: max=2; b: max=1");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire b");
    sim_run_until(w, 10);
    sim_do(w, "c2 release; c4 acquire b");
    sim_targets(w, "b: max=1");
    sim_do(w, "c5 acquire a");
    sim_run_until(w, 20);
    sim_do(w, "c1 release");
    sim_targets(w, "a: max=1");
    sim_run_until(w, 30);
    struct sl_pool_target_info info;
    assert_false(sl_pool_target_info(w->pool, 2, &info));
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] dial b.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.2\n"
                  "[    0] grant c3 b.1\n"
                  "[   10] released c2\n"
                  "[   10] close a.2 outdated\n"
                  "[   10] refuse c5 no-target: no-target\n"
                  "[   20] released c1\n"
                  "[   20] close a.1 outdated\n"
                  "[   20] refuse c4 no-target: no-target\n");
}

TRACE(another_identity_replaces_connections_and_refuses_nobody)
{
    sim_targets(w, "a: max=2 dial=10 id=1");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 20);
    sim_do(w, "c2 release");
    sim_targets(w, "a: max=2 dial=10 id=2");
    sim_do(w, "c3 acquire a");
    sim_run_until(w, 40);
    sim_do(w, "c4 acquire a; c1 release");
    sim_run_until(w, 60);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[   10] grant c1 a.1\n"
                  "[   10] grant c2 a.2\n"
                  "[   20] released c2\n"
                  "[   20] close a.2 outdated\n"
                  "[   20] dial a.3\n"
                  "[   30] grant c3 a.3\n"
                  "[   40] released c1\n"
                  "[   40] close a.1 outdated\n"
                  "[   40] dial a.4\n"
                  "[   50] grant c4 a.4\n");
}

TRACE(a_dial_under_the_old_settings_is_begun_anew)
{
    sim_targets(w, "a: dial=100 id=1");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 50);
    sim_targets(w, "a: dial=100 id=2");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   50] close a.1 outdated\n"
                  "[   50] dial a.2\n"
                  "[  150] grant c1 a.2\n");
}

TRACE(owners_kept_apart_from_now_on_get_new_connections)
{
    sim_targets(w, "a: shared=1");
    sim_do(w, "c1 acquire a owner=1");
    sim_run_until(w, 10);
    sim_do(w, "c1 release");
    sim_targets(w, "a: shared=0");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   10] released c1\n"
                  "[   10] close a.1 outdated\n");
}

TRACE(lowered_limits_close_idle_connections_now_and_leased_ones_when_released)
{
    sim_targets(w, "a: max=4");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a; c4 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "c4 release; c3 release");
    sim_targets(w, "a: max=1");
    sim_run_until(w, 20);
    sim_do(w, "c1 release; c2 release; c5 acquire a");
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] dial a.3\n"
                  "[    0] dial a.4\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.2\n"
                  "[    0] grant c3 a.3\n"
                  "[    0] grant c4 a.4\n"
                  "[   10] released c4\n"
                  "[   10] released c3\n"
                  "[   10] close a.4 surplus\n"
                  "[   10] close a.3 surplus\n"
                  "[   20] released c1\n"
                  "[   20] close a.1 surplus\n"
                  "[   20] released c2\n"
                  "[   20] grant c5 a.2\n");
}

TRACE(a_raised_limit_serves_waiters_at_once)
{
    sim_targets(w, "a: max=1 dial=10");
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 20);
    sim_targets(w, "a: max=2 dial=10");
    sim_run_until(w, 40);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   20] dial a.2\n"
                  "[   30] grant c2 a.2\n");
}

TRACE(a_reload_forgives_failed_dials)
{
    sim_targets(w, "a: dial=10 fail=handshake retry=4000 retry_max=4000");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "server a fail=ok");
    sim_targets(w, "a: dial=10 retry_epoch=2");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[  100] dial a.2\n"
                  "[  110] grant c1 a.2\n");
}

TRACE(a_new_target_forgives_no_failed_dials_of_others)
{
    sim_targets(w, "a: dial=10 fail=auth-failed");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 100);
    sim_targets(w, "a: dial=10 fail=auth-failed; b: dial=10");
    sim_do(w, "c2 acquire a; c3 acquire b");
    sim_run_until(w, 200);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] close a.1 dial-failed\n"
                  "[   10] refuse c1 target-down: auth-failed\n"
                  "[  100] refuse c2 target-down: auth-failed\n"
                  "[  100] dial b.1\n"
                  "[  110] grant c3 b.1\n");
}

TRACE(who_lost_the_right_loses_place_and_lease)
{
    sim_targets(w, "a: max=1 drain=100 close=10");
    sim_warm(w);
    sim_do(w, "c1 acquire a owner=1; c2 acquire a owner=2; c3 acquire a owner=3");
    sim_run_until(w, 10);
    sim_do(w, "c1 disallow; c2 disallow");
    sim_targets(w, "a: max=1 drain=100 close=10");
    sim_run_until(w, 500);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   10] ended c1 not-allowed: not-allowed\n"
                  "[   10] drain a.1 not-allowed\n"
                  "[   10] refuse c2 not-allowed: not-allowed\n"
                  "[  110] close a.1 drained\n"
                  "[  120] dial a.2\n"
                  "[  120] grant c3 a.2\n");
}

/* The same reload that takes the right of the first in the queue makes room for one. */
TRACE(nobody_is_granted_what_the_same_reload_takes)
{
    sim_targets(w, "a: max=1 sharing=2 shared=1");
    sim_warm(w);
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 10);
    sim_targets(w, "a: max=1 sharing=1 shared=1");
    sim_do(w, "c2 acquire a; c3 acquire a; c2 disallow");
    sim_targets(w, "a: max=1 sharing=2 shared=1");
    sim_run_until(w, 20);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   10] refuse c2 not-allowed: not-allowed\n"
                  "[   10] grant c3 a.1\n");
}

TRACE(those_who_share_a_connection_with_who_lost_the_right_go_on)
{
    sim_targets(w, "a: max=1 sharing=2 shared=1 drain=100");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "c1 disallow");
    sim_targets(w, "a: max=1 sharing=2 shared=1 drain=100");
    sim_run_until(w, 200);
    sim_do(w, "c2 renew; c2 release");
    sim_run_until(w, 300);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] grant c2 a.1\n"
                  "[   10] ended c1 not-allowed: not-allowed\n"
                  "[   10] drain a.1 of c1 not-allowed\n"
                  "[  200] renewed c2 until 900200\n"
                  "[  200] released c2\n"
                  "[  200] close a.1 drained\n");
}

TRACE(a_wait_for_a_name_that_means_nothing_any_more_is_over)
{
    sim_targets(w, "a: max=1");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "c2 unname");
    sim_targets(w, "a: max=1 id=2");
    sim_run_until(w, 20);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   10] refuse c2 no-target: no-target\n");
}

TRACE(deadlines_are_kept_at_a_reload_that_comes_late)
{
    sim_targets(w, "a: lease=100");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 0);
    struct sl_pool_target target = w->targets[0];
    assert_int_equal(sl_pool_configure(w->pool, 500, &w->limits, &target, 1, NULL), 0);
    assert_null(sl_pool_check(w->pool));
    const struct sl_actions *actions = sl_pool_actions(w->pool);
    bool ended = false;
    for (size_t i = 0; i < actions->count; i++)
        ended = ended || (actions->item[i].type == SL_ACT_ENDED && actions->item[i].reason == SL_REASON_EXPIRED);
    assert_true(ended);
}

TRACE(a_stop_waits_for_releases_and_reclaims_the_rest)
{
    sim_targets(w, "a: max=3 dial=10 drain=100 close=10");
    sim_warm(w);
    sim_do(w, "c1 acquire a; c2 acquire a; c3 acquire a");
    sim_run_until(w, 20);
    sim_do(w, "c3 release; c4 acquire a owner=4; shutdown drain=1000; c5 acquire a");
    sim_run_until(w, 500);
    sim_do(w, "c1 release; c2 renew");
    sim_run_until(w, 2000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] dial a.3\n"
                  "[   10] grant c1 a.1\n"
                  "[   10] grant c2 a.2\n"
                  "[   10] grant c3 a.3\n"
                  "[   20] released c3\n"
                  "[   20] close a.3 make-room\n"
                  "[   20] refuse c4 shutdown: shutdown\n"
                  "[   20] refuse c5 shutdown: shutdown\n"
                  "[  500] released c1\n"
                  "[  500] close a.1 shutdown\n"
                  "[  500] renewed c2 until 900500\n"
                  "[ 1020] ended c2 shutdown: shutdown\n"
                  "[ 1020] drain a.2 shutdown\n"
                  "[ 1120] close a.2 drained\n"
                  "[ 1130] stopped\n");
}

TRACE(a_second_signal_ends_it_now)
{
    sim_targets(w, "a: max=3 min_idle=1 dial=10 drain=100 close=10");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 15);
    sim_do(w, "shutdown drain=60000");
    sim_run_until(w, 50);
    sim_do(w, "shutdown now; shutdown now");
    sim_run_until(w, 70000);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[   10] grant c1 a.1\n"
                  "[   10] dial a.2 ahead\n"
                  "[   15] close a.2 shutdown\n"
                  "[   50] ended c1 shutdown: shutdown\n"
                  "[   50] drain a.1 shutdown\n"
                  "[  150] close a.1 drained\n"
                  "[  160] stopped\n");
}

TRACE(with_nothing_left_it_stops_at_once)
{
    sim_targets(w, "a: max=1");
    sim_do(w, "shutdown; shutdown; c1 acquire a");
    sim_run_until(w, 100000);
    sim_expect(w, "[    0] stopped\n"
                  "[    0] refuse c1 shutdown: shutdown\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_removed_target_refuses_its_waiters_and_closes_as_it_can),
        cmocka_unit_test(another_identity_replaces_connections_and_refuses_nobody),
        cmocka_unit_test(a_dial_under_the_old_settings_is_begun_anew),
        cmocka_unit_test(owners_kept_apart_from_now_on_get_new_connections),
        cmocka_unit_test(lowered_limits_close_idle_connections_now_and_leased_ones_when_released),
        cmocka_unit_test(a_raised_limit_serves_waiters_at_once),
        cmocka_unit_test(a_reload_forgives_failed_dials),
        cmocka_unit_test(a_new_target_forgives_no_failed_dials_of_others),
        cmocka_unit_test(who_lost_the_right_loses_place_and_lease),
        cmocka_unit_test(nobody_is_granted_what_the_same_reload_takes),
        cmocka_unit_test(those_who_share_a_connection_with_who_lost_the_right_go_on),
        cmocka_unit_test(a_wait_for_a_name_that_means_nothing_any_more_is_over),
        cmocka_unit_test(deadlines_are_kept_at_a_reload_that_comes_late),
        cmocka_unit_test(a_stop_waits_for_releases_and_reclaims_the_rest),
        cmocka_unit_test(a_second_signal_ends_it_now),
        cmocka_unit_test(with_nothing_left_it_stops_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
