/* SPDX-License-Identifier: MIT */
/* Durations are read and written by one syntax. */
#include "base/duration.h"
#include "tests/support/test.h"

TEST(durations)
{
    static const struct {
        const char *text;
        enum sl_duration value;
        uint64_t ms;
    } rows[] = {
        {"0", SL_DURATION_OK, 0},
        {"0s", SL_DURATION_OK, 0},
        {"1ms", SL_DURATION_OK, 1},
        {"500ms", SL_DURATION_OK, 500},
        {"30s", SL_DURATION_OK, 30000},
        {"15m", SL_DURATION_OK, 900000},
        {"1h", SL_DURATION_OK, 3600000},
        {"1h30m", SL_DURATION_OK, 5400000},
        {"1h2m3s4ms", SL_DURATION_OK, 3723004},
        {"90m", SL_DURATION_OK, 5400000},
        {"1s500ms", SL_DURATION_OK, 1500},
        {"5124095576030h", SL_DURATION_OK, UINT64_C(18446744073708000000)},
        {"5124095576031h", SL_DURATION_TOO_LARGE, 0},
        {"5124095576030h99999m", SL_DURATION_TOO_LARGE, 0},
        {"99999999999999999999s", SL_DURATION_TOO_LARGE, 0},
        {"-5s", SL_DURATION_TOO_LARGE, 0},
        {"300", SL_DURATION_NO_UNIT, 300},
        {"99999999999999999999", SL_DURATION_NO_UNIT, UINT64_MAX},
        {"-5", SL_DURATION_NO_UNIT, UINT64_MAX},
        {"", SL_DURATION_MALFORMED, 0},
        {"-", SL_DURATION_MALFORMED, 0},
        {"s", SL_DURATION_MALFORMED, 0},
        {"5 s", SL_DURATION_MALFORMED, 0},
        {"5 minutes", SL_DURATION_MALFORMED, 0},
        {"5min", SL_DURATION_MALFORMED, 0},
        {"5S", SL_DURATION_MALFORMED, 0},
        {"1.5h", SL_DURATION_MALFORMED, 0},
        {"30m1h", SL_DURATION_MALFORMED, 0},
        {"1h1h", SL_DURATION_MALFORMED, 0},
        {"1h30", SL_DURATION_MALFORMED, 0},
        {"1d", SL_DURATION_OK, 86400000},
        {"1d12h", SL_DURATION_OK, 129600000},
        {"1h1d", SL_DURATION_MALFORMED, 0},
        {"1dd", SL_DURATION_MALFORMED, 0},
        {"1hm", SL_DURATION_MALFORMED, 0},
        {"never", SL_DURATION_MALFORMED, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms = 0;
        if (sl_duration_parse(rows[i].text, &ms) != rows[i].value)
            print_error("at \"%s\"\n", rows[i].text);
        assert_int_equal(sl_duration_parse(rows[i].text, &ms), rows[i].value);
        assert_int_equal(ms, rows[i].ms);
    }
}

TEST(durations_are_written_as_they_are_read)
{
    static const char *const rows[] = {"0", "1ms", "30s", "15m", "4h", "1h30m", "168h", "1h2m3s4ms", "5124095576030h"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms;
        char buf[SL_DURATION_SIZE];
        assert_int_equal(sl_duration_parse(rows[i], &ms), SL_DURATION_OK);
        assert_string_equal(sl_duration_write(buf, ms), rows[i]);
    }
    char buf[SL_DURATION_SIZE];
    assert_string_equal(sl_duration_write(buf, UINT64_MAX), "5124095576030h25m51s615ms");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(durations_are_written_as_they_are_read),
    };
    return cmocka_run_group_tests_name("base.duration", tests, NULL, NULL);
}
