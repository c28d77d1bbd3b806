/* SPDX-License-Identifier: MIT */
/* hang_jobs.h - calls that may hang for as long as they like, as the name services' (users, host names) do: each in a
 * thread of its own, few at a time for the same thing, with a deadline for whoever waits. Knows not what is called.
 * What a client's descriptors can make hang is fd_jobs'. */
#ifndef SSHLEASE_NET_HANG_JOBS_H
#define SSHLEASE_NET_HANG_JOBS_H

#include <stdint.h>
#include <uv.h>

struct sl_hang_jobs;
struct sl_hang_job;

struct sl_hang_kind {
    void (*run)(void *data); /* in a thread */
    /* On the loop, after `run`; or with `data` NULL at the deadline, and then `run` has hung, or waits behind others of
     * its key that do. The job is gone. */
    void (*done)(void *arg, void *data);
    void (*dispose)(void *data); /* the last, be it in the thread */
};

/* Threads that have the same key at a time; further ones wait. */
#define SL_HANG_PER_KEY 2u

/* At most `threads` at a time. 0, SL_E_NOMEM or SL_E_IO. */
int sl_hang_jobs_new(uv_loop_t *loop, unsigned threads, struct sl_hang_jobs **ret_jobs);
/* Every job is forgotten. A thread that hangs keeps its data until it ends, or the process does. NULL is fine. */
void sl_hang_jobs_free(struct sl_hang_jobs *jobs);

/* Takes `data` over on success. `timeout_ms` 0: no deadline. A job keeps the loop alive. 0 or SL_E_NOMEM. */
int sl_hang_job_start(struct sl_hang_jobs *jobs, const struct sl_hang_kind *kind, uint64_t key, void *data, void *arg,
    uint64_t timeout_ms, struct sl_hang_job **ret_job);
/* `done` is not called any more. The job is gone. NULL is fine. */
void sl_hang_job_forget(struct sl_hang_job *job);

/* A key for a text. */
uint64_t sl_hang_key(const char *text);

#endif
