/* SPDX-License-Identifier: MIT */
/* Targets that refuse everybody, and what has them tried again. */
#include "daemon/lease/state.h"
#include "tests/support/lease_world.h"
#include "tests/unit/lease/client.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

#define CONF "defaults: {" WORLD_LOGIN "}\ntargets: {a: {host: h}}"

static const struct sl_basis before = {.host_keys = 11, .keys = 12, .password = 13, .agent = 14};

/* A world whose target has refused somebody with `status`. */
static void refused(struct sl_world *w, const struct sl_basis *made_of, int status, bool one_user)
{
    struct client c;
    sl_world_init(w, CONF, one_user);
    sl_fake_basis(w->transport, made_of, false);
    sl_fake_dial(w->transport, 0, status, "a: no");
    client_acquire(&c, w, "a");
    WORLD_UNTIL(w, c.lease == NULL);
    assert_int_equal(c.status, status);
    sl_fake_dial(w->transport, 0, 0, "");
}

/* Somebody else asks: how often was it dialed by then? */
static unsigned dials_for_the_next(struct sl_world *w, int *ret_status)
{
    struct client c;
    client_acquire(&c, w, "a");
    WORLD_UNTIL(w, c.lease == NULL || c.id != 0);
    *ret_status = c.lease == NULL ? c.status : 0;
    if (c.lease != NULL) {
        sl_lease_release(c.lease);
        WORLD_UNTIL(w, c.lease == NULL);
    }
    return sl_fake_counts(w->transport).dialed;
}

struct change {
    struct sl_basis refused, now;
    int status;
    unsigned dials; /* in all, when somebody has asked again */
};

TEST(what_is_mended_is_tried_and_nothing_else_is)
{
    static const struct change table[] = {
        {{11, 12, 13, 14, false}, {11, 12, 13, 14, false}, SL_E_AUTH_FAILED, 1},
        {{11, 12, 13, 14, false}, {11, 99, 13, 14, false}, SL_E_AUTH_FAILED, 2},
        {{11, 12, 13, 14, false}, {11, 12, 99, 14, false}, SL_E_AUTH_FAILED, 2},
        {{11, 12, 13, 14, false}, {11, 12, 13, 99, false}, SL_E_AUTH_FAILED, 2},
        {{11, 12, 13, 14, false}, {99, 12, 13, 14, false}, SL_E_AUTH_FAILED, 1},
        /* the password was sent */
        {{11, 12, 13, 14, true}, {11, 99, 13, 99, false}, SL_E_AUTH_FAILED, 1},
        {{11, 12, 13, 14, true}, {11, 12, 99, 14, false}, SL_E_AUTH_FAILED, 2},
        /* an agent that was not asked, or does not answer */
        {{11, 12, 13, 0, false}, {11, 12, 13, 14, false}, SL_E_AUTH_FAILED, 1},
        {{11, 12, 13, 14, false}, {11, 12, 13, 0, false}, SL_E_AUTH_FAILED, 1},
        /* host keys come before all that */
        {{11, 0, 0, 0, false}, {11, 12, 13, 14, false}, SL_E_HOST_KEY_CHANGED, 1},
        {{11, 0, 0, 0, false}, {99, 12, 13, 14, false}, SL_E_HOST_KEY_CHANGED, 2},
        {{11, 0, 0, 0, false}, {99, 12, 13, 14, false}, SL_E_HOST_KEY_UNKNOWN, 2},
        {{11, 0, 0, 0, false}, {0, 12, 13, 14, false}, SL_E_HOST_KEY_UNKNOWN, 1},
        /* no look helps here */
        {{11, 0, 0, 0, false}, {99, 99, 99, 99, false}, SL_E_NO_ALGORITHM, 1},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sl_world w;
        int status;

        refused(&w, &table[i].refused, table[i].status, false);
        sl_fake_basis(w.transport, &table[i].now, false);
        unsigned dials = dials_for_the_next(&w, &status);
        if (dials != table[i].dials || (status == 0) != (dials == 2))
            fail_msg("row %zu: %u dials, %s", i, dials, sl_status_name(status));
        sl_world_fini(&w);
    }
}

TEST(who_asks_at_once_shares_a_look)
{
    struct sl_world w;
    struct client c[5];
    refused(&w, &before, SL_E_AUTH_FAILED, false);
    for (int i = 0; i < 5; i++)
        client_acquire(&c[i], &w, "a");
    for (int i = 0; i < 5; i++)
        WORLD_UNTIL(&w, c[i].lease == NULL);
    assert_int_equal(sl_fake_counts(w.transport).looks, 1);
    sl_world_fini(&w);
}

TEST(a_look_that_hangs_holds_nobody_for_long)
{
    struct sl_world w;
    struct client stays, goes, leaves;
    refused(&w, &before, SL_E_AUTH_FAILED, false);
    sl_fake_basis(w.transport, &before, true);
    uint64_t begin = uv_now(&w.loop);
    client_acquire(&stays, &w, "a");
    client_acquire(&goes, &w, "a");
    client_acquire(&leaves, &w, "a");
    sl_world_settle(&w);
    assert_non_null(stays.lease);
    sl_lease_release(goes.lease);
    sl_lease_abandon(leaves.lease);
    WORLD_UNTIL(&w, goes.lease == NULL);
    WORLD_UNTIL(&w, stays.lease == NULL);
    assert_int_equal(stays.status, SL_E_AUTH_FAILED);
    assert_in_range(uv_now(&w.loop) - begin, 1000, 3000);
    client_acquire(&stays, &w, "a"); /* the next does not wait at all */
    begin = uv_now(&w.loop);
    WORLD_UNTIL(&w, stays.lease == NULL);
    assert_in_range(uv_now(&w.loop) - begin, 0, 500);
    sl_world_fini(&w); /* with the look still under way */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_mended_is_tried_and_nothing_else_is),
        cmocka_unit_test(who_asks_at_once_shares_a_look),
        cmocka_unit_test(a_look_that_hangs_holds_nobody_for_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
