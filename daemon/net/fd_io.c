#include "daemon/net/fd_io.h"

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

/* A pipe that has a name is in a directory, and opening it asks that one's file system. */
static bool has_name(const char *path)
{
    char name[8];

    return readlink(path, name, sizeof name) < 5 || memcmp(name, "pipe:", 5) != 0;
}

bool sl_fd_io_open_again(struct sl_fd_io *io)
{
    char path[40];
    struct statx old, new;
    const int flags = fcntl(io->fd, F_GETFL);

    /* Nobody gets by us what the descriptor alone does not allow. */
    if (flags < 0 || (flags & O_PATH) != 0 || ((flags & O_ACCMODE) != O_RDWR && (flags & O_ACCMODE) != io->access))
        return false;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", io->fd);
    if (sl_fd_stat(io->fd, &old) != 0 || (S_ISCHR(old.stx_mode) && old.stx_rdev_major == MAJOR_TTYAUX) ||
        (S_ISFIFO(old.stx_mode) && has_name(path)))
        return false;
    int own = open(path, io->access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0)
        return false;
    bool done = sl_fd_stat(own, &new) == 0 && old.stx_dev_major == new.stx_dev_major &&old.stx_dev_minor ==
                                                  new.stx_dev_minor &&old.stx_ino == new.stx_ino &&old.stx_rdev_major ==
                                                  new.stx_rdev_major &&old.stx_rdev_minor ==
                                                  new.stx_rdev_minor &&dup3(own, io->fd, O_CLOEXEC) == io->fd;
    (void)close(own);
    return done;
}

static void find_another_way(struct sl_fd_io *io)
{
    io->way = sl_fd_io_open_again(io) ? SL_FD_OWN : SL_FD_MOMENT;
}

void sl_fd_io_init(struct sl_fd_io *io, struct sl_fd_jobs *jobs, int fd, int access)
{
    struct statx st;
    int flags = fcntl(fd, F_GETFL);

    *io = (struct sl_fd_io){.jobs = jobs, .fd = fd, .access = access, .way = SL_FD_NOWAIT};
    if (sl_fd_stat(fd, &st) != 0)
        return; /* the first read or write says what is wrong */
    if (S_ISSOCK(st.stx_mode)) {
        int type = 0;
        socklen_t len = sizeof type;
        io->drains = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
        io->way = SL_FD_SOCKET;
        return;
    }
    io->drains = S_ISFIFO(st.stx_mode);
    if (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode) || S_ISBLK(st.stx_mode))
        return;
    if (flags >= 0 && (flags & O_NONBLOCK) != 0)
        io->way = SL_FD_OWN;
    else if (S_ISCHR(st.stx_mode) && isatty(fd) == 1)
        find_another_way(io); /* no terminal has RWF_NOWAIT */
}

/* --- without waiting --- */

/* Non-blocking for one call; what others do with the description meanwhile fails with EAGAIN rather than waits, for a
 * microsecond. Returns the flags to restore, or -1 when nothing was changed. */
static int begin_moment(const struct sl_fd_io *io)
{
    int flags = fcntl(io->fd, F_GETFL);

    if (io->way != SL_FD_MOMENT || flags < 0 || (flags & O_NONBLOCK) != 0)
        return -1;
    return fcntl(io->fd, F_SETFL, flags | O_NONBLOCK) == 0 ? flags : -1;
}

static void end_moment(const struct sl_fd_io *io, int flags)
{
    if (flags >= 0)
        (void)fcntl(io->fd, F_SETFL, flags);
}

static ssize_t plain(const struct sl_fd_io *io, void *data, size_t len)
{
    const int flags = begin_moment(io);
    const ssize_t n = io->access == O_RDONLY ? read(io->fd, data, len) : write(io->fd, data, len);
    const int error = errno;

    end_moment(io, flags);
    return n >= 0 ? n : -error;
}

static ssize_t by_socket(const struct sl_fd_io *io, void *data, size_t len)
{
    const ssize_t n = io->access == O_RDONLY ? recv(io->fd, data, len, MSG_DONTWAIT)
                                             : send(io->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n >= 0 ? n : -errno;
}

static ssize_t by_nowait(const struct sl_fd_io *io, void *data, size_t len)
{
    const struct iovec iov = {.iov_base = data, .iov_len = len};
    const ssize_t n =
        io->access == O_RDONLY ? preadv2(io->fd, &iov, 1, -1, RWF_NOWAIT) : pwritev2(io->fd, &iov, 1, -1, RWF_NOWAIT);
    return n >= 0 ? n : -errno;
}

static bool is_file(int fd)
{
    struct statx st;

    return sl_fd_stat(fd, &st) == 0 && (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode) || S_ISBLK(st.stx_mode));
}

static ssize_t transfer(struct sl_fd_io *io, void *data, size_t len)
{
    ssize_t n = -EAGAIN;

    assert(!io->working);
    do {
        if (io->way == SL_FD_NOWAIT) {
            n = by_nowait(io, data, len);
            if (n == -EOPNOTSUPP || n == -ENOSYS) {
                if (is_file(io->fd))
                    io->way = SL_FD_WORKER;
                else
                    find_another_way(io);
            }
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

ssize_t sl_fd_io_read(struct sl_fd_io *io, void *data, size_t len)
{
    assert(io->access == O_RDONLY);
    return transfer(io, data, len);
}

ssize_t sl_fd_io_write(struct sl_fd_io *io, const void *data, size_t len)
{
    assert(io->access == O_WRONLY);
    return transfer(io, (void *)(uintptr_t)data, len);
}

/* --- in a job --- */

void sl_fd_io_hand_to_worker(struct sl_fd_io *io)
{
    io->way = SL_FD_WORKER;
}

static void in_job(struct sl_fd_job *job)
{
    struct sl_fd_io *io = (struct sl_fd_io *)job;
    size_t at = 0;
    ssize_t n;

    do {
        n = io->access == O_RDONLY ? read(io->fd, io->bytes, io->len) : write(io->fd, io->bytes + at, io->len - at);
        if (n > 0)
            at += (size_t)n;
    } while ((n < 0 && errno == EINTR) || (n > 0 && io->access == O_WRONLY && at < io->len));
    io->result = n < 0 ? -errno : (ssize_t)at;
}

static void after_job(struct sl_fd_job *job, bool ran)
{
    struct sl_fd_io *io = (struct sl_fd_io *)job;

    io->working = false;
    if (io->closing) { /* sl_fd_io_close() was called meanwhile */
        sl_fd_jobs_close(io->jobs, io->fd);
        io->fd = -1;
        io->result = -ECANCELED;
    }
    io->done(io, ran ? io->result : -ECANCELED);
}

void sl_fd_io_work(struct sl_fd_io *io, uint8_t *bytes, size_t len, void (*done)(struct sl_fd_io *io, ssize_t result))
{
    assert(!io->working);
    io->bytes = bytes;
    io->len = len;
    io->done = done;
    io->working = true;
    sl_fd_job_start(io->jobs, &io->job, in_job, after_job);
}

bool sl_fd_io_close(struct sl_fd_io *io)
{
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
