/* SPDX-License-Identifier: MIT */
/* Numbers, modes and names, right and wrong, and the nearest word for a wrong one. */
#include "config/value.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

TEST(numbers)
{
    static const struct {
        const char *text;
        enum sl_value value;
        uint64_t number;
    } rows[] = {
        {"0", SL_VALUE_OK, 0},
        {"7", SL_VALUE_OK, 7},
        {"18446744073709551615", SL_VALUE_OK, UINT64_MAX},
        {"18446744073709551616", SL_VALUE_TOO_LARGE, 0},
        {"99999999999999999999999", SL_VALUE_TOO_LARGE, 0},
        {"-1", SL_VALUE_TOO_LARGE, 0},
        {"", SL_VALUE_MALFORMED, 0},
        {"-", SL_VALUE_MALFORMED, 0},
        {"+1", SL_VALUE_MALFORMED, 0},
        {"010", SL_VALUE_MALFORMED, 0},
        {"0x10", SL_VALUE_MALFORMED, 0},
        {"1_000", SL_VALUE_MALFORMED, 0},
        {"1.0", SL_VALUE_MALFORMED, 0},
        {"1e3", SL_VALUE_MALFORMED, 0},
        {" 1", SL_VALUE_MALFORMED, 0},
        {"four", SL_VALUE_MALFORMED, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t number = 0;
        assert_int_equal(sl_value_number(rows[i].text, &number), rows[i].value);
        assert_int_equal(number, rows[i].number);
    }
}

TEST(modes)
{
    uint64_t mode = 0;
    assert_int_equal(sl_value_mode("0660", &mode), SL_VALUE_OK);
    assert_int_equal(mode, 0660);
    assert_int_equal(sl_value_mode("600", &mode), SL_VALUE_OK);
    assert_int_equal(mode, 0600);
    assert_int_equal(sl_value_mode("0888", &mode), SL_VALUE_MALFORMED);
    assert_int_equal(sl_value_mode("", &mode), SL_VALUE_MALFORMED);
    assert_int_equal(sl_value_mode("rw-rw----", &mode), SL_VALUE_MALFORMED);
    assert_int_equal(sl_value_mode("0o660", &mode), SL_VALUE_MALFORMED);
    assert_int_equal(sl_value_mode("777777777", &mode), SL_VALUE_TOO_LARGE);
    assert_int_equal(mode, 0600);
}

TEST(names)
{
    char long_name[300];
    memset(long_name, 'a', sizeof long_name);
    long_name[255] = '\0';
    assert_null(sl_value_target_name_wrong(long_name));
    assert_null(sl_value_target_name_wrong("web-1.a_B"));
    long_name[255] = 'a';
    long_name[256] = '\0';
    assert_string_equal(sl_value_target_name_wrong(long_name), "is too long");
    assert_string_equal(sl_value_target_name_wrong(""), "is empty");
    assert_string_equal(sl_value_target_name_wrong("-a"), "begins with -");
    assert_string_equal(sl_value_target_name_wrong("a b"), "has a space in it");
    assert_string_equal(sl_value_target_name_wrong("a\x01"), "has a control character in it");
    /* What marks a destination that no file names. */
    assert_non_null(sl_value_target_name_wrong("a@b"));
    assert_non_null(sl_value_target_name_wrong("a:22"));
    assert_non_null(sl_value_target_name_wrong("a/b"));

    assert_null(sl_value_host_wrong("web_1.example.org"));
    assert_null(sl_value_host_wrong("10.0.0.5"));
    assert_null(sl_value_host_wrong("fe80::1%eth0"));
    assert_string_equal(sl_value_host_wrong("[::1]"), "has brackets, which an address has beside a port only");
    assert_string_equal(sl_value_host_wrong("[::1"), "has brackets, which an address has beside a port only");
    assert_string_equal(sl_value_host_wrong("[::1]:22"), "has a port in it, which is a setting of its own (port)");
    assert_string_equal(sl_value_host_wrong("web1:22"), "has a port in it, which is a setting of its own (port)");
    assert_string_equal(sl_value_host_wrong("::1:x"), "is not an IPv6 address");
    assert_string_equal(sl_value_host_wrong("fe80::1%"), "has a malformed IPv6 zone");
    assert_non_null(sl_value_host_wrong("ci@web1"));
    assert_non_null(sl_value_host_wrong("-web1"));

    assert_null(sl_value_user_wrong("CORP\\j.doe"));
    assert_non_null(sl_value_user_wrong("-l"));
    assert_non_null(sl_value_user_wrong("a\tb"));

    assert_null(sl_value_pattern_wrong("LC_*"));
    assert_null(sl_value_pattern_wrong("*"));
    assert_non_null(sl_value_pattern_wrong("LC_[A]"));
    assert_non_null(sl_value_pattern_wrong("A=B"));

    assert_null(sl_value_variable_wrong("KEY_1"));
    assert_string_equal(sl_value_variable_wrong("1KEY"), "begins with a digit");
    assert_non_null(sl_value_variable_wrong("$KEY"));

    assert_null(sl_value_credential_wrong("db.password"));
    assert_string_equal(sl_value_credential_wrong("a/b"), "is a path");
    assert_string_equal(sl_value_credential_wrong(".."), "is a directory");
    assert_string_equal(sl_value_credential_wrong("."), "is a directory");
}

TEST(nearest_names)
{
    static const char *const known[] = {
        "host", "port", "user", "identity_file", "user_known_hosts_file", "max_connections", "streams", "env"};
    static const struct {
        const char *text, *nearest;
    } rows[] = {
        {"max_conections", "max_connections"},
        {"maxConnections", "max_connections"},
        {"max-connections", "max_connections"},
        {"IdentityFile", "identity_file"},
        {"identity_flie", "identity_file"},
        {"prot", "port"},
        {"HostName", "host"},
        {"username", "user"},
        {"known_hosts", "user_known_hosts_file"},
        {"stream", "streams"},
        {"proxy_jump", NULL},
        {"x", NULL},
        {"evn", "env"},
        {"foo", NULL},
        {"", NULL},
        {"a_key_that_is_so_long_that_nobody_can_have_meant_host", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *nearest = sl_value_nearest(rows[i].text, known, sizeof known / sizeof known[0]);
        if (rows[i].nearest == NULL) {
            if (nearest != NULL)
                print_error("\"%s\" became %s\n", rows[i].text, nearest);
            assert_null(nearest);
        } else {
            if (nearest == NULL)
                print_error("at \"%s\"\n", rows[i].text);
            assert_non_null(nearest);
            assert_string_equal(nearest, rows[i].nearest);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(modes),
        cmocka_unit_test(names),
        cmocka_unit_test(nearest_names),
    };
    return cmocka_run_group_tests_name("config.value", tests, NULL, NULL);
}
