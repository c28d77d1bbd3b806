/* SPDX-License-Identifier: MIT */
/* quota.h - what each user has of what there is only so much of, and whether it may have more. The one place where a
 * user's counts live: whoever hands something out takes it here first and gives it back here. What a user may have is
 * its share of what the others leave, so that those who come later find something. Reads no clock, calls nobody. Every
 * call may come from any thread, and takes the same time however many users there are. */
#ifndef SSHLEASE_BASE_QUOTA_H
#define SSHLEASE_BASE_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sl_quota_kind {
    SL_QUOTA_CLIENTS,     /* sockets, at whichever door */
    SL_QUOTA_DESCRIPTORS, /* that clients passed, or that were opened for them */
    SL_QUOTA_LEASES,      /* held or asked for */
    SL_QUOTA_WAITERS,     /* of these, those that wait */
    SL_QUOTA_STREAMS,
    SL_QUOTA_BYTES,    /* of memory, for what they have sent and have not read */
    SL_QUOTA_STATUSES, /* answers to STATUS, until they are read */
    SL_QUOTA_KINDS,
};

#define SL_QUOTA_NO_LIMIT UINT64_MAX
/* A client that has said nothing for so long, and has nothing, gives way to another one of its user's. */
#define SL_QUOTA_IDLE_MS 5000u

struct sl_quota;

/* Nothing is limited, and a share is the whole. NULL: no memory. */
struct sl_quota *sl_quota_new(void);
/* Whatever was taken counts no more. NULL is fine. */
void sl_quota_free(struct sl_quota *quota);

/* How much of it there is. Who has more keeps it. */
void sl_quota_limit(struct sl_quota *quota, enum sl_quota_kind kind, uint64_t limit);
/* One user's part of what the others leave, of every kind: 1 to 100 percent, rounded up. */
void sl_quota_share(struct sl_quota *quota, unsigned percent);

/* So much more for `uid`. 0; SL_E_LIMIT, then sl_quota_refusal() has the sentence; SL_E_NOMEM. */
int sl_quota_take(struct sl_quota *quota, uid_t uid, enum sl_quota_kind kind, uint64_t amount);
/* The same for one whose `privileged` it is from here on to have no share, and a reserve beyond the limits: root and
 * those who administer the daemon come in when the house is full. */
int sl_quota_admit(struct sl_quota *quota, uid_t uid, bool privileged, enum sl_quota_kind kind, uint64_t amount);
void sl_quota_give(struct sl_quota *quota, uid_t uid, enum sl_quota_kind kind, uint64_t amount);

#define SL_QUOTA_TEXT_SIZE 256u
/* Why `uid` may have no more of it, what limits it and what to do. Returns `buf`. */
const char *sl_quota_refusal(struct sl_quota *quota, uid_t uid, enum sl_quota_kind kind, char *buf, size_t size);

uint64_t sl_quota_of(struct sl_quota *quota, uid_t uid, enum sl_quota_kind kind);
uint64_t sl_quota_total(struct sl_quota *quota, enum sl_quota_kind kind);
/* Each user that has anything, in no order; not more than `room` of them. How many were written. */
struct sl_quota_view {
    uid_t uid;
    uint64_t count[SL_QUOTA_KINDS];
};
size_t sl_quota_each(struct sl_quota *quota, struct sl_quota_view *view, size_t room);

#endif
