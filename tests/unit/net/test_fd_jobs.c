/* Jobs for files: some in threads, the others in their turn; cancelled, closed, and left behind. */
#include "daemon/net/fd_jobs.h"

#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define JOBS 10u

/* A file system that does not answer, until it is told to. */
struct hanging {
    struct sl_fd_job job; /* first */
    sem_t *answer;
    unsigned *began, *ended;
    struct sl_fd_jobs *again; /* not NULL: started once more at its end */
};

static void hang(struct sl_fd_job *job)
{
    struct hanging *h = (struct hanging *)job;

    __atomic_add_fetch(h->began, 1, __ATOMIC_SEQ_CST);
    while (sem_wait(h->answer) != 0)
        continue;
}

static void ended(struct sl_fd_job *job, bool ran)
{
    struct hanging *h = (struct hanging *)job;
    struct sl_fd_jobs *again = h->again;

    assert_true(ran);
    ++*h->ended;
    h->again = NULL;
    if (again != NULL)
        sl_fd_job_start(again, job, hang, ended);
}

struct world {
    uv_loop_t loop;
    struct sl_fd_jobs *jobs;
    sem_t answer;
    unsigned began, ended;
    struct hanging one[JOBS];
};

static void start(struct world *w)
{
    *w = (struct world){.began = 0};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sl_fd_jobs_new(&w->loop, &w->jobs), 0);
    assert_int_equal(sem_init(&w->answer, 0, 0), 0);
    for (unsigned i = 0; i < JOBS; i++)
        w->one[i] = (struct hanging){.answer = &w->answer, .began = &w->began, .ended = &w->ended};
}

static void stop(struct world *w)
{
    sl_fd_jobs_free(w->jobs);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    sem_destroy(&w->answer);
}

static void begin_all(struct world *w)
{
    for (unsigned i = 0; i < JOBS; i++)
        sl_fd_job_start(w->jobs, &w->one[i].job, hang, ended);
}

static void answer(struct world *w, unsigned count)
{
    while (count-- > 0)
        assert_int_equal(sem_post(&w->answer), 0);
}

static void nothing(uv_work_t *work)
{
    (void)work;
}

static void count_done(uv_work_t *work, int status)
{
    assert_int_equal(status, 0);
    ++*(unsigned *)work->data;
}

static void files_that_hang_leave_threads_for_others(void **state)
{
    struct world w;
    unsigned others = 0;
    uv_work_t other = {.data = &others};

    (void)state;
    start(&w);
    begin_all(&w);
    assert_int_equal(uv_queue_work(&w.loop, &other, nothing, count_done), 0);
    while (others == 0)
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    assert_true(__atomic_load_n(&w.began, __ATOMIC_SEQ_CST) <= SL_FD_JOBS_MAX);
    assert_int_equal(w.ended, 0);
    answer(&w, JOBS);
    while (w.ended < JOBS)
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(w.began, JOBS);
    stop(&w);
}

static void a_job_started_anew_at_its_end_gets_its_turn(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    for (unsigned i = 0; i < SL_FD_JOBS_MAX; i++)
        w.one[i].again = w.jobs;
    for (unsigned i = 0; i < SL_FD_JOBS_MAX; i++)
        sl_fd_job_start(w.jobs, &w.one[i].job, hang, ended);
    answer(&w, 2 * SL_FD_JOBS_MAX);
    while (w.ended < 2 * SL_FD_JOBS_MAX)
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    stop(&w);
}

static void who_waits_can_be_cancelled(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    begin_all(&w);
    assert_true(sl_fd_job_cancel(&w.one[JOBS - 1].job));
    answer(&w, JOBS - 1);
    while (w.ended < JOBS - 1)
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    stop(&w);
    assert_int_equal(w.began, JOBS - 1);
}

static void jobs_outlive_their_owner(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    begin_all(&w);
    answer(&w, JOBS);
    stop(&w);
    assert_int_equal(w.ended, JOBS);
}

static void a_file_is_closed_by_a_job_and_a_pipe_at_once(void **state)
{
    struct world w;
    int fd[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    (void)state;
    start(&w);
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    begin_all(&w); /* every thread for files is taken */
    sl_fd_jobs_close(w.jobs, fd[0]);
    assert_int_equal(fcntl(fd[0], F_GETFD), -1);
    sl_fd_jobs_close(w.jobs, file);
    assert_int_not_equal(fcntl(file, F_GETFD), -1);
    answer(&w, JOBS);
    stop(&w);
    assert_int_equal(fcntl(file, F_GETFD), -1);
    sl_fd_jobs_close(NULL, fd[1]);
    assert_int_equal(fcntl(fd[1], F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_hang_leave_threads_for_others),
        cmocka_unit_test(a_job_started_anew_at_its_end_gets_its_turn),
        cmocka_unit_test(who_waits_can_be_cancelled),
        cmocka_unit_test(jobs_outlive_their_owner),
        cmocka_unit_test(a_file_is_closed_by_a_job_and_a_pipe_at_once),
    };

    /* As the daemon has it. */
    (void)setenv("UV_THREADPOOL_SIZE", "8", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
