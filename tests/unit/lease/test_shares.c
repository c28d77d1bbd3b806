/* SPDX-License-Identifier: MIT */
/* What a user may have of leases, of a queue and of streams beside others, and that nothing is left of it in the end. */
#include "tests/unit/lease/client.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

#define CONF(more, limits) "limits: {" limits "}\ndefaults: {" WORLD_LOGIN "}\ntargets:\n  a: {" more "}\n"
#define ANNE               1u
#define BEN                2u

/* Nobody has anything. */
/* Nobody has anything any more. */
static void finish(struct sl_world *w)
{
    struct sl_quota_view view[4];
    sl_world_settle(w);
    assert_int_equal(sl_quota_each(sl_driver_quota(w->driver), view, 4), 0);
    sl_world_fini(w);
}

static uint64_t has(const struct sl_world *w, uid_t uid, enum sl_quota_kind kind)
{
    return sl_quota_of(sl_driver_quota(w->driver), uid, kind);
}

static void ask(struct client *c, struct sl_world *w, uid_t uid)
{
    client_acquire_as(c, w, "a", uid, 0);
    sl_driver_flush(w->driver);
}

static void assert_refused(const struct client *c, int status, const char *text)
{
    assert_null(c->lease);
    assert_int_equal(c->status, status);
    assert_string_equal(c->text, text);
}

static void end(struct client *c, struct sl_world *w)
{
    sl_lease_release(c->lease);
    WORLD_UNTIL(w, c->lease == NULL);
}

TEST(leases_beyond_a_users_share_are_refused)
{
    struct sl_world w;
    struct client c[4];
    sl_world_init(&w, CONF("max_connections: 4", "leases: 4, user_share: 50"), false);
    for (int i = 0; i < 3; i++)
        ask(&c[i], &w, ANNE);
    WORLD_UNTIL(&w, c[0].id != 0 && c[1].id != 0);
    assert_refused(&c[2], SL_E_LIMIT,
        "target a: 2 leases of uid 1 are held or asked for already, its share of 4 (limits.leases, limits.user_share): "
        "give "
        "some back, or have the limit raised");
    assert_int_equal(sl_world_counter(&w, "leases_refused", "limit"), 1);
    assert_int_equal(has(&w, ANNE, SL_QUOTA_LEASES), 2);
    assert_int_equal(has(&w, ANNE, SL_QUOTA_WAITERS), 0);
    /* The others are served, and what is given back can be had again. */
    ask(&c[3], &w, BEN);
    WORLD_UNTIL(&w, c[3].id != 0);
    end(&c[0], &w);
    ask(&c[2], &w, ANNE);
    WORLD_UNTIL(&w, c[2].id != 0);
    for (int i = 1; i < 4; i++)
        end(&c[i], &w);
    finish(&w);
}

TEST(places_in_a_queue_beyond_a_users_share_are_refused)
{
    struct sl_world w;
    struct client held, c[3], other;
    sl_world_init(&w, CONF("max_connections: 1, waiters: 4", "user_share: 50"), false);
    ask(&held, &w, ANNE);
    WORLD_UNTIL(&w, held.id != 0);
    for (int i = 0; i < 3; i++)
        ask(&c[i], &w, ANNE);
    assert_refused(&c[2], SL_E_QUEUE_FULL,
        "target a: 2 leases of uid 1 are waited for already, its share of 4 (waiters, limits.user_share): try again "
        "when "
        "some were granted, or have the limit raised");
    assert_int_equal(sl_world_counter(&w, "leases_refused", "queue-full"), 1);
    assert_int_equal(has(&w, ANNE, SL_QUOTA_WAITERS), 2);
    ask(&other, &w, BEN);
    assert_non_null(other.lease);
    /* A grant makes room; so does a client that goes. */
    end(&held, &w);
    WORLD_UNTIL(&w, c[0].id != 0);
    ask(&c[2], &w, ANNE);
    assert_non_null(c[2].lease);
    sl_lease_abandon(c[1].lease);
    assert_int_equal(has(&w, ANNE, SL_QUOTA_WAITERS), 1);
    end(&other, &w);
    end(&c[2], &w);
    end(&c[0], &w);
    finish(&w);
}

/* With the whole for a share the queue is as long as the core says, and that is what is told. */
TEST(the_whole_of_a_queue_may_be_one_users)
{
    struct sl_world w;
    struct client held, c[3];
    sl_world_init(&w, CONF("max_connections: 1, waiters: 2", "user_share: 100"), false);
    ask(&held, &w, ANNE);
    WORLD_UNTIL(&w, held.id != 0);
    for (int i = 0; i < 3; i++)
        ask(&c[i], &w, ANNE);
    assert_refused(&c[2], SL_E_QUEUE_FULL, "target a: 2 are waiting already (waiters)");
    end(&c[0], &w);
    end(&c[1], &w);
    end(&held, &w);
    finish(&w);
}

TEST(streams_beyond_a_users_share_are_refused)
{
    struct sl_world w;
    struct client c, other;
    struct sl_stream *stream;
    const struct sl_stream_spec spec = {.kind = SL_SPEC_EXEC, .command = "hang"};
    char text[SL_QUOTA_TEXT_SIZE];
    sl_world_init(&w, CONF("max_connections: 4", "streams: 4, user_share: 50"), false);
    ask(&c, &w, ANNE);
    ask(&other, &w, BEN);
    WORLD_UNTIL(&w, c.id != 0 && other.id != 0);
    (void)client_run(&c, "exit 0");
    (void)client_run(&c, "hang");
    const int r = sl_lease_stream_open(c.lease, &spec, &client_stream_handler, &c, &stream);
    assert_int_equal(r, SL_E_LIMIT);
    assert_string_equal(sl_lease_stream_refusal(c.lease, r, text, sizeof text),
        "2 streams of uid 1 are open already, its share of 4 (limits.streams, limits.user_share): end some commands or "
        "forwards, or have the limit raised");
    assert_string_equal(
        sl_lease_stream_refusal(c.lease, SL_E_STREAM_LIMIT, text, sizeof text), sl_status_text(SL_E_STREAM_LIMIT));
    (void)client_run(&other, "hang");
    WORLD_UNTIL(&w, c.ends == 1);
    assert_int_equal(has(&w, ANNE, SL_QUOTA_STREAMS), 1);
    (void)client_run(&c, "hang");
    /* What is reclaimed counts until it has ended. */
    end(&c, &w);
    end(&other, &w);
    WORLD_UNTIL(&w, sl_fake_counts(w.transport).open == 0);
    finish(&w);
}

/* An administrator has what there is, and a little more. */
TEST(the_privileged_have_no_share)
{
    struct sl_world w;
    struct client c[4];
    sl_world_init(&w, CONF("max_connections: 4", "leases: 2, user_share: 50") "admin: {users: [1]}\n", false);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(sl_quota_admit(sl_driver_quota(w.driver), ANNE, true, SL_QUOTA_CLIENTS, 1), 0);
        ask(&c[i], &w, ANNE);
    }
    WORLD_UNTIL(&w, c[0].id != 0 && c[1].id != 0 && c[2].id != 0 && c[3].id != 0);
    for (int i = 0; i < 4; i++) {
        end(&c[i], &w);
        sl_quota_give(sl_driver_quota(w.driver), ANNE, SL_QUOTA_CLIENTS, 1);
    }
    finish(&w);
}

TEST(a_reload_brings_other_shares)
{
    struct sl_world w;
    struct client c[3];
    sl_world_init(&w, CONF("max_connections: 4", "leases: 4, user_share: 50"), false);
    ask(&c[0], &w, ANNE);
    ask(&c[1], &w, ANNE);
    struct sl_conf *conf = sl_world_conf(CONF("max_connections: 4", "leases: 4, user_share: 75"), false);
    assert_int_equal(sl_driver_reload(w.driver, conf), 0);
    ask(&c[2], &w, ANNE);
    WORLD_UNTIL(&w, c[0].id != 0 && c[1].id != 0 && c[2].id != 0);
    for (int i = 0; i < 3; i++)
        end(&c[i], &w);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leases_beyond_a_users_share_are_refused),
        cmocka_unit_test(places_in_a_queue_beyond_a_users_share_are_refused),
        cmocka_unit_test(the_whole_of_a_queue_may_be_one_users),
        cmocka_unit_test(streams_beyond_a_users_share_are_refused),
        cmocka_unit_test(the_privileged_have_no_share),
        cmocka_unit_test(a_reload_brings_other_shares),
    };
    return cmocka_run_group_tests_name("lease.shares", tests, NULL, NULL);
}
