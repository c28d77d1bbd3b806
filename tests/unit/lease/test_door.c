/* SPDX-License-Identifier: MIT */
/* The door: who may lease which name, what a name means, and what is told to whom. */
#include "daemon/lease/state.h"
#include "tests/support/lease_world.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <string.h>

#define LINE(name, login) "  " name ": {" login ", password: {env: SL_TEST_PASSWORD}, allow: {users: [2]}}\n"

struct row {
    const char *name;
    uid_t uid;
    int status;
    const char *says; /* the target's name, or the sentence why not */
};

static void try_all(const char *yaml, bool one_user, const struct row *rows, size_t count)
{
    struct sl_world w;
    sl_world_init(&w, yaml, one_user);
    for (size_t i = 0; i < count; i++) {
        const struct sl_who who = {.pid = 1, .uid = rows[i].uid};
        struct sl_target_conf *conf = NULL;
        char text[512] = "";
        assert_int_equal(sl_driver_admit(w.driver, rows[i].name, &who, &conf, text, sizeof text), rows[i].status);
        assert_string_equal(conf != NULL ? conf->name : text, rows[i].says);
        assert_int_equal(conf != NULL, rows[i].status == 0);
        sl_target_conf_unref(conf);
    }
    sl_world_fini(&w);
}

TEST(a_name_opens_to_whom_it_is_allowed)
{
    static const struct row rows[] = {
        {"a", 2, 0, "a"},
        {"a", 0, 0, "a"},
        {"a", 77, SL_E_NOT_ALLOWED, "not allowed to lease a"},
        /* With the user that the target has anyway, and that says it in a second way. */
        {"u@a", 2, 0, "a"},
        {"u@a", 77, SL_E_NOT_ALLOWED, "not allowed to lease u@a"},
        /* Another user is another target; only who may lease this one is told of it. */
        {"v@a", 2, SL_E_NO_TARGET, "no such target: \"v@a\" (a logs in as u)"},
        {"v@a", 77, SL_E_NO_TARGET, "no such target: \"v@a\""},
        {"b", 2, SL_E_NO_TARGET, "no such target: \"b\""},
        {"u@b", 2, SL_E_NO_TARGET, "no such target: \"u@b\""},
        {"b\033[2J", 2, SL_E_NO_TARGET, "no such target: \"b\\x1b[2J\""},
    };
    try_all("targets:\n" LINE("a", "user: u"), false, rows, sizeof rows / sizeof rows[0]);
}

TEST(for_one_user_a_host_is_a_target_too)
{
    static const struct row rows[] = {
        {"a", 2, 0, "a"},
        {"a", 77, SL_E_NOT_ALLOWED, "not allowed to lease a"},
        {"v@b", 2, 0, "v@b"},
        {"v@b:0", 2, SL_E_NO_TARGET, "no such target: \"v@b:0\""},
    };
    try_all("targets:\n" LINE("a", "user: u"), true, rows, sizeof rows / sizeof rows[0]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_opens_to_whom_it_is_allowed),
        cmocka_unit_test(for_one_user_a_host_is_a_target_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
