/* SPDX-License-Identifier: MIT */
/* Calls that hang: who waits is told, others go on, and nobody waits for them at the end. */
#include "daemon/net/hang_jobs.h"
#include "tests/support/test.h"

#include <sched.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FOR_EVER 0u

struct call {
    sem_t *answer; /* NULL: it does not hang */
    unsigned *began, *disposed;
};

struct world {
    uv_loop_t loop;
    struct sl_hang_jobs *jobs;
    sem_t answer;
    unsigned began, disposed; /* by the threads */
    unsigned done, late;
};

static unsigned read_count(const unsigned *count)
{
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static void run(void *data)
{
    struct call *call = data;
    __atomic_add_fetch(call->began, 1, __ATOMIC_SEQ_CST);
    while (call->answer != NULL && sem_wait(call->answer) != 0)
        continue;
}

static void on_done(void *arg, void *data)
{
    struct world *w = arg;
    if (data != NULL)
        w->done++;
    else
        w->late++;
}

static void dispose(void *data)
{
    struct call *call = data;
    __atomic_add_fetch(call->disposed, 1, __ATOMIC_SEQ_CST);
    free(call);
}

static const struct sl_hang_kind kind = {run, on_done, dispose};

static struct sl_hang_job *start(struct world *w, uint64_t key, bool hangs, uint64_t timeout_ms)
{
    struct call *call = malloc(sizeof *call);
    struct sl_hang_job *job;
    assert_non_null(call);
    *call = (struct call){.answer = hangs ? &w->answer : NULL, .began = &w->began, .disposed = &w->disposed};
    assert_int_equal(sl_hang_job_start(w->jobs, &kind, key, call, w, timeout_ms, &job), 0);
    return job;
}

static void answer(struct world *w, unsigned count)
{
    while (count-- > 0)
        assert_int_equal(sem_post(&w->answer), 0);
}

/* The loop lives as long as a job does. */
static void run_until(struct world *w, const unsigned *count, unsigned least)
{
    while (read_count(count) < least)
        assert_true(uv_run(&w->loop, UV_RUN_ONCE) != 0 || read_count(count) >= least);
}

/* A thread that was made may begin later than one that was made after it. */
static void assert_begin(const struct world *w, unsigned count)
{
    while (read_count(&w->began) < count)
        (void)sched_yield();
    assert_int_equal(read_count(&w->began), count);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_int_equal(sem_init(&w->answer, 0, 0), 0);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sl_hang_jobs_new(&w->loop, 8, &w->jobs), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    sl_hang_jobs_free(w->jobs);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    (void)sem_destroy(&w->answer);
    free(w);
    return 0;
}

static void what_hangs_holds_up_its_own_key_only(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < SL_HANG_PER_KEY + 1; i++)
        (void)start(w, 1, true, FOR_EVER);
    (void)start(w, 2, false, FOR_EVER);
    run_until(w, &w->done, 1);
    assert_begin(w, SL_HANG_PER_KEY + 1);
    answer(w, SL_HANG_PER_KEY + 1);
    run_until(w, &w->done, SL_HANG_PER_KEY + 2);
    assert_int_equal(read_count(&w->disposed), SL_HANG_PER_KEY + 2);
}

static void whoever_waits_is_told_at_the_deadline(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < SL_HANG_PER_KEY + 1; i++)
        (void)start(w, 1, true, 20); /* the last of them in line */
    run_until(w, &w->late, SL_HANG_PER_KEY + 1);
    assert_int_equal(w->done, 0);
    /* Those that hang still keep their places. */
    (void)start(w, 1, false, 20);
    run_until(w, &w->late, SL_HANG_PER_KEY + 2);
    assert_begin(w, SL_HANG_PER_KEY);
    (void)start(w, 1, false, FOR_EVER);
    answer(w, SL_HANG_PER_KEY);
    run_until(w, &w->done, 1);
}

static void there_are_no_more_threads_than_so_many(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < 9; i++)
        (void)start(w, i, true, FOR_EVER);
    (void)start(w, 100, false, 20);
    run_until(w, &w->late, 1);
    assert_begin(w, 8);
    answer(w, 9);
    run_until(w, &w->done, 9);
}

static void what_is_forgotten_does_not_come(void **state)
{
    struct world *w = *state;
    struct sl_hang_job *first = start(w, 1, true, FOR_EVER), *second = start(w, 1, true, FOR_EVER),
                       *in_line = start(w, 1, true, FOR_EVER);
    while (read_count(&w->began) < 2)
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    sl_hang_job_forget(in_line);
    assert_int_equal(read_count(&w->disposed), 1);
    sl_hang_job_forget(first);
    assert_int_equal(read_count(&w->disposed), 1);
    answer(w, 2);
    run_until(w, &w->done, 1);
    (void)second;
    while (read_count(&w->disposed) < 3)
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(w->done, 1);
}

static void nobody_waits_for_it_at_the_end(void **state)
{
    struct world *w = *state;
    (void)start(w, 1, true, FOR_EVER);
    (void)start(w, 2, true, 60000);
    while (read_count(&w->began) < 2)
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    sl_hang_jobs_free(w->jobs);
    w->jobs = NULL;
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(w->done + w->late, 0);
    /* The threads end some day, and free what was left to them. */
    answer(w, 2);
    while (read_count(&w->disposed) < 2)
        continue;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_hangs_holds_up_its_own_key_only, setup, teardown),
        cmocka_unit_test_setup_teardown(whoever_waits_is_told_at_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(there_are_no_more_threads_than_so_many, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_forgotten_does_not_come, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_waits_for_it_at_the_end, setup, teardown),
    };
    return cmocka_run_group_tests_name("net.hang_jobs", tests, NULL, NULL);
}
