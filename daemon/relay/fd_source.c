/* SPDX-License-Identifier: MIT */
/* Reads when something is allowed and something may be there. `ready` begins true, so that the first read asks the
 * kernel itself; where that says "not now", epoll tells of the next edge. Kinds that epoll refuses are read by a job,
 * which waits; strangers' pipes and sockets by one that does not. */
#include "daemon/relay/fd_source.h"

#include "base/container.h"
#include "daemon/relay/fd_io.h"
#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHUNK 65536u
/* Chunks one source reads in a row before others have their turn. */
#define CHUNKS_AT_ONCE 2

struct sl_fd_source {
    struct sl_fd_io io;
    struct sl_watched watched;
    const struct sl_fd_source_handler *handler;
    void *arg;
    size_t allowed;
    bool ready;      /* a read may bring something */
    bool hung_up;    /* no edge will come any more: to be read to its end */
    bool ended;      /* on_end was called */
    bool in_call;    /* one of its callbacks runs */
    bool closed;     /* sl_fd_source_close() was called */
    uint8_t *buffer; /* for the job */
    size_t asked;    /* of it */
};

static void dispose(struct sl_fd_source *s)
{
    free(s->buffer);
    free(s);
}

/* False: the callback has closed it, and it is gone. */
static bool end_call(struct sl_fd_source *s)
{
    s->in_call = false;
    if (!s->closed)
        return true;
    dispose(s);
    return false;
}

static bool tell_data(struct sl_fd_source *s, const uint8_t *data, size_t len)
{
    s->allowed -= len;
    s->in_call = true;
    s->handler->on_data(s->arg, data, len);
    return end_call(s);
}

static void tell_end(struct sl_fd_source *s, int status, const char *text)
{
    sl_watched_fini(&s->watched);
    s->ended = true;
    s->in_call = true;
    s->handler->on_end(s->arg, status, text);
    (void)end_call(s);
}

static void wait_for_more(struct sl_fd_source *s);

/* Of a job. An edge that came meanwhile has set `ready`. */
static void after_read(struct sl_fd_io *io, ssize_t n)
{
    struct sl_fd_source *s = SL_CONTAINER(io, struct sl_fd_source, io);
    if (s->closed) {
        dispose(s);
    } else if (n == -EAGAIN) {
        if (s->ready)
            sl_watched_later(&s->watched);
        else
            wait_for_more(s);
    } else if (n > 0) {
        const bool emptied = io->drains && (size_t)n < s->asked && !s->hung_up && s->watched.registered;
        s->ready = s->ready || !emptied;
        if (tell_data(s, s->buffer, (size_t)n) && s->allowed > 0 && (s->ready || io->way == SL_FD_WORKER))
            sl_watched_later(&s->watched);
    } else {
        tell_end(s, n == 0 ? 0 : SL_E_IO, n == 0 ? "its end" : strerror((int)-n));
    }
}

static void start_job(struct sl_fd_source *s)
{
    if (s->buffer == NULL)
        s->buffer = malloc(CHUNK);
    if (s->buffer == NULL) {
        tell_end(s, SL_E_NOMEM, sl_status_text(SL_E_NOMEM));
        return;
    }
    s->ready = false;
    s->asked = s->allowed < CHUNK ? s->allowed : CHUNK;
    sl_fd_io_work(&s->io, s->buffer, s->asked, after_read);
}

/* Nothing is there now. */
static void wait_for_more(struct sl_fd_source *s)
{
    s->ready = false;
    if (s->io.way == SL_FD_WORKER) {
        start_job(s);
        return;
    }
    free(s->buffer); /* many are waited for */
    s->buffer = NULL;
    if (s->watched.registered)
        return;
    int r = sl_watched_register(&s->watched, s->io.fd, EPOLLIN);
    if (r == SL_E_INVALID) {
        sl_fd_io_hand_to_worker(&s->io);
        start_job(s);
    } else if (r != 0) {
        tell_end(s, r, sl_status_text(r));
    }
}

static void on_event(struct sl_watched *watched, uint32_t events)
{
    struct sl_fd_source *s = SL_CONTAINER(watched, struct sl_fd_source, watched);
    if (events != 0)
        s->ready = true;
    if ((events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) != 0)
        s->hung_up = true;
    for (int i = 0; s->allowed > 0 && !s->ended && !s->io.working; i++) {
        if (!s->ready && s->io.way != SL_FD_WORKER)
            return;
        if (sl_fd_io_by_job(&s->io)) {
            start_job(s);
            return;
        }
        if (i == CHUNKS_AT_ONCE) {
            sl_watched_later(watched);
            return;
        }
        uint8_t *room = sl_watch_scratch(watched->watch);
        size_t len = s->allowed < SL_WATCH_SCRATCH ? s->allowed : SL_WATCH_SCRATCH;
        ssize_t n = sl_fd_io_read(&s->io, room, len);
        if (n == -EAGAIN) {
            wait_for_more(s);
            return;
        }
        if (n <= 0) {
            tell_end(s, n == 0 ? 0 : SL_E_IO, n == 0 ? "its end" : strerror((int)-n));
            return;
        }
        const bool emptied = s->io.drains && (size_t)n < len && !s->hung_up;
        if (!tell_data(s, room, (size_t)n))
            return;
        if (emptied) { /* not asked again: the next byte is an edge */
            wait_for_more(s);
            return;
        }
    }
}

int sl_fd_source_open(struct sl_watch *watch, int fd, const struct sl_fd_source_handler *handler, void *arg,
    struct sl_fd_source **ret_source)
{
    struct sl_fd_source *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SL_E_NOMEM;
    sl_fd_io_init(&s->io, sl_watch_jobs(watch), fd, O_RDONLY);
    sl_watched_init(&s->watched, watch, on_event);
    s->handler = handler;
    s->arg = arg;
    s->ready = true;
    *ret_source = s;
    return 0;
}

void sl_fd_source_allow(struct sl_fd_source *s, size_t bytes)
{
    s->allowed += bytes;
    if (s->ended || s->allowed == 0 || s->in_call)
        return; /* within a callback: the loop that called looks again */
    if ((s->ready || s->io.way == SL_FD_WORKER) && !s->io.working)
        sl_watched_later(&s->watched);
}

void sl_fd_source_close(struct sl_fd_source *s)
{
    if (s == NULL || s->closed)
        return;
    s->closed = true;
    sl_watched_fini(&s->watched);
    if (sl_fd_io_close(&s->io) && !s->in_call)
        dispose(s);
}

void sl_fd_source_disown(struct sl_fd_source *s)
{
    if (s == NULL)
        return;
    s->io.fd = -1;
    sl_fd_source_close(s);
}
