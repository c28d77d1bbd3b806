/* SPDX-License-Identifier: MIT */
/* A job is of two sides: the loop's (listed, with a deadline) and the thread's (running). Each lets go of it; the
 * second frees it. What both touch is behind the lock. The room itself lives until its owner and every thread have let
 * go. */
#include "daemon/net/hang_jobs.h"

#include "proto/status.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>

/* Name services are called on it. */
#define STACK_BYTES (512u * 1024u)

struct sl_hang_job {
    TAILQ_ENTRY(sl_hang_job) link;      /* of the loop's side */
    TAILQ_ENTRY(sl_hang_job) done_link; /* behind the lock */
    struct sl_hang_jobs *jobs;
    const struct sl_hang_kind *kind;
    void *data, *arg;
    uint64_t key, deadline_ms; /* UINT64_MAX: none */
    /* Behind the lock: */
    enum { HANG_WAITS, HANG_RUNS, HANG_DONE } state;
    bool forgotten; /* the loop has let go of it */
};
TAILQ_HEAD(sl_hang_list, sl_hang_job);

struct sl_hang_jobs {
    uv_loop_t *loop;
    uv_async_t async; /* a job is done */
    uv_timer_t timer; /* the next deadline */
    unsigned handles; /* not yet closed */
    unsigned most;
    struct sl_hang_list list; /* what somebody waits for: running, or in line */
    pthread_mutex_t lock;
    struct sl_hang_list done;
    struct sl_hang_list stuck; /* running, and nobody waits any more */
    unsigned threads;
    bool left; /* the owner has gone: the async handle is not to be touched */
};

static void start_next(struct sl_hang_jobs *jobs);
static void on_timer(uv_timer_t *timer);

uint64_t sl_hang_key(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

static void dispose(struct sl_hang_job *job)
{
    job->kind->dispose(job->data);
    free(job);
}

static void free_if_last(struct sl_hang_jobs *jobs, bool last)
{
    if (!last)
        return;
    (void)pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}

/* --- the thread's side -------------------------------------------------------------------------------------------- */

static void *in_thread(void *arg)
{
    struct sl_hang_job *job = arg;
    struct sl_hang_jobs *jobs = job->jobs;
    job->kind->run(job->data);
    (void)pthread_mutex_lock(&jobs->lock);
    job->state = HANG_DONE;
    jobs->threads--;
    const bool forgotten = job->forgotten;
    if (forgotten)
        TAILQ_REMOVE(&jobs->stuck, job, done_link);
    else
        TAILQ_INSERT_TAIL(&jobs->done, job, done_link);
    if (!jobs->left)
        (void)uv_async_send(&jobs->async); /* there is room for another one, too */
    const bool last = jobs->left && jobs->threads == 0 && jobs->handles == 0;
    (void)pthread_mutex_unlock(&jobs->lock);
    if (forgotten)
        dispose(job);
    free_if_last(jobs, last);
    return NULL;
}

/* Signals are for the loop's thread. */
static bool start_thread(struct sl_hang_job *job)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;

    if (pthread_attr_init(&attr) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool started = pthread_create(&thread, &attr, in_thread, job) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return started;
}

/* --- the loop's side ---------------------------------------------------------------------------------------------- */

/* With the lock held. */
static unsigned threads_of(const struct sl_hang_jobs *jobs, uint64_t key)
{
    const struct sl_hang_job *job;
    unsigned count = 0;
    TAILQ_FOREACH(job, &jobs->list, link)
    {
        count += job->state == HANG_RUNS && job->key == key;
    }
    TAILQ_FOREACH(job, &jobs->stuck, done_link)
    {
        count += job->key == key;
    }
    return count;
}

/* Those in line that may run now. One whose thread cannot be made stays in line for the next time. */
static void start_next(struct sl_hang_jobs *jobs)
{
    struct sl_hang_job *job;
    (void)pthread_mutex_lock(&jobs->lock);
    TAILQ_FOREACH(job, &jobs->list, link)
    {
        if (jobs->threads >= jobs->most)
            break;
        if (job->state != HANG_WAITS || threads_of(jobs, job->key) >= SL_HANG_PER_KEY)
            continue;
        job->state = HANG_RUNS;
        jobs->threads++;
        if (!start_thread(job)) {
            job->state = HANG_WAITS;
            jobs->threads--;
            break;
        }
    }
    (void)pthread_mutex_unlock(&jobs->lock);
}

static void set_timer(struct sl_hang_jobs *jobs)
{
    const struct sl_hang_job *job;
    const uint64_t now = uv_now(jobs->loop);
    uint64_t next = UINT64_MAX;
    TAILQ_FOREACH(job, &jobs->list, link)
    {
        if (job->deadline_ms < next)
            next = job->deadline_ms;
    }
    (void)uv_timer_stop(&jobs->timer);
    if (next != UINT64_MAX)
        (void)uv_timer_start(&jobs->timer, on_timer, next > now ? next - now : 0, 0);
    if (TAILQ_EMPTY(&jobs->list))
        uv_unref((uv_handle_t *)&jobs->async);
    else
        uv_ref((uv_handle_t *)&jobs->async);
}

void sl_hang_job_forget(struct sl_hang_job *job)
{
    if (job == NULL)
        return;
    struct sl_hang_jobs *jobs = job->jobs;
    TAILQ_REMOVE(&jobs->list, job, link);
    (void)pthread_mutex_lock(&jobs->lock);
    const bool running = job->state == HANG_RUNS;
    job->forgotten = true;
    if (running)
        TAILQ_INSERT_TAIL(&jobs->stuck, job, done_link);
    else if (job->state == HANG_DONE)
        TAILQ_REMOVE(&jobs->done, job, done_link);
    (void)pthread_mutex_unlock(&jobs->lock);
    if (!running)
        dispose(job);
    set_timer(jobs);
}

static struct sl_hang_job *find_late(struct sl_hang_jobs *jobs)
{
    struct sl_hang_job *job;
    TAILQ_FOREACH(job, &jobs->list, link)
    {
        if (job->deadline_ms <= uv_now(jobs->loop))
            return job;
    }
    return NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct sl_hang_jobs *jobs = timer->data;
    struct sl_hang_job *job;
    while (!jobs->left && (job = find_late(jobs)) != NULL) {
        const struct sl_hang_kind *kind = job->kind;
        void *arg = job->arg;
        sl_hang_job_forget(job);
        kind->done(arg, NULL);
    }
}

static struct sl_hang_job *take_done(struct sl_hang_jobs *jobs)
{
    (void)pthread_mutex_lock(&jobs->lock);
    struct sl_hang_job *job = TAILQ_FIRST(&jobs->done);
    if (job != NULL)
        TAILQ_REMOVE(&jobs->done, job, done_link);
    (void)pthread_mutex_unlock(&jobs->lock);
    return job;
}

static void on_async(uv_async_t *async)
{
    struct sl_hang_jobs *jobs = async->data;
    struct sl_hang_job *job;
    while (!jobs->left && (job = take_done(jobs)) != NULL) {
        TAILQ_REMOVE(&jobs->list, job, link);
        set_timer(jobs);
        job->kind->done(job->arg, job->data);
        dispose(job);
    }
    if (!jobs->left)
        start_next(jobs);
}

int sl_hang_job_start(struct sl_hang_jobs *jobs, const struct sl_hang_kind *kind, uint64_t key, void *data, void *arg,
    uint64_t timeout_ms, struct sl_hang_job **ret_job)
{
    struct sl_hang_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return SL_E_NOMEM;
    job->jobs = jobs;
    job->kind = kind;
    job->key = key;
    job->data = data;
    job->arg = arg;
    job->deadline_ms = timeout_ms > 0 ? uv_now(jobs->loop) + timeout_ms : UINT64_MAX;
    TAILQ_INSERT_TAIL(&jobs->list, job, link);
    set_timer(jobs);
    start_next(jobs);
    *ret_job = job;
    return 0;
}

/* --- start and end ------------------------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_hang_jobs *jobs = handle->data;
    (void)pthread_mutex_lock(&jobs->lock);
    const bool last = --jobs->handles == 0 && jobs->threads == 0;
    (void)pthread_mutex_unlock(&jobs->lock);
    free_if_last(jobs, last);
}

int sl_hang_jobs_new(uv_loop_t *loop, unsigned threads, struct sl_hang_jobs **ret_jobs)
{
    struct sl_hang_jobs *jobs = calloc(1, sizeof *jobs);
    if (jobs == NULL)
        return SL_E_NOMEM;
    if (uv_async_init(loop, &jobs->async, on_async) != 0) {
        free(jobs);
        return SL_E_IO;
    }
    (void)uv_timer_init(loop, &jobs->timer);
    uv_unref((uv_handle_t *)&jobs->async);
    jobs->async.data = jobs->timer.data = jobs;
    jobs->handles = 2;
    jobs->loop = loop;
    jobs->most = threads;
    (void)pthread_mutex_init(&jobs->lock, NULL);
    TAILQ_INIT(&jobs->list);
    TAILQ_INIT(&jobs->done);
    TAILQ_INIT(&jobs->stuck);
    *ret_jobs = jobs;
    return 0;
}

void sl_hang_jobs_free(struct sl_hang_jobs *jobs)
{
    struct sl_hang_job *job;
    if (jobs == NULL)
        return;
    while ((job = TAILQ_FIRST(&jobs->list)) != NULL)
        sl_hang_job_forget(job);
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->left = true;
    (void)pthread_mutex_unlock(&jobs->lock);
    uv_close((uv_handle_t *)&jobs->async, on_handle_closed);
    uv_close((uv_handle_t *)&jobs->timer, on_handle_closed);
}
