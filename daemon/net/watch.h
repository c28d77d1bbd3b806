/* SPDX-License-Identifier: MIT */
/* watch.h - tells when foreign descriptors become readable or writable, and runs work at the end of a loop's turn.
 * Never changes a flag of what it watches: libuv would make it non-blocking for everybody who shares it. */
#ifndef SSHLEASE_NET_WATCH_H
#define SSHLEASE_NET_WATCH_H

#include "daemon/net/fd_jobs.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct sl_watch;

/* One descriptor's entry, in its owner's memory. Zeroed it is not registered. */
struct sl_watched {
    TAILQ_ENTRY(sl_watched) link;
    struct sl_watch *watch;
    int fd; /* registered; -1 or unregistered: none */
    bool registered, queued;
    uint32_t round; /* in which it was queued */
    /* Edge-triggered: `events` are of epoll(7), 0 when sl_watched_later() asked for the call. It may close the entry. */
    void (*fn)(struct sl_watched *watched, uint32_t events);
};

/* One for many descriptors; costs one descriptor itself. Does not keep the loop alive. 0, SL_E_NOMEM or SL_E_IO. */
int sl_watch_new(uv_loop_t *loop, struct sl_watch **ret_watch);
/* When nothing is registered any more. The memory goes with the handles' close callbacks. NULL is fine. */
void sl_watch_free(struct sl_watch *watch);
/* For what has to wait for files. Borrowed. */
struct sl_fd_jobs *sl_watch_jobs(const struct sl_watch *watch);
/* Room for what one `fn` reads and hands on before it returns. */
#define SL_WATCH_SCRATCH 65536u
uint8_t *sl_watch_scratch(struct sl_watch *watch);

/* Prepares an entry; it is not registered. No call to `fn` before the loop runs. */
void sl_watched_init(
    struct sl_watched *watched, struct sl_watch *watch, void (*fn)(struct sl_watched *watched, uint32_t events));
/* Watches `fd` for EPOLLIN or EPOLLOUT. 0; SL_E_INVALID for a kind that epoll refuses (a regular file, /dev/null),
 * which never has to be waited for; SL_E_IO or SL_E_NOMEM. */
int sl_watched_register(struct sl_watched *watched, int fd, uint32_t events);
/* `fn` is called once, from the loop, in this turn or the next; waiting for nothing in between. Idempotent. */
void sl_watched_later(struct sl_watched *watched);
/* Out of epoll, out of the queue; no call to `fn` after it. To be called before the descriptor's close(2). Idempotent,
 * legal from `fn`. */
void sl_watched_fini(struct sl_watched *watched);

#endif
