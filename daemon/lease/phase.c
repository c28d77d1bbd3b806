/* SPDX-License-Identifier: MIT */
/* What every part of the driver does with a lease's object: its name, the list that its phase puts it on, its place on
 * a connection. */
#include "daemon/lease/state.h"

#include "base/state.h"
#include "proto/status.h"

#include <assert.h>
#include <stdlib.h>

/* --- names for the core ------------------------------------------------------------------------------------------- */

int sl_driver_lease_name(struct sl_driver *d, struct sl_lease *lease)
{
    if (d->lease_slot_free == UINT32_MAX) {
        uint32_t count = d->lease_slot_count == 0 ? 16 : d->lease_slot_count * 2;
        struct sl_lease_entry *table = realloc(d->lease_slot, count * sizeof *table);
        if (table == NULL)
            return SL_E_NOMEM;
        d->lease_slot = table;
        for (uint32_t i = count; i-- > d->lease_slot_count;) {
            table[i] = (struct sl_lease_entry){.generation = 1, .next_free = d->lease_slot_free};
            d->lease_slot_free = i;
        }
        d->lease_slot_count = count;
    }
    uint32_t index = d->lease_slot_free;
    d->lease_slot_free = d->lease_slot[index].next_free;
    d->lease_slot[index].lease = lease;
    lease->slot = (struct sl_id){.index = index, .generation = d->lease_slot[index].generation};
    return 0;
}

void sl_driver_lease_unname(struct sl_lease *lease)
{
    struct sl_driver *d = lease->driver;
    const struct sl_id name = lease->slot;
    struct sl_lease_entry *entry = &d->lease_slot[name.index];
    entry->lease = NULL;
    entry->generation = entry->generation == UINT32_MAX ? 1 : entry->generation + 1;
    entry->next_free = d->lease_slot_free;
    d->lease_slot_free = name.index;
}

struct sl_lease *sl_driver_lease_by_tag(struct sl_driver *d, uint64_t tag)
{
    struct sl_id name = sl_id_unpack(tag);
    if (name.index >= d->lease_slot_count || d->lease_slot[name.index].generation != name.generation)
        return NULL;
    return d->lease_slot[name.index].lease;
}

/* --- where it is -------------------------------------------------------------------------------------------------- */

struct sl_driver_lease_list *sl_driver_lease_home(struct sl_lease *lease)
{
    if (lease->phase == SL_LEASE_PHASE_OVER)
        return &lease->driver->over;
    if (lease->phase == SL_LEASE_PHASE_DRAINING)
        return &lease->driver->draining;
    return lease->target != NULL ? &lease->target->leases : &lease->driver->homeless;
}

#define TO(phase) SL_TO(SL_LEASE_PHASE_##phase)

static const struct sl_state phases[] = {
    [SL_LEASE_PHASE_ASKING] = {"asking", TO(HELD) | TO(RELEASING) | TO(ABANDONED) | TO(OVER)},
    [SL_LEASE_PHASE_HELD] = {"held", TO(RELEASING) | TO(ABANDONED) | TO(OVER)},
    [SL_LEASE_PHASE_RELEASING] = {"releasing", TO(ABANDONED) | TO(OVER)},
    [SL_LEASE_PHASE_ABANDONED] = {"abandoned", TO(OVER)},
    [SL_LEASE_PHASE_DRAINING] = {"draining", TO(OVER)},
    [SL_LEASE_PHASE_OVER] = {"over", TO(DRAINING)},
};

void sl_driver_lease_move(struct sl_lease *lease, enum sl_lease_phase phase)
{
    struct sl_driver_lease_list *from = sl_driver_lease_home(lease), *to;
    SL_MOVE(phases, lease->phase, phase);
    sl_driver_lease_waits_no_more(lease); /* asking is where it begins, and nothing leads back */
    to = sl_driver_lease_home(lease);
    if (to != from) {
        TAILQ_REMOVE(from, lease, link);
        TAILQ_INSERT_TAIL(to, lease, link);
    }
}

void sl_driver_lease_join(struct sl_lease *lease, struct sl_driver_conn *conn)
{
    lease->conn = conn;
    TAILQ_INSERT_TAIL(&conn->leases, lease, on_conn);
}

void sl_driver_lease_leave(struct sl_lease *lease)
{
    if (lease->conn != NULL)
        TAILQ_REMOVE(&lease->conn->leases, lease, on_conn);
    lease->conn = NULL;
    lease->tenant = NULL;
}

struct sl_lease *sl_driver_lease_of_tenant(struct sl_driver_conn *slot, const struct sl_tenant *tenant)
{
    struct sl_lease *lease;
    TAILQ_FOREACH(lease, &slot->leases, on_conn)
    {
        if (lease->tenant == tenant)
            break;
    }
    assert(lease != NULL);
    return lease;
}
