/* SPDX-License-Identifier: MIT */
/* fd_threads.h - the threads behind fd_jobs: what waits for one, and how many each user may keep. Knows no event loop.
 * For fd_jobs.c. */
#ifndef SSHLEASE_NET_FD_THREADS_H
#define SSHLEASE_NET_FD_THREADS_H

#include "daemon/net/fd_jobs.h"

struct sl_fd_threads;

/* `wake` is called when sl_fd_threads_done() has something to give, from a thread, with a lock held: it may do no more
 * than wake somebody. 0 or SL_E_NOMEM. */
int sl_fd_threads_new(void (*wake)(void *arg), void *arg, struct sl_fd_threads **ret_threads);
/* No call to `wake` after it. A thread that is stuck keeps what it works on; the memory goes with the last one. */
void sl_fd_threads_leave(struct sl_fd_threads *threads);
/* From now on `wake` tells of the last close that ends, too. */
void sl_fd_threads_end(struct sl_fd_threads *threads);
/* Closes that have not ended. */
unsigned sl_fd_threads_closing(struct sl_fd_threads *threads);

/* The job is theirs until sl_fd_threads_done() gives it back. */
void sl_fd_threads_start(struct sl_fd_threads *threads, struct sl_fd_job *job, uid_t uid);
/* True: it has not begun and is the caller's again. */
bool sl_fd_threads_cancel(struct sl_fd_threads *threads, struct sl_fd_job *job);
/* One that has run, or NULL. */
struct sl_fd_job *sl_fd_threads_done(struct sl_fd_threads *threads);

/* As sl_fd_job_moment(), for a job in that lane. */
void sl_fd_threads_moment(struct sl_fd_lane *lane, bool begins);

/* As their namesakes in fd_jobs.h. */
void sl_fd_threads_account(struct sl_fd_threads *threads, struct sl_quota *quota);
int sl_fd_threads_own(struct sl_fd_threads *threads, int fd, uid_t uid);
uid_t sl_fd_threads_owner(struct sl_fd_threads *threads, int fd);
void sl_fd_threads_close(struct sl_fd_threads *threads, int fd);
bool sl_fd_threads_stalled(struct sl_fd_threads *threads, uid_t uid);

#endif
