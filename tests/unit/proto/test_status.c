/* SPDX-License-Identifier: MIT */
/* The table of status codes is unique and whole. */
#include "proto/status.h"
#include "tests/support/test.h"

#include <string.h>

struct row {
    int number;
    const char *id;
    const char *text;
    bool retryable;
};
static const struct row rows[] = {
#define ROW(name, number, id, text, retryable) {number, id, text, retryable},
    SL_STATUS_TABLE(ROW)
#undef ROW
};
#define ROWS (sizeof rows / sizeof rows[0])

TEST(numbers_ids_and_texts_are_unique)
{
    for (size_t i = 0; i < ROWS; i++) {
        assert_in_range(rows[i].number, 1, 255);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(rows[i].number, rows[j].number);
            assert_string_not_equal(rows[i].id, rows[j].id);
            assert_string_not_equal(rows[i].text, rows[j].text);
        }
    }
}

TEST(look_ups_follow_the_table)
{
    for (size_t i = 0; i < ROWS; i++) {
        assert_string_equal(sl_status_name(-rows[i].number), rows[i].id);
        assert_string_equal(sl_status_text(-rows[i].number), rows[i].text);
        assert_int_equal(sl_status_retryable(-rows[i].number), rows[i].retryable);
    }
}

TEST(success_and_strangers_have_names)
{
    assert_string_equal(sl_status_name(0), "ok");
    assert_string_equal(sl_status_text(0), "success");
    assert_false(sl_status_retryable(0));
    /* Positive numbers are the wire's, not codes of this program. */
    const int strangers[] = {-9999, INT32_MIN, 1, INT32_MAX};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        assert_string_equal(sl_status_name(strangers[i]), "unknown");
        assert_string_equal(sl_status_text(strangers[i]), "unknown status");
        assert_false(sl_status_retryable(strangers[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_ids_and_texts_are_unique),
        cmocka_unit_test(look_ups_follow_the_table),
        cmocka_unit_test(success_and_strangers_have_names),
    };
    return cmocka_run_group_tests_name("proto.status", tests, NULL, NULL);
}
