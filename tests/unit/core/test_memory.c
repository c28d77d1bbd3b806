/* SPDX-License-Identifier: MIT */
/* Memory is reserved at configuration time: running out changes nothing, and slots that are in use survive growing. */
#include "proto/status.h"

#include <stdlib.h>

#include "tests/support/test.h"
#include "tests/unit/core/fixture.h"

/* So many allocations work, the next one fails, all later ones work again; -1: all work. */
static long allocations_left = -1;

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool may_allocate(void)
{
    return allocations_left < 0 || allocations_left-- > 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_allocate() ? __real_realloc(old, size) : NULL;
}

TEST(a_new_pool_needs_memory)
{
    struct sl_pool *pool = NULL;
    long allocations = 0;
    for (;; allocations++) {
        allocations_left = allocations;
        int r = sl_pool_new(&fixture_limits, 1, &pool);
        allocations_left = -1;
        if (r == 0)
            break;
        assert_int_equal(r, SL_E_NOMEM);
        assert_null(pool);
    }
    assert_true(allocations > 1);
    sl_pool_free(pool);
    sl_pool_free(NULL);
}

TEST(a_reload_without_memory_changes_nothing)
{
    struct sl_pool *pool = fixture_pool(2);
    struct sl_conn_slot *conn = fixture_conn(pool, SL_CONN_LEASED);
    struct sl_id lease = TAILQ_FIRST(&conn->held.head)->id, id = conn->id;
    struct sl_pool_target targets[] = {fixture_target(3, 4), fixture_target(9, 5)};
    struct sl_limits limits = fixture_limits;
    limits.connections = 100;
    /* Nobody loses a lease by a configuration that does not come to be. */
    const struct sl_pool_revocation item = {.lease = lease, .status = SL_E_NOT_ALLOWED};
    const struct sl_pool_revocations revoked = {.item = &item, .count = 1};

    long allocations = 0;
    for (;; allocations++) {
        allocations_left = allocations;
        int r = sl_pool_configure(pool, 500, &limits, targets, 2, allocations < 3 ? &revoked : NULL);
        allocations_left = -1;
        if (r == 0)
            break;
        assert_int_equal(r, SL_E_NOMEM);
        assert_null(sl_pool_check(pool));
        struct sl_pool_target_info info;
        assert_true(sl_pool_target_info(pool, 0, &info));
        assert_int_equal(info.counts.leased, 1);
        assert_false(sl_pool_target_info(pool, 3, &info));
        assert_false(sl_pool_target_info(pool, 9, &info));
        assert_int_equal(pool->limits.connections, 10);
        assert_int_equal(pool->now_ms, 0);
    }
    assert_true(allocations > 2); /* what one attempt got, the next one has */
    assert_null(sl_pool_check(pool));

    /* Now target 0 is removed, and what it had goes on until it is given back. */
    struct sl_pool_lease_info lease_info;
    assert_true(sl_pool_lease_info(pool, lease, &lease_info));
    assert_int_equal(lease_info.state, SL_LEASE_GRANTED);
    assert_true(sl_id_equal(lease_info.conn, id));
    fixture_step(pool, SL_EV_RELEASE, lease, SL_ID_NONE);
    const struct sl_action *close = fixture_find(pool, SL_ACT_CLOSE);
    assert_non_null(close);
    assert_true(sl_id_equal(close->conn, id));
    assert_int_equal(fixture_find(pool, SL_ACT_CONN_MOVED)->reason, SL_REASON_OUTDATED);
    assert_false(sl_pool_lease_info(pool, lease, &lease_info));
    sl_pool_free(pool);
}

/* The fullest pool there can be, and all of it ends in one step. */
TEST(a_step_never_runs_out_of_actions)
{
    struct sl_pool *pool = fixture_pool(8);
    for (int i = 0; i < 12; i++) {
        fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
        if (i < 8)
            fixture_step(pool, SL_EV_CONN_READY, SL_ID_NONE, pool->conn[i]->id);
    }
    struct sl_event ev = {.type = SL_EV_SHUTDOWN_NOW, .now_ms = 600};
    allocations_left = 0;
    sl_pool_step(pool, &ev);
    allocations_left = -1;
    /* 8 leases: two facts, ENDED, DRAIN; 4 waiters: NOTICE, a fact, REFUSE */
    assert_int_equal(sl_pool_actions(pool)->count, 8 * 4 + 4 * 3);
    assert_true(sl_pool_actions(pool)->count < sl_pool_actions(pool)->capacity);
    assert_null(sl_pool_check(pool));
    sl_pool_free(pool);
}

/* More requests than clients were announced: refused, not lost. */
TEST(more_requests_than_slots_are_refused)
{
    struct sl_pool *pool;
    struct sl_limits limits = fixture_limits;
    limits.clients = 0;
    struct sl_pool_target target = fixture_target(0, 1);
    target.policy.waiters = 1000;
    assert_int_equal(sl_pool_new(&limits, 1, &pool), 0);
    assert_int_equal(sl_pool_configure(pool, 0, &limits, &target, 1, NULL), 0);
    /* One more: a connection may have to be cleaned up after a client that is back already. */
    for (unsigned i = 0; i < SL_CLIENT_SLACK + 1; i++) {
        fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
        assert_non_null(fixture_find(pool, SL_ACT_QUEUED));
    }
    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    const struct sl_action *refuse = fixture_find(pool, SL_ACT_REFUSE);
    assert_non_null(refuse);
    assert_int_equal(refuse->status, SL_E_LIMIT);
    assert_int_equal(refuse->tag, 7);
    assert_null(sl_pool_check(pool));
    sl_pool_free(pool);
}

static void each_id(void *arg, struct sl_id lease)
{
    uint64_t **at = arg;
    *(*at)++ = sl_id_pack(lease);
}

TEST(looking_shows_what_is_there)
{
    struct sl_pool *pool = fixture_pool(1);
    struct sl_conn_slot *conn = fixture_conn(pool, SL_CONN_LEASED);
    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    struct sl_id first = fixture_find(pool, SL_ACT_QUEUED)->lease;
    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    struct sl_id second = fixture_find(pool, SL_ACT_QUEUED)->lease;

    uint64_t seen[4] = {0}, *at = seen;
    sl_pool_each_lease(pool, each_id, &at);
    assert_int_equal(at - seen, 3);
    assert_int_equal(seen[0], sl_id_pack(TAILQ_FIRST(&conn->held.head)->id));
    assert_int_equal(seen[1], sl_id_pack(first));
    assert_int_equal(seen[2], sl_id_pack(second));

    struct sl_pool_lease_info lease;
    assert_true(sl_pool_lease_info(pool, second, &lease));
    assert_int_equal(lease.state, SL_LEASE_WAITING);
    assert_int_equal(lease.position, 2);
    assert_int_equal(lease.deadline_ms, 1000);
    assert_true(sl_pool_lease_info(pool, TAILQ_FIRST(&conn->held.head)->id, &lease));
    assert_int_equal(lease.position, 0);
    assert_int_equal(lease.tag, 7);
    assert_int_equal(lease.max_deadline_ms, 5000);
    assert_false(sl_pool_lease_info(pool, SL_ID_NONE, &lease));
    assert_false(sl_pool_lease_info(pool, (struct sl_id){99999, 1}, &lease));

    assert_false(sl_pool_target_info(pool, 99999, &(struct sl_pool_target_info){0}));
    sl_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_pool_needs_memory),
        cmocka_unit_test(a_reload_without_memory_changes_nothing),
        cmocka_unit_test(a_step_never_runs_out_of_actions),
        cmocka_unit_test(more_requests_than_slots_are_refused),
        cmocka_unit_test(looking_shows_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
