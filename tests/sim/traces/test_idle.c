/* SPDX-License-Identifier: MIT */
/* Pings, idle_timeout and max_lifetime. */
#include "tests/sim/traces/trace.h"

TRACE(a_silent_connection_is_pinged_and_lives_if_it_answers)
{
    sim_targets(w, "a: alive=1000 count=3 pong=10 idle=0");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 500);
    sim_do(w, "a.1 alive");
    sim_run_until(w, 3000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[ 1500] ping a.1\n"
                  "[ 2510] ping a.1\n");
}

TRACE(several_unanswered_pings_in_a_row_mean_death_to_an_idle_connection)
{
    sim_targets(w, "a: alive=1000 count=3 idle=0");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "c1 release; a.1 deaf");
    sim_run_until(w, 9000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] released c1\n"
                  "[ 1000] ping a.1\n"
                  "[ 2000] ping a.1\n"
                  "[ 3000] ping a.1\n"
                  "[ 4000] close a.1 dead\n");
}

TRACE(and_end_the_lease_of_a_leased_one)
{
    sim_targets(w, "a: alive=1000 count=2");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 0);
    sim_do(w, "a.1 deaf");
    sim_run_until(w, 1500);
    sim_do(w, "a.1 alive");
    sim_run_until(w, 9000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[ 1000] ping a.1\n"
                  "[ 2500] ping a.1\n"
                  "[ 3500] ping a.1\n"
                  "[ 4500] ended c1 connection-lost: peer-dead\n"
                  "[ 4500] close a.1 dead\n");
}

/* The loop was late: one silence is one unanswered ping, however long it was. */
TRACE(a_loop_that_was_late_kills_nobody)
{
    sim_targets(w, "a: alive=1000 count=3");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 1000);
    sim_do(w, "a.1 deaf");
    w->now_ms = 60000;
    world_step(w, (struct sl_event){.type = SL_EV_TIME});
    sim_do(w, "a.1 alive");
    sim_run_until(w, 60500);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[ 1000] ping a.1\n"
                  "[60000] ping a.1\n");
}

TRACE(what_idles_too_long_is_closed_down_to_min_idle)
{
    sim_targets(w, "a: max=3 min_idle=1 idle=1000");
    sim_run_until(w, 0);
    sim_do(w, "c1 acquire a; c2 acquire a");
    sim_run_until(w, 100);
    sim_do(w, "c1 release");
    sim_run_until(w, 200);
    sim_do(w, "c2 release");
    sim_run_until(w, 9000);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[    0] grant c1 a.1\n"
                  "[    0] dial a.2 ahead\n"
                  "[    0] dial a.3 ahead\n"
                  "[    0] grant c2 a.2\n"
                  "[  100] released c1\n"
                  "[  200] released c2\n"
                  "[ 1000] close a.3 idle-timeout\n"
                  "[ 1100] close a.1 idle-timeout\n");
}

/* 40000 less up to 2.5 % by chance; this seed's chance. */
TRACE(a_lifetime_ends_while_idle)
{
    sim_targets(w, "a: lifetime=40000 idle=0");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 10);
    sim_do(w, "c1 release");
    sim_run_until(w, 38999);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[   10] released c1\n");
    sim_run_until(w, 40000);
    assert_non_null(strstr(w->trace, "close a.1 max-lifetime\n"));
}

TRACE(or_when_released)
{
    sim_targets(w, "a: lifetime=40000");
    sim_do(w, "c1 acquire a");
    sim_run_until(w, 50000);
    sim_do(w, "c1 release; c2 acquire a");
    sim_run_until(w, 50000);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] grant c1 a.1\n"
                  "[50000] released c1\n"
                  "[50000] close a.1 max-lifetime\n"
                  "[50000] dial a.2\n"
                  "[50000] grant c2 a.2\n");
}

TRACE(an_idle_connection_that_is_lost_is_closed)
{
    sim_targets(w, "a: min_idle=1 dial=10");
    sim_run_until(w, 10010);
    sim_do(w, "a.1 lost");
    sim_run_until(w, 10100);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[10010] close a.1 connection-lost\n"
                  "[10010] dial a.2 ahead\n");
}

TRACE(a_reset_is_for_new_logins_and_touches_nobody_else)
{
    sim_targets(w, "a: max=4 dial=10");
    sim_warm(w);
    sim_do(w, "c1 acquire a owner=1; c2 acquire a owner=1; c3 acquire a owner=2");
    sim_run_until(w, 20);
    sim_do(w, "c1 release; c3 release");
    sim_run_until(w, 30);
    sim_do(w, "reset a owner=1"); /* c2 goes on */
    sim_run_until(w, 40);
    sim_do(w, "c4 acquire a owner=2; c5 acquire a owner=1");
    sim_run_until(w, 60);
    sim_do(w, "c2 release; c5 release; c6 acquire a owner=1");
    sim_run_until(w, 70);
    sim_expect(w, "[    0] dial a.1\n"
                  "[    0] dial a.2\n"
                  "[    0] dial a.3\n"
                  "[   10] grant c1 a.1\n"
                  "[   10] grant c2 a.2\n"
                  "[   10] grant c3 a.3\n"
                  "[   20] released c1\n"
                  "[   20] released c3\n"
                  "[   30] close a.1 reset\n"
                  "[   40] grant c4 a.3\n"
                  "[   40] dial a.4\n"
                  "[   50] grant c5 a.4\n"
                  "[   60] released c2\n"
                  "[   60] close a.2 reset\n"
                  "[   60] released c5\n"
                  "[   60] grant c6 a.4\n");
}

TRACE(a_reset_takes_what_was_dialed_ahead_but_no_dial_under_way)
{
    sim_targets(w, "a: min_idle=2 dial=10");
    sim_run_until(w, 20);
    sim_do(w, "reset a owner=1");
    sim_run_until(w, 25);
    sim_do(w, "reset a owner=1");
    sim_run_until(w, 60);
    sim_expect(w, "[    0] dial a.1 ahead\n"
                  "[   10] dial a.2 ahead\n"
                  "[   20] close a.1 reset\n"
                  "[   20] close a.2 reset\n"
                  "[   20] dial a.3 ahead\n"
                  "[   20] dial a.4 ahead\n");
}

TRACE(nobody_joins_those_who_have_what_was_reset)
{
    sim_targets(w, "a: max=2 sharing=4 dial=10");
    sim_do(w, "c1 acquire a owner=1");
    sim_run_until(w, 20);
    sim_do(w, "reset a owner=1; c2 acquire a owner=1");
    sim_run_until(w, 60);
    sim_expect(w, "[    0] dial a.1\n"
                  "[   10] grant c1 a.1\n"
                  "[   20] dial a.2\n"
                  "[   30] grant c2 a.2\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_connection_is_pinged_and_lives_if_it_answers),
        cmocka_unit_test(several_unanswered_pings_in_a_row_mean_death_to_an_idle_connection),
        cmocka_unit_test(and_end_the_lease_of_a_leased_one),
        cmocka_unit_test(a_loop_that_was_late_kills_nobody),
        cmocka_unit_test(what_idles_too_long_is_closed_down_to_min_idle),
        cmocka_unit_test(a_lifetime_ends_while_idle),
        cmocka_unit_test(or_when_released),
        cmocka_unit_test(an_idle_connection_that_is_lost_is_closed),
        cmocka_unit_test(a_reset_is_for_new_logins_and_touches_nobody_else),
        cmocka_unit_test(a_reset_takes_what_was_dialed_ahead_but_no_dial_under_way),
        cmocka_unit_test(nobody_joins_those_who_have_what_was_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
