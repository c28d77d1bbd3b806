/* SPDX-License-Identifier: MIT */
/* MUX: which socket `ssh` finds a target at, and for whom. */
#include "tests/unit/front/front_world.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <string.h>
#include <unistd.h>

#define SOMEBODY 12345

static void ask(struct sl_raw_client *c, uint32_t rid, const char *target)
{
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_MUX, .mux = {.rid = rid, .target = sl_bytes_of(target)}});
}

TEST(a_target_s_path_is_told)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_hello(&f);
    ask(c, 5, "a");
    sl_raw_expect(c, SL_MSG_MUX_PATH);
    assert_int_equal(c->msg.mux_path.rid, 5);
    assert_int_equal(c->msg.mux_path.path.len, strlen("/run/mux/a"));
    assert_memory_equal(c->msg.mux_path.path.data, "/run/mux/a", strlen("/run/mux/a"));
    ask(c, 6, "nobody-knows");
    sl_raw_expect_error(c, 6, SL_E_NO_TARGET);
    assert_int_equal(f.mux_asked, 1);
    f.mux_refusal = SL_E_UNSUPPORTED;
    ask(c, 7, "a");
    sl_raw_expect_error(c, 7, SL_E_UNSUPPORTED);
    assert_memory_equal(c->msg.error.text.data, "a: no mux", strlen("a: no mux"));
    assert_true(c->msg.error.unsent);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(only_for_who_may_lease_it)
{
    struct sl_front_world f;
    if (geteuid() != 0)
        skip(); /* nobody else can be played */
    sl_front_init(&f, FRONT_CONF("allow: {users: [54321]}") "  b: {allow: {users: [12345]}}\n");
    struct sl_raw_client *c = sl_raw_connect_as(&f, SOMEBODY);
    sl_raw_greet(c);
    ask(c, 1, "a");
    sl_raw_expect_error(c, 1, SL_E_NOT_ALLOWED);
    assert_int_equal(f.mux_asked, 0);
    ask(c, 2, "b");
    sl_raw_expect(c, SL_MSG_MUX_PATH);
    sl_raw_close(c);
    sl_front_fini(&f);
}

TEST(not_in_version_1)
{
    struct sl_front_world f;
    sl_front_init(&f, FRONT_CONF(""));
    struct sl_raw_client *c = sl_raw_connect(&f);
    sl_raw_say(c, &(struct sl_msg){.type = SL_MSG_HELLO,
                      .hello = {.version_min = 1, .version_max = 1, .program = sl_bytes_of("test 1")}});
    sl_raw_expect(c, SL_MSG_WELCOME);
    assert_int_equal(c->msg.welcome.version, 1);
    ask(c, 1, "a");
    sl_raw_expect_fatal(c, SL_E_PROTOCOL, "MUX is a message of version 2, and version 1 is spoken here");
    sl_raw_close(c);
    sl_front_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_s_path_is_told),
        cmocka_unit_test(only_for_who_may_lease_it),
        cmocka_unit_test(not_in_version_1),
    };
    return cmocka_run_group_tests_name("front.mux_path", tests, NULL, NULL);
}
