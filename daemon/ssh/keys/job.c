/* SPDX-License-Identifier: MIT */
/* A job on libuv's thread pool: its result goes to whoever asked, unless it was forgotten meanwhile. */
#include "daemon/ssh/keys/job.h"

#include "proto/status.h"

#include <stdlib.h>

struct sl_job {
    uv_work_t req;
    const struct sl_job_kind *kind;
    void *data;
    void *arg; /* NULL: forgotten */
};

static void work(uv_work_t *req)
{
    struct sl_job *job = req->data;
    job->kind->work(job->data);
}

static void after_work(uv_work_t *req, int status)
{
    struct sl_job *job = req->data;
    /* Cancelled means forgotten: sl_job_forget() is the only one who cancels. */
    if (job->arg != NULL && status == 0)
        job->kind->done(job->arg, job->data);
    job->kind->dispose(job->data);
    free(job);
}

int sl_job_start(uv_loop_t *loop, const struct sl_job_kind *kind, void *data, void *arg, struct sl_job **ret_job)
{
    struct sl_job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return SL_E_NOMEM;
    job->req.data = job;
    job->kind = kind;
    job->data = data;
    job->arg = arg;
    if (uv_queue_work(loop, &job->req, work, after_work) != 0) {
        free(job);
        return SL_E_INTERNAL;
    }
    *ret_job = job;
    return 0;
}

void sl_job_forget(struct sl_job *job)
{
    if (job != NULL) {
        job->arg = NULL;
        uv_cancel((uv_req_t *)&job->req);
    }
}
