/* SPDX-License-Identifier: MIT */
/* What a reload says has changed, for each setting. */
#include "config/diff.h"

#include "tests/support/test.h"
#include "tests/unit/config/parse.h"

struct trace {
    char text[1024];
    size_t at;
};

static void on_change(
    void *arg, enum sl_conf_change change, struct sl_target_conf *old_target, struct sl_target_conf *new_target)
{
    struct trace *trace = arg;
    const char *name = old_target != NULL ? old_target->name : new_target->name;
    assert_int_equal(old_target == NULL, change == SL_CONF_ADDED);
    assert_int_equal(new_target == NULL, change == SL_CONF_REMOVED);
    trace->at += (size_t)snprintf(
        trace->text + trace->at, sizeof trace->text - trace->at, "%s %s\n", name, sl_conf_change_name(change));
}

static void expect_diff(const char *old_text, const char *new_text, const char *expected)
{
    struct sl_conf *a = parse_good(true, old_text), *b = parse_good(true, new_text);
    struct trace trace = {0};
    sl_conf_diff(a, b, on_change, &trace);
    assert_string_equal(trace.text, expected);
    sl_conf_free(a);
    sl_conf_free(b);
}

TEST(targets_come_and_go)
{
    expect_diff("targets: {d: , b: , c: {port: 23}}", "targets: {e: , c: {port: 24}, b: , a: }",
        "a added\n"
        "b same\n"
        "c identity\n"
        "d removed\n"
        "e added\n");
    expect_diff("targets: {}", "targets: {}", "");
    expect_diff("targets: {a: }", "targets: {}", "a removed\n");
}

TEST(each_setting_changes_one_or_the_other)
{
    static const struct {
        const char *setting, *change;
    } rows[] = {
        {"host: other", "identity"},
        {"port: 23", "identity"},
        {"user: other", "identity"},
        {"identity_file: /keys/a", "identity"},
        {"{identity_file: [/home/ci/.ssh/id_ed25519, /home/ci/.ssh/id_rsa], certificate_file: [/keys/a, /keys/b]}",
            "identity"},
        {"identity_agent: none", "identity"},
        {"identity_agent: /run/other.sock", "identity"},
        {"passphrase: {file: /keys/p}", "identity"},
        {"password: {env: KEY_PASSPHRASE}", "identity"},
        {"user_known_hosts_file: /keys/k", "identity"},
        {"global_known_hosts_file: none", "identity"},
        {"host_key_alias: other", "identity"},
        {"strict_host_key_checking: accept-new", "identity"},
        {"ciphers: aes128-ctr", "identity"},
        {"macs: -hmac-sha1", "identity"},
        {"kex_algorithms: ^diffie-hellman-group14-sha256", "identity"},
        {"host_key_algorithms: +ssh-rsa", "identity"},
        {"pubkey_accepted_algorithms: ssh-ed25519", "identity"},
        /* The same names, but now their order is the user's. */
        {"host_key_algorithms: ^ssh-ed25519", "identity"},
        {"remote_cleanup: signal", "policy"},
        {"owners: shared", "policy"},
        {"send_env: X", "policy"},
        {"permit_remote_open: none", "policy"},
        {"allow: {users: ci}", "policy"},
        {"allow: {groups: testers}", "policy"},
        {"max_connections: 5", "policy"},
        {"max_lease: 3h", "policy"},
        /* Said, but nothing new. */
        {"port: 22", "same"},
        {"user: ci", "same"},
        {"max_connections: 4", "same"},
        {"idle_timeout: 300s", "same"},
        {"identity_agent: SSH_AUTH_SOCK", "same"},
        {"send_env: [LANG, LC_*]", "same"},
        {"permit_remote_open: [any]", "same"},
        {"identity_file: [~/.ssh/id_ed25519, ~/.ssh/id_rsa]", "same"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256], expected[32];
        bool braces = rows[i].setting[0] == '{';
        snprintf(text, sizeof text, braces ? "targets: {a: %s}" : "targets: {a: {%s}}", rows[i].setting);
        snprintf(expected, sizeof expected, "a %s\n", rows[i].change);
        expect_diff("targets: {a: }", text, expected);
    }
}

TEST(what_needs_a_restart)
{
    static const struct {
        const char *text, *key;
    } rows[] = {
        {"listen: {path: /run/y.sock, mode: \"0660\"}", "listen.path"},
        {"listen: {path: /run/x.sock, mode: \"0640\"}", "listen.mode"},
        {"listen: {path: /run/x.sock, group: testers}", "listen.group"},
        {"{listen: {path: /run/x.sock}, limits: {clients: 5}}", NULL},
        {"{listen: {path: /run/x.sock}, limits: {handshakes: 5, connections: 7}}", NULL},
        {"{listen: {path: /run/x.sock}, targets: {a: }}", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sl_conf *a = parse_good(true, "listen: {path: /run/x.sock}"), *b = parse_good(true, rows[i].text);
        const char *key = sl_conf_needs_restart(a, b);
        if (rows[i].key == NULL) {
            assert_null(key);
        } else {
            assert_non_null(key);
            assert_string_equal(key, rows[i].key);
        }
        sl_conf_free(a);
        sl_conf_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_come_and_go),
        cmocka_unit_test(each_setting_changes_one_or_the_other),
        cmocka_unit_test(what_needs_a_restart),
    };
    return cmocka_run_group_tests_name("config.diff", tests, NULL, NULL);
}
