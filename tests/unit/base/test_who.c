/* SPDX-License-Identifier: MIT */
/* A copy of who a client is has groups of its own. */
#include "base/who.h"
#include "tests/support/test.h"

TEST(a_copy_has_groups_of_its_own)
{
    gid_t gid[] = {100, 200, 300};
    const struct sl_who who = {.pid = 7, .start_time = 8, .uid = 9, .gid = gid, .gid_count = 3};
    struct sl_who copy;
    assert_int_equal(sl_who_copy(&who, &copy), 0);
    gid[0] = gid[1] = gid[2] = 0; /* the client's are gone */
    assert_int_equal(copy.pid, 7);
    assert_int_equal(copy.start_time, 8);
    assert_int_equal(copy.uid, 9);
    assert_int_equal(copy.gid_count, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(copy.gid[i], 100 * (i + 1));
    sl_who_fini(&copy);
}

/* Nobody: not root, whose number is 0. */
TEST(what_is_freed_is_nobody)
{
    const struct sl_who root = {.pid = 1, .uid = 0};
    struct sl_who copy;
    assert_int_equal(sl_who_copy(&root, &copy), 0);
    assert_null(copy.gid);
    sl_who_fini(&copy);
    assert_int_equal(copy.uid, (uid_t)-1);
    assert_int_equal(copy.gid_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_has_groups_of_its_own),
        cmocka_unit_test(what_is_freed_is_nobody),
    };
    return cmocka_run_group_tests_name("base.who", tests, NULL, NULL);
}
