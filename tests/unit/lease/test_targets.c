/* SPDX-License-Identifier: MIT */
/* The table of targets: reloads, and the ad-hoc targets of the one-user mode. */
#include "daemon/lease/state.h"
#include "tests/support/lease_world.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
    struct sl_lease *lease;
    uint64_t id;
    int status; /* 1: released */
    char text[512];
};

static void on_granted(void *arg, const struct sl_lease_grant *grant)
{
    struct client *c = arg;
    c->id = grant->id;
}

static void on_over(void *arg, int status, const char *text)
{
    struct client *c = arg;
    c->lease = NULL;
    c->status = status;
    snprintf(c->text, sizeof c->text, "%s", text);
}

static void on_released(void *arg)
{
    on_over(arg, 1, "");
}

static const struct sl_lease_handler handler = {
    .on_granted = on_granted, .on_refused = on_over, .on_ended = on_over, .on_released = on_released};

static void acquire(struct client *c, struct sl_world *w, const char *target)
{
    const struct sl_who who = {.pid = 1, .uid = 0};
    *c = (struct client){.status = 0};
    assert_int_equal(sl_lease_acquire(w->driver, &(struct sl_lease_wish){.target = target, .who = &who, .label = ""},
                         &handler, c, &c->lease),
        0);
}

static void name_target(void *arg, const struct sl_target_view *view)
{
    char *names = arg;
    size_t len = strlen(names);
    snprintf(names + len, 256 - len, "%s ", view->name);
}

static const char *targets(struct sl_world *w)
{
    static char names[256];
    names[0] = '\0';
    sl_driver_each_target(w->driver, &(struct sl_who){.uid = 0}, name_target, names);
    return names;
}

#define LINE(name, more) "  " name ": {" WORLD_LOGIN ", " more "}\n"

TEST(a_reload_adds_and_removes)
{
    struct sl_world w;
    struct client held, waiter, added;
    sl_world_init(&w, "targets:\n" LINE("a", "max_connections: 1") LINE("c", "port: 23"), false);
    acquire(&held, &w, "a");
    WORLD_UNTIL(&w, held.id != 0);
    acquire(&waiter, &w, "a");
    sl_world_settle(&w);
    struct sl_conf *conf = sl_world_conf("targets:\n" LINE("b", "port: 23") LINE("c", "port: 23"), false);
    assert_int_equal(sl_driver_reload(w.driver, conf), 0);
    assert_ptr_equal(sl_driver_conf(w.driver), conf);
    assert_string_equal(targets(&w), "b c ");
    assert_int_equal(waiter.status, 0); /* not from within the call */
    WORLD_UNTIL(&w, waiter.status != 0);
    assert_int_equal(waiter.status, SL_E_NO_TARGET);
    assert_string_equal(waiter.text, "no such target: \"a\"");
    acquire(&added, &w, "b");
    WORLD_UNTIL(&w, added.id != 0);
    /* The lease of the removed one goes on; its connection closes with it. */
    assert_non_null(held.lease);
    sl_lease_release(held.lease);
    WORLD_UNTIL(&w, held.lease == NULL);
    assert_int_equal(held.status, 1);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 1);
    assert_int_equal(sl_world_counter(&w, "connections_closed", "outdated"), 1);
    /* The name can come back, in a place of its own. */
    assert_int_equal(sl_driver_reload(w.driver, sl_world_conf("targets:\n" LINE("a", "port: 1"), false)), 0);
    acquire(&waiter, &w, "a");
    WORLD_UNTIL(&w, waiter.id != 0);
    sl_lease_abandon(waiter.lease);
    sl_lease_abandon(added.lease);
    sl_world_fini(&w);
}

TEST(a_changed_identity_replaces_connections_and_a_changed_policy_does_not)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, "targets:\n" LINE("a", "min_idle: 1"), false);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 1);
    sl_world_settle(&w);
    assert_int_equal(
        sl_driver_reload(w.driver, sl_world_conf("targets:\n" LINE("a", "min_idle: 1, idle_timeout: 7m"), false)), 0);
    sl_world_settle(&w);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 1);
    assert_int_equal(
        sl_driver_reload(w.driver, sl_world_conf("targets:\n" LINE("a", "min_idle: 1, port: 2222"), false)), 0);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).dialed == 2);
    sl_world_settle(&w);
    assert_int_equal(sl_fake_counts(w.transport).open, 1);
    acquire(&c, &w, "a");
    WORLD_UNTIL(&w, c.id != 0);
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, c.lease == NULL);
    sl_world_fini(&w);
}

TEST(many_reloads_in_a_row)
{
    struct sl_world w;
    struct client c = {.status = 1};
    sl_world_init(&w, "targets:\n" LINE("a", "min_idle: 1"), false);
    for (int i = 0; i < 40; i++) {
        char yaml[512];
        snprintf(yaml, sizeof yaml, "targets:\n" LINE("a", "min_idle: 1, port: %d") LINE("b%d", "port: 2"), 1 + i / 2,
            i % 7);
        assert_int_equal(sl_driver_reload(w.driver, sl_world_conf(yaml, false)), 0);
        if (i % 3 == 0)
            (void)uv_run(&w.loop, UV_RUN_NOWAIT);
        if (c.lease == NULL)
            acquire(&c, &w, "a");
        else if (c.id != 0 && c.status == 0)
            sl_lease_release(c.lease);
    }
    if (c.lease != NULL)
        sl_lease_abandon(c.lease);
    sl_world_settle(&w);
    assert_string_equal(targets(&w), "a b4 ");
    sl_world_fini(&w);
}

TEST(one_user_may_name_any_host)
{
    struct sl_world w;
    struct client c, second, bad;
    sl_world_init(&w, "targets:\n  m: {host: h}\nlimits: {targets: 3}\n", true);
    acquire(&c, &w, "root@x.example:2222");
    acquire(&second, &w, "u@y.example:22");
    acquire(&bad, &w, "z.example");
    WORLD_UNTIL(&w, c.id != 0 && second.id != 0 && bad.status != 0);
    assert_int_equal(bad.status, SL_E_LIMIT);
    assert_non_null(strstr(bad.text, "limits.targets"));
    acquire(&bad, &w, "not a host");
    WORLD_UNTIL(&w, bad.status != 0);
    assert_int_equal(bad.status, SL_E_NO_TARGET);
    /* A reload keeps those in use. */
    assert_int_equal(sl_driver_reload(w.driver, sl_world_conf("targets:\n  n: {host: h}\n", true)), 0);
    assert_string_equal(targets(&w), "n root@x.example:2222 u@y.example ");
    sl_lease_release(c.lease);
    WORLD_UNTIL(&w, c.lease == NULL);
    acquire(&c, &w, "root@x.example:2222");
    WORLD_UNTIL(&w, c.id != 0);
    assert_int_equal(sl_fake_counts(w.transport).dialed, 2);
    sl_lease_abandon(c.lease);
    sl_lease_abandon(second.lease);
    sl_world_fini(&w);
}

TEST(unused_adhoc_targets_are_dropped)
{
    struct sl_world w;
    struct client c, other, failed;
    sl_world_init(
        &w, "targets:\n  m: {host: h}\nlimits: {targets: 3}\ndefaults: {idle_timeout: 100ms, user: u}\n", true);
    acquire(&c, &w, "x.example");
    WORLD_UNTIL(&w, c.id != 0);
    sl_fake_dial(w.transport, 0, SL_E_AUTH_FAILED, "no");
    acquire(&failed, &w, "bad.example");
    WORLD_UNTIL(&w, failed.status != 0);
    sl_driver_targets_sweep(w.driver, 0);
    assert_string_equal(targets(&w), "m u@bad.example u@x.example "); /* leased, or held back */
    sl_fake_dial(w.transport, 0, 0, "");
    sl_lease_release(c.lease);
    sl_driver_targets_sweep(w.driver, 0);
    assert_string_equal(targets(&w), "m u@bad.example u@x.example "); /* connected */
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    sl_world_settle(&w);
    sl_driver_targets_sweep(w.driver, 600000);
    assert_string_equal(targets(&w), "m u@bad.example u@x.example "); /* used lately */
    /* Where the table is full, it makes room. */
    acquire(&other, &w, "y.example");
    assert_string_equal(targets(&w), "m u@bad.example ");
    WORLD_UNTIL(&w, other.id != 0);
    assert_string_equal(targets(&w), "m u@bad.example u@y.example ");
    sl_lease_abandon(other.lease);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    sl_world_settle(&w);
    sl_driver_targets_sweep(w.driver, 0);
    acquire(&other, &w, "y.example"); /* and may come back at once */
    WORLD_UNTIL(&w, other.id != 0);
    sl_lease_abandon(other.lease);
    sl_world_fini(&w);
}

TEST(strangers_make_no_adhoc_targets)
{
    struct sl_world w;
    struct client c = {.status = 0};
    const struct sl_who who = {.pid = 1, .uid = 4242};
    sl_world_init(&w, "defaults: {allow: {users: [0]}, user: u}\n", true);
    assert_int_equal(
        sl_lease_acquire(
            w.driver, &(struct sl_lease_wish){.target = "x.example", .who = &who, .label = ""}, &handler, &c, &c.lease),
        0);
    WORLD_UNTIL(&w, c.status != 0);
    assert_int_equal(c.status, SL_E_NOT_ALLOWED);
    assert_int_equal(w.driver->named_count, 0);
    sl_world_fini(&w);
}

TEST(the_system_service_knows_configured_targets_only)
{
    struct sl_world w;
    struct client c;
    sl_world_init(&w, "targets:\n" LINE("a", "port: 1"), false);
    acquire(&c, &w, "root@x.example");
    WORLD_UNTIL(&w, c.status != 0);
    assert_int_equal(c.status, SL_E_NO_TARGET);
    sl_world_fini(&w);
}

TEST(more_targets_than_one_table_holds_at_first)
{
    struct sl_world w;
    struct client c;
    char *yaml = malloc(100000);
    size_t len;
    assert_non_null(yaml);
    len = (size_t)snprintf(yaml, 100000, "defaults: {" WORLD_LOGIN "}\ntargets:\n");
    for (int i = 0; i < 500; i++)
        len += (size_t)snprintf(yaml + len, 100000 - len, "  t%d: {host: h}\n", i);
    sl_world_init(&w, yaml, false);
    acquire(&c, &w, "t499");
    WORLD_UNTIL(&w, c.id != 0);
    sl_lease_abandon(c.lease);
    sl_world_fini(&w);
    free(yaml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_adds_and_removes),
        cmocka_unit_test(a_changed_identity_replaces_connections_and_a_changed_policy_does_not),
        cmocka_unit_test(many_reloads_in_a_row),
        cmocka_unit_test(one_user_may_name_any_host),
        cmocka_unit_test(unused_adhoc_targets_are_dropped),
        cmocka_unit_test(strangers_make_no_adhoc_targets),
        cmocka_unit_test(the_system_service_knows_configured_targets_only),
        cmocka_unit_test(more_targets_than_one_table_holds_at_first),
    };
    return cmocka_run_group_tests_name("driver.targets", tests, NULL, NULL);
}
