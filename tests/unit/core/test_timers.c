/* SPDX-License-Identifier: MIT */
/* The heap of deadlines: its first is the least, and its check sees what is broken. */
#include "daemon/core/timers.h"
#include "tests/support/test.h"

#include <stdlib.h>

#define COUNT 200u

/* Sets, moves and clears at random; the first must always be the least of those set. */
TEST(the_first_is_always_the_least)
{
    static struct sl_timer timer[COUNT];
    struct sl_timer *room[COUNT];
    struct sl_timers timers = {.item = room, .capacity = COUNT};
    unsigned seed = 7;
    for (size_t i = 0; i < COUNT; i++)
        sl_timer_init(&timer[i], SL_TIMER_CONN);
    assert_null(sl_timers_first(&timers));
    for (int round = 0; round < 20000; round++) {
        struct sl_timer *one = &timer[(unsigned)rand_r(&seed) % COUNT];
        sl_timers_set(&timers, one, rand_r(&seed) % 4 == 0 ? UINT64_MAX : (unsigned)rand_r(&seed) % 1000);
        uint64_t least = UINT64_MAX;
        uint32_t set = 0;
        for (size_t i = 0; i < COUNT; i++) {
            least = timer[i].due_ms < least ? timer[i].due_ms : least;
            set += timer[i].due_ms != UINT64_MAX;
        }
        assert_int_equal(timers.count, set);
        assert_true(sl_timers_check(&timers));
        const struct sl_timer *first = sl_timers_first(&timers);
        assert_int_equal(first != NULL ? first->due_ms : UINT64_MAX, least);
    }
}

TEST(the_check_sees_a_broken_heap)
{
    struct sl_timer timer[3];
    struct sl_timer *room[3];
    struct sl_timers timers = {.item = room, .capacity = 3};
    for (size_t i = 0; i < 3; i++) {
        sl_timer_init(&timer[i], SL_TIMER_LEASE);
        sl_timers_set(&timers, &timer[i], 10 + i);
    }
    assert_true(sl_timers_check(&timers));
    timer[0].due_ms = 50;
    assert_false(sl_timers_check(&timers));
    timer[0].due_ms = 10;
    timer[2].place = 1;
    assert_false(sl_timers_check(&timers));
    timer[2].place = 2;
    timer[2].due_ms = UINT64_MAX;
    assert_false(sl_timers_check(&timers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_always_the_least),
        cmocka_unit_test(the_check_sees_a_broken_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
