/* SPDX-License-Identifier: MIT */
/* sl_pool_check() must be able to say no: each thing it looks at is broken once. */
#include <stdlib.h>

#include "tests/support/test.h"
#include "tests/unit/core/fixture.h"

#define BROKEN(pool, text) assert_string_equal(sl_pool_check(pool), text)

TEST(a_sound_pool_passes_in_every_state)
{
    for (unsigned i = 0; i < SL_CONN_STATES; i++) {
        struct sl_pool *pool = fixture_pool(2);
        fixture_conn(pool, (enum sl_conn_state)i);
        assert_null(sl_pool_check(pool));
        sl_pool_free(pool);
    }
}

TEST(broken_connections_are_seen)
{
    struct sl_pool *pool = fixture_pool(2);
    struct sl_conn_slot *conn = fixture_conn(pool, SL_CONN_LEASED);
    conn->state = SL_CONN_IDLE;
    BROKEN(pool, "a list of connections is wrong");
    conn->state = SL_CONN_LEASED;
    conn->owner++;
    BROKEN(pool, "a connection is shared across owners");
    conn->owner--;
    pool->conns[SL_CONN_LEASED].length++;
    BROKEN(pool, "a list of connections is wrong");
    pool->conns[SL_CONN_LEASED].length--;
    pool->ceiling = 0;
    BROKEN(pool, "there are more connections than the daemon's limit");
    pool->ceiling = 10;
    pool->target[0]->ceiling = 0;
    BROKEN(pool, "a target has more connections than its limit");
    pool->target[0]->ceiling = 2;
    struct sl_lease_slot *lease = TAILQ_FIRST(&conn->held.head);
    TAILQ_REMOVE(&conn->held.head, lease, of_conn);
    BROKEN(pool, "a connection's count of leases is wrong");
    conn->held.length--;
    BROKEN(pool, "a connection is leased without a lease, or has one without being leased");
    TAILQ_INSERT_TAIL(&conn->held.head, lease, of_conn);
    conn->held.length++;
    conn->sharing = 0;
    BROKEN(pool, "a connection has more leases than may share it");
    conn->sharing = 1;
    lease->conn = NULL;
    BROKEN(pool, "a connection and its lease disagree");
    lease->conn = conn;
    assert_null(sl_pool_check(pool));
    sl_pool_free(pool);

    pool = fixture_pool(2);
    conn = fixture_conn(pool, SL_CONN_IDLE);
    conn->epoch++;
    BROKEN(pool, "an outdated connection is kept");
    conn->epoch--;
    conn->ping = SL_PING_VALIDATE;
    BROKEN(pool, "a connection is validated for nobody");
    conn->ping = SL_PING_NONE;
    pool->phase = SL_POOL_STOPPING;
    BROKEN(pool, "a connection is kept while stopping");
    sl_pool_free(pool);
}

TEST(broken_leases_are_seen)
{
    struct sl_pool *pool = fixture_pool(1);
    struct sl_lease_slot *lease = TAILQ_FIRST(&fixture_conn(pool, SL_CONN_LEASED)->held.head);
    lease->deadline_ms += 100;
    BROKEN(pool, "a lease's timer is not its deadline");
    lease->deadline_ms = lease->max_deadline_ms + 1;
    BROKEN(pool, "a lease outlives its deadline");
    lease->deadline_ms = lease->timer.due_ms;
    pool->now_ms = lease->deadline_ms + 1;
    BROKEN(pool, "a lease outlives its deadline");
    pool->now_ms = 0;

    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    assert_null(sl_pool_check(pool));
    struct sl_lease_slot *waiter = TAILQ_FIRST(&pool->target[0]->waiting.head);
    waiter->serial += 10;
    BROKEN(pool, "a wait queue is out of order");
    waiter->serial -= 10;
    waiter->wait_ms = 5;
    BROKEN(pool, "a waiter has no deadline");
    waiter->wait_ms = 1000;
    assert_null(sl_pool_check(pool));
    sl_pool_free(pool);
}

TEST(broken_sharing_is_seen)
{
    struct sl_pool *pool = fixture_pool(1);
    struct sl_conn_slot *conn = fixture_conn(pool, SL_CONN_RETIRING);
    struct sl_lease_slot *drained = TAILQ_FIRST(&conn->drains.head);
    struct sl_lease_slot *lease = TAILQ_FIRST(&conn->held.head);
    assert_null(sl_pool_check(pool));
    lease->owner++;
    BROKEN(pool, "a connection is shared across owners");
    lease->owner--;
    conn->drains.length++;
    BROKEN(pool, "a connection's count of leases is wrong");
    conn->drains.length--;
    drained->deadline_ms++;
    BROKEN(pool, "a clean-up has no deadline");
    drained->deadline_ms--;
    drained->conn = NULL;
    BROKEN(pool, "a connection is cleaned up after a lease that does not know of it");
    drained->conn = conn;
    assert_null(sl_pool_check(pool));
    sl_pool_free(pool);

    pool = fixture_pool(1);
    conn = fixture_conn(pool, SL_CONN_DRAINING);
    conn->drains.length = 0;
    BROKEN(pool, "a connection's count of leases is wrong");
    sl_pool_free(pool);

    /* A place that nobody was given. */
    pool = fixture_pool(1);
    conn = fixture_conn(pool, SL_CONN_LEASED);
    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    assert_null(sl_pool_check(pool));
    conn->sharing = 2;
    pool->target[0]->policy.sharing = 2;
    BROKEN(pool, "somebody waits while a connection of his owner has room");
    sl_pool_free(pool);
}

TEST(idle_hands_are_seen)
{
    struct sl_pool *pool = fixture_pool(1);
    struct sl_conn_slot *conn = fixture_conn(pool, SL_CONN_LEASED);
    fixture_step(pool, SL_EV_ACQUIRE, SL_ID_NONE, SL_ID_NONE);
    struct sl_lease_slot *lease = TAILQ_FIRST(&conn->held.head);
    struct sl_target_slot *target = pool->target[0];

    pool->target[0]->policy.max_connections = 2;
    BROKEN(pool, "somebody waits and nobody dials");
    pool->target[0]->policy.max_connections = 1;
    sl_leases_move(pool, lease, SL_LEASE_RELEASED, SL_REASON_RELEASED, 0);
    sl_conns_move(pool, conn, SL_CONN_IDLE, SL_REASON_RELEASED, 0);
    BROKEN(pool, "a target was left unsettled");
    TAILQ_REMOVE(&pool->dirty, target, dirty_link);
    target->dirty_link.tqe_prev = NULL;
    BROKEN(pool, "somebody waits while a usable connection is idle");
    conn->owner++;
    BROKEN(pool, "somebody waits behind another owner's idle connection");
    sl_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_pool_passes_in_every_state),
        cmocka_unit_test(broken_connections_are_seen),
        cmocka_unit_test(broken_leases_are_seen),
        cmocka_unit_test(broken_sharing_is_seen),
        cmocka_unit_test(idle_hands_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
