/* SPDX-License-Identifier: MIT */
/* Jobs and closes in threads: who hangs is alone with it; cancelled, refused, and left behind. */
#include "daemon/net/fd_jobs.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/net/lingering.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS     (SL_FD_JOBS_PER_USER + 6u)
#define STRANGER 4711u
#define OTHER    4712u

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

static void ended(struct sl_fd_job *job)
{
    struct hanging *h = (struct hanging *)job;
    struct sl_fd_jobs *again = h->again;
    ++*h->ended;
    h->again = NULL;
    if (again != NULL)
        sl_fd_job_start(again, job, STRANGER, hang, ended);
}

struct world {
    uv_loop_t loop;
    struct sl_fd_jobs *jobs;
    sem_t answer;
    unsigned began, ended;
    struct hanging one[JOBS];
};

/* Set, close() hangs on it. */
static sem_t *_Atomic stuck_answer;

static void start(struct world *w)
{
    stuck_answer = NULL;
    *w = (struct world){.began = 0};
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(sl_fd_jobs_new(&w->loop, &w->jobs), 0);
    assert_int_equal(sem_init(&w->answer, 0, 0), 0);
    for (unsigned i = 0; i < JOBS; i++)
        w->one[i] = (struct hanging){.answer = &w->answer, .began = &w->began, .ended = &w->ended};
}

static void stop(struct world *w)
{
    sl_fd_jobs_unref(w->jobs);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    sem_destroy(&w->answer);
}

static void begin_all(struct world *w)
{
    for (unsigned i = 0; i < JOBS; i++)
        sl_fd_job_start(w->jobs, &w->one[i].job, STRANGER, hang, ended);
}

static void answer(struct world *w, unsigned count)
{
    while (count-- > 0)
        assert_int_equal(sem_post(&w->answer), 0);
}

static void until_ended(struct world *w, unsigned count)
{
    while (w->ended < count)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
}

static void ended_close(struct sl_fd_job *job)
{
    (void)job;
}

static void count_up(struct sl_fd_job *job)
{
    ++*((struct hanging *)job)->began;
}

/* A job of that user's gets through. */
static void assert_served(struct world *w, uid_t uid)
{
    unsigned began = 0, done = 0;
    struct hanging quick = {.began = &began, .ended = &done};
    sl_fd_job_start(w->jobs, &quick.job, uid, count_up, ended);
    while (done == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    assert_int_equal(began, 1);
}

static void await_closed(int fd)
{
    while (fcntl(fd, F_GETFD) != -1)
        (void)usleep(100);
}

TEST(what_hangs_costs_its_users_share_only)
{
    struct world w;
    start(&w);
    begin_all(&w);
    assert_served(&w, OTHER);
    assert_true(__atomic_load_n(&w.began, __ATOMIC_SEQ_CST) <= SL_FD_JOBS_PER_USER);
    assert_int_equal(w.ended, 0);
    answer(&w, JOBS);
    until_ended(&w, JOBS);
    assert_int_equal(w.began, JOBS);
    stop(&w);
}

/* As many strangers as there are threads for: root and the daemon's own user are served all the same. */
TEST(many_users_leave_room_for_root_and_us)
{
    enum { USERS = SL_FD_THREADS_MAX / SL_FD_JOBS_PER_USER + 2, ALL = USERS * SL_FD_JOBS_PER_USER };
    struct hanging *all = calloc(ALL, sizeof *all);
    struct world w;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_non_null(all);
    start(&w);
    for (unsigned i = 0; i < ALL; i++) {
        all[i] = (struct hanging){.answer = &w.answer, .began = &w.began, .ended = &w.ended};
        sl_fd_job_start(w.jobs, &all[i].job, STRANGER + i / SL_FD_JOBS_PER_USER, hang, ended);
    }
    while (__atomic_load_n(&w.began, __ATOMIC_SEQ_CST) < SL_FD_THREADS_MAX - SL_FD_THREADS_KEPT)
        (void)usleep(100);
    assert_served(&w, 0);
    assert_served(&w, geteuid());
    sl_fd_jobs_close(w.jobs, fd); /* nobody's, as are sockets */
    await_closed(fd);
    assert_int_equal(w.began, SL_FD_THREADS_MAX - SL_FD_THREADS_KEPT);
    answer(&w, ALL);
    until_ended(&w, ALL);
    stop(&w);
    free(all);
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

/* libuv's pool has one thread in this test. */
TEST(logins_have_their_pool_for_themselves)
{
    struct world w;
    unsigned logins = 0;
    uv_work_t login = {.data = &logins};
    start(&w);
    begin_all(&w);
    while (__atomic_load_n(&w.began, __ATOMIC_SEQ_CST) < SL_FD_JOBS_PER_USER)
        (void)usleep(100);
    assert_int_equal(uv_queue_work(&w.loop, &login, nothing, count_done), 0);
    while (logins == 0)
        (void)uv_run(&w.loop, UV_RUN_ONCE);
    answer(&w, JOBS);
    until_ended(&w, JOBS);
    stop(&w);
}

TEST(a_job_started_anew_at_its_end_gets_its_turn)
{
    struct world w;
    start(&w);
    for (unsigned i = 0; i < SL_FD_JOBS_PER_USER; i++) {
        w.one[i].again = w.jobs;
        sl_fd_job_start(w.jobs, &w.one[i].job, STRANGER, hang, ended);
    }
    answer(&w, 2 * SL_FD_JOBS_PER_USER);
    until_ended(&w, 2 * SL_FD_JOBS_PER_USER);
    stop(&w);
}

TEST(who_waits_can_be_cancelled)
{
    struct world w;
    start(&w);
    begin_all(&w);
    assert_true(sl_fd_job_cancel(&w.one[JOBS - 1].job));
    answer(&w, JOBS - 1);
    until_ended(&w, JOBS - 1);
    stop(&w);
    assert_int_equal(w.began, JOBS - 1);
}

TEST(jobs_outlive_their_owner)
{
    struct world w;
    start(&w);
    begin_all(&w);
    answer(&w, JOBS);
    stop(&w);
    assert_int_equal(w.ended, JOBS);
}

/* --- closing ------------------------------------------------------------------------------------------------------ */

/* The linker puts this in close()'s place: descriptors from STUCK_FROM on are files whose server does not answer. */
#define STUCK_FROM 500

int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_close(int fd)
{
    while (stuck_answer != NULL && fd >= STUCK_FROM && sem_wait(stuck_answer) != 0)
        continue;
    return __real_close(fd);
}

static int stuck_file(struct world *w, uid_t uid)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fd = fcntl(null, F_DUPFD_CLOEXEC, STUCK_FROM);
    stuck_answer = &w->answer;
    assert_true(fd >= STUCK_FROM);
    assert_int_equal(__real_close(null), 0);
    assert_int_equal(sl_fd_jobs_own(w->jobs, fd, uid), 0);
    assert_int_equal(sl_fd_jobs_owner(w->jobs, fd), uid);
    return fd;
}

TEST(a_close_that_hangs_holds_up_nobody)
{
    struct world w;
    int fd[2], mine = open("/dev/null", O_RDONLY | O_CLOEXEC);
    start(&w);
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    for (unsigned i = 0; i < SL_FD_CLOSES_PER_USER; i++)
        sl_fd_jobs_close(w.jobs, stuck_file(&w, STRANGER));
    sl_fd_jobs_close(w.jobs, fd[0]);
    assert_int_equal(sl_fd_jobs_own(w.jobs, mine, OTHER), 0);
    sl_fd_jobs_close(w.jobs, mine);
    await_closed(fd[0]);
    await_closed(mine);
    answer(&w, SL_FD_CLOSES_PER_USER);
    stop(&w);
    sl_fd_jobs_close(NULL, fd[1]);
    assert_int_equal(fcntl(fd[1], F_GETFD), -1);
}

static void await_count(struct sl_quota *quota, uid_t uid, uint64_t count)
{
    while (sl_quota_of(quota, uid, SL_QUOTA_DESCRIPTORS) != count)
        (void)usleep(100);
}

/* A close that hangs costs its user's share as well. */
TEST(descriptors_count_until_they_are_closed)
{
    struct world w;
    struct sl_fd_job job;
    struct sl_quota *quota = sl_quota_new();
    assert_non_null(quota);
    sl_quota_limit(quota, SL_QUOTA_DESCRIPTORS, 2);
    start(&w);
    sl_fd_jobs_account(w.jobs, quota);
    int stuck = stuck_file(&w, STRANGER), fd = dup(STDIN_FILENO), more = dup(STDIN_FILENO);
    assert_int_equal(sl_fd_jobs_own(w.jobs, fd, STRANGER), 0);
    assert_int_equal(sl_fd_jobs_own(w.jobs, fd, OTHER), 0); /* whose it is now */
    assert_int_equal(sl_quota_of(quota, STRANGER, SL_QUOTA_DESCRIPTORS), 1);
    assert_int_equal(sl_quota_of(quota, OTHER, SL_QUOTA_DESCRIPTORS), 1);
    assert_int_equal(sl_fd_jobs_own(w.jobs, more, OTHER), SL_E_BUSY);
    assert_int_equal(sl_fd_jobs_owner(w.jobs, more), OTHER);
    sl_fd_jobs_close(w.jobs, more); /* was never counted */
    await_closed(more);
    sl_fd_job_close(w.jobs, &job, fd, ended_close);
    await_count(quota, OTHER, 0);
    sl_fd_jobs_close(w.jobs, stuck);
    assert_served(&w, STRANGER);
    assert_int_equal(sl_quota_of(quota, STRANGER, SL_QUOTA_DESCRIPTORS), 1);
    answer(&w, 1);
    await_count(quota, STRANGER, 0);
    stop(&w);
    sl_quota_free(quota);
}

/* The quota may be gone when what hangs ends at last. */
TEST(who_is_gone_counts_nothing)
{
    struct world w;
    struct sl_quota *quota = sl_quota_new();
    assert_non_null(quota);
    start(&w);
    sl_fd_jobs_account(w.jobs, quota);
    int stuck = stuck_file(&w, STRANGER);
    sl_fd_jobs_close(w.jobs, stuck);
    assert_served(&w, OTHER);
    sl_fd_jobs_unref(w.jobs);
    assert_int_equal(uv_run(&w.loop, UV_RUN_DEFAULT), 0); /* for SL_FD_PATIENCE_MS */
    assert_int_equal(uv_loop_close(&w.loop), 0);
    sl_quota_free(quota);
    answer(&w, 1);
    await_closed(stuck);
    stuck_answer = NULL;
}

TEST(who_has_too_much_that_hangs_is_stalled)
{
    struct world w;
    unsigned closes = SL_FD_CLOSES_PER_USER;
    start(&w);
    for (unsigned i = 0; i < closes; i++)
        sl_fd_jobs_close(w.jobs, stuck_file(&w, STRANGER));
    assert_false(sl_fd_jobs_stalled(w.jobs, STRANGER)); /* none waits */
    sl_fd_jobs_close(w.jobs, stuck_file(&w, STRANGER));
    closes++;
    while (!sl_fd_jobs_stalled(w.jobs, STRANGER)) /* when one has waited for a second */
        (void)usleep(1000);
    assert_false(sl_fd_jobs_stalled(w.jobs, OTHER));
    answer(&w, closes);
    while (sl_fd_jobs_stalled(w.jobs, STRANGER)) /* over, as soon as they end */
        (void)usleep(1000);
    stop(&w);
}

TEST(very_many_at_once_are_stalled_at_once)
{
    struct world w;
    const unsigned closes = SL_FD_CLOSES_PER_USER + SL_FD_CLOSES_WAITING;
    const struct rlimit files = {8192, 8192};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    start(&w);
    for (unsigned i = 0; i < closes; i++)
        sl_fd_jobs_close(w.jobs, stuck_file(&w, STRANGER));
    assert_true(sl_fd_jobs_stalled(w.jobs, STRANGER));
    assert_false(sl_fd_jobs_stalled(w.jobs, OTHER));
    for (unsigned i = 0; i < closes; i++) /* together, a quarter of all descriptors */
        sl_fd_jobs_close(w.jobs, stuck_file(&w, OTHER));
    assert_true(sl_fd_jobs_stalled(w.jobs, OTHER + 1));
    assert_false(sl_fd_jobs_stalled(w.jobs, geteuid()));
    answer(&w, 2 * closes);
    stop(&w);
}

TEST(the_end_does_not_wait_for_ever)
{
    struct world w;
    int status;
    pid_t child = fork(); /* what is left behind is left to the end of a process */
    if (child == 0) {
        start(&w);
        sl_fd_jobs_close(w.jobs, stuck_file(&w, STRANGER));
        begin_all(&w);
        sl_fd_jobs_unref(w.jobs);
        (void)uv_run(&w.loop, UV_RUN_DEFAULT);
        _exit(uv_loop_close(&w.loop) == 0 && w.ended == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

TEST(the_highest_numbers_are_not_for_clients)
{
    struct world w;
    struct rlimit files;
    start(&w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), high = fcntl(null, F_DUPFD_CLOEXEC, (int)files.rlim_cur - 2);
    assert_true(high >= 0);
    assert_int_equal(sl_fd_jobs_own(w.jobs, null, STRANGER), 0);
    assert_int_equal(sl_fd_jobs_own(w.jobs, high, STRANGER), SL_E_LIMIT);
    sl_fd_jobs_close(w.jobs, null);
    sl_fd_jobs_close(w.jobs, high);
    stop(&w);
    assert_int_equal(fcntl(high, F_GETFD), -1);
}

/* The kernel would wait for an hour: two seconds of patience are enough, so none of them was waited for. */
TEST(sockets_that_linger_are_not_waited_for)
{
    struct world w;
    int peer[3], pair[2], read_pair[2];
    char byte;
    bool rights;
    start(&w);
    int plain = lingering_socket(&peer[0]), nested = lingering_socket(&peer[1]), read = lingering_socket(&peer[2]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pass_descriptor(pair[0], nested);
    assert_int_equal(__real_close(nested), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, read_pair), 0);
    pass_descriptor(read_pair[0], read);
    assert_int_equal(__real_close(read), 0);
    assert_int_equal(sl_fd_recv(w.jobs, read_pair[1], &byte, 1, &rights), 1);
    assert_true(rights);
    sl_fd_jobs_close(w.jobs, plain);
    sl_fd_jobs_close(w.jobs, pair[1]);
    const uint64_t began = uv_hrtime();
    stop(&w);
    assert_true(uv_hrtime() - began < SL_FD_PATIENCE_MS * UINT64_C(1000000));
    assert_int_equal(fcntl(pair[1], F_GETFD), -1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(__real_close(peer[i]), 0);
    (void)__real_close(pair[0]);
    (void)__real_close(read_pair[0]);
    (void)__real_close(read_pair[1]);
}

TEST(only_what_says_so_is_no_file)
{
    int pair[2], pipes[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(sl_fd_kind(pair[0]), SL_FD_KIND_SOCKET);
    assert_int_equal(sl_fd_kind(pipes[0]), SL_FD_KIND_PIPE);
    assert_int_equal(sl_fd_kind(null), SL_FD_KIND_DEVICE);
    assert_int_equal(sl_fd_kind(file), SL_FD_KIND_FILE);
    assert_int_equal(sl_fd_kind(9999), SL_FD_KIND_FILE); /* statx() fails, as for a FUSE file of somebody else's */
    const int all[] = {pair[0], pair[1], pipes[0], pipes[1], null, file};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(__real_close(all[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_does_not_wait_for_ever), /* first: it forks, and there are no threads yet */
        cmocka_unit_test(what_hangs_costs_its_users_share_only),
        cmocka_unit_test(many_users_leave_room_for_root_and_us),
        cmocka_unit_test(logins_have_their_pool_for_themselves),
        cmocka_unit_test(a_job_started_anew_at_its_end_gets_its_turn), cmocka_unit_test(who_waits_can_be_cancelled),
        cmocka_unit_test(jobs_outlive_their_owner), cmocka_unit_test(a_close_that_hangs_holds_up_nobody),
        cmocka_unit_test(descriptors_count_until_they_are_closed), cmocka_unit_test(who_is_gone_counts_nothing),
        cmocka_unit_test(who_has_too_much_that_hangs_is_stalled),
        cmocka_unit_test(the_highest_numbers_are_not_for_clients),
        cmocka_unit_test(sockets_that_linger_are_not_waited_for), cmocka_unit_test(only_what_says_so_is_no_file),
        cmocka_unit_test(very_many_at_once_are_stalled_at_once), /* last: it lowers a limit */
    };
    (void)setenv("UV_THREADPOOL_SIZE", "1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
