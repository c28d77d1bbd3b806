/* SPDX-License-Identifier: MIT */
/* What is written at once is never copied. The rest waits in `queue` for epoll to say that there is room. Kinds that
 * epoll refuses, and strangers' pipes and sockets, are written by a job, which has `flying` meanwhile; the latter's
 * does not wait, and may leave some of it. */
#include "daemon/relay/fd_sink.h"

#include "base/buf.h"
#include "base/container.h"
#include "base/state.h"
#include "daemon/relay/fd_io.h"
#include "proto/status.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum sink_state {
    SINK_OPEN,
    SINK_FINISHING, /* closes when all is written */
    SINK_FINISHED,
    SINK_BROKEN, /* on_broken is called or about to be */
};

static const struct sl_state states[] = {
    [SINK_OPEN] = {"open", SL_TO(SINK_FINISHING) | SL_TO(SINK_BROKEN)},
    [SINK_FINISHING] = {"finishing", SL_TO(SINK_FINISHED) | SL_TO(SINK_BROKEN)},
    [SINK_FINISHED] = {"finished", 0},
    [SINK_BROKEN] = {"broken", 0},
};

struct sl_fd_sink {
    struct sl_fd_io io;
    struct sl_watched watched;
    const struct sl_fd_sink_handler *handler;
    void *arg;
    enum sink_state state;
    struct sl_buf queue, flying;
    bool ready;        /* an edge came while a job was at it */
    int broken_status; /* why; 0 once it has been told */
    int broken_errno;  /* 0: broken_status says it all */
    bool shutdown;
    bool in_call; /* one of its callbacks runs */
    bool closed;  /* sl_fd_sink_close() was called */
};

static void move(struct sl_fd_sink *s, enum sink_state to)
{
    SL_MOVE(states, s->state, to);
}

static void dispose(struct sl_fd_sink *s)
{
    sl_buf_fini(&s->queue);
    sl_buf_fini(&s->flying);
    free(s);
}

/* False: the callback has closed it, and it is gone. */
static bool end_call(struct sl_fd_sink *s)
{
    s->in_call = false;
    if (!s->closed)
        return true;
    dispose(s);
    return false;
}

static bool tell_written(struct sl_fd_sink *s, size_t len)
{
    if (len == 0)
        return true;
    s->in_call = true;
    s->handler->on_written(s->arg, len);
    return end_call(s);
}

/* Told from the loop, never from within a call of the owner's. */
static void break_off(struct sl_fd_sink *s, int status, int error)
{
    if (s->state == SINK_BROKEN)
        return;
    move(s, SINK_BROKEN);
    s->broken_status = error == EPIPE || error == ECONNRESET ? SL_E_CLIENT_GONE : status;
    s->broken_errno = error;
    sl_buf_fini(&s->queue);
    sl_watched_fini(&s->watched);
    sl_watched_later(&s->watched);
}

static void tell_broken(struct sl_fd_sink *s)
{
    const int status = s->broken_status;
    s->broken_status = 0;
    s->in_call = true;
    s->handler->on_broken(s->arg, status, s->broken_errno != 0 ? strerror(s->broken_errno) : sl_status_text(status));
    (void)end_call(s);
}

static void wait_for_room(struct sl_fd_sink *s);

static size_t pending(const struct sl_fd_sink *s)
{
    return s->queue.len + s->flying.len;
}

static void start_job(struct sl_fd_sink *s);

/* Closed, a file still gets what was given. */
static void after_last_write(struct sl_fd_sink *s, ssize_t n)
{
    if (n >= 0 && s->io.way == SL_FD_WORKER && pending(s) > 0) {
        start_job(s);
        return;
    }
    (void)sl_fd_io_close(&s->io);
    dispose(s);
}

static void after_write(struct sl_fd_io *io, ssize_t n)
{
    struct sl_fd_sink *s = SL_CONTAINER(io, struct sl_fd_sink, io);
    if (n > 0)
        sl_buf_drop(&s->flying, (size_t)n);
    if (s->flying.len == 0)
        sl_buf_fini(&s->flying);
    if (s->closed) {
        after_last_write(s, n);
        return;
    }
    if (n < 0 && n != -EAGAIN) {
        sl_buf_fini(&s->flying);
        break_off(s, SL_E_IO, (int)-n);
        return;
    }
    if (n > 0 && !tell_written(s, (size_t)n))
        return;
    if (s->io.working || s->state == SINK_BROKEN)
        return; /* the callback wrote more */
    if (s->flying.len > 0 && !s->ready)
        wait_for_room(s);
    else
        sl_watched_later(&s->watched);
}

static void start_job(struct sl_fd_sink *s)
{
    if (s->flying.len == 0) {
        s->flying = s->queue;
        sl_buf_init(&s->queue, SL_FD_SINK_MAX);
    }
    s->ready = false;
    sl_fd_io_work(&s->io, s->flying.mem + s->flying.at, s->flying.len, after_write);
}

/* Something waits, and the kernel takes nothing now. */
static void wait_for_room(struct sl_fd_sink *s)
{
    if (s->io.way == SL_FD_WORKER) {
        start_job(s);
        return;
    }
    if (s->watched.registered)
        return;
    int r = sl_watched_register(&s->watched, s->io.fd, EPOLLOUT);
    if (r == SL_E_INVALID) {
        sl_fd_io_hand_to_worker(&s->io);
        start_job(s);
    } else if (r != 0) {
        break_off(s, r, 0);
    }
}

/* As much as goes; how much did. A failure breaks it off. */
static size_t write_now(struct sl_fd_sink *s, const uint8_t *data, size_t len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t n = sl_fd_io_write(&s->io, data + at, len - at);
        if (n == -EAGAIN)
            break;
        if (n < 0) {
            break_off(s, SL_E_IO, (int)-n);
            break;
        }
        at += (size_t)n;
    }
    return at;
}

static void after_end(struct sl_fd_io *io, ssize_t result)
{
    struct sl_fd_sink *s = SL_CONTAINER(io, struct sl_fd_sink, io);
    (void)result;
    if (!s->closed) {
        s->in_call = true;
        s->handler->on_finished(s->arg);
        (void)end_call(s);
    } else {
        dispose(s);
    }
}

static void on_event(struct sl_watched *watched, uint32_t events)
{
    struct sl_fd_sink *s = SL_CONTAINER(watched, struct sl_fd_sink, watched);
    if (s->state == SINK_BROKEN) {
        if (s->broken_status != 0)
            tell_broken(s);
        return;
    }
    if (events != 0)
        s->ready = true;
    if (s->io.working)
        return; /* after_write() goes on */
    if (pending(s) > 0 && sl_fd_io_by_job(&s->io)) {
        start_job(s);
        return;
    }
    if (s->queue.len > 0) {
        size_t written = write_now(s, sl_buf_data(&s->queue), s->queue.len);
        if (s->state == SINK_BROKEN)
            return;
        sl_buf_drop(&s->queue, written);
        if (!tell_written(s, written))
            return;
    }
    if (s->queue.len > 0) {
        if (!s->io.working && s->state != SINK_BROKEN)
            wait_for_room(s);
    } else if (s->state == SINK_FINISHING && !s->io.working) {
        move(s, SINK_FINISHED);
        sl_watched_fini(&s->watched);
        if (s->shutdown)
            (void)shutdown(s->io.fd, SHUT_WR);
        sl_fd_io_end(&s->io, after_end);
    }
}

int sl_fd_sink_open(
    struct sl_watch *watch, int fd, const struct sl_fd_sink_handler *handler, void *arg, struct sl_fd_sink **ret_sink)
{
    struct sl_fd_sink *s = calloc(1, sizeof *s);
    if (s == NULL)
        return SL_E_NOMEM;
    sl_fd_io_init(&s->io, sl_watch_jobs(watch), fd, O_WRONLY);
    sl_watched_init(&s->watched, watch, on_event);
    sl_buf_init(&s->queue, SL_FD_SINK_MAX);
    s->handler = handler;
    s->arg = arg;
    *ret_sink = s;
    return 0;
}

size_t sl_fd_sink_write(struct sl_fd_sink *s, const void *data, size_t len)
{
    size_t at = 0;
    assert(s->state == SINK_OPEN || s->state == SINK_BROKEN);
    if (s->state == SINK_BROKEN)
        return 0;
    const bool waits = pending(s) > 0 || s->io.working;
    if (!waits)
        at = write_now(s, data, len);
    if (s->state == SINK_BROKEN || at == len)
        return at;
    int r = sl_buf_put(&s->queue, (const uint8_t *)data + at, len - at);
    if (r != 0)
        break_off(s, r, 0);
    else if (!waits && sl_fd_io_by_job(&s->io))
        start_job(s);
    else if (!waits)
        wait_for_room(s);
    return at;
}

size_t sl_fd_sink_pending(const struct sl_fd_sink *s)
{
    return pending(s);
}

void sl_fd_sink_finish(struct sl_fd_sink *s, bool shut)
{
    if (s->state != SINK_OPEN)
        return;
    move(s, SINK_FINISHING);
    s->shutdown = shut;
    if (pending(s) == 0 && !s->io.working)
        sl_watched_later(&s->watched);
}

int sl_fd_sink_fd(const struct sl_fd_sink *s)
{
    return s->io.fd;
}

void sl_fd_sink_close(struct sl_fd_sink *s)
{
    if (s == NULL || s->closed)
        return;
    s->closed = true;
    sl_watched_fini(&s->watched);
    if (s->io.working)
        return; /* after_write() or after_end() goes on */
    if (sl_fd_io_close(&s->io) && !s->in_call)
        dispose(s);
}

void sl_fd_sink_disown(struct sl_fd_sink *s)
{
    if (s == NULL)
        return;
    assert(!s->io.working);
    s->io.fd = -1;
    sl_fd_sink_close(s);
}
