/* SPDX-License-Identifier: MIT */
/* who.h - who a client is: what the kernel says of its process and its user. Passed about as one thing. Pure. */
#ifndef SSHLEASE_BASE_WHO_H
#define SSHLEASE_BASE_WHO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sl_who {
    pid_t pid;
    uint64_t
        start_time; /* of `pid`, in clock ticks since boot: tells it from a later process of that number; 0: unknown */
    uid_t uid;
    const gid_t *gid; /* the primary group first, then the supplementary ones */
    size_t gid_count;
};

/* A copy with groups of its own. 0 or SL_E_NOMEM, then *ret_who has no groups. */
int sl_who_copy(const struct sl_who *who, struct sl_who *ret_who);
/* Frees the groups, for whoever owns them. It is nobody then. */
void sl_who_fini(struct sl_who *who);

#endif
