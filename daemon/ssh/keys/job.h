/* SPDX-License-Identifier: MIT */
/* job.h - a piece of blocking work in libuv's thread pool that may outlive who asked for it. Owns the work's data until
 * it is done; never touches a connection. */
#ifndef SSHLEASE_SSH_KEYS_JOB_H
#define SSHLEASE_SSH_KEYS_JOB_H

#include <uv.h>

struct sl_job;

struct sl_job_kind {
    void (*work)(void *data);            /* in a worker thread; touches nothing but `data` */
    void (*done)(void *arg, void *data); /* on the loop; may take things out of `data` */
    void (*dispose)(void *data);         /* frees `data`; after done(), or in its stead when the job was forgotten */
};

/* Queues it. Takes `data` over on success only. 0 or SL_E_NOMEM/SL_E_INTERNAL. done() never runs before this returns.
 */
int sl_job_start(uv_loop_t *loop, const struct sl_job_kind *kind, void *data, void *arg, struct sl_job **ret_job);
/* done() will not be called; the data goes when the worker has let go of it. NULL is fine. Not after done(). */
void sl_job_forget(struct sl_job *job);

#endif
