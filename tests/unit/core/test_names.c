/* SPDX-License-Identifier: MIT */
/* Every state and reason has a name of its own. */
#include "daemon/core/vocabulary.h"
#include "tests/support/test.h"

#include <string.h>

static const char *conn_state(unsigned i)
{
    return sl_conn_state_name((enum sl_conn_state)i);
}

static const char *lease_state(unsigned i)
{
    return sl_lease_state_name((enum sl_lease_state)i);
}

static const char *reason(unsigned i)
{
    return sl_reason_name((enum sl_reason)i);
}

/* They are words of the log and labels of counters: none may be missing, none there twice. */
static void check_names(const char *(*name)(unsigned), unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_string_not_equal(name(i), "unknown");
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(name(i), name(k));
        assert_int_equal(strspn(name(i), "abcdefghijklmnopqrstuvwxyz-"), strlen(name(i)));
    }
    assert_string_equal(name(count), "unknown");
}

TEST(every_word_has_a_name_of_its_own)
{
    check_names(conn_state, SL_CONN_CLOSING + 1);
    check_names(lease_state, SL_LEASE_REFUSED + 1);
    check_names(reason, SL_REASON_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_word_has_a_name_of_its_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
