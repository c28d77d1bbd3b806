/* SPDX-License-Identifier: MIT */
/* Targets named USER@HOST[:PORT]: how they are taken apart, and where they are allowed. */
#include "config/conf.h"

#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/config/world.h"

#include <stdlib.h>

static struct sl_conf *new_one_user(void)
{
    struct sl_conf *conf;
    assert_int_equal(sl_conf_new_default_in(&world, true, &conf), 0);
    return conf;
}

TEST(destinations_are_taken_apart)
{
    static const struct {
        const char *given, *name, *user, *host;
        uint16_t port;
    } rows[] = {
        {"web1", "ci@web1", "ci", "web1", 22},
        {"WEB1.Example.org", "ci@web1.example.org", "ci", "web1.example.org", 22},
        {"root@web1", "root@web1", "root", "web1", 22},
        {"root@web1:22", "root@web1", "root", "web1", 22},
        {"root@web1:2222", "root@web1:2222", "root", "web1", 2222},
        {"web1:2222", "ci@web1:2222", "ci", "web1", 2222},
        {"j@corp.example@web1", "j@corp.example@web1", "j@corp.example", "web1", 22},
        {"CORP\\j@web1", "CORP\\j@web1", "CORP\\j", "web1", 22},
        {"10.0.0.5:65535", "ci@10.0.0.5:65535", "ci", "10.0.0.5", 65535},
        {"[::1]", "ci@::1", "ci", "::1", 22},
        {"::1", "ci@::1", "ci", "::1", 22},
        {"[FE80::1%eth0]:2222", "ci@[fe80::1%eth0]:2222", "ci", "fe80::1%eth0", 2222},
        {"root@[2001:db8::5]:22", "root@2001:db8::5", "root", "2001:db8::5", 22},
    };
    struct sl_conf *conf = new_one_user();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sl_target_conf *t, *again;
        assert_int_equal(sl_conf_adhoc(conf, rows[i].given, &t), 0);
        assert_string_equal(t->name, rows[i].name);
        assert_string_equal(t->user, rows[i].user);
        assert_string_equal(t->host, rows[i].host);
        assert_int_equal(t->port, rows[i].port);
        assert_true(t->adhoc);
        assert_int_equal(t->refcount, 1);
        assert_int_equal(t->identity_count, 2);
        assert_true(sl_target_conf_allows(t, &(struct sl_who){.uid = 12345}));

        /* The canonical name means itself. */
        assert_int_equal(sl_conf_adhoc(conf, t->name, &again), 0);
        assert_string_equal(again->name, t->name);
        assert_true(sl_target_conf_same_identity(t, again));
        sl_target_conf_unref(again);
        sl_target_conf_unref(t);
    }
    sl_conf_free(conf);
}

TEST(what_is_no_destination_is_refused)
{
    static const char *const rows[] = {"", "@", "@host", "user@", "-oProxyCommand=x", "user@-host", "-user@host",
        "us er@host", "user@ho st", "user@host\n", "us\ter@host", "user@host\x7f", "host:", "host:0", "host:65536",
        "host:022", "host:22x", "host:-1", "host:99999999999999999999", "[::1", "::1]", "[::1]22", "[::1]:", "[]",
        "[web1]:22", "web1:22:23", "user:password@host", "host/path", "host;x", "h\xc3\xb6st", "fe80::1%",
        "fe80::1%a/b", ":22", "ssh://host", "$(x)@[x]"};
    struct sl_conf *conf = new_one_user();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sl_target_conf *t = NULL;
        int status = sl_conf_adhoc(conf, rows[i], &t);
        if (status != SL_E_NO_TARGET)
            print_error("taken: \"%s\"\n", rows[i]);
        assert_int_equal(status, SL_E_NO_TARGET);
        assert_null(t);
    }
    sl_conf_free(conf);
}

TEST(lengths_are_bounded)
{
    struct sl_conf *conf = new_one_user();
    struct sl_target_conf *t;
    char name[1024];
    memset(name, 'h', 253);
    name[253] = '\0';
    assert_int_equal(sl_conf_adhoc(conf, name, &t), 0);
    sl_target_conf_unref(t);
    memset(name, 'h', 254);
    name[254] = '\0';
    assert_int_equal(sl_conf_adhoc(conf, name, &t), SL_E_NO_TARGET);

    memset(name, 'u', 255);
    memcpy(name + 255, "@host", sizeof "@host");
    assert_int_equal(sl_conf_adhoc(conf, name, &t), 0);
    sl_target_conf_unref(t);
    memset(name, 'u', 256);
    memcpy(name + 256, "@host", sizeof "@host");
    assert_int_equal(sl_conf_adhoc(conf, name, &t), SL_E_NO_TARGET);

    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(sl_conf_adhoc(conf, name, &t), SL_E_NO_TARGET);
    sl_conf_free(conf);
}

TEST(only_the_one_user_mode_has_them)
{
    struct sl_conf *conf;
    struct sl_target_conf *t;
    assert_int_equal(sl_conf_new_default_in(&world, false, &conf), 0);
    assert_int_equal(sl_conf_adhoc(conf, "root@web1", &t), SL_E_NO_TARGET);
    sl_conf_free(conf);
}

TEST(a_user_without_a_name_has_to_give_one)
{
    struct sl_conf_world nameless = world;
    nameless.user = NULL;
    struct sl_conf *conf;
    struct sl_target_conf *t;
    assert_int_equal(sl_conf_new_default_in(&nameless, true, &conf), 0);
    assert_int_equal(sl_conf_adhoc(conf, "web1", &t), SL_E_NO_TARGET);
    assert_int_equal(sl_conf_adhoc(conf, "root@web1", &t), 0);
    sl_target_conf_unref(t);
    sl_conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(destinations_are_taken_apart),
        cmocka_unit_test(what_is_no_destination_is_refused),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(only_the_one_user_mode_has_them),
        cmocka_unit_test(a_user_without_a_name_has_to_give_one),
    };
    return cmocka_run_group_tests_name("config.adhoc", tests, NULL, NULL);
}
