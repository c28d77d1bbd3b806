#include "daemon/net/fd_jobs.h"

#include "proto/status.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct sl_fd_jobs {
    uv_loop_t *loop;
    unsigned busy; /* in threads, or on their way there or back */
    TAILQ_HEAD(, sl_fd_job) waiting;
    bool freed;
};

struct closing {
    struct sl_fd_job job; /* first: found by it */
    int fd;
};

int sl_fd_jobs_new(uv_loop_t *loop, struct sl_fd_jobs **ret_jobs)
{
    struct sl_fd_jobs *jobs = calloc(1, sizeof *jobs);

    if (jobs == NULL)
        return SL_E_NOMEM;
    jobs->loop = loop;
    TAILQ_INIT(&jobs->waiting);
    *ret_jobs = jobs;
    return SL_OK;
}

void sl_fd_jobs_free(struct sl_fd_jobs *jobs)
{
    if (jobs == NULL)
        return;
    jobs->freed = true;
    if (jobs->busy == 0)
        free(jobs); /* nobody waits while a thread is free */
}

static void in_thread(uv_work_t *work)
{
    struct sl_fd_job *job = work->data;

    job->run(job);
}

static void send_to_thread(struct sl_fd_job *job);

static void after_thread(uv_work_t *work, int status)
{
    struct sl_fd_job *job = work->data;
    struct sl_fd_jobs *jobs = job->jobs;

    job->done(job, status == 0); /* may start it anew, behind those who wait */
    jobs->busy--;
    struct sl_fd_job *next = TAILQ_FIRST(&jobs->waiting);
    if (next != NULL) {
        TAILQ_REMOVE(&jobs->waiting, next, link);
        next->waiting = false;
        send_to_thread(next);
    }
    if (jobs->freed && jobs->busy == 0)
        free(jobs);
}

static void send_to_thread(struct sl_fd_job *job)
{
    job->jobs->busy++;
    int r = uv_queue_work(job->jobs->loop, &job->work, in_thread, after_thread);
    assert(r == 0); /* refuses only work that is none */
    (void)r;
}

void sl_fd_job_start(struct sl_fd_jobs *jobs, struct sl_fd_job *job, void (*run)(struct sl_fd_job *job),
    void (*done)(struct sl_fd_job *job, bool ran))
{
    *job = (struct sl_fd_job){.jobs = jobs, .run = run, .done = done};
    job->work.data = job;
    if (jobs->busy < SL_FD_JOBS_MAX) {
        send_to_thread(job);
        return;
    }
    job->waiting = true;
    TAILQ_INSERT_TAIL(&jobs->waiting, job, link);
}

bool sl_fd_job_cancel(struct sl_fd_job *job)
{
    if (!job->waiting) {
        (void)uv_cancel((uv_req_t *)&job->work);
        return false;
    }
    TAILQ_REMOVE(&job->jobs->waiting, job, link);
    job->waiting = false;
    return true;
}

int sl_fd_stat(int fd, struct statx *ret_stat)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, ret_stat);
}

static void close_in_thread(struct sl_fd_job *job)
{
    (void)close(((struct closing *)job)->fd);
}

static void after_close(struct sl_fd_job *job, bool ran)
{
    assert(ran); /* nobody cancels it */
    (void)ran;
    free(job);
}

void sl_fd_jobs_close(struct sl_fd_jobs *jobs, int fd)
{
    struct statx st;

    if (jobs != NULL && sl_fd_stat(fd, &st) == 0 &&
        (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode) || S_ISBLK(st.stx_mode))) {
        struct closing *c = calloc(1, sizeof *c);
        if (c != NULL) {
            c->fd = fd;
            sl_fd_job_start(jobs, &c->job, close_in_thread, after_close);
            return;
        }
    }
    (void)close(fd);
}
