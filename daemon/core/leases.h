/* SPDX-License-Identifier: MIT */
/* leases.h - leases from the request to the end: the one setter of their state, the answers to clients, the deadlines.
 * Decides nothing about whose turn it is (serve.c does). For daemon/core only. */
#ifndef SSHLEASE_CORE_LEASES_H
#define SSHLEASE_CORE_LEASES_H

#include "daemon/core/state.h"

void sl_lease_list_init(struct sl_lease_list *list);

/* The slot that `id` names, or NULL when that lease is over. */
struct sl_lease_slot *sl_leases_find(const struct sl_pool *pool, struct sl_id id);
/* One that is over, and whose connection is being cleaned up after it; or NULL. */
struct sl_lease_slot *sl_leases_find_ended(const struct sl_pool *pool, struct sl_id id);

/* The only way a lease changes its state. Asserts that the move is allowed, and says it as LEASE_MOVED. Released and
 * refused are states to pass through: the slot is free, and the id dead, when this returns. So is ended, unless there
 * is a connection to clean up. */
void sl_leases_move(
    struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_lease_state to, enum sl_reason reason, int status);

/* none -> waiting, and QUEUED. There must be a free slot. */
void sl_leases_queue(struct sl_pool *pool, struct sl_target_slot *target, const struct sl_event *ev);
/* waiting or moving -> granted, and GRANT or MOVE; an idle connection -> leased. */
void sl_leases_grant(struct sl_pool *pool, struct sl_lease_slot *lease, struct sl_conn_slot *conn);
/* waiting -> refused, and REFUSE (to a client that is gone: nothing). One that is moving is ended, and ENDED. */
void sl_leases_refuse(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_reason reason, int status);
/* Everybody who waits for the target. */
void sl_leases_refuse_all(struct sl_pool *pool, struct sl_target_slot *target, enum sl_reason reason, int status);
/* granted or moving -> released, and RELEASED. The connection that it was last on is idle again, or cleaned up, or
 * closed where it is not to be kept. */
void sl_leases_release(struct sl_pool *pool, struct sl_lease_slot *lease, bool spent);
/* granted or moving -> ended, and ENDED (RELEASED where it was given back unclean; to a client that is gone: nothing),
 * and DRAIN. Its connection takes no lease any more. */
void sl_leases_reclaim(struct sl_pool *pool, struct sl_lease_slot *lease, enum sl_reason reason, int status);
/* waiting -> refused, granted or moving -> ended, and DRAIN: somebody with a say in it wants it so. `status` says what
 * its client is told: SL_E_REVOKED, SL_E_NOT_ALLOWED, SL_E_NO_TARGET. NULL is fine. */
void sl_leases_revoke(struct sl_pool *pool, struct sl_lease_slot *lease, int status);
/* The clean-up after it is over, or took too long (`status`). With the last lease's the connection is closed. */
void sl_leases_drained(struct sl_pool *pool, struct sl_lease_slot *lease, int status);
/* granted -> moving: its connection has no room for it. */
void sl_leases_crowd(struct sl_pool *pool, struct sl_lease_slot *lease);
/* granted -> moving: its connection is spent (`status` 0) or lost, and closed with the last lease that leaves it. */
void sl_leases_displace(struct sl_pool *pool, struct sl_lease_slot *lease, int status);
/* The connection is lost: its leases -> ended, nothing is cleaned up after them, it -> closing. */
void sl_leases_lose(struct sl_pool *pool, struct sl_conn_slot *conn, int status);
/* A later deadline, and RENEWED. `timeout_ms` 0: what was asked for at first. */
void sl_leases_renew(struct sl_pool *pool, struct sl_lease_slot *lease, uint64_t timeout_ms);

/* Its place among those who wait; 1 is next. */
uint32_t sl_leases_position(const struct sl_lease_slot *lease);

/* Its deadline is there. */
void sl_leases_on_timer(struct sl_pool *pool, struct sl_lease_slot *lease);

#endif
