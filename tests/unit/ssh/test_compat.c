/* SPDX-License-Identifier: MIT */
/* What is learned of a server, when it is believed, and when it is forgotten. */
#include "daemon/ssh/session/compat.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

static struct sl_compat *compat;
static char text[1024];

static int setup(void **state)
{
    (void)state;
    compat = sl_compat_new();
    return compat == NULL;
}

static int teardown(void **state)
{
    (void)state;
    sl_compat_free(compat);
    return 0;
}

#define MINUTE 60000u
#define HOUR   3600000u

TEST(nothing_is_known_at_first)
{
    assert_int_equal(sl_compat_env(compat, "LANG", 0), SL_ENV_UNKNOWN);
    assert_int_equal(sl_compat_sessions(compat), SL_SESSIONS_UNKNOWN);
    assert_int_equal(sl_compat_session_limit(compat, 0), UINT32_MAX);
    assert_int_equal(sl_compat_uses(compat, 0), UINT32_MAX);
    assert_int_equal(sl_compat_probe(compat), SL_PROBE_UNTRIED);
    assert_int_equal(sl_compat_shell(compat), SL_SHELL_UNKNOWN);
    assert_false(sl_compat_goes_on(compat));
    assert_string_equal(sl_compat_describe(compat, 0, text, sizeof text), "");
}

TEST(variables_are_known_by_name_and_a_refusal_is_asked_again_after_an_hour)
{
    assert_true(sl_compat_saw_env(compat, "LANG", SL_ENV_TAKEN, 0));
    assert_true(sl_compat_saw_env(compat, "FOO", SL_ENV_REFUSED, 0));
    assert_false(sl_compat_saw_env(compat, "FOO", SL_ENV_REFUSED, 1));
    assert_true(sl_compat_saw_env(compat, "BAR", SL_ENV_FATAL, 0));
    assert_int_equal(sl_compat_env(compat, "LANG", 9 * HOUR), SL_ENV_TAKEN);
    assert_int_equal(sl_compat_env(compat, "FOO", HOUR), SL_ENV_REFUSED);
    assert_int_equal(sl_compat_env(compat, "FOO", HOUR + 2), SL_ENV_UNKNOWN);
    assert_int_equal(sl_compat_env(compat, "BAR", 9 * HOUR), SL_ENV_FATAL);
    assert_int_equal(sl_compat_env(compat, "FO", 0), SL_ENV_UNKNOWN);
    assert_string_equal(sl_compat_describe(compat, 2, text, sizeof text),
        "environment: the server refuses FOO; environment: the server hangs up on BAR");
}

/* A killed session or a lost network is not the variable's fault. */
TEST(one_hang_up_says_nothing_of_a_server_that_answers)
{
    (void)sl_compat_meet(compat, "SSH-2.0-one");
    assert_true(sl_compat_saw_env(compat, "LANG", SL_ENV_TAKEN, 0));
    for (unsigned i = 0; i < 2; i++)
        assert_false(sl_compat_saw_env(compat, "LANG", SL_ENV_FATAL, 1));
    assert_int_equal(sl_compat_env(compat, "LANG", 1), SL_ENV_TAKEN);
    assert_false(sl_compat_saw_env(compat, "LANG", SL_ENV_TAKEN, 2)); /* begins anew */
    for (unsigned i = 0; i < 2; i++)
        assert_false(sl_compat_saw_env(compat, "LANG", SL_ENV_UNANSWERED, 3));
    assert_true(sl_compat_saw_env(compat, "LANG", SL_ENV_FATAL, 4));
    assert_int_equal(sl_compat_env(compat, "LANG", 4), SL_ENV_FATAL);

    (void)sl_compat_meet(compat, "SSH-2.0-OpenSSH_9.2p1");
    for (unsigned i = 0; i < 2; i++)
        assert_false(sl_compat_saw_env(compat, "LANG", SL_ENV_FATAL, 5));
    assert_int_equal(sl_compat_env(compat, "LANG", 5), SL_ENV_UNKNOWN);
    assert_true(sl_compat_saw_env(compat, "LANG", SL_ENV_FATAL, 5));
}

TEST(names_beyond_its_room_are_unknown)
{
    char name[80];
    for (unsigned i = 0; i < SL_COMPAT_NAMES; i++) {
        snprintf(name, sizeof name, "V%u", i);
        assert_true(sl_compat_saw_env(compat, name, SL_ENV_REFUSED, 0));
        assert_int_equal(sl_compat_place(compat, name), i);
    }
    assert_false(sl_compat_saw_env(compat, "ONE_MORE", SL_ENV_REFUSED, 0));
    assert_int_equal(sl_compat_place(compat, "ONE_MORE"), SL_COMPAT_NAMES);
    memset(name, 'N', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    sl_compat_reset(compat);
    assert_false(sl_compat_saw_env(compat, name, SL_ENV_REFUSED, 0));
    assert_int_equal(sl_compat_env(compat, name, 0), SL_ENV_UNKNOWN);
}

TEST(two_connections_that_agree_teach_how_many_commands_one_serves)
{
    assert_false(sl_compat_saw_end(compat, 1, 0));
    assert_int_equal(sl_compat_uses(compat, 0), UINT32_MAX);
    assert_false(sl_compat_saw_end(compat, 3, 10)); /* another number */
    assert_int_equal(sl_compat_uses(compat, 10), UINT32_MAX);
    assert_true(sl_compat_saw_end(compat, 3, 20));
    assert_int_equal(sl_compat_uses(compat, 20), 3);
    assert_string_equal(sl_compat_describe(compat, 20, text, sizeof text),
        "uses: 3, the server then ends the connection or opens no more sessions");
    assert_int_equal(sl_compat_uses(compat, 21 + 10 * MINUTE), UINT32_MAX);
    /* One that served more shows that it was chance. */
    assert_false(sl_compat_saw_end(compat, 3, 20));
    (void)sl_compat_saw_life(compat, 4);
    assert_int_equal(sl_compat_uses(compat, 20), UINT32_MAX);
}

TEST(an_end_after_the_first_command_takes_back_that_connections_go_on)
{
    assert_true(sl_compat_saw_life(compat, 1));
    assert_true(sl_compat_goes_on(compat));
    (void)sl_compat_saw_end(compat, 5, 0);
    assert_true(sl_compat_goes_on(compat));
    (void)sl_compat_saw_end(compat, 1, 0);
    assert_false(sl_compat_goes_on(compat));
}

TEST(a_probe_that_was_answered_once_is_not_given_up)
{
    sl_compat_saw_probe(compat);
    assert_false(sl_compat_saw_probe_fail(compat, "does not answer"));
    assert_int_equal(sl_compat_probe(compat), SL_PROBE_UNKNOWN_TYPE);
    sl_compat_reset(compat);
    assert_true(sl_compat_saw_probe_fail(compat, "does not answer"));
    assert_int_equal(sl_compat_probe(compat), SL_PROBE_TCP);
    assert_string_equal(
        sl_compat_describe(compat, 0, text, sizeof text), "liveness: by TCP, the server does not answer");
}

TEST(the_session_limit_is_believed_for_a_minute)
{
    assert_true(sl_compat_saw_session_limit(compat, 2, 5));
    assert_false(sl_compat_saw_session_limit(compat, 2, 6));
    assert_int_equal(sl_compat_session_limit(compat, 6 + MINUTE), 2);
    assert_int_equal(sl_compat_session_limit(compat, 7 + MINUTE), UINT32_MAX);
}

TEST(another_server_is_met_without_prejudice)
{
    uint32_t first = sl_compat_meet(compat, "SSH-2.0-one");
    (void)sl_compat_saw_sessions(compat, SL_SESSIONS_ONE, "ends it");
    assert_int_equal(sl_compat_meet(compat, "SSH-2.0-one"), first);
    assert_int_equal(sl_compat_sessions(compat), SL_SESSIONS_ONE);
    assert_string_equal(sl_compat_describe(compat, 0, text, sizeof text), "opens ahead: no, the server ends it");
    uint32_t second = sl_compat_meet(compat, "SSH-2.0-two");
    assert_int_not_equal(second, first);
    assert_false(sl_compat_is(compat, first));
    assert_true(sl_compat_is(compat, second));
    assert_int_equal(sl_compat_sessions(compat), SL_SESSIONS_UNKNOWN);
}

TEST(a_reload_has_what_the_server_minds_found_out_again)
{
    uint32_t number = sl_compat_meet(compat, "SSH-2.0-one");
    (void)sl_compat_saw_env(compat, "LANG", SL_ENV_TAKEN, 0);
    (void)sl_compat_saw_env(compat, "FOO", SL_ENV_UNANSWERED, 0);
    (void)sl_compat_saw_sessions(compat, SL_SESSIONS_ONE, "ends it");
    (void)sl_compat_saw_end(compat, 1, 0);
    (void)sl_compat_saw_end(compat, 1, 0);
    (void)sl_compat_saw_probe_fail(compat, "does not answer");
    (void)sl_compat_saw_shell(compat, SL_SHELL_OTHER);
    sl_compat_forgive(compat);
    assert_true(sl_compat_is(compat, number)); /* connections that are open go on learning */
    assert_int_equal(sl_compat_env(compat, "LANG", 0), SL_ENV_TAKEN);
    assert_int_equal(sl_compat_env(compat, "FOO", 0), SL_ENV_UNKNOWN);
    assert_int_equal(sl_compat_place(compat, "FOO"), 1);
    assert_int_equal(sl_compat_sessions(compat), SL_SESSIONS_UNKNOWN);
    assert_int_equal(sl_compat_uses(compat, 0), UINT32_MAX);
    assert_int_equal(sl_compat_probe(compat), SL_PROBE_UNTRIED);
    assert_int_equal(sl_compat_shell(compat), SL_SHELL_UNKNOWN);
}

TEST(well_known_servers_are_pinged_without_trying)
{
    static const char *const known[] = {"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", "SSH-2.0-dropbear_2022.83"};
    static const char *const other[] = {"SSH-2.0-Go", "SSH-2.0-x-OpenSSH_9", ""};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        (void)sl_compat_meet(compat, known[i]);
        assert_true(sl_compat_is_well_known(compat));
        assert_int_equal(sl_compat_probe(compat), SL_PROBE_UNKNOWN_TYPE);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        (void)sl_compat_meet(compat, other[i]);
        assert_false(sl_compat_is_well_known(compat));
        assert_int_equal(sl_compat_probe(compat), SL_PROBE_UNTRIED);
    }
}

#define ENTRY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(nothing_is_known_at_first),
        ENTRY(variables_are_known_by_name_and_a_refusal_is_asked_again_after_an_hour),
        ENTRY(one_hang_up_says_nothing_of_a_server_that_answers),
        ENTRY(names_beyond_its_room_are_unknown),
        ENTRY(two_connections_that_agree_teach_how_many_commands_one_serves),
        ENTRY(an_end_after_the_first_command_takes_back_that_connections_go_on),
        ENTRY(a_probe_that_was_answered_once_is_not_given_up),
        ENTRY(the_session_limit_is_believed_for_a_minute),
        ENTRY(another_server_is_met_without_prejudice),
        ENTRY(well_known_servers_are_pinged_without_trying),
        ENTRY(a_reload_has_what_the_server_minds_found_out_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
