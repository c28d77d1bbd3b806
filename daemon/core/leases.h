/* leases.h - leases from the request to the end: the one setter of their state, the answers to clients, the deadlines.
 * Decides nothing about whose turn it is (serve.c does). For daemon/core only. */
#ifndef SSHLEASE_CORE_LEASES_H
#define SSHLEASE_CORE_LEASES_H

#include "daemon/core/state.h"

void sl_lease_list_init(struct sl_lease_list *list);

/* The slot that `id` names, or NULL when that lease is over. */
struct sl_lease_slot *sl_leases_find(const struct sl_pool *pool, struct sl_id id);

/* The only way a lease changes its state. Asserts that the move is allowed, and says it as LEASE_MOVED. Released, ended
 * and refused are states to pass through: the slot is free, and the id dead, when this returns. */
void sl_leases_move(
    struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_lease_state to, enum sl_reason reason, int status);

/* none -> waiting, and QUEUED. There must be a free slot. */
void sl_leases_queue(struct sl_pool *pool, struct sl_target_slot *target, const struct sl_event *ev);
/* waiting -> granted, its idle connection -> leased, and GRANT. */
void sl_leases_grant(struct sl_pool *pool, struct sl_lease_slot *lease, struct sl_conn_slot *conn);
/* waiting -> refused, and REFUSE (to a client that is gone: nothing). */
void sl_leases_refuse(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_reason reason, int status);
/* Everybody who waits for the target. */
void sl_leases_refuse_all(struct sl_pool *pool, struct sl_target_slot *target, enum sl_reason reason, int status);
/* granted -> released, and RELEASED. The connection is idle again, or closed where it is not to be kept. */
void sl_leases_release(struct sl_pool *pool, struct sl_lease_slot *lease);
/* granted -> ended, and ENDED (RELEASED where it was given back unclean; to a client that is gone: nothing). The
 * connection is drained, or closed where it is lost. */
void sl_leases_reclaim(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_reason reason, int status);
/* A later deadline, and RENEWED. `timeout_ms` 0: what was asked for at first. */
void sl_leases_renew(struct sl_pool *pool, struct sl_lease_slot *lease, uint64_t timeout_ms);

/* Its place in the wait queue; 1 is next. */
uint32_t sl_leases_position(const struct sl_lease_slot *lease);

/* Its deadline is there. */
void sl_leases_on_timer(struct sl_pool *pool, struct sl_lease_slot *lease);

#endif
