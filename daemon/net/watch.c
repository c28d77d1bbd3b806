/* SPDX-License-Identifier: MIT */
/* An epoll instance of our own, which libuv polls: libuv's own polling makes a descriptor non-blocking, for everybody
 * who shares it. Events are fetched in batches; an entry that goes away in the middle of one is struck from the rest of
 * it. */
#include "daemon/net/watch.h"

#include "proto/status.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 64

struct sl_watch {
    uv_poll_t poll;
    uv_idle_t idle;   /* runs while `later` has entries */
    unsigned handles; /* not yet closed */
    unsigned entries; /* registered or queued: while there are any the loop lives */
    int epoll_fd;
    struct sl_fd_jobs *jobs;
    TAILQ_HEAD(, sl_watched) later;
    uint32_t round; /* of those queued now */
    struct epoll_event batch[BATCH];
    int batch_at, batch_len;
    uint8_t scratch[SL_WATCH_SCRATCH];
};

/* The loop lives while there is something to wait for. */
static void count(struct sl_watch *w, int by)
{
    w->entries += (unsigned)by;
    if (w->entries == 0)
        uv_unref((uv_handle_t *)&w->poll);
    else
        uv_ref((uv_handle_t *)&w->poll);
}

static void on_ready(uv_poll_t *poll, int status, int uv_events)
{
    struct sl_watch *w = poll->data;
    (void)status;
    (void)uv_events;
    w->batch_len = epoll_wait(w->epoll_fd, w->batch, BATCH, 0);
    for (w->batch_at = 0; w->batch_at < w->batch_len;) {
        const struct epoll_event event = w->batch[w->batch_at++];
        struct sl_watched *watched = event.data.ptr;
        if (watched != NULL)
            watched->fn(watched, event.events);
    }
    w->batch_len = 0;
}

static void on_idle(uv_idle_t *idle)
{
    struct sl_watch *w = idle->data;
    struct sl_watched *watched;
    /* What is queued meanwhile has its turn in the next round, or nobody else would have one. */
    w->round++;
    while ((watched = TAILQ_FIRST(&w->later)) != NULL && watched->round != w->round) {
        TAILQ_REMOVE(&w->later, watched, link);
        watched->queued = false;
        count(w, -1);
        watched->fn(watched, 0);
    }
    if (TAILQ_EMPTY(&w->later))
        (void)uv_idle_stop(idle);
}

void sl_watched_init(
    struct sl_watched *watched, struct sl_watch *watch, void (*fn)(struct sl_watched *watched, uint32_t events))
{
    *watched = (struct sl_watched){.watch = watch, .fd = -1, .fn = fn};
}

int sl_watched_register(struct sl_watched *watched, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLRDHUP | EPOLLET, .data = {.ptr = watched}};
    assert(!watched->registered);
    if (epoll_ctl(watched->watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return errno == EPERM ? SL_E_INVALID : errno == ENOMEM || errno == ENOSPC ? SL_E_NOMEM : SL_E_IO;
    watched->fd = fd;
    watched->registered = true;
    count(watched->watch, 1);
    return 0;
}

void sl_watched_later(struct sl_watched *watched)
{
    struct sl_watch *w = watched->watch;
    if (watched->queued)
        return;
    watched->queued = true;
    watched->round = w->round;
    TAILQ_INSERT_TAIL(&w->later, watched, link);
    count(w, 1);
    (void)uv_idle_start(&w->idle, on_idle);
}

void sl_watched_fini(struct sl_watched *watched)
{
    struct sl_watch *w = watched->watch;
    if (watched->queued) {
        TAILQ_REMOVE(&w->later, watched, link);
        watched->queued = false;
        count(w, -1);
    }
    if (!watched->registered)
        return;
    /* Others hold the description too: without this it would go on firing after our close(2). */
    (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, watched->fd, NULL);
    watched->registered = false;
    count(w, -1);
    for (int i = w->batch_at; i < w->batch_len; i++)
        if (w->batch[i].data.ptr == watched)
            w->batch[i].data.ptr = NULL;
}

/* --- the whole --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct sl_watch *w = handle->data;
    if (--w->handles > 0)
        return;
    (void)close(w->epoll_fd);
    free(w);
}

int sl_watch_new(uv_loop_t *loop, struct sl_watch **ret_watch)
{
    struct sl_watch *w = calloc(1, sizeof *w);
    int r = SL_E_IO;
    if (w == NULL)
        return SL_E_NOMEM;
    TAILQ_INIT(&w->later);
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll_fd < 0)
        goto err;
    r = sl_fd_jobs_new(loop, &w->jobs);
    if (r != 0)
        goto err_fd;
    r = SL_E_IO;
    if (uv_poll_init(loop, &w->poll, w->epoll_fd) != 0)
        goto err_jobs;
    (void)uv_idle_init(loop, &w->idle);
    w->poll.data = w->idle.data = w;
    w->handles = 2;
    (void)uv_poll_start(&w->poll, UV_READABLE, on_ready);
    uv_unref((uv_handle_t *)&w->poll);
    *ret_watch = w;
    return 0;

err_jobs:
    sl_fd_jobs_unref(w->jobs);
err_fd:
    (void)close(w->epoll_fd);
err:
    free(w);
    return r;
}

void sl_watch_free(struct sl_watch *w)
{
    if (w == NULL)
        return;
    assert(w->entries == 0);
    sl_fd_jobs_unref(w->jobs);
    uv_close((uv_handle_t *)&w->poll, on_handle_closed);
    uv_close((uv_handle_t *)&w->idle, on_handle_closed);
}

struct sl_fd_jobs *sl_watch_jobs(const struct sl_watch *w)
{
    return w->jobs;
}

uint8_t *sl_watch_scratch(struct sl_watch *w)
{
    return w->scratch;
}
