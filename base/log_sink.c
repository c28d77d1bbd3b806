/* SPDX-License-Identifier: MIT */
/* A socket (the journal's) and a pipe are written to on the spot, by calls that do not wait; what they do not take, and
 * everything for files and terminals, is queued for a thread, which begins when it is first needed. Why a thread: only
 * sockets and, with newer kernels, pipes can be written to without waiting while the descriptor stays blocking, and it
 * must, for others share it. Why not always: a line that is followed by the daemon's death is out before it. */
#include "base/log_sink.h"

#include "base/buf.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Written in one call, so that the lines of several processes do not mix in a pipe: PIPE_BUF. */
#define BATCH 4096u

struct sl_log_sink {
    pthread_mutex_t mutex; /* for all that follows; never held in a call that waits */
    pthread_cond_t work, idle;
    int fd;
    sl_log_sink_lost_fn lost_line;
    bool journal;
    enum { WAY_THREAD, WAY_SOCKET, WAY_PIPE } way;
    struct sl_buf kept;
    uint64_t lost;   /* behind what is kept */
    bool writing;    /* the thread, outside the mutex */
    bool has_thread; /* it ends with the sink */
    bool ending;
    bool left; /* behind: the thread frees the sink */
    pthread_t thread;
};

struct sl_log_sink *sl_log_sink_new(int fd, bool journal, sl_log_sink_lost_fn lost)
{
    struct sl_log_sink *sink = calloc(1, sizeof *sink);
    pthread_condattr_t attr;
    struct stat st;
    if (sink == NULL)
        return NULL;
    sink->fd = fd;
    sink->lost_line = lost;
    sink->journal = journal;
    sl_buf_init(&sink->kept, SL_LOG_SINK_KEPT);
    if (fstat(fd, &st) == 0)
        sink->way = S_ISSOCK(st.st_mode) ? WAY_SOCKET : S_ISFIFO(st.st_mode) ? WAY_PIPE : WAY_THREAD;
    (void)pthread_mutex_init(&sink->mutex, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&sink->work, NULL);
    (void)pthread_cond_init(&sink->idle, &attr);
    (void)pthread_condattr_destroy(&attr);
    return sink;
}

static void destroy(struct sl_log_sink *sink)
{
    sl_buf_fini(&sink->kept);
    (void)pthread_cond_destroy(&sink->work);
    (void)pthread_cond_destroy(&sink->idle);
    (void)pthread_mutex_destroy(&sink->mutex);
    free(sink);
}

/* --- in the thread ------------------------------------------------------------------------------------------------ */

/* A log that cannot be written must not stop the daemon: such a piece is dropped. */
static void write_all(int fd, const char *data, size_t len)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            (void)poll(&room, 1, -1); /* somebody else has made it non-blocking */
        } else if (n == 0 || errno != EINTR) {
            return;
        }
    }
}

/* Whole lines that were kept, or the one about those that were lost. */
static size_t take_batch(struct sl_log_sink *sink, char batch[BATCH])
{
    size_t len = sink->kept.len < BATCH ? sink->kept.len : BATCH;
    if (len == 0) {
        uint64_t lost = sink->lost;
        sink->lost = 0;
        return lost > 0 ? sink->lost_line(sink->journal, batch, BATCH, lost) : 0;
    }
    const char *data = (const char *)sl_buf_data(&sink->kept), *newline = memrchr(data, '\n', len);
    len = newline != NULL ? (size_t)(newline - data) + 1 : len;
    memcpy(batch, data, len);
    sl_buf_drop(&sink->kept, len);
    return len;
}

static void *run(void *arg)
{
    struct sl_log_sink *sink = arg;
    char batch[BATCH];
    (void)pthread_mutex_lock(&sink->mutex);
    for (;;) {
        const size_t len = take_batch(sink, batch);
        if (len > 0) {
            sink->writing = true;
            (void)pthread_mutex_unlock(&sink->mutex);
            write_all(sink->fd, batch, len);
            (void)pthread_mutex_lock(&sink->mutex);
            sink->writing = false;
        } else if (!sink->ending) {
            (void)pthread_cond_signal(&sink->idle);
            (void)pthread_cond_wait(&sink->work, &sink->mutex);
        } else {
            break;
        }
    }
    const bool left = sink->left;
    (void)pthread_cond_signal(&sink->idle);
    (void)pthread_mutex_unlock(&sink->mutex);
    if (left)
        destroy(sink);
    return NULL;
}

/* --- on the loop -------------------------------------------------------------------------------------------------- */

/* How much of it was written without waiting; all, where it cannot be written at all. */
static size_t write_now(struct sl_log_sink *sink, const char *line, size_t len)
{
    struct iovec iov = {(void *)line, len};
    ssize_t n = -1;
    errno = EAGAIN;
    if (sink->way == WAY_SOCKET)
        n = send(sink->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else if (sink->way == WAY_PIPE)
        n = pwritev2(sink->fd, &iov, 1, -1, RWF_NOWAIT);
    if (n >= 0)
        return (size_t)n;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM) {
        sink->way = WAY_THREAD; /* an older kernel, or a sandbox */
        return 0;
    }
    return len;
}

static bool need_thread(struct sl_log_sink *sink)
{
    sigset_t all, before;
    if (sink->has_thread)
        return true;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    sink->has_thread = pthread_create(&sink->thread, NULL, run, sink) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sink->has_thread;
}

void sl_log_sink_put(struct sl_log_sink *sink, const char *line, size_t len)
{
    (void)pthread_mutex_lock(&sink->mutex);
    size_t done = 0;
    if (sink->kept.len == 0 && sink->lost == 0 && !sink->writing)
        done = write_now(sink, line, len);
    if (done < len) {
        /* Nothing is kept behind a gap before the gap is told. */
        if (sink->lost > 0 || sl_buf_put(&sink->kept, line + done, len - done) != 0)
            sink->lost++;
        if (need_thread(sink))
            (void)pthread_cond_signal(&sink->work);
    }
    (void)pthread_mutex_unlock(&sink->mutex);
}

/* True when it has nothing to do any more. */
static bool await_idle(struct sl_log_sink *sink, unsigned ms)
{
    struct timespec until;
    int r = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (r == 0 && (sink->kept.len > 0 || sink->lost > 0 || sink->writing))
        r = pthread_cond_timedwait(&sink->idle, &sink->mutex, &until);
    return sink->kept.len == 0 && sink->lost == 0 && !sink->writing;
}

void sl_log_sink_free(struct sl_log_sink *sink, unsigned ms)
{
    if (sink == NULL)
        return;
    (void)pthread_mutex_lock(&sink->mutex);
    const bool idle = !sink->has_thread || await_idle(sink, ms);
    sink->ending = true;
    sink->left = !idle;
    if (!idle)
        (void)pthread_detach(sink->thread); /* unlocked, it may be gone, and the sink with it */
    (void)pthread_cond_signal(&sink->work);
    (void)pthread_mutex_unlock(&sink->mutex);
    if (idle) {
        if (sink->has_thread)
            (void)pthread_join(sink->thread, NULL);
        destroy(sink);
    }
}
