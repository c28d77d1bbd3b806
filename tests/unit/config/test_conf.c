/* SPDX-License-Identifier: MIT */
/* Default configurations, copies, and who may lease or administer. */
#include "config/conf.h"

#include "config/build.h"
#include "config/setting.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/config/world.h"

#include <stdlib.h>

static struct sl_conf *new_default(bool one_user)
{
    struct sl_conf *conf;
    assert_int_equal(sl_conf_new_default_in(&world, one_user, &conf), 0);
    return conf;
}

/* The numbers that the design gives. */
TEST(defaults_are_those_of_the_design)
{
    struct sl_conf *conf = new_default(false);
    const struct sl_policy *p = &conf->defaults->policy;
    assert_int_equal(p->max_connections, 4);
    assert_int_equal(p->min_idle, 0);
    assert_int_equal(p->streams, 8);
    assert_int_equal(p->sharing, 1);
    assert_int_equal(p->handshakes, 4);
    assert_int_equal(p->waiters, 2000);
    assert_int_equal(p->acquire_timeout_ms, 30000);
    assert_int_equal(p->acquire_notice_ms, 5000);
    assert_int_equal(p->connect_timeout_ms, 10000);
    assert_int_equal(p->login_timeout_ms, 30000);
    assert_int_equal(p->idle_timeout_ms, 300000);
    assert_int_equal(p->max_lifetime_ms, 3600000);
    assert_int_equal(p->server_alive_interval_ms, 30000);
    assert_int_equal(p->server_alive_count_max, 3);
    assert_int_equal(p->validate_after_ms, 30000);
    assert_int_equal(p->validate_timeout_ms, 5000);
    assert_int_equal(p->lease_timeout_ms, 900000);
    assert_int_equal(p->max_lease_ms, 14400000);
    assert_int_equal(p->kill_grace_ms, 2000);
    assert_int_equal(p->retry_min_ms, 1000);
    assert_int_equal(p->retry_max_ms, 60000);
    assert_int_equal(p->auth_retry_ms, 600000);
    assert_false(p->owners_shared);
    assert_int_equal(conf->defaults->port, 22);
    assert_int_equal(conf->defaults->host_key_checking, SL_HOST_KEY_STRICT);
    assert_int_equal(conf->defaults->remote_cleanup, SL_CLEANUP_SWEEP);
    assert_int_equal(conf->defaults->send_env.count, 2);
    assert_string_equal(conf->defaults->send_env.item[0], "LANG");
    assert_string_equal(conf->defaults->send_env.item[1], "LC_*");
    assert_int_equal(conf->listen.mode, 0660);
    assert_null(conf->listen.path);
    assert_int_equal(conf->limits.clients, 2000);
    assert_int_equal(conf->limits.descriptors, 11000);
    assert_int_equal(conf->limits.leases, 2000);
    assert_int_equal(conf->limits.streams, 16000);
    assert_int_equal(conf->limits.held_mib, 512);
    assert_int_equal(conf->limits.user_share, 50);
    assert_int_equal(conf->limits.connections, 1000);
    assert_int_equal(conf->limits.handshakes, 32);
    assert_int_equal(conf->limits.targets, 1000);
    assert_int_equal(conf->limits.shutdown_drain_ms, 60000);
    sl_conf_free(conf);
}

TEST(one_user_finds_its_own_keys_agent_and_known_hosts)
{
    struct sl_conf *conf = new_default(true);
    const struct sl_target_conf *d = conf->defaults;
    assert_true(conf->one_user);
    assert_int_equal(conf->listen.mode, 0600);
    assert_int_equal(conf->limits.user_share, 100);
    assert_null(conf->file);
    assert_string_equal(d->user, "ci");
    assert_int_equal(d->identity_count, 2); /* there is no id_ecdsa in this world */
    assert_string_equal(d->identity[0].file, "/home/ci/.ssh/id_ed25519");
    assert_null(d->identity[0].certificate_file);
    assert_string_equal(d->identity[1].file, "/home/ci/.ssh/id_rsa");
    assert_true(d->identity_agent_set);
    assert_string_equal(d->identity_agent, "/run/agent.sock");
    assert_int_equal(d->user_known_hosts_count, 1);
    assert_int_equal(d->known_hosts.count, 2);
    assert_string_equal(d->known_hosts.item[0], "/home/ci/.ssh/known_hosts");
    assert_string_equal(d->known_hosts.item[1], "/etc/ssh/ssh_known_hosts");
    assert_true(d->allow_everyone);
    sl_conf_free(conf);
}

TEST(one_user_without_agent_or_home)
{
    struct sl_conf_world bare = world;
    struct sl_conf *conf;
    bare.env = world_no_env;
    assert_int_equal(sl_conf_new_default_in(&bare, true, &conf), 0);
    assert_false(conf->defaults->identity_agent_set);
    assert_null(conf->defaults->identity_agent);
    sl_conf_free(conf);

    bare.home = NULL;
    conf = NULL;
    assert_int_equal(sl_conf_new_default_in(&bare, true, &conf), SL_E_CONFIG);
    assert_null(conf);
}

TEST(a_system_service_has_no_credentials_of_its_own)
{
    struct sl_conf *conf = new_default(false);
    const struct sl_target_conf *d = conf->defaults;
    assert_null(d->user);
    assert_int_equal(d->identity_count, 0);
    assert_false(d->identity_agent_set);
    assert_int_equal(d->password.kind, SL_SECRET_NONE);
    assert_int_equal(d->user_known_hosts_count, 1);
    assert_string_equal(d->known_hosts.item[0], "/etc/sshlease/known_hosts");
    assert_string_equal(d->known_hosts.item[1], "/etc/ssh/ssh_known_hosts");
    assert_false(d->allow_everyone);
    sl_conf_free(conf);
}

/* Who asks there may be somebody without a network. */
TEST(a_system_service_connects_nowhere_for_the_servers_side)
{
    static const struct {
        bool one_user;
        const char *permitted;
    } rows[] = {{false, "none"}, {true, "any"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sl_conf *conf = new_default(rows[i].one_user);
        assert_int_equal(conf->defaults->permit_remote_open.count, 1);
        assert_string_equal(conf->defaults->permit_remote_open.item[0], rows[i].permitted);
        sl_conf_free(conf);
    }
}

TEST(the_real_system_answers_too)
{
    struct sl_conf *conf;
    assert_int_equal(sl_conf_new_default(false, &conf), 0);
    assert_int_equal(conf->target_count, 0);
    assert_null(sl_conf_find(conf, "web1"));
    sl_conf_free(conf);
    sl_conf_free(NULL);
    sl_target_conf_unref(NULL);
}

TEST(who_may_lease)
{
    struct sl_conf *conf = new_default(false);
    struct sl_target_conf *t = conf->defaults;
    const gid_t groups[] = {7, 2000};
    assert_true(sl_target_conf_allows(t, &(struct sl_who){.uid = 0})); /* root */
    assert_true(
        sl_target_conf_allows(t, &(struct sl_who){.uid = 1000})); /* the daemon's own user, as nobody is named */
    assert_false(sl_target_conf_allows(t, &(struct sl_who){.uid = 1001, .gid = groups, .gid_count = 2}));

    gid_t *gid = calloc(1, sizeof *gid);
    gid[0] = 2000;
    t->allow_gid = gid;
    t->allow_gid_count = 1;
    assert_true(sl_target_conf_allows(t, &(struct sl_who){.uid = 1001, .gid = groups, .gid_count = 2}));
    assert_false(sl_target_conf_allows(t, &(struct sl_who){.uid = 1001, .gid = groups, .gid_count = 1}));
    assert_false(sl_target_conf_allows(t, &(struct sl_who){.uid = 1001}));

    t->allow_everyone = true;
    assert_true(sl_target_conf_allows(t, &(struct sl_who){.uid = 1001}));
    sl_conf_free(conf);
}

TEST(who_may_administer)
{
    struct sl_conf *conf = new_default(true);
    const gid_t groups[] = {2000};
    assert_true(sl_conf_is_admin(conf, &(struct sl_who){.uid = 0}));
    assert_true(sl_conf_is_admin(conf, &(struct sl_who){.uid = 1000}));
    assert_false(sl_conf_is_admin(conf, &(struct sl_who){.uid = 1001, .gid = groups, .gid_count = 1}));
    /* In the one-user mode all there is is its user's anyway. */
    assert_true(sl_conf_is_privileged(conf, &(struct sl_who){.uid = 0}));
    assert_false(sl_conf_is_privileged(conf, &(struct sl_who){.uid = 1000}));
    conf->admins_set = true;
    conf->admin_gid = calloc(1, sizeof *conf->admin_gid);
    conf->admin_gid[0] = 2000;
    conf->admin_gid_count = 1;
    assert_true(sl_conf_is_admin(conf, &(struct sl_who){.uid = 1001, .gid = groups, .gid_count = 1}));
    assert_false(sl_conf_is_admin(conf, &(struct sl_who){.uid = 1001}));
    conf->one_user = false;
    assert_true(sl_conf_is_privileged(conf, &(struct sl_who){.uid = 1000}));
    assert_true(sl_conf_is_privileged(conf, &(struct sl_who){.uid = 1001, .gid = groups, .gid_count = 1}));
    assert_false(sl_conf_is_privileged(conf, &(struct sl_who){.uid = 1001}));
    sl_conf_free(conf);
}

TEST(a_copy_is_the_same_and_lives_on)
{
    struct sl_conf *conf = new_default(true);
    struct sl_target_conf *t;
    assert_int_equal(sl_target_conf_copy(conf->defaults, &t), 0);
    assert_true(sl_target_conf_same_identity(conf->defaults, t));
    sl_conf_free(conf);
    assert_string_equal(t->identity[1].file, "/home/ci/.ssh/id_rsa");
    assert_string_equal(t->send_env.item[1], "LC_*");
    assert_ptr_equal(sl_target_conf_ref(t), t);
    sl_target_conf_unref(t);
    assert_string_equal(t->user, "ci");
    sl_target_conf_unref(t);
}

TEST(a_copy_has_all_numbers)
{
    struct sl_conf *conf = new_default(false);
    struct sl_target_conf *t;
    for (size_t i = 0; i < sl_section_target.count; i++) {
        const struct sl_setting *s = &sl_section_target.setting[i];
        if (sl_setting_is_number(s))
            sl_setting_set(s, conf->defaults, s->max);
    }
    assert_int_equal(sl_target_conf_copy(conf->defaults, &t), 0);
    for (size_t i = 0; i < sl_section_target.count; i++) {
        const struct sl_setting *s = &sl_section_target.setting[i];
        if (sl_setting_is_number(s) && sl_setting_get(s, t) != s->max)
            fail_msg("%s is not copied", s->key);
    }
    assert_int_equal(t->allow_uid_count, 1);
    assert_int_equal(t->allow_uid[0], 1000);
    sl_target_conf_unref(t);
    sl_conf_free(conf);
}

TEST(known_hosts_are_replaced_by_part)
{
    struct sl_conf *conf = new_default(true);
    struct sl_target_conf *t = conf->defaults;
    struct sl_strv files = {0};
    assert_int_equal(sl_strv_add(&files, "/g1"), 0);
    assert_int_equal(sl_strv_add(&files, "/g2"), 0);
    assert_int_equal(sl_target_conf_set_known_hosts(t, SL_KNOWN_HOSTS_GLOBAL, &files), 0);
    assert_int_equal(files.count, 0);
    assert_int_equal(t->known_hosts.count, 3);
    assert_int_equal(t->user_known_hosts_count, 1);
    assert_string_equal(t->known_hosts.item[0], "/home/ci/.ssh/known_hosts");
    assert_string_equal(t->known_hosts.item[2], "/g2");

    assert_int_equal(sl_target_conf_set_known_hosts(t, SL_KNOWN_HOSTS_USER, &files), 0);
    assert_int_equal(t->known_hosts.count, 2);
    assert_int_equal(t->user_known_hosts_count, 0);
    assert_string_equal(t->known_hosts.item[0], "/g1");
    for (int i = 0; i < 5; i++) /* it can grow from any count */
        assert_int_equal(sl_strv_add(&t->known_hosts, "/more"), 0);
    assert_int_equal(t->known_hosts.count, 7);
    sl_conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_design),
        cmocka_unit_test(one_user_finds_its_own_keys_agent_and_known_hosts),
        cmocka_unit_test(one_user_without_agent_or_home),
        cmocka_unit_test(a_system_service_has_no_credentials_of_its_own),
        cmocka_unit_test(a_system_service_connects_nowhere_for_the_servers_side),
        cmocka_unit_test(the_real_system_answers_too),
        cmocka_unit_test(who_may_lease),
        cmocka_unit_test(who_may_administer),
        cmocka_unit_test(a_copy_is_the_same_and_lives_on),
        cmocka_unit_test(a_copy_has_all_numbers),
        cmocka_unit_test(known_hosts_are_replaced_by_part),
    };
    return cmocka_run_group_tests_name("config.conf", tests, NULL, NULL);
}
