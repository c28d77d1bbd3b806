/* SPDX-License-Identifier: MIT */
/* Reads a client's command line in a worker, and asks after a moment whether an old `ssh -f` has gone to the
 * background. */
#include "daemon/front/mux/look.h"

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

struct sl_mux_look {
    struct sl_fd_job job; /* the client can make it hang */
    sl_mux_look_fn done;  /* NULL: cancelled */
    void *arg;
    pid_t pid;
    uint64_t start_time;
    size_t len;
    char words[COMMAND_LINE_MAX];
};

static void on_work(struct sl_fd_job *job)
{
    struct sl_mux_look *look = SL_CONTAINER(job, struct sl_mux_look, job);
    look->len = sl_peer_words(look->pid, look->start_time, look->words, sizeof look->words);
}

static void on_worked(struct sl_fd_job *job)
{
    struct sl_mux_look *look = SL_CONTAINER(job, struct sl_mux_look, job);
    struct sl_mux_words words = {0};
    if (look->len < sizeof look->words - 1) /* else there may be more of it */
        sl_mux_words_read(look->words, look->len, &words);
    if (look->done != NULL)
        look->done(look->arg, &words);
    free(look);
}

int sl_mux_look(struct sl_mux_client *client, sl_mux_look_fn done, void *arg, struct sl_mux_look **ret_look)
{
    struct sl_mux_look *look = calloc(1, sizeof *look);
    if (look == NULL)
        return SL_E_NOMEM;
    look->done = done;
    look->arg = arg;
    look->pid = client->who.pid;
    look->start_time = client->who.start_time;
    sl_fd_job_start(sl_watch_jobs(client->mux->watch), &look->job, client->who.uid, on_work, on_worked);
    *ret_look = look;
    return 0;
}

void sl_mux_look_cancel(struct sl_mux_look *look)
{
    if (look == NULL)
        return;
    look->done = NULL; /* where it runs already it is not waited for */
    if (sl_fd_job_cancel(&look->job))
        free(look);
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
