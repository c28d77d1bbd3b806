/* SPDX-License-Identifier: MIT */
/* Chooses how a descriptor is read and written (a socket call, RWF_NOWAIT, a worker, a moment of O_NONBLOCK), and does
 * it once. */
#include "daemon/relay/fd_io.h"

#include "base/container.h"
#include "proto/status.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* /dev/tty and /dev/ptmx: opened again they are something else. */
#define MAJOR_TTYAUX 5
/* /dev/null and its kin. */
#define MAJOR_MEM 1

/* A pipe that has a name is in a directory, and opening it asks that one's file system. */
static bool has_name(const char *path)
{
    char name[8];
    return readlink(path, name, sizeof name) < 5 || memcmp(name, "pipe:", 5) != 0;
}

static bool is_same(const struct statx *a, const struct statx *b)
{
    return a->stx_dev_major == b->stx_dev_major && a->stx_dev_minor == b->stx_dev_minor && a->stx_ino == b->stx_ino &&
           a->stx_rdev_major == b->stx_rdev_major && a->stx_rdev_minor == b->stx_rdev_minor;
}

/* `own` takes the number of io->fd, whose description is closed by a job: it may be the last to have it. */
static bool take_number(struct sl_fd_io *io, int own)
{
    const int theirs = fcntl(io->fd, F_DUPFD_CLOEXEC, 0);
    if (theirs < 0)
        return false;
    (void)sl_fd_jobs_own(io->jobs, theirs, sl_fd_jobs_owner(io->jobs, io->fd));
    const bool done = dup3(own, io->fd, O_CLOEXEC) == io->fd;
    sl_fd_jobs_close(io->jobs, theirs);
    return done;
}

bool sl_fd_io_open_again(struct sl_fd_io *io)
{
    char path[40];
    struct statx theirs, ours;
    const int flags = fcntl(io->fd, F_GETFL);
    /* Nobody gets by us what the descriptor alone does not allow. */
    if (flags < 0 || (flags & O_PATH) != 0 || ((flags & O_ACCMODE) != O_RDWR && (flags & O_ACCMODE) != io->access))
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", io->fd);
    if (sl_fd_stat(io->fd, &theirs) != 0 || (S_ISCHR(theirs.stx_mode) && theirs.stx_rdev_major == MAJOR_TTYAUX) ||
        (S_ISFIFO(theirs.stx_mode) && has_name(path)))
        return false;
    int own = open(path, io->access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return false;
    const bool done = sl_fd_stat(own, &ours) == 0 && is_same(&theirs, &ours) && take_number(io, own);
    sl_fd_jobs_close(io->jobs, own);
    return done;
}

static void find_another_way(struct sl_fd_io *io)
{
    io->way = sl_fd_io_open_again(io) ? SL_FD_OWN : SL_FD_MOMENT;
}

/* Whether another one who has it can make a call wait that is not to: by a lock, or by taking O_NONBLOCK away again. */
static bool others_can_hold_up(int fd, enum sl_fd_kind kind)
{
    struct statx st;
    if (kind == SL_FD_KIND_DEVICE)
        return sl_fd_stat(fd, &st) != 0 || st.stx_rdev_major != MAJOR_MEM;
    return kind == SL_FD_KIND_SOCKET || kind == SL_FD_KIND_PIPE;
}

void sl_fd_io_init(struct sl_fd_io *io, struct sl_fd_jobs *jobs, int fd, int access)
{
    int flags = fcntl(fd, F_GETFL), type = 0;
    socklen_t len = sizeof type;
    *io = (struct sl_fd_io){.jobs = jobs, .fd = fd, .access = access, .way = SL_FD_NOWAIT};
    const enum sl_fd_kind kind = sl_fd_kind(fd);
    io->stranger = sl_fd_is_strangers(sl_fd_jobs_owner(jobs, fd));
    io->foreign = io->stranger && others_can_hold_up(fd, kind);
    switch (kind) {
    case SL_FD_KIND_SOCKET:
        io->drains = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
        io->way = SL_FD_SOCKET;
        return;
    case SL_FD_KIND_FILE: /* not even RWF_NOWAIT: whoever reads from it elsewhere holds its position's lock */
        if (jobs != NULL)
            io->way = SL_FD_WORKER;
        return;
    case SL_FD_KIND_PIPE:
        io->drains = true;
        break;
    case SL_FD_KIND_DEVICE:
        break;
    }
    if (io->foreign)
        return; /* the first job finds out */
    if (flags >= 0 && (flags & O_NONBLOCK) != 0)
        io->way = SL_FD_OWN;
    else if (!io->drains && isatty(fd) == 1)
        find_another_way(io); /* no terminal has RWF_NOWAIT */
}

/* --- without waiting --- */

/* Non-blocking for one call; what others do with the description meanwhile fails with EAGAIN rather than waits, for a
 * microsecond. Returns the flags to restore, or -1 when nothing was changed. */
static int begin_moment(struct sl_fd_io *io)
{
    if (io->way == SL_FD_MOMENT && io->working)
        sl_fd_job_moment(&io->job, true);

    int flags = fcntl(io->fd, F_GETFL);
    if (io->way != SL_FD_MOMENT || flags < 0 || (flags & O_NONBLOCK) != 0)
        return -1;
    return fcntl(io->fd, F_SETFL, flags | O_NONBLOCK) == 0 ? flags : -1;
}

static void end_moment(struct sl_fd_io *io, int flags)
{
    if (flags >= 0)
        (void)fcntl(io->fd, F_SETFL, flags);
    if (io->way == SL_FD_MOMENT && io->working)
        sl_fd_job_moment(&io->job, false);
}

static ssize_t plain(struct sl_fd_io *io, void *data, size_t len)
{
    const int flags = begin_moment(io);
    const ssize_t n = io->access == O_RDONLY ? read(io->fd, data, len) : write(io->fd, data, len);
    const int error = errno;
    end_moment(io, flags);
    return n >= 0 ? n : -error;
}

static ssize_t by_socket(struct sl_fd_io *io, void *data, size_t len)
{
    bool rights;
    if (io->access == O_RDONLY) {
        const ssize_t n = sl_fd_recv(io->jobs, io->fd, data, len, &rights);
        if (rights)
            io->drains = false; /* a read ends behind descriptors, and more may be there */
        return n;
    }
    const ssize_t n = send(io->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n >= 0 ? n : -errno;
}

static ssize_t by_nowait(const struct sl_fd_io *io, void *data, size_t len)
{
    const struct iovec iov = {.iov_base = data, .iov_len = len};
    const ssize_t n =
        io->access == O_RDONLY ? preadv2(io->fd, &iov, 1, -1, RWF_NOWAIT) : pwritev2(io->fd, &iov, 1, -1, RWF_NOWAIT);
    return n >= 0 ? n : -errno;
}

/* On the loop, or in a job. */
static ssize_t transfer(struct sl_fd_io *io, void *data, size_t len)
{
    ssize_t n = -EAGAIN;
    do {
        if (io->way == SL_FD_NOWAIT) {
            n = by_nowait(io, data, len);
            if (n == -EOPNOTSUPP || n == -ENOSYS)
                find_another_way(io);
        }
        if (io->way == SL_FD_SOCKET)
            n = by_socket(io, data, len);
        else if (io->way == SL_FD_WORKER)
            n = -EAGAIN;
        else if (io->way != SL_FD_NOWAIT)
            n = plain(io, data, len);
    } while (n == -EINTR);
    return n == -EWOULDBLOCK ? -EAGAIN : n;
}

bool sl_fd_io_by_job(const struct sl_fd_io *io)
{
    return io->foreign || io->way == SL_FD_WORKER;
}

ssize_t sl_fd_io_read(struct sl_fd_io *io, void *data, size_t len)
{
    assert(io->access == O_RDONLY && !io->working);
    return sl_fd_io_by_job(io) ? -EAGAIN : transfer(io, data, len);
}

ssize_t sl_fd_io_write(struct sl_fd_io *io, const void *data, size_t len)
{
    assert(io->access == O_WRONLY && !io->working);
    return sl_fd_io_by_job(io) ? -EAGAIN : transfer(io, (void *)(uintptr_t)data, len);
}

/* --- in a job --- */

void sl_fd_io_hand_to_worker(struct sl_fd_io *io)
{
    io->way = SL_FD_WORKER;
}

/* What the kernel shows us of ourselves is not for strangers. */
static bool is_hidden(struct sl_fd_io *io)
{
    if (io->procfs == SL_FD_UNSEEN)
        io->procfs = io->stranger && sl_fd_is_about_us(io->fd) ? SL_FD_HIDDEN : SL_FD_SHOWN;
    return io->procfs == SL_FD_HIDDEN;
}

/* As transfer(), but a file is waited for. */
static ssize_t transfer_in_job(struct sl_fd_io *io, uint8_t *data, size_t len)
{
    ssize_t n;
    if (io->way != SL_FD_WORKER)
        return transfer(io, data, len);
    if (is_hidden(io))
        return -EACCES;
    do
        n = io->access == O_RDONLY ? read(io->fd, data, len) : write(io->fd, data, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void in_job(struct sl_fd_job *job)
{
    struct sl_fd_io *io = SL_CONTAINER(job, struct sl_fd_io, job);
    size_t at = 0;
    ssize_t n;
    do {
        n = transfer_in_job(io, io->bytes + at, io->len - at);
        if (n > 0)
            at += (size_t)n;
    } while (n > 0 && io->access == O_WRONLY && at < io->len);
    io->result = n == -EAGAIN && at > 0 ? (ssize_t)at : n < 0 ? n : (ssize_t)at;
}

static void after_job(struct sl_fd_job *job)
{
    struct sl_fd_io *io = SL_CONTAINER(job, struct sl_fd_io, job);
    io->working = false;
    if (io->closing) { /* sl_fd_io_close() was called meanwhile */
        sl_fd_jobs_close(io->jobs, io->fd);
        io->fd = -1;
        io->result = -ECANCELED;
    }
    io->done(io, io->result);
}

void sl_fd_io_work(struct sl_fd_io *io, uint8_t *bytes, size_t len, void (*done)(struct sl_fd_io *io, ssize_t result))
{
    assert(!io->working);
    io->bytes = bytes;
    io->len = len;
    io->done = done;
    io->working = true;
    sl_fd_job_start(io->jobs, &io->job, sl_fd_jobs_owner(io->jobs, io->fd), in_job, after_job);
}

static void after_end(struct sl_fd_job *job)
{
    struct sl_fd_io *io = SL_CONTAINER(job, struct sl_fd_io, job);
    io->working = false;
    io->done(io, 0);
}

void sl_fd_io_end(struct sl_fd_io *io, void (*done)(struct sl_fd_io *io, ssize_t result))
{
    const int fd = io->fd;
    assert(!io->working);
    io->done = done;
    io->fd = -1;
    io->working = true;
    sl_fd_job_close(io->jobs, &io->job, fd, after_end);
}

bool sl_fd_io_close(struct sl_fd_io *io)
{
    if (io->working && io->fd < 0)
        return false; /* it is being closed */
    if (io->working && !sl_fd_job_cancel(&io->job)) {
        /* Closed now, its number could be somebody else's by the time the thread uses it. */
        io->closing = true;
        return false;
    }
    io->working = false;
    if (io->fd >= 0)
        sl_fd_jobs_close(io->jobs, io->fd);
    io->fd = -1;
    return true;
}
