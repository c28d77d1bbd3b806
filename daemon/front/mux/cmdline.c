/* SPDX-License-Identifier: MIT */
/* Reads a client's command line in a worker, and asks after a moment whether an old `ssh -f` has gone to the
 * background. */
#include "daemon/front/mux/cmdline.h"

#include "base/container.h"
#include "proto/status.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A longer command line is not judged. */
#define COMMAND_LINE_MAX 16384u
/* For an ssh to go to the background, which it does as soon as it is told of its session. */
#define FORK_MS 250u

/* --- the command line --------------------------------------------------------------------------------------------- */

struct sl_mux_cmdline {
    struct sl_fd_job job;   /* the client can make it hang */
    sl_mux_cmdline_fn done; /* NULL: cancelled */
    void *arg;
    pid_t pid;
    uint64_t start_time;
    size_t len;
    char words[COMMAND_LINE_MAX];
};

static void on_work(struct sl_fd_job *job)
{
    struct sl_mux_cmdline *cmdline = SL_CONTAINER(job, struct sl_mux_cmdline, job);
    cmdline->len = sl_peer_words(cmdline->pid, cmdline->start_time, cmdline->words, sizeof cmdline->words);
}

static void on_worked(struct sl_fd_job *job)
{
    struct sl_mux_cmdline *cmdline = SL_CONTAINER(job, struct sl_mux_cmdline, job);
    struct sl_mux_words words = {0};
    if (cmdline->len < sizeof cmdline->words - 1) /* else there may be more of it */
        sl_mux_words_read(cmdline->words, cmdline->len, &words);
    if (cmdline->done != NULL)
        cmdline->done(cmdline->arg, &words);
    free(cmdline);
}

int sl_mux_cmdline_read(
    struct sl_mux_client *client, sl_mux_cmdline_fn done, void *arg, struct sl_mux_cmdline **ret_cmdline)
{
    struct sl_mux_cmdline *cmdline = calloc(1, sizeof *cmdline);
    if (cmdline == NULL)
        return SL_E_NOMEM;
    cmdline->done = done;
    cmdline->arg = arg;
    cmdline->pid = client->who.pid;
    cmdline->start_time = client->who.start_time;
    sl_fd_job_start(sl_watch_jobs(client->mux->watch), &cmdline->job, client->who.uid, on_work, on_worked);
    *ret_cmdline = cmdline;
    return 0;
}

void sl_mux_cmdline_cancel(struct sl_mux_cmdline *cmdline)
{
    if (cmdline == NULL)
        return;
    cmdline->done = NULL; /* where it runs already it is not waited for */
    if (sl_fd_job_cancel(&cmdline->job))
        free(cmdline);
}

/* --- the background ----------------------------------------------------------------------------------------------- */

struct sl_mux_fork {
    uv_timer_t timer;
    sl_mux_fork_fn done;
    void *arg;
    pid_t pid;
    uint64_t start_time;
};

/* Nobody need have waited for it. */
static bool is_over(pid_t pid, uint64_t start_time)
{
    if (sl_peer_start_time(pid) != start_time)
        return true;
    const int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH;
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    const bool over = poll(&pfd, 1, 0) > 0;
    (void)close(fd);
    return over;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void sl_mux_fork_cancel(struct sl_mux_fork *fork)
{
    if (fork != NULL)
        uv_close((uv_handle_t *)&fork->timer, on_timer_closed);
}

static void on_fork_due(uv_timer_t *timer)
{
    struct sl_mux_fork *fork = timer->data;
    sl_mux_fork_cancel(fork);
    fork->done(fork->arg, is_over(fork->pid, fork->start_time));
}

int sl_mux_await_fork(struct sl_mux_client *client, sl_mux_fork_fn done, void *arg, struct sl_mux_fork **ret_fork)
{
    struct sl_mux_fork *fork = calloc(1, sizeof *fork);
    if (fork == NULL)
        return SL_E_NOMEM;
    (void)uv_timer_init(client->mux->loop, &fork->timer);
    fork->timer.data = fork;
    fork->done = done;
    fork->arg = arg;
    fork->pid = client->who.pid;
    fork->start_time = client->who.start_time;
    (void)uv_timer_start(&fork->timer, on_fork_due, FORK_MS, 0);
    *ret_fork = fork;
    return 0;
}
