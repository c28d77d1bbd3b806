/* SPDX-License-Identifier: MIT */
/* What one user may have of what the others leave, what the privileged may have, and that nothing is left of a user who
 * has nothing. */
#include "base/quota.h"

#include "proto/status.h"
#include "tests/support/test.h"

#include <pthread.h>
#include <string.h>

#define ANNE   1001u
#define BEN    1002u
#define CLAIRE 1003u

static struct sl_quota *quota_of(uint64_t limit, unsigned share)
{
    struct sl_quota *q = sl_quota_new();
    assert_non_null(q);
    sl_quota_limit(q, SL_QUOTA_CLIENTS, limit);
    sl_quota_share(q, share);
    return q;
}

static int take(struct sl_quota *q, uid_t uid, uint64_t amount)
{
    return sl_quota_take(q, uid, SL_QUOTA_CLIENTS, amount);
}

static void give(struct sl_quota *q, uid_t uid, uint64_t amount)
{
    sl_quota_give(q, uid, SL_QUOTA_CLIENTS, amount);
}

/* One after the other, as many as are given. */
static unsigned take_all(struct sl_quota *q, uid_t uid)
{
    unsigned count = 0;
    while (take(q, uid, 1) == 0)
        count++;
    return count;
}

static size_t users(struct sl_quota *q)
{
    struct sl_quota_view view[8];
    return sl_quota_each(q, view, 8);
}

TEST(with_the_whole_for_a_share_one_user_has_it_all)
{
    struct sl_quota *q = quota_of(1000, 100);
    assert_int_equal(take_all(q, ANNE), 1000);
    assert_int_equal(take(q, BEN, 1), SL_E_LIMIT);
    give(q, ANNE, 1);
    assert_int_equal(take(q, BEN, 1), 0);
    sl_quota_free(q);
}

TEST(each_has_its_share_of_what_the_others_leave)
{
    struct sl_quota *q = quota_of(1000, 50);
    assert_int_equal(take_all(q, ANNE), 500);
    assert_int_equal(take_all(q, BEN), 250);
    assert_int_equal(take_all(q, CLAIRE), 125);
    assert_int_equal(sl_quota_total(q, SL_QUOTA_CLIENTS), 875);
    /* What goes is there for everybody: of the 625 that are not Ben's or Claire's it is half. */
    give(q, ANNE, 500);
    assert_int_equal(take_all(q, ANNE), 313);
    sl_quota_free(q);
}

/* A limit of one is for somebody. */
TEST(a_share_is_rounded_up_and_never_beyond_the_limit)
{
    struct sl_quota *q = quota_of(1, 50);
    assert_int_equal(take_all(q, ANNE), 1);
    assert_int_equal(take_all(q, BEN), 0);
    sl_quota_limit(q, SL_QUOTA_CLIENTS, 0);
    assert_int_equal(take_all(q, CLAIRE), 0);
    sl_quota_free(q);
}

TEST(what_is_too_much_at_once_takes_nothing)
{
    struct sl_quota *q = quota_of(100, 50);
    assert_int_equal(take(q, ANNE, 51), SL_E_LIMIT);
    assert_int_equal(take(q, ANNE, UINT64_MAX), SL_E_LIMIT);
    assert_int_equal(sl_quota_of(q, ANNE, SL_QUOTA_CLIENTS), 0);
    assert_int_equal(take(q, ANNE, 50), 0);
    assert_int_equal(take(q, ANNE, UINT64_MAX), SL_E_LIMIT);
    sl_quota_free(q);
}

TEST(the_privileged_come_into_a_full_house)
{
    struct sl_quota *q = quota_of(160, 100);
    assert_int_equal(take_all(q, ANNE), 160);
    assert_int_equal(sl_quota_admit(q, 0, false, SL_QUOTA_CLIENTS, 1), SL_E_LIMIT);
    unsigned count = 0;
    while (sl_quota_admit(q, 0, true, SL_QUOTA_CLIENTS, 1) == 0)
        count++;
    assert_int_equal(count, 10);
    /* They keep nobody out who finds room, and are not beyond it for ever. */
    give(q, ANNE, 160);
    assert_int_equal(take_all(q, ANNE), 150);
    sl_quota_free(q);
}

/* Those who administer the daemon have no share. What they take by other ways than a door is theirs as well. */
TEST(the_privileged_have_no_share)
{
    struct sl_quota *q = quota_of(100, 50);
    assert_int_equal(sl_quota_admit(q, BEN, true, SL_QUOTA_LEASES, 1), 0);
    assert_int_equal(take(q, BEN, 100), 0);
    assert_int_equal(sl_quota_admit(q, BEN, false, SL_QUOTA_LEASES, 1), 0);
    assert_int_equal(take(q, BEN, 1), SL_E_LIMIT);
    sl_quota_free(q);
}

TEST(a_lowered_limit_takes_nothing_away)
{
    struct sl_quota *q = quota_of(100, 100);
    assert_int_equal(take(q, ANNE, 80), 0);
    sl_quota_limit(q, SL_QUOTA_CLIENTS, 50);
    assert_int_equal(take(q, ANNE, 1), SL_E_LIMIT);
    assert_int_equal(take(q, BEN, 1), SL_E_LIMIT);
    assert_int_equal(sl_quota_of(q, ANNE, SL_QUOTA_CLIENTS), 80);
    give(q, ANNE, 31);
    assert_int_equal(take(q, BEN, 1), 0);
    sl_quota_free(q);
}

TEST(nothing_is_left_of_who_has_nothing)
{
    struct sl_quota *q = quota_of(100, 50);
    assert_int_equal(take(q, ANNE, 50), 0);
    assert_int_equal(sl_quota_take(q, ANNE, SL_QUOTA_BYTES, 7), 0);
    assert_int_equal(take(q, ANNE, 1), SL_E_LIMIT);
    assert_int_equal(take(q, BEN, 60), SL_E_LIMIT);
    assert_int_equal(users(q), 1); /* who was refused is nobody */
    give(q, ANNE, 50);
    assert_int_equal(users(q), 1);
    sl_quota_give(q, ANNE, SL_QUOTA_BYTES, 7);
    assert_int_equal(users(q), 0);
    assert_int_equal(sl_quota_total(q, SL_QUOTA_CLIENTS), 0);
    assert_int_equal(sl_quota_total(q, SL_QUOTA_BYTES), 0);
    sl_quota_free(q);
}

TEST(many_users_are_kept_apart)
{
    struct sl_quota *q = quota_of(SL_QUOTA_NO_LIMIT, 50);
    for (uid_t uid = 0; uid < 20000; uid++)
        assert_int_equal(take(q, 100000 + uid, 1 + uid % 7), 0);
    for (uid_t uid = 0; uid < 20000; uid++)
        assert_int_equal(sl_quota_of(q, 100000 + uid, SL_QUOTA_CLIENTS), 1 + uid % 7);
    for (uid_t uid = 0; uid < 20000; uid++)
        give(q, 100000 + uid, 1 + uid % 7);
    assert_int_equal(users(q), 0);
    sl_quota_free(q);
}

static void assert_refusal(struct sl_quota *q, uid_t uid, enum sl_quota_kind kind, const char *text)
{
    char buf[256];
    assert_string_equal(sl_quota_refusal(q, uid, kind, buf, sizeof buf), text);
}

TEST(a_refusal_says_which_limit_whose_and_what_to_do)
{
    struct sl_quota *q = quota_of(1000, 50);
    assert_int_equal(take_all(q, ANNE), 500);
    assert_refusal(q, ANNE, SL_QUOTA_CLIENTS,
        "500 clients of uid 1001 are connected already, its share of 1000 (limits.clients, limits.user_share): end "
        "some, or "
        "have the limit raised");
    sl_quota_limit(q, SL_QUOTA_CLIENTS, 500);
    assert_refusal(q, BEN, SL_QUOTA_CLIENTS,
        "500 clients are connected already (limits.clients): end some, or have the limit raised");
    assert_int_equal(sl_quota_take(q, BEN, SL_QUOTA_STATUSES, 8), 0);
    assert_refusal(q, BEN, SL_QUOTA_STATUSES,
        "8 answers to STATUS of uid 1002 are being made, or were not read, its share of 18446744073709551615 "
        "(limits.user_share): read them, or try again");
    sl_quota_free(q);
}

#define THREADS 4
#define ROUNDS  20000

static void *take_and_give(void *arg)
{
    struct sl_quota *q = arg;
    for (int i = 0; i < ROUNDS; i++)
        if (take(q, ANNE, 1) == 0)
            give(q, ANNE, 1);
    return NULL;
}

TEST(threads_may_take_and_give)
{
    struct sl_quota *q = quota_of(2, 100);
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, take_and_give, q), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(sl_quota_total(q, SL_QUOTA_CLIENTS), 0);
    assert_int_equal(users(q), 0);
    sl_quota_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_the_whole_for_a_share_one_user_has_it_all),
        cmocka_unit_test(each_has_its_share_of_what_the_others_leave),
        cmocka_unit_test(a_share_is_rounded_up_and_never_beyond_the_limit),
        cmocka_unit_test(what_is_too_much_at_once_takes_nothing),
        cmocka_unit_test(the_privileged_come_into_a_full_house),
        cmocka_unit_test(the_privileged_have_no_share),
        cmocka_unit_test(a_lowered_limit_takes_nothing_away),
        cmocka_unit_test(nothing_is_left_of_who_has_nothing),
        cmocka_unit_test(many_users_are_kept_apart),
        cmocka_unit_test(a_refusal_says_which_limit_whose_and_what_to_do),
        cmocka_unit_test(threads_may_take_and_give),
    };
    return cmocka_run_group_tests_name("base.quota", tests, NULL, NULL);
}
