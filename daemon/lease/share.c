/* SPDX-License-Identifier: MIT */
/* What a lease takes of its user's shares: one of all leases as long as it is there, one of the places in its target's
 * queue as long as it waits. */
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <stdio.h>

#define MIB UINT64_C(1048576)

void sl_driver_shares_apply(struct sl_driver *d, const struct sl_limits *limits)
{
    sl_quota_share(d->quota, limits->user_share);
    sl_quota_limit(d->quota, SL_QUOTA_CLIENTS, limits->clients);
    sl_quota_limit(d->quota, SL_QUOTA_DESCRIPTORS, limits->descriptors);
    sl_quota_limit(d->quota, SL_QUOTA_LEASES, limits->leases);
    sl_quota_limit(d->quota, SL_QUOTA_STREAMS, limits->streams);
    sl_quota_limit(d->quota, SL_QUOTA_BYTES, limits->held_mib * MIB);
}

/* Of the queue of its target, for its user. How long that may be in all is for the core to say, which knows who of it is
 * served at once. */
static uint64_t places_for(const struct sl_lease *lease)
{
    const struct sl_conf *conf = lease->driver->conf;
    const bool first = sl_quota_of(lease->target->queue, lease->who.uid, SL_QUOTA_WAITERS) == 0;
    if (conf->limits.user_share == 100 || first || sl_conf_is_privileged(conf, &lease->who))
        return SL_QUOTA_NO_LIMIT;
    return lease->target->conf->policy.waiters;
}

static int take_place(struct sl_driver *d, struct sl_lease *lease)
{
    struct sl_quota *queue = lease->target->queue;
    sl_quota_share(queue, d->conf->limits.user_share);
    sl_quota_limit(queue, SL_QUOTA_WAITERS, places_for(lease));
    int r = sl_quota_take(queue, lease->who.uid, SL_QUOTA_WAITERS, 1);
    if (r != 0)
        return r == SL_E_LIMIT ? SL_E_QUEUE_FULL : r;
    r = sl_quota_take(d->quota, lease->who.uid, SL_QUOTA_WAITERS, 1);
    if (r != 0)
        sl_quota_give(queue, lease->who.uid, SL_QUOTA_WAITERS, 1);
    lease->waits = r == 0;
    return r;
}

int sl_driver_lease_count(struct sl_lease *lease, char *text, size_t size)
{
    struct sl_driver *d = lease->driver;
    char why[SL_QUOTA_TEXT_SIZE];
    int r = sl_quota_take(d->quota, lease->who.uid, SL_QUOTA_LEASES, 1);
    if (r == SL_E_LIMIT)
        (void)sl_quota_refusal(d->quota, lease->who.uid, SL_QUOTA_LEASES, why, sizeof why);
    lease->counts = r == 0;
    if (r == 0 && (r = take_place(d, lease)) == SL_E_QUEUE_FULL)
        (void)sl_quota_refusal(lease->target->queue, lease->who.uid, SL_QUOTA_WAITERS, why, sizeof why);
    if (r == SL_E_NOMEM)
        snprintf(why, sizeof why, "%s", sl_status_text(r));
    if (r != 0) {
        snprintf(text, size, "target %s: %s", lease->target->conf->name, why);
        sl_driver_lease_uncount(lease);
    }
    return r;
}

const char *sl_lease_stream_refusal(const struct sl_lease *lease, int status, char *buf, size_t size)
{
    if (status == SL_E_LIMIT)
        return sl_quota_refusal(lease->driver->quota, lease->who.uid, SL_QUOTA_STREAMS, buf, size);
    snprintf(buf, size, "%s", sl_status_text(status));
    return buf;
}

void sl_driver_lease_waits_no_more(struct sl_lease *lease)
{
    if (!lease->waits)
        return;
    lease->waits = false;
    sl_quota_give(lease->target->queue, lease->who.uid, SL_QUOTA_WAITERS, 1);
    sl_quota_give(lease->driver->quota, lease->who.uid, SL_QUOTA_WAITERS, 1);
}

void sl_driver_lease_uncount(struct sl_lease *lease)
{
    sl_driver_lease_waits_no_more(lease);
    if (lease->counts)
        sl_quota_give(lease->driver->quota, lease->who.uid, SL_QUOTA_LEASES, 1);
    lease->counts = false;
}
