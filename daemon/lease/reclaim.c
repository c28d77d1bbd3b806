/* SPDX-License-Identifier: MIT */
/* Cleaning up after reclaimed leases: the core's DRAIN goes to the transport, its report to the log and the counters,
 * and back to the core. What could not be cleaned up is told, once. */
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <assert.h>
#include <stdio.h>

void sl_driver_lease_drain(struct sl_driver *d, const struct sl_action *act)
{
    struct sl_lease *lease = sl_driver_lease_by_tag(d, act->tag);
    assert(lease != NULL && lease->phase == SL_LEASE_PHASE_OVER && lease->conn != NULL);
    lease->reclaim = act->reason;
    sl_driver_lease_move(lease, SL_LEASE_PHASE_DRAINING);
    if (lease->conn->lost_status != 0)
        return; /* the core is about to hear of it, and closes */
    if (lease->tenant != NULL)
        sl_tenant_drain(lease->tenant);
    else
        sl_driver_note(d, &lease->work, SL_TODO_DRAINED);
}

void sl_driver_lease_drained(
    struct sl_driver_conn *slot, const struct sl_tenant *tenant, const struct sl_drain_report *report)
{
    struct sl_driver *d = slot->driver;
    struct sl_counters *c = &d->counters;
    char quoted[SL_LOG_QUOTE_SIZE];
    /* What the server did not let us end, or know of, must not go by unseen. */
    const bool incomplete = report->remaining > 0 || report->text != NULL;
    struct sl_lease *lease = sl_driver_lease_of_tenant(slot, tenant);

    c->reclaim_streams += report->streams;
    c->reclaim_signalled += report->signalled;
    c->reclaim_swept += report->swept;
    c->reclaim_remaining += report->remaining;
    c->reclaim_incomplete += incomplete;
    sl_log(d->log, incomplete ? SL_LOG_WARNING : SL_LOG_NOTICE, "reclaim",
        "lease=%llu conn=%u.%u target=%s reason=%s streams=%u signalled=%u swept=%u remaining=%u sweep=%s%s%s",
        (unsigned long long)lease->number, slot->id.index, slot->id.generation, slot->target->conf->name,
        sl_reason_name(lease->reclaim), report->streams, report->signalled, report->swept, report->remaining,
        report->sweep_ran ? "done" : "none", report->text != NULL ? " text=" : "",
        report->text != NULL ? sl_log_quote(quoted, sizeof quoted, report->text) : "");
    lease->uncleaned = 0; /* told: nothing is to be added, whatever the connection comes to now */
    lease->tenant = NULL;
    sl_driver_note(d, &lease->work, SL_TODO_DRAINED);
}

/* `where`: " conn=…", or "". */
static void tell_uncleaned(const struct sl_lease *lease, const char *where, enum sl_reason reason, const char *why)
{
    struct sl_driver *d = lease->driver;
    d->counters.reclaim_incomplete++;
    sl_log(d->log, SL_LOG_WARNING, "reclaim",
        "lease=%llu%s target=%s reason=%s streams=%u sweep=none text=\"%s: what its commands left behind cannot be "
        "found or ended\"",
        (unsigned long long)lease->number, where, lease->target->conf->name, sl_reason_name(reason), lease->uncleaned,
        why);
}

/* A connection that goes without its clean-up may leave something behind on the far side. */
void sl_driver_leases_uncleaned(struct sl_driver_conn *slot, const struct sl_action *act)
{
    const bool lost = act->reason == SL_REASON_CONNECTION_LOST || act->reason == SL_REASON_DEAD;
    char where[48];
    struct sl_lease *lease;
    snprintf(where, sizeof where, " conn=%u.%u", slot->id.index, slot->id.generation);
    TAILQ_FOREACH(lease, &slot->leases, on_conn)
    {
        if (lease->uncleaned > 0)
            tell_uncleaned(lease, where, lease->phase == SL_LEASE_PHASE_DRAINING ? lease->reclaim : act->reason,
                lost ? "the connection was lost" : "the clean-up took too long");
    }
}

void sl_driver_lease_uncleaned(const struct sl_lease *lease, enum sl_reason reason)
{
    if (lease->conn == NULL && lease->uncleaned > 0)
        tell_uncleaned(lease, "", reason, "its connection was lost, and it ended before it had another");
}

void sl_driver_leases_leave(struct sl_driver_conn *slot)
{
    struct sl_lease *lease;
    while ((lease = TAILQ_FIRST(&slot->leases)) != NULL) {
        if (lease->phase == SL_LEASE_PHASE_DRAINING)
            sl_driver_lease_move(lease, SL_LEASE_PHASE_OVER);
        sl_driver_lease_leave(lease); /* NOLINT(clang-analyzer-unix.Malloc): it unlinks itself */
    }
}
