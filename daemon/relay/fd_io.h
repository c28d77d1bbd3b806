/* SPDX-License-Identifier: MIT */
/* fd_io.h - one read from or write to a passed descriptor, whatever it is, without waiting and without leaving a flag
 * changed. Knows no event loop but for the jobs. For fd_source.c and fd_sink.c. */
#ifndef SSHLEASE_RELAY_FD_IO_H
#define SSHLEASE_RELAY_FD_IO_H

#include "daemon/net/fd_jobs.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sl_fd_way {
    SL_FD_SOCKET, /* MSG_DONTWAIT */
    SL_FD_NOWAIT, /* RWF_NOWAIT: pipes from Linux 6.4 on, /dev/null */
    SL_FD_OWN,    /* non-blocking already: found so, or a description of our own, made by opening it again */
    SL_FD_MOMENT, /* non-blocking for the moment of the call: what we may not open again */
    SL_FD_WORKER, /* files, and what epoll refuses: by a job */
};

struct sl_fd_io {
    struct sl_fd_job job;
    struct sl_fd_jobs *jobs;
    int fd;     /* -1: closed */
    int access; /* O_RDONLY or O_WRONLY */
    enum sl_fd_way way;
    bool stranger; /* whose it is */
    bool
        foreign; /* a pipe, a socket or a device of a stranger's: who shares it can hold its lock or its flags, so jobs do all the calls */
    enum { SL_FD_UNSEEN, SL_FD_SHOWN, SL_FD_HIDDEN } procfs; /* whether its owner may have what is in that file */
    bool drains;                                             /* a read of less than was asked for has emptied it */
    bool working;                                            /* a job has fd, or waits for a thread */
    bool closing;                                            /* sl_fd_io_close() was called while one had */
    uint8_t *bytes;
    size_t len;
    ssize_t result;
    void (*done)(struct sl_fd_io *io, ssize_t result);
};

/* Takes `fd` over, for `access` O_RDONLY or O_WRONLY. Its number stays what it is. `jobs` NULL: it is no file. */
void sl_fd_io_init(struct sl_fd_io *io, struct sl_fd_jobs *jobs, int fd, int access);

/* Puts a description of our own for the same pipe or terminal, non-blocking, under the same number. False: we may not,
 * or it is a kind that would become another. */
bool sl_fd_io_open_again(struct sl_fd_io *io);

/* Only sl_fd_io_work() reads and writes it. */
bool sl_fd_io_by_job(const struct sl_fd_io *io);
/* As read(2) and write(2), but never waiting; negative errno on failure. -EAGAIN: not now, or by a job only. Never
 * raises SIGPIPE where the process ignores it. */
ssize_t sl_fd_io_read(struct sl_fd_io *io, void *data, size_t len);
ssize_t sl_fd_io_write(struct sl_fd_io *io, const void *data, size_t len);

/* epoll refuses it: from now on jobs have it. */
void sl_fd_io_hand_to_worker(struct sl_fd_io *io);
/* Reads once, or writes all of it, in a job, then calls `done`, from the loop. With another way than SL_FD_WORKER it
 * does not wait there either: less may be written, or -EAGAIN be the result. `bytes` is borrowed until then. */
void sl_fd_io_work(struct sl_fd_io *io, uint8_t *bytes, size_t len, void (*done)(struct sl_fd_io *io, ssize_t result));

/* Closes, then calls `done` with 0, from the loop. */
void sl_fd_io_end(struct sl_fd_io *io, void (*done)(struct sl_fd_io *io, ssize_t result));
/* Closes, without telling when. False: a job has it, `done` follows, with -ECANCELED where it was not sl_fd_io_end()'s.
 * Idempotent. */
bool sl_fd_io_close(struct sl_fd_io *io);

#endif
