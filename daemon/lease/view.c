/* SPDX-License-Identifier: MIT */
/* Targets, leases and counters as an operator sees them; changes nothing. */
#include "daemon/lease/state.h"

#include "proto/status.h"

static uint64_t until(uint64_t deadline_ms, uint64_t now_ms)
{
    if (deadline_ms == UINT64_MAX)
        return UINT64_MAX;
    return deadline_ms > now_ms ? deadline_ms - now_ms : 0;
}

void sl_driver_each_target(struct sl_driver *d, const struct sl_who *who, sl_target_view_fn fn, void *arg)
{
    const bool admin = sl_conf_is_admin(d->conf, who);
    const uint64_t now = uv_now(d->loop);
    for (uint32_t i = 0; i < d->named_count; i++) {
        const struct sl_driver_target *target = d->by_name[i];
        struct sl_pool_target_info info;
        char learned[1024];
        if (!admin && !sl_target_conf_allows(target->conf, who))
            continue;
        if (!sl_pool_target_info(d->pool, target->index, &info))
            continue;
        const struct sl_target_view view = {
            .name = target->conf->name,
            .dialing = info.counts.dialing,
            .idle = info.counts.idle,
            .leased = info.counts.leased,
            .draining = info.counts.draining,
            .closing = info.counts.closing,
            .waiters = info.counts.waiters,
            .max_connections = target->conf->policy.max_connections,
            .failures = info.failures,
            .last_status = info.last_status,
            .last_error = target->last_error != NULL ? target->last_error : "",
            .retry_in_ms = until(sl_driver_basis_retry_ms(d, target, info.last_status, info.retry_at_ms), now),
            .learned = sl_compat_describe(target->compat, now, learned, sizeof learned),
            .send_env = &target->conf->send_env,
        };
        fn(arg, &view);
    }
}

struct lease_walk {
    struct sl_driver *driver;
    bool admin;
    uid_t uid;
    sl_lease_view_fn fn;
    void *arg;
};

/* One that is parked has no connection; one whose connection is gone goes with it. */
static bool has_tenant(const struct sl_lease *lease)
{
    return lease->tenant != NULL && (lease->conn == NULL || lease->conn->conn != NULL);
}

static void view_lease(void *arg, struct sl_id id)
{
    const struct lease_walk *walk = arg;
    struct sl_driver *d = walk->driver;
    const uint64_t now = uv_now(d->loop);
    struct sl_pool_lease_info info;
    if (!sl_pool_lease_info(d->pool, id, &info))
        return;
    const struct sl_lease *lease = sl_driver_lease_by_tag(d, info.tag);
    if (lease == NULL || lease->target == NULL || (!walk->admin && lease->who.uid != walk->uid))
        return;
    const bool granted = info.state == SL_LEASE_GRANTED || info.state == SL_LEASE_MOVING;
    const struct sl_lease_view view = {
        .id = lease->number,
        .target = lease->target->conf->name,
        .label = lease->label,
        .granted = granted,
        .pid = lease->who.pid,
        .start_time = lease->who.start_time,
        .uid = lease->who.uid,
        .age_ms = now - (granted ? info.granted_ms : lease->asked_ms),
        .expires_in_ms = until(info.deadline_ms, now),
        .streams = has_tenant(lease) ? sl_tenant_streams(lease->tenant) : 0,
        .position = info.position,
    };
    walk->fn(walk->arg, &view);
}

void sl_driver_each_lease(struct sl_driver *d, const struct sl_who *who, sl_lease_view_fn fn, void *arg)
{
    struct lease_walk walk = {
        .driver = d,
        .admin = sl_conf_is_admin(d->conf, who),
        .uid = who->uid,
        .fn = fn,
        .arg = arg,
    };
    sl_pool_each_lease(d->pool, view_lease, &walk);
}

/* Every reason that has come up, under its own label. */
static void by_reason(const uint64_t count[SL_REASON_COUNT], const char *name, sl_counter_fn fn, void *arg)
{
    for (int reason = 0; reason < SL_REASON_COUNT; reason++)
        if (count[reason] > 0)
            fn(arg, name, sl_reason_name((enum sl_reason)reason), count[reason]);
}

void sl_driver_each_counter(struct sl_driver *d, sl_counter_fn fn, void *arg)
{
    const struct sl_counters *c = &d->counters;
    by_reason(c->lease[SL_LEASE_GRANTED], "leases_granted", fn, arg);
    by_reason(c->lease[SL_LEASE_RELEASED], "leases_released", fn, arg);
    by_reason(c->lease[SL_LEASE_ENDED], "leases_ended", fn, arg);
    by_reason(c->lease[SL_LEASE_REFUSED], "leases_refused", fn, arg);
    if (c->refused_limit > 0)
        fn(arg, "leases_refused", sl_status_name(SL_E_LIMIT), c->refused_limit);
    by_reason(c->conn[SL_CONN_DIALING], "connections_dialed", fn, arg);
    by_reason(c->conn[SL_CONN_CLOSING], "connections_closed", fn, arg);
    fn(arg, "reclaim_streams", "", c->reclaim_streams);
    fn(arg, "reclaim_signalled", "", c->reclaim_signalled);
    fn(arg, "reclaim_swept", "", c->reclaim_swept);
    fn(arg, "reclaim_remaining", "", c->reclaim_remaining);
    fn(arg, "reclaim_incomplete", "", c->reclaim_incomplete);
}

void sl_driver_totals(const struct sl_driver *d, struct sl_driver_totals *ret_totals)
{
    struct sl_driver_totals totals = {.idle = 0};
    for (uint32_t i = 0; i < d->target_count; i++) {
        struct sl_pool_target_info info;
        if (d->target[i] == NULL || !sl_pool_target_info(d->pool, d->target[i]->index, &info))
            continue;
        totals.dialing += info.counts.dialing;
        totals.idle += info.counts.idle;
        totals.leased += info.counts.leased;
        totals.draining += info.counts.draining;
        totals.closing += info.counts.closing;
        totals.waiters += info.counts.waiters;
    }
    *ret_totals = totals;
}
