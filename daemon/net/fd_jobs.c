/* SPDX-License-Identifier: MIT */
/* Jobs that may hang, by owner: started, waited for, cancelled; a user whose closes do not end is reported as
 * stalled. */
#include "daemon/net/fd_jobs.h"

#include "daemon/net/fd_threads.h"
#include "daemon/net/peer.h"
#include "proto/status.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

struct sl_fd_jobs {
    uv_async_t async;    /* jobs are done; keeps the loop alive while there are any */
    uv_timer_t patience; /* runs at the end only */
    unsigned handles;    /* not yet closed */
    unsigned references;
    unsigned busy; /* jobs started and not yet told of */
    struct sl_fd_threads *threads;
    struct sl_turns *turns;
};

/* --- start and end ------------------------------------------------------------------------------------------------ */

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_fd_jobs *jobs = handle->data;
    if (--jobs->handles == 0)
        free(jobs);
}

static void leave(struct sl_fd_jobs *jobs)
{
    sl_fd_threads_leave(jobs->threads);
    sl_turns_free(jobs->turns);
    uv_close((uv_handle_t *)&jobs->async, on_handle_closed);
    uv_close((uv_handle_t *)&jobs->patience, on_handle_closed);
}

static void leave_when_over(struct sl_fd_jobs *jobs)
{
    if (jobs->references == 0 && !uv_is_closing((uv_handle_t *)&jobs->async) && jobs->busy == 0 &&
        sl_fd_threads_closing(jobs->threads) == 0)
        leave(jobs);
}

static void on_patience_over(uv_timer_t *timer)
{
    leave(timer->data);
}

static void on_done(uv_async_t *async)
{
    struct sl_fd_jobs *jobs = async->data;
    struct sl_fd_job *job;
    while ((job = sl_fd_threads_done(jobs->threads)) != NULL) {
        if (--jobs->busy == 0)
            uv_unref((uv_handle_t *)async);
        job->done(job); /* may start it anew */
    }
    leave_when_over(jobs);
}

static void wake(void *arg)
{
    (void)uv_async_send(&((struct sl_fd_jobs *)arg)->async);
}

int sl_fd_jobs_new(uv_loop_t *loop, struct sl_fd_jobs **ret_jobs)
{
    struct sl_fd_jobs *jobs = calloc(1, sizeof *jobs);
    if (jobs == NULL)
        return SL_E_NOMEM;
    if (sl_fd_threads_new(wake, jobs, &jobs->threads) != 0) {
        free(jobs);
        return SL_E_NOMEM;
    }
    int r = sl_turns_new(loop, &jobs->turns);
    if (r == 0 && uv_async_init(loop, &jobs->async, on_done) != 0)
        r = SL_E_IO;
    if (r != 0) {
        sl_turns_free(jobs->turns);
        sl_fd_threads_leave(jobs->threads);
        free(jobs);
        return r;
    }
    uv_unref((uv_handle_t *)&jobs->async);
    (void)uv_timer_init(loop, &jobs->patience);
    jobs->async.data = jobs->patience.data = jobs;
    jobs->handles = 2;
    jobs->references = 1;
    *ret_jobs = jobs;
    return 0;
}

struct sl_fd_jobs *sl_fd_jobs_ref(struct sl_fd_jobs *jobs)
{
    if (jobs != NULL)
        jobs->references++;
    return jobs;
}

struct sl_turns *sl_fd_jobs_turns(struct sl_fd_jobs *jobs)
{
    return jobs != NULL ? jobs->turns : NULL;
}

void sl_fd_jobs_unref(struct sl_fd_jobs *jobs)
{
    if (jobs == NULL || --jobs->references > 0)
        return;
    sl_fd_threads_end(jobs->threads);
    (void)uv_timer_start(&jobs->patience, on_patience_over, SL_FD_PATIENCE_MS, 0);
    leave_when_over(jobs);
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

static void start(struct sl_fd_jobs *jobs, struct sl_fd_job *job, uid_t uid)
{
    if (jobs->busy++ == 0)
        uv_ref((uv_handle_t *)&jobs->async);
    sl_fd_threads_start(jobs->threads, job, uid);
}

void sl_fd_job_start(struct sl_fd_jobs *jobs, struct sl_fd_job *job, uid_t uid, void (*run)(struct sl_fd_job *job),
    void (*done)(struct sl_fd_job *job))
{
    *job = (struct sl_fd_job){.jobs = jobs, .class = SL_FD_WORK, .run = run, .done = done};
    start(jobs, job, uid);
}

void sl_fd_job_close(struct sl_fd_jobs *jobs, struct sl_fd_job *job, int fd, void (*done)(struct sl_fd_job *job))
{
    *job = (struct sl_fd_job){.jobs = jobs, .class = SL_FD_CLOSE, .fd = fd, .done = done};
    start(jobs, job, sl_fd_jobs_owner(jobs, fd));
}

void sl_fd_job_moment(struct sl_fd_job *job, bool begins)
{
    sl_fd_threads_moment(job->lane, begins);
}

bool sl_fd_job_cancel(struct sl_fd_job *job)
{
    struct sl_fd_jobs *jobs = job->jobs;
    if (!sl_fd_threads_cancel(jobs->threads, job))
        return false;
    if (--jobs->busy == 0)
        uv_unref((uv_handle_t *)&jobs->async);
    if (jobs->references == 0)
        wake(jobs); /* not now: the caller may have a descriptor to close yet */
    return true;
}

/* --- descriptors -------------------------------------------------------------------------------------------------- */

void sl_fd_jobs_account(struct sl_fd_jobs *jobs, struct sl_quota *quota)
{
    sl_fd_threads_account(jobs->threads, quota);
}

int sl_fd_jobs_own(struct sl_fd_jobs *jobs, int fd, uid_t uid)
{
    return jobs == NULL ? 0 : sl_fd_threads_own(jobs->threads, fd, uid);
}

uid_t sl_fd_jobs_owner(struct sl_fd_jobs *jobs, int fd)
{
    return jobs == NULL ? SL_FD_NOBODY : sl_fd_threads_owner(jobs->threads, fd);
}

void sl_fd_jobs_close(struct sl_fd_jobs *jobs, int fd)
{
    if (jobs == NULL)
        (void)close(fd);
    else
        sl_fd_threads_close(jobs->threads, fd);
}

bool sl_fd_jobs_stalled(struct sl_fd_jobs *jobs, uid_t uid)
{
    return jobs != NULL && sl_fd_threads_stalled(jobs->threads, uid);
}

/* Whose the descriptors are that come by this one. */
static uid_t sender_of(struct sl_fd_jobs *jobs, int fd)
{
    const uid_t owner = sl_fd_jobs_owner(jobs, fd);
    return owner != SL_FD_NOBODY ? owner : sl_peer_uid(fd);
}

static bool close_rights(struct sl_fd_jobs *jobs, int by, struct msghdr *msg)
{
    bool any = false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || (c->cmsg_type != SCM_RIGHTS && c->cmsg_type != SCM_PIDFD))
            continue;
        const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            (void)sl_fd_jobs_own(jobs, fd, sender_of(jobs, by));
            sl_fd_jobs_close(jobs, fd);
            any = true;
        }
    }
    return any;
}

ssize_t sl_fd_recv(struct sl_fd_jobs *jobs, int fd, void *data, size_t len, bool *ret_rights)
{
    union {
        struct cmsghdr align;
        char room[SL_FD_RIGHTS_ROOM];
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = len};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    ssize_t n;
    *ret_rights = false;
    do
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    *ret_rights = close_rights(jobs, fd, &msg);
    /* What came cannot be closed any more: no more is taken. */
    return *ret_rights && sl_fd_jobs_stalled(jobs, sender_of(jobs, fd)) ? -EMFILE : n;
}

int sl_fd_keep(struct sl_fd_jobs *jobs, uid_t uid, struct msghdr *msg, int *fds, unsigned *count, unsigned most)
{
    int r = (msg->msg_flags & MSG_CTRUNC) == 0 ? 0 : SL_E_PROTOCOL;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        const size_t came = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < came; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            const int owned = sl_fd_jobs_own(jobs, fd, uid);
            r = owned != 0 ? owned : r;
            if (*count < most) {
                fds[(*count)++] = fd;
            } else {
                sl_fd_jobs_close(jobs, fd);
                r = r == 0 ? SL_E_PROTOCOL : r;
            }
        }
    }
    return r;
}
