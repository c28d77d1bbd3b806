/* SPDX-License-Identifier: MIT */
/* Who has had its part of a turn waits for the next one, and nobody else does. */
#include "daemon/net/turns.h"

#include "base/container.h"
#include "daemon/net/fd_jobs.h"
#include "tests/support/test.h"

#define GREEDY 4001
#define MODEST 4002

struct one {
    struct sl_turn turn;
    uid_t uid;
    unsigned calls;
    bool greedy; /* uses all of its user's part */
    bool again;
};

struct world {
    uv_loop_t loop;
    struct sl_turns *turns;
    struct one one[3];
};

static struct world *world;

static void start(struct world *w)
{
    *w = (struct world){.turns = NULL};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sl_turns_new(&w->loop, &w->turns), 0);
    world = w;
}

static void stop(struct world *w)
{
    for (unsigned i = 0; i < 3; i++)
        sl_turns_leave(w->turns, &w->one[i].turn);
    sl_turns_free(w->turns);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

static void on_turn(struct sl_turn *turn)
{
    struct one *one = SL_CONTAINER(turn, struct one, turn);
    const uint64_t begun = uv_hrtime();
    one->calls++;
    while (one->greedy && uv_hrtime() - begun < SL_TURN_NS)
        continue;
    if (one->again)
        assert_true(sl_turns_wait(world->turns, turn, one->uid, on_turn));
}

static void run(struct world *w, unsigned i, uid_t uid)
{
    w->one[i].uid = uid;
    sl_turns_run(w->turns, &w->one[i].turn, uid, on_turn);
}

static void turn_of_the_loop(struct world *w)
{
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
}

TEST(who_has_used_its_part_waits_for_the_next_turn)
{
    struct world w;
    start(&w);
    w.one[0].greedy = true;
    run(&w, 0, GREEDY);
    run(&w, 1, GREEDY);
    run(&w, 2, MODEST); /* somebody else does not */
    assert_int_equal(w.one[0].calls, 1);
    assert_int_equal(w.one[1].calls, 0);
    assert_int_equal(w.one[2].calls, 1);
    turn_of_the_loop(&w); /* ends the turn */
    turn_of_the_loop(&w);
    assert_int_equal(w.one[1].calls, 1);
    assert_false(uv_loop_alive(&w.loop)); /* nobody waits, and nobody is kept awake */
    stop(&w);
}

TEST(each_that_waits_has_its_turn_before_any_has_a_second_one)
{
    struct world w;
    start(&w);
    for (unsigned i = 0; i < 3; i++) {
        w.one[i] = (struct one){.uid = GREEDY, .greedy = true, .again = true};
        assert_true(sl_turns_wait(w.turns, &w.one[i].turn, GREEDY, on_turn));
    }
    run(&w, 0, GREEDY); /* it waits already */
    for (unsigned turn = 1; turn <= 6; turn++) {
        turn_of_the_loop(&w);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(w.one[i].calls, (turn + 2 - i) / 3);
    }
    stop(&w);
}

TEST(who_comes_when_others_of_its_user_wait_comes_after_them)
{
    struct world w;
    start(&w);
    assert_true(sl_turns_wait(w.turns, &w.one[0].turn, GREEDY, on_turn));
    run(&w, 1, GREEDY);
    assert_int_equal(w.one[1].calls, 0);
    run(&w, 2, MODEST);
    assert_int_equal(w.one[2].calls, 1);
    turn_of_the_loop(&w);
    assert_int_equal(w.one[0].calls + w.one[1].calls, 2);
    stop(&w);
}

TEST(who_has_left_is_not_called)
{
    struct world w;
    start(&w);
    assert_true(sl_turns_wait(w.turns, &w.one[0].turn, GREEDY, on_turn));
    assert_true(uv_loop_alive(&w.loop));
    sl_turns_leave(w.turns, &w.one[0].turn);
    sl_turns_leave(w.turns, &w.one[0].turn);
    assert_false(uv_loop_alive(&w.loop));
    turn_of_the_loop(&w);
    assert_int_equal(w.one[0].calls, 0);
    stop(&w);
}

TEST(where_nobody_divides_the_turns_nobody_waits)
{
    struct one one = {.greedy = true};
    assert_null(sl_fd_jobs_turns(NULL));
    sl_turns_run(NULL, &one.turn, GREEDY, on_turn);
    sl_turns_run(NULL, &one.turn, GREEDY, on_turn);
    assert_int_equal(one.calls, 2);
    assert_false(sl_turns_wait(NULL, &one.turn, GREEDY, on_turn));
    sl_turns_leave(NULL, &one.turn);
    sl_turns_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_used_its_part_waits_for_the_next_turn),
        cmocka_unit_test(each_that_waits_has_its_turn_before_any_has_a_second_one),
        cmocka_unit_test(who_comes_when_others_of_its_user_wait_comes_after_them),
        cmocka_unit_test(who_has_left_is_not_called),
        cmocka_unit_test(where_nobody_divides_the_turns_nobody_waits),
    };
    return cmocka_run_group_tests_name("net.turns", tests, NULL, NULL);
}
