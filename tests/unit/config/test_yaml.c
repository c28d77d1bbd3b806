/* SPDX-License-Identifier: MIT */
/* Whole files that are right: every section, every kind of value. */
#include "tests/support/test.h"
#include "tests/unit/config/parse.h"

#include <fcntl.h>
#include <unistd.h>

static struct sl_target_conf *find(const struct sl_conf *conf, const char *name)
{
    struct sl_target_conf *t = sl_conf_find(conf, name);
    assert_non_null(t);
    return t;
}

TEST(a_target_by_its_user)
{
    struct sl_conf *conf =
        parse_good(false, "defaults: {identity_file: /keys/id}\ntargets: {a: {user: ci}, b: {user: x@y}}\n");
    static const struct {
        const char *name, *target;
        bool same;
    } cases[] = {{"ci@a", "a", true}, {"c@a", "a", false}, {"cii@a", "a", false}, {"@a", "a", false},
        {"x@y@b", "b", true}, {"y@b", "b", false}, {"a", NULL, false}, {"ci@", NULL, false}, {"ci@c", NULL, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool same = false;
        const struct sl_target_conf *t = sl_conf_find_as(conf, cases[i].name, &same);
        assert_int_equal(t != NULL, cases[i].target != NULL);
        assert_int_equal(same, cases[i].same);
        if (t != NULL)
            assert_string_equal(t->name, cases[i].target);
    }
    sl_conf_free(conf);
}

TEST(every_section)
{
    struct sl_conf *conf =
        parse_good(false, "listen: {path: /run/sshleased/sshleased.sock, mode: \"0600\", group: testers}\n"
                          "limits: {clients: 10, connections: 20, handshakes: 3, targets: 40, shutdown_drain: 0,\n"
                          "  descriptors: 50, leases: 60, streams: 70, held_mib: 80, user_share: 90}\n"
                          "admin: {users: [ci, 1234], groups: testers}\n"
                          "targets:\n"
                          "  web2: {user: root, password: {file: /keys/pw}}\n"
                          "  web1:\n"
                          "    host: 10.0.0.5\n"
                          "    port: 2222\n"
                          "    identity_file: /keys/id\n"
                          "    max_connections: 2\n"
                          "    allow: {users: [ci, 0], groups: [testers, 77]}\n"
                          "defaults: {user: ci, idle_timeout: 5m, max_connections: 3}\n");
    assert_string_equal(conf->file, "f");
    assert_false(conf->one_user);
    assert_string_equal(conf->listen.path, "/run/sshleased/sshleased.sock");
    assert_null(conf->mux.directory);
    assert_int_equal(conf->listen.mode, 0600);
    assert_true(conf->listen.group_set);
    assert_int_equal(conf->listen.group, 2000);
    assert_int_equal(conf->limits.clients, 10);
    assert_int_equal(conf->limits.connections, 20);
    assert_int_equal(conf->limits.handshakes, 3);
    assert_int_equal(conf->limits.targets, 40);
    assert_int_equal(conf->limits.shutdown_drain_ms, 0);
    assert_int_equal(conf->limits.descriptors, 50);
    assert_int_equal(conf->limits.leases, 60);
    assert_int_equal(conf->limits.streams, 70);
    assert_int_equal(conf->limits.held_mib, 80);
    assert_int_equal(conf->limits.user_share, 90);
    assert_true(conf->admins_set);
    assert_int_equal(conf->admin_uid_count, 2);
    assert_int_equal(conf->admin_uid[0], 1000);
    assert_int_equal(conf->admin_uid[1], 1234);
    assert_int_equal(conf->admin_gid_count, 1);
    assert_int_equal(conf->admin_gid[0], 2000);

    assert_int_equal(conf->target_count, 2);
    assert_string_equal(conf->target[0]->name, "web1");
    assert_null(sl_conf_find(conf, "web3"));
    /* What a target says, what defaults say wherever they stand, and what the table says. */
    const struct sl_target_conf *t = find(conf, "web1");
    assert_string_equal(t->host, "10.0.0.5");
    assert_int_equal(t->port, 2222);
    assert_string_equal(t->user, "ci");
    assert_int_equal(t->policy.max_connections, 2);
    assert_int_equal(t->policy.idle_timeout_ms, 300000);
    assert_int_equal(t->policy.streams, 8);
    assert_false(t->allow_everyone);
    assert_int_equal(t->allow_uid_count, 2);
    assert_int_equal(t->allow_uid[0], 1000);
    assert_int_equal(t->allow_uid[1], 0);
    assert_int_equal(t->allow_gid_count, 2);
    assert_int_equal(t->allow_gid[1], 77);
    assert_false(t->adhoc);

    t = find(conf, "web2");
    assert_string_equal(t->host, "web2");
    assert_int_equal(t->port, 22);
    assert_string_equal(t->user, "root");
    assert_int_equal(t->policy.max_connections, 3);
    assert_int_equal(t->allow_uid_count, 1); /* nobody is named: the daemon's own user */
    assert_int_equal(t->allow_uid[0], 1000);
    sl_conf_free(conf);
}

TEST(credentials_of_every_kind)
{
    struct sl_conf *conf = parse_good(true,
        "targets:\n"
        "  a: {identity_file: [~/.ssh/id_rsa, /keys/b], certificate_file: [/keys/x-cert.pub, /keys/y-cert.pub]}\n"
        "  b: {identity_file: none, identity_agent: none, password: {credential: db}}\n"
        "  c: {identity_agent: SSH_AUTH_SOCK, passphrase: {env: KEY_PASSPHRASE}}\n"
        "  d: {identity_agent: ~/agent.sock, identity_file: []}\n"
        "  e: {identity_file: /keys/b, certificate_file: none}\n");
    const struct sl_target_conf *t = find(conf, "a");
    assert_int_equal(t->identity_count, 2);
    assert_string_equal(t->identity[0].file, "/home/ci/.ssh/id_rsa");
    assert_string_equal(t->identity[0].certificate_file, "/keys/x-cert.pub");
    assert_string_equal(t->identity[1].file, "/keys/b");
    assert_string_equal(t->identity[1].certificate_file, "/keys/y-cert.pub");
    t = find(conf, "b");
    assert_int_equal(t->identity_count, 0);
    assert_false(t->identity_agent_set);
    assert_null(t->identity_agent);
    assert_int_equal(t->password.kind, SL_SECRET_CREDENTIAL);
    assert_string_equal(t->password.name, "db");
    t = find(conf, "c");
    assert_string_equal(t->identity_agent, "/run/agent.sock");
    assert_int_equal(t->passphrase.kind, SL_SECRET_ENV);
    assert_string_equal(t->passphrase.name, "KEY_PASSPHRASE");
    t = find(conf, "d");
    assert_true(t->identity_agent_set);
    assert_string_equal(t->identity_agent, "/home/ci/agent.sock");
    assert_int_equal(t->identity_count, 0);
    t = find(conf, "e");
    assert_int_equal(t->identity_count, 1);
    assert_null(t->identity[0].certificate_file);
    sl_conf_free(conf);
}

TEST(host_keys)
{
    struct sl_conf *conf = parse_good(true,
        "defaults: {strict_host_key_checking: accept-new, global_known_hosts_file: [/keys/g1, /keys/g2]}\n"
        "targets:\n"
        "  a: {user_known_hosts_file: [/nowhere/yet, ~/kh]}\n"
        "  b: {user_known_hosts_file: none, strict_host_key_checking: true, host_key_alias: the-host}\n"
        "  c: {strict_host_key_checking: \"yes\", global_known_hosts_file: none}\n");
    const struct sl_target_conf *t = find(conf, "a");
    assert_int_equal(t->host_key_checking, SL_HOST_KEY_ACCEPT_NEW);
    assert_int_equal(t->user_known_hosts_count, 2);
    assert_int_equal(t->known_hosts.count, 4);
    assert_string_equal(t->known_hosts.item[0], "/nowhere/yet");
    assert_string_equal(t->known_hosts.item[1], "/home/ci/kh");
    assert_string_equal(t->known_hosts.item[3], "/keys/g2");
    t = find(conf, "b");
    assert_int_equal(t->host_key_checking, SL_HOST_KEY_STRICT);
    assert_int_equal(t->user_known_hosts_count, 0);
    assert_int_equal(t->known_hosts.count, 2);
    assert_string_equal(t->host_key_alias, "the-host");
    t = find(conf, "c");
    assert_int_equal(t->host_key_checking, SL_HOST_KEY_STRICT);
    assert_int_equal(t->known_hosts.count, 1);
    assert_string_equal(t->known_hosts.item[0], "/home/ci/.ssh/known_hosts");
    sl_conf_free(conf);
}

TEST(words_and_durations)
{
    struct sl_conf *conf = parse_good(true,
        "targets:\n"
        "  a: {owners: shared, remote_cleanup: off, send_env: [A, B_*], idle_timeout: 0, max_lifetime: 0,\n"
        "      server_alive_interval: 0s, lease_timeout: \"1h30m\", kill_grace: 500ms}\n");
    const struct sl_target_conf *t = find(conf, "a");
    assert_true(t->policy.owners_shared);
    assert_int_equal(t->remote_cleanup, SL_CLEANUP_OFF);
    assert_int_equal(t->send_env.count, 2);
    assert_string_equal(t->send_env.item[1], "B_*");
    assert_int_equal(t->policy.idle_timeout_ms, 0);
    assert_int_equal(t->policy.max_lifetime_ms, 0);
    assert_int_equal(t->policy.server_alive_interval_ms, 0);
    assert_int_equal(t->policy.lease_timeout_ms, 5400000);
    assert_int_equal(t->policy.kill_grace_ms, 500);
    sl_conf_free(conf);
}

TEST(who_may_lease_is_inherited_and_replaced)
{
    struct sl_conf *conf = parse_good(true, "defaults: {allow: {users: ci}}\n"
                                            "targets:\n"
                                            "  a:\n"
                                            "  b: {allow: {groups: testers}}\n"
                                            "  c: {allow: {users: []}}\n");
    const gid_t testers[] = {2000};
    assert_true(sl_target_conf_allows(find(conf, "a"), &(struct sl_who){.uid = 1000}));
    assert_false(sl_target_conf_allows(find(conf, "a"), &(struct sl_who){.uid = 1001, .gid = testers, .gid_count = 1}));
    assert_false(sl_target_conf_allows(find(conf, "b"), &(struct sl_who){.uid = 1000}));
    assert_true(sl_target_conf_allows(find(conf, "b"), &(struct sl_who){.uid = 1001, .gid = testers, .gid_count = 1}));
    assert_false(sl_target_conf_allows(find(conf, "c"), &(struct sl_who){.uid = 1000, .gid = testers, .gid_count = 1}));
    assert_true(sl_target_conf_allows(find(conf, "c"), &(struct sl_who){.uid = 0}));
    sl_conf_free(conf);

    conf = parse_good(true, "targets: {a: }");
    assert_true(sl_target_conf_allows(find(conf, "a"), &(struct sl_who){.uid = 4711}));
    sl_conf_free(conf);
}

TEST(empty_sections_are_fine)
{
    struct sl_conf *conf = parse_good(false, "# all commented out\nlisten:\nlimits: ~\ndefaults: null\ntargets:\n");
    assert_int_equal(conf->target_count, 0);
    sl_conf_free(conf);
}

TEST(a_byte_order_mark_is_no_part_of_the_text)
{
    /* As some editors begin a file. */
    struct sl_conf *conf = parse_good(false, "\xef\xbb\xbftargets: {}\nlisten: {mode: \"0600\"}\n");
    assert_int_equal(conf->listen.mode, 0600);
    sl_conf_free(conf);
    parse_bad(
        "\xef\xbb\xbftargetz: {}\n", "f:1:1: unknown key \"targetz\" in the configuration; did you mean targets?\n");
}

/* What is noted about the text, which is right, one a line. */
static void expect_notes(bool one_user, const char *text, const char *expected)
{
    struct sl_conf *conf = NULL;
    struct sl_conf_errors errors = {0};
    char got[1024] = "";
    size_t at = 0;
    assert_int_equal(sl_conf_parse_in(&world, "f", text, strlen(text), one_user, &conf, &errors), 0);
    for (size_t i = 0; i < errors.notes.count; i++)
        at += (size_t)snprintf(got + at, sizeof got - at, "%s\n", errors.notes.item[i]);
    sl_conf_errors_fini(&errors);
    sl_conf_free(conf);
    assert_string_equal(got, expected);
}

TEST(who_may_lease_nothing_is_noted)
{
    static const char nobody[] =
        "f:2:3: note: target \"a\" has no allow, so that nobody but root and the daemon's own user may lease it; give "
        "{users: [NAME, ...], groups: [NAME, ...]} or one of the two\n";
    expect_notes(false, "targets:\n  a: {user: u, password: {file: /keys/a}}\n", nobody);
    expect_notes(true, "targets:\n  a: {user: u, password: {file: /keys/a}}\n", "");
    expect_notes(false, "targets:\n  a: {user: u, password: {file: /keys/a}, allow: {users: ci}}\n", "");
    expect_notes(
        false, "targets:\n  a: {user: u, password: {file: /keys/a}}\ndefaults: {allow: {groups: testers}}\n", "");
}

TEST(ad_hoc_targets_take_the_file_s_defaults)
{
    struct sl_conf *conf =
        parse_good(true, "defaults: {user: root, port: 2200, max_connections: 9, identity_file: /keys/a}");
    struct sl_target_conf *t;
    assert_int_equal(sl_conf_adhoc(conf, "web1", &t), 0);
    assert_string_equal(t->name, "root@web1:2200");
    assert_int_equal(t->policy.max_connections, 9);
    assert_int_equal(t->identity_count, 1);
    assert_string_equal(t->identity[0].file, "/keys/a");
    sl_target_conf_unref(t);
    sl_conf_free(conf);
}

/* The only test here with real files. */
TEST(files_are_loaded)
{
    char file[] = "/tmp/sshlease-conf-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    char text[256];
    int length = snprintf(text, sizeof text, "targets: {a: {user: x, identity_file: %s}}\n", file);
    assert_int_equal(write(fd, text, (size_t)length), length);
    close(fd);

    struct sl_conf *conf = NULL;
    struct sl_conf_errors errors = {0};
    assert_int_equal(sl_conf_load(file, false, NULL, &conf, &errors), 0);
    assert_string_equal(conf->file, file);
    assert_string_equal(find(conf, "a")->identity[0].file, file);
    sl_conf_free(conf);
    sl_conf_errors_fini(&errors);

    /* One byte too many, all of it comments. */
    conf = NULL;
    fd = open(file, O_WRONLY | O_APPEND);
    static char comment[64 * 1024];
    memset(comment, '#', sizeof comment);
    comment[sizeof comment - 1] = '\n';
    for (int i = 0; i < 16; i++)
        assert_int_equal(write(fd, comment, sizeof comment), sizeof comment);
    close(fd);
    assert_int_equal(sl_conf_load(file, false, NULL, &conf, &errors), SL_E_CONFIG);
    assert_int_equal(errors.lines.count, 1);
    snprintf(text, sizeof text, "%s: larger than 1024 KiB; is it the right file?", file);
    assert_string_equal(errors.lines.item[0], text);
    sl_conf_errors_fini(&errors);

    unlink(file);
    assert_int_equal(sl_conf_load(file, false, NULL, &conf, &errors), SL_E_CONFIG);
    snprintf(
        text, sizeof text, "%s: cannot be read (No such file or directory); give a file that this user can read", file);
    assert_string_equal(errors.lines.item[0], text);
    sl_conf_errors_fini(&errors);
    assert_int_equal(sl_conf_load("/", false, NULL, &conf, &errors), SL_E_CONFIG);
    assert_string_equal(
        errors.lines.item[0], "/: cannot be read (Is a directory); give a file that this user can read");
    sl_conf_errors_fini(&errors);
    assert_null(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_by_its_user),
        cmocka_unit_test(every_section),
        cmocka_unit_test(credentials_of_every_kind),
        cmocka_unit_test(host_keys),
        cmocka_unit_test(words_and_durations),
        cmocka_unit_test(who_may_lease_is_inherited_and_replaced),
        cmocka_unit_test(empty_sections_are_fine),
        cmocka_unit_test(a_byte_order_mark_is_no_part_of_the_text),
        cmocka_unit_test(who_may_lease_nothing_is_noted),
        cmocka_unit_test(ad_hoc_targets_take_the_file_s_defaults),
        cmocka_unit_test(files_are_loaded),
    };
    return cmocka_run_group_tests_name("config.yaml", tests, NULL, NULL);
}
