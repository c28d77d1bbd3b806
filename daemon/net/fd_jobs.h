/* fd_jobs.h - what may have to wait for a disk or a file server: reading, writing and closing passed files, in threads
 * of the pool, a few at a time. Knows nothing of what is in them. */
#ifndef SSHLEASE_NET_FD_JOBS_H
#define SSHLEASE_NET_FD_JOBS_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <uv.h>

struct sl_fd_jobs;

/* Threads that may be at it: half of what the pool has by default. A file system that does not answer keeps one for as
 * long, and keys and host names need some as well. */
#define SL_FD_JOBS_MAX 4u

/* One job, in its owner's memory, from sl_fd_job_start() until `done` begins. Zeroed it is none. */
struct sl_fd_job {
    TAILQ_ENTRY(sl_fd_job) link;
    struct sl_fd_jobs *jobs;
    bool waiting; /* no thread is free for it */
    uv_work_t work;
    void (*run)(struct sl_fd_job *job);
    void (*done)(struct sl_fd_job *job, bool ran);
};

/* 0 or SL_E_NOMEM. */
int sl_fd_jobs_new(uv_loop_t *loop, struct sl_fd_jobs **ret_jobs);
/* Jobs under way go on, and are told of; the memory goes with the last one. NULL is fine. */
void sl_fd_jobs_free(struct sl_fd_jobs *jobs);

/* Calls `run` in a thread, then `done` from the loop; `ran` is false when it was cancelled before it began. */
void sl_fd_job_start(struct sl_fd_jobs *jobs, struct sl_fd_job *job, void (*run)(struct sl_fd_job *job),
    void (*done)(struct sl_fd_job *job, bool ran));
/* True: it has not begun, and nothing follows. False: `done` does. */
bool sl_fd_job_cancel(struct sl_fd_job *job);

/* What a descriptor is: type, device, inode, as known here: no file server is asked. 0, or -1 with errno. */
int sl_fd_stat(int fd, struct statx *ret_stat);
/* Closes a descriptor that came from a client. Of a file in a job, for its file system may want to write first; `jobs`
 * NULL: at once. */
void sl_fd_jobs_close(struct sl_fd_jobs *jobs, int fd);

#endif
