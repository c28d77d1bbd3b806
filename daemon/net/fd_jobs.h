/* SPDX-License-Identifier: MIT */
/* fd_jobs.h - what a client can make wait for ever: reading, writing and closing the descriptors it passed, looking at
 * its process. In threads of our own, by user, so that it costs that user's share and neither the loop nor libuv's
 * pool, which logs in. Knows nothing of what is in them. */
#ifndef SSHLEASE_NET_FD_JOBS_H
#define SSHLEASE_NET_FD_JOBS_H

#include "base/quota.h"
#include "daemon/net/fd_kind.h"
#include "daemon/net/turns.h"

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uv.h>

struct sl_fd_jobs;

/* Threads that one user's jobs, and one user's closes, may keep. */
#define SL_FD_JOBS_PER_USER   4u
#define SL_FD_CLOSES_PER_USER 8u
/* Threads in all; and how many of them only root's and the daemon's own user's work, and the closing of sockets, may
 * have. */
#define SL_FD_THREADS_MAX  64u
#define SL_FD_THREADS_KEPT 16u
/* Closes that may wait for a thread; beyond it the user is stalled. */
#define SL_FD_CLOSES_WAITING 1024u
/* The process must have no descriptor of a higher number. */
#define SL_FD_NUMBERS_MAX 1048576u
/* How long the end waits for what has not ended. */
#define SL_FD_PATIENCE_MS 2000u

/* One job, in its owner's memory, from sl_fd_job_start() until `done` begins. Zeroed it is none. */
struct sl_fd_job {
    TAILQ_ENTRY(sl_fd_job) link;
    struct sl_fd_jobs *jobs;
    struct sl_fd_lane *lane;
    enum { SL_FD_JOB_NONE, SL_FD_JOB_WAITS, SL_FD_JOB_RUNS } state; /* the threads' */
    enum sl_fd_class { SL_FD_WORK, SL_FD_CLOSE, SL_FD_CLASSES } class;
    int fd; /* of a close */
    void (*run)(struct sl_fd_job *job);
    void (*done)(struct sl_fd_job *job);
};

/* 0, SL_E_NOMEM or SL_E_IO. The caller has the first reference. */
int sl_fd_jobs_new(uv_loop_t *loop, struct sl_fd_jobs **ret_jobs);
struct sl_fd_jobs *sl_fd_jobs_ref(struct sl_fd_jobs *jobs);
/* With the last reference: jobs and closes under way go on, and are told of, for SL_FD_PATIENCE_MS at most. What is
 * stuck then is left behind for the end of the process, with the memory of its owner. The loop has to run until then.
 * NULL is fine. */
void sl_fd_jobs_unref(struct sl_fd_jobs *jobs);
/* The same users' turns on the loop. */
struct sl_turns *sl_fd_jobs_turns(struct sl_fd_jobs *jobs);

/* Calls `run` in a thread, then `done` from the loop. */
void sl_fd_job_start(struct sl_fd_jobs *jobs, struct sl_fd_job *job, uid_t uid, void (*run)(struct sl_fd_job *job),
    void (*done)(struct sl_fd_job *job));
/* Closes as sl_fd_jobs_close() does, then calls `done` from the loop. */
void sl_fd_job_close(struct sl_fd_jobs *jobs, struct sl_fd_job *job, int fd, void (*done)(struct sl_fd_job *job));
/* From within `run`: around what no other job of the same user's may do at the same time. */
void sl_fd_job_moment(struct sl_fd_job *job, bool begins);
/* True: it has not begun, and nothing follows. False: `done` does. */
bool sl_fd_job_cancel(struct sl_fd_job *job);

/* What clients pass from now on counts as their users', until it is closed. `quota` outlives the jobs. */
void sl_fd_jobs_account(struct sl_fd_jobs *jobs, struct sl_quota *quota);
/* The descriptor came from a client of `uid`: its jobs and its close are on that user's account. 0; SL_E_LIMIT where the
 * process has no room for it, SL_E_BUSY where that user may have no more; it is the caller's to close then, too. */
int sl_fd_jobs_own(struct sl_fd_jobs *jobs, int fd, uid_t uid);
/* SL_FD_NOBODY: none. */
uid_t sl_fd_jobs_owner(struct sl_fd_jobs *jobs, int fd);
/* Closes, in a thread: any descriptor that a client has had a hand in, be it only that it could write into its queue,
 * for a queue may hold descriptors, and their last close is ours. Cannot fail. `jobs` NULL: at once. */
void sl_fd_jobs_close(struct sl_fd_jobs *jobs, int fd);
/* The user has closes that do not end: nothing of it is to be taken any more. NULL: no. */
bool sl_fd_jobs_stalled(struct sl_fd_jobs *jobs, uid_t uid);
#define SL_FD_STALLED_TEXT "descriptors passed earlier cannot be closed: what they belong to does not answer"

/* As recv(2) with MSG_DONTWAIT, for a socket: bytes, or a negative errno. Descriptors that come along are closed by the
 * jobs; a read without room for them would close them in the call. *ret_rights: whether there were any. */
ssize_t sl_fd_recv(struct sl_fd_jobs *jobs, int fd, void *data, size_t len, bool *ret_rights);
/* Appends the descriptors that came with a message of this user's to `fds`, which has room for `most`, and closes the
 * others. 0; SL_E_PROTOCOL: more than may be held; SL_E_LIMIT: more than there is room for; SL_E_BUSY: more than the user
 * may have. */
int sl_fd_keep(struct sl_fd_jobs *jobs, uid_t uid, struct msghdr *msg, int *fds, unsigned *count, unsigned most);

#endif
