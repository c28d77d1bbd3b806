/* SPDX-License-Identifier: MIT */
/* pool.h - decides who gets which connection, when to dial, ping and close. Pure: no I/O, no clock, no allocation but
 * in sl_pool_new() and sl_pool_configure(). */
#ifndef SSHLEASE_CORE_POOL_H
#define SSHLEASE_CORE_POOL_H

#include "config/policy.h"
#include "daemon/core/vocabulary.h"

struct sl_pool;

/* One target as the core sees it: a number and a policy. The driver keeps names, hosts and credentials. */
struct sl_pool_target {
    uint32_t target;      /* the driver's index for it; stable over reloads; below SL_POOL_TARGETS_MAX */
    uint64_t identity;    /* a number that changes whenever connections made before must not be leased any more */
    uint64_t retry_epoch; /* a number that changes whenever an operator acted: failed dials are forgotten then */
    struct sl_policy policy;
};
#define SL_POOL_TARGETS_MAX 65536u

/* Who lost the right to a lease, or to the place in the queue, by a new configuration. */
struct sl_pool_revocation {
    struct sl_id lease;
    int status; /* SL_E_NOT_ALLOWED; or SL_E_NO_TARGET, where the name that was asked for means nothing any more */
};
struct sl_pool_revocations {
    const struct sl_pool_revocation *item;
    size_t count;
};

/* `seed` feeds jitter, the only chance in here. 0 or SL_E_NOMEM. */
int sl_pool_new(const struct sl_limits *limits, uint64_t seed, struct sl_pool **ret_pool);
/* Whatever it still holds is forgotten; the driver has closed the world before. NULL is fine. */
void sl_pool_free(struct sl_pool *pool);

/* Replaces limits and the whole set of targets: at start, at reload, and when the one-user mode meets a new target.
 * Targets that are missing now are removed: their waiters refused (NO_TARGET), their idle connections closed, leased
 * ones closed when released. A changed identity does the same to connections, without refusing anybody; so does
 * owners_shared when it is switched off. Dials under the old settings are closed and begun anew. A changed
 * retry_epoch clears what the core remembers of failed dials. `revoked` (NULL: none) ends leases and waits with it, as
 * REVOKE does but with the reason of their status, before anybody is granted anything under the new settings. On
 * SL_E_NOMEM nothing has changed. Emits actions into sl_pool_actions(). */
int sl_pool_configure(struct sl_pool *pool, uint64_t now_ms, const struct sl_limits *limits,
    const struct sl_pool_target *targets, size_t count, const struct sl_pool_revocations *revoked);

/* Feeds one event; what the driver must do is then in sl_pool_actions(), until the next step or configure. `ev` is
 * borrowed. Cannot fail. Not re-entrant: carry the actions out first. */
void sl_pool_step(struct sl_pool *pool, const struct sl_event *ev);
const struct sl_actions *sl_pool_actions(const struct sl_pool *pool);

/* When the core next wants an event at the latest (on the clock of now_ms), or UINT64_MAX. */
uint64_t sl_pool_next_ms(const struct sl_pool *pool);

/* --- looking, for status and metrics; all borrowed or by value --- */
struct sl_pool_counts {
    uint32_t dialing, idle, leased, draining, closing; /* connections; leased: those that are retiring, too */
    uint32_t waiters;                                  /* requests, and leases that are moving */
};
struct sl_pool_target_info {
    struct sl_pool_counts counts;
    uint32_t failures; /* failed dials in a row */
    int last_status;   /* why the last one failed, or 0 */
    uint64_t
        retry_at_ms; /* no dial for somebody who waits before; 0: none held back; UINT64_MAX: until the next configure
                      */
};
/* False when there is no such target; a removed one is there until its last connection is gone. */
bool sl_pool_target_info(const struct sl_pool *pool, uint32_t target, struct sl_pool_target_info *ret_info);

struct sl_pool_lease_info {
    enum sl_lease_state state;
    uint32_t target;
    uint64_t owner, tag, since_ms, granted_ms, deadline_ms, max_deadline_ms;
    struct sl_id conn; /* granted only */
    uint32_t position; /* waiting or moving: 1 is next */
};
bool sl_pool_lease_info(const struct sl_pool *pool, struct sl_id lease, struct sl_pool_lease_info *ret_info);

/* Calls `fn` for every lease that waits or is granted: per target, the granted first, then those who wait, in order. */
typedef void (*sl_pool_lease_fn)(void *arg, struct sl_id lease);
void sl_pool_each_lease(const struct sl_pool *pool, sl_pool_lease_fn fn, void *arg);

/* Checks every invariant; NULL, or a static text that names the broken one. For the simulator and debug builds. */
const char *sl_pool_check(const struct sl_pool *pool);

#endif
