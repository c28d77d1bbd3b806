/* SPDX-License-Identifier: MIT */
/* Who may have how many lines logged, and when it is said how many were not. */
#include "base/log_shares.h"
#include "tests/support/test.h"

#include <string.h>

#define HALF_MS (SL_LOG_SHARE_BURST / 2 * 1000u / SL_LOG_SHARE_RATE)

static struct sl_log_shares shares;
static struct sl_log_share calm;

static int setup(void **state)
{
    (void)state;
    memset(&shares, 0, sizeof shares);
    return 0;
}

/* How many of `count` lines are written. */
static unsigned take(uint32_t uid, enum sl_log_kind kind, uint64_t now_ms, unsigned count)
{
    unsigned written = 0;
    for (unsigned i = 0; i < count; i++)
        written += sl_log_shares_take(&shares, uid, kind, now_ms, &calm);
    return written;
}

TEST(a_flood_is_cut_and_touches_no_other)
{
    assert_int_equal(take(1, SL_LOG_REFUSALS, 5000, 1000), SL_LOG_SHARE_BURST);
    assert_int_equal(take(2, SL_LOG_REFUSALS, 5000, 10), 10);
    assert_int_equal(take(1, SL_LOG_VIOLATIONS, 5000, 10), 10);
}

TEST(it_is_told_when_it_is_calm)
{
    take(1, SL_LOG_REFUSALS, 5000, SL_LOG_SHARE_BURST + 7);
    assert_true(sl_log_shares_owes(&shares));
    assert_false(sl_log_shares_calm(&shares, 5000 + HALF_MS - 1, &calm));
    assert_true(sl_log_shares_calm(&shares, 5000 + HALF_MS, &calm));
    assert_int_equal(calm.uid, 1);
    assert_int_equal(calm.kind, SL_LOG_REFUSALS);
    assert_int_equal(calm.dropped, 7);
    assert_false(sl_log_shares_owes(&shares));
    assert_false(sl_log_shares_calm(&shares, 5000 + HALF_MS, &calm));
}

TEST(it_is_told_before_the_next_line)
{
    take(1, SL_LOG_REFUSALS, 5000, SL_LOG_SHARE_BURST + 7);
    /* One line's worth is there again, but it is not calm: every second line would be about those between. */
    assert_int_equal(take(1, SL_LOG_REFUSALS, 6000, 1), 0);
    assert_int_equal(take(1, SL_LOG_REFUSALS, 5000 + HALF_MS, 1), 1);
    assert_int_equal(calm.dropped, 8);
    assert_int_equal(take(1, SL_LOG_REFUSALS, 5000 + HALF_MS, 1), 1);
    assert_int_equal(calm.dropped, 0);
}

TEST(a_flood_that_lasts_gets_its_rate)
{
    unsigned written = 0;
    for (uint64_t ms = 0; ms < 1000000; ms += 5)
        written += take(1, SL_LOG_FORWARDS, ms, 1);
    assert_in_range(
        written, 1000 * SL_LOG_SHARE_RATE - SL_LOG_SHARE_BURST, 1000 * SL_LOG_SHARE_RATE + SL_LOG_SHARE_BURST);
}

/* Users without number share one share; whoever had one keeps it, and places are free again after a while. */
TEST(more_users_than_places)
{
    for (uint32_t uid = 1; uid <= SL_LOG_SHARES_MAX; uid++)
        assert_int_equal(take(uid, SL_LOG_REFUSALS, 5000, 1), 1);
    unsigned written = 0;
    for (uint32_t uid = 1000; uid < 3000; uid++)
        written += take(uid, SL_LOG_REFUSALS, 5000, 1);
    assert_int_equal(written, SL_LOG_SHARE_BURST);
    assert_int_equal(take(1, SL_LOG_REFUSALS, 5000, 1000), SL_LOG_SHARE_BURST - 1);
    assert_int_equal(take(5000, SL_LOG_REFUSALS, 6000, 1), 1);
    assert_int_equal(take(5000, SL_LOG_REFUSALS, 6000, 1000), SL_LOG_SHARE_BURST - 1);
    assert_true(sl_log_shares_calm(&shares, 5000 + 2 * HALF_MS, &calm));
    assert_true(sl_log_shares_calm(&shares, 6000 + 2 * HALF_MS, &calm));
    assert_true(sl_log_shares_calm(&shares, 6000 + 2 * HALF_MS, &calm));
    assert_int_equal(calm.uid, SL_LOG_NOBODY);
    assert_int_equal(calm.dropped, 2000 - SL_LOG_SHARE_BURST);
}

TEST(nobody_in_particular_has_a_share)
{
    assert_int_equal(take(SL_LOG_NOBODY, SL_LOG_TURNED_AWAY, 5000, 1000), SL_LOG_SHARE_BURST);
    assert_int_equal(take(SL_LOG_NOBODY, SL_LOG_VARIABLES, 5000, 1), 1);
    assert_true(sl_log_shares_owes(&shares));
}

TEST(every_kind_has_a_name)
{
    for (int kind = 0; kind < SL_LOG_KINDS; kind++)
        assert_string_not_equal(sl_log_kind_name((enum sl_log_kind)kind), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_flood_is_cut_and_touches_no_other, setup),
        cmocka_unit_test_setup(it_is_told_when_it_is_calm, setup),
        cmocka_unit_test_setup(it_is_told_before_the_next_line, setup),
        cmocka_unit_test_setup(a_flood_that_lasts_gets_its_rate, setup),
        cmocka_unit_test_setup(more_users_than_places, setup),
        cmocka_unit_test_setup(nobody_in_particular_has_a_share, setup),
        cmocka_unit_test(every_kind_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
