/* SPDX-License-Identifier: MIT */
/* How long a failed dial is waited after, and the class of every status. */
#include "daemon/core/backoff.h"
#include "proto/status.h"
#include "tests/support/test.h"

/* Least and most over all that chance can say. */
static void range(uint32_t failures, uint64_t min, uint64_t max, uint64_t *ret_least, uint64_t *ret_most)
{
    *ret_least = UINT64_MAX;
    *ret_most = 0;
    for (uint64_t chance = 0; chance < 50000; chance++) {
        uint64_t wait = sl_backoff_ms(failures, min, max, chance);
        *ret_least = wait < *ret_least ? wait : *ret_least;
        *ret_most = wait > *ret_most ? wait : *ret_most;
    }
}

TEST(it_doubles_give_or_take_a_fifth)
{
    static const uint64_t base[] = {1000, 2000, 4000, 8000, 16000, 32000};
    for (uint32_t i = 0; i < 6; i++) {
        uint64_t least, most;
        range(i + 1, 1000, 60000, &least, &most);
        assert_int_equal(least, base[i] - base[i] / 5);
        assert_int_equal(most, base[i] + base[i] / 5);
    }
}

TEST(it_stays_below_the_maximum_and_spreads_there_too)
{
    uint64_t least, most;
    range(7, 1000, 60000, &least, &most);
    assert_int_equal(least, 48000);
    assert_int_equal(most, 60000);
    range(UINT32_MAX, 1000, 60000, &least, &most);
    assert_int_equal(least, 48000);
    assert_int_equal(most, 60000);
}

TEST(odd_settings_do_no_harm)
{
    assert_int_equal(sl_backoff_ms(1, 0, 0, 7), 1);
    assert_int_equal(sl_backoff_ms(9, 0, 0, 7), 1);
    assert_true(sl_backoff_ms(5, 5000, 1000, 3) <= 1000);
    assert_true(sl_backoff_ms(200, 1, UINT64_MAX, UINT64_MAX) > UINT64_MAX / 2);
    assert_true(sl_backoff_ms(1, UINT64_MAX, UINT64_MAX, UINT64_MAX) > UINT64_MAX / 2);
}

TEST(every_status_has_its_class)
{
    assert_int_equal(sl_dial_failure_of(SL_E_RESOLVE), SL_DIAL_DEFINITE);
    assert_int_equal(sl_dial_failure_of(SL_E_CONNECT), SL_DIAL_DEFINITE);
    assert_int_equal(sl_dial_failure_of(SL_E_AUTH_FAILED), SL_DIAL_REJECTED);
    assert_int_equal(sl_dial_failure_of(SL_E_CREDENTIALS), SL_DIAL_DEFINITE);
    assert_int_equal(sl_dial_failure_of(SL_E_NO_ALGORITHM), SL_DIAL_MISMATCHED);
    assert_int_equal(sl_dial_failure_of(SL_E_HOST_KEY_UNKNOWN), SL_DIAL_UNTRUSTED);
    assert_int_equal(sl_dial_failure_of(SL_E_HOST_KEY_CHANGED), SL_DIAL_UNTRUSTED);
    assert_int_equal(sl_dial_failure_of(SL_E_HOST_KEY_REVOKED), SL_DIAL_UNTRUSTED);
    static const int transient[] = {SL_E_CONNECT_TIMEOUT, SL_E_LOGIN_TIMEOUT, SL_E_HANDSHAKE, SL_E_CONNECTION_LOST,
        SL_E_IO, SL_E_NOMEM, SL_E_PEER_DEAD, SL_E_INTERNAL};
    for (size_t i = 0; i < sizeof transient / sizeof transient[0]; i++)
        assert_int_equal(sl_dial_failure_of(transient[i]), SL_DIAL_TRANSIENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_doubles_give_or_take_a_fifth),
        cmocka_unit_test(it_stays_below_the_maximum_and_spreads_there_too),
        cmocka_unit_test(odd_settings_do_no_harm),
        cmocka_unit_test(every_status_has_its_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
