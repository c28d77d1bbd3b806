/* SPDX-License-Identifier: MIT */
/* The tables of allowed moves: every pair of states, tried in a process of its own, for an assertion ends it. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test.h"
#include "tests/unit/core/fixture.h"

static void try_conn(unsigned from, unsigned to)
{
    struct sl_pool *pool = fixture_pool(2);
    sl_conns_move(pool, fixture_conn(pool, (enum sl_conn_state)from), (enum sl_conn_state)to, SL_REASON_NONE, 0);
    sl_pool_free(pool);
}

static void try_lease(unsigned from, unsigned to)
{
    struct sl_pool *pool = fixture_pool(2);
    struct sl_lease_slot *lease = pool->lease[0];
    if (from == SL_LEASE_WAITING) {
        fixture_conn(pool, SL_CONN_DIALING);
        lease = TAILQ_FIRST(&pool->target[0]->waiting.head);
    } else if (from == SL_LEASE_GRANTED) {
        lease = TAILQ_FIRST(&fixture_conn(pool, SL_CONN_LEASED)->held.head);
    } else {
        lease->target = pool->target[0];
        lease->state = (enum sl_lease_state)from;
    }
    if (from == SL_LEASE_MOVING) { /* it is on a list */
        TAILQ_INSERT_TAIL(&pool->target[0]->waiting.head, lease, link);
        pool->target[0]->waiting.length++;
    }
    if (to == SL_LEASE_GRANTED) /* it needs one */
        lease->conn = pool->conn[0];
    sl_leases_move(pool, lease, (enum sl_lease_state)to, SL_REASON_NONE, 0);
    sl_pool_free(pool);
}

static bool survives(void (*try)(unsigned, unsigned), unsigned from, unsigned to)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        fclose(stderr);
        try(from, to);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status))
        assert_int_equal(WTERMSIG(status), SIGABRT);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(a_connection_moves_as_designed_and_no_other_way)
{
    static const char *const allowed[SL_CONN_STATES] = {
        /* to: gone, dialing, idle, leased, retiring, draining, closing */
        [SL_CONN_GONE] = ".......", /* dialing is allowed, but needs the target that only sl_conns_dial() sets */
        [SL_CONN_DIALING] = "..+...+",
        [SL_CONN_IDLE] = "...+..+",
        [SL_CONN_LEASED] = "..+.+++",
        [SL_CONN_RETIRING] = ".....++",
        [SL_CONN_DRAINING] = "......+",
        [SL_CONN_CLOSING] = "+......",
    };
    for (unsigned from = 0; from < SL_CONN_STATES; from++)
        for (unsigned to = 0; to < SL_CONN_STATES; to++)
            if (survives(try_conn, from, to) != (allowed[from][to] == '+'))
                fail_msg("%s -> %s", sl_conn_state_name((enum sl_conn_state)from),
                    sl_conn_state_name((enum sl_conn_state)to));
}

TEST(a_lease_moves_as_designed_and_no_other_way)
{
    static const char *const allowed[SL_LEASE_STATES] = {
        /* to: none, waiting, granted, moving, released, ended, refused */
        [SL_LEASE_NONE] = ".+.....",
        [SL_LEASE_WAITING] = "..+...+",
        [SL_LEASE_GRANTED] = "...+++.",
        [SL_LEASE_MOVING] = "..+.++.",
        [SL_LEASE_RELEASED] = "+......",
        [SL_LEASE_ENDED] = "+......",
        [SL_LEASE_REFUSED] = "+......",
    };
    for (unsigned from = 0; from < SL_LEASE_STATES; from++)
        for (unsigned to = 0; to < SL_LEASE_STATES; to++)
            if (survives(try_lease, from, to) != (allowed[from][to] == '+'))
                fail_msg("%s -> %s", sl_lease_state_name((enum sl_lease_state)from),
                    sl_lease_state_name((enum sl_lease_state)to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_moves_as_designed_and_no_other_way),
        cmocka_unit_test(a_lease_moves_as_designed_and_no_other_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
