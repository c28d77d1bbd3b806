/* SPDX-License-Identifier: MIT */
/* conns.h - connection slots: the one setter of their state, their pings and their deadlines. Decides nothing about who
 * gets one (serve.c does). For daemon/core only. */
#ifndef SSHLEASE_CORE_CONNS_H
#define SSHLEASE_CORE_CONNS_H

#include "daemon/core/state.h"

void sl_conn_list_init(struct sl_conn_list *list);

/* The slot that `id` names, or NULL when that connection is gone. */
struct sl_conn_slot *sl_conns_find(const struct sl_pool *pool, struct sl_id id);

/* The only way a connection changes its state. Asserts that the move is allowed, and says it as CONN_MOVED. */
void sl_conns_move(
    struct sl_pool *pool, struct sl_conn_slot *conn, enum sl_conn_state to, enum sl_reason reason, int status);

/* gone -> dialing, and DIAL. There must be a free slot: limits see to that. */
void sl_conns_dial(struct sl_pool *pool, struct sl_target_slot *target, enum sl_reason reason);
/* -> closing, and CLOSE. The lease it served has been ended before. */
void sl_conns_close(struct sl_pool *pool, struct sl_conn_slot *conn, enum sl_reason reason, int status);

/* Bytes were received. */
void sl_conns_heard(struct sl_pool *pool, struct sl_conn_slot *conn);
/* A ping whose answer decides whether a waiter gets this connection: an idle one, or a place on a leased one. */
void sl_conns_validate(struct sl_pool *pool, struct sl_conn_slot *conn);
/* The waiter it was pinged for is served otherwise: the ping goes on as an ordinary one. */
void sl_conns_unreserve(struct sl_pool *pool, struct sl_conn_slot *conn);

/* Why this connection must not be given to anybody any more, or SL_REASON_NONE. */
enum sl_reason sl_conns_spent(const struct sl_pool *pool, const struct sl_conn_slot *conn);
/* Whether more are there than limits allow, and one of them must go. */
bool sl_conns_surplus(const struct sl_pool *pool, const struct sl_conn_slot *conn);
/* Why it must not be idle any more (or become so): that, or a limit; or SL_REASON_NONE. */
enum sl_reason sl_conns_unfit(const struct sl_pool *pool, const struct sl_conn_slot *conn);
/* How many leases it may have at once. */
uint32_t sl_conns_room(const struct sl_conn_slot *conn);
/* When a login has been worth it by time alone; SL_NEVER: it was already. */
uint64_t sl_conns_trial_end_ms(const struct sl_conn_slot *conn);
/* Whether a grant needs no ping before it. */
bool sl_conns_fresh(const struct sl_pool *pool, const struct sl_conn_slot *conn);

/* Sets its deadline anew; needed where a policy changed. */
void sl_conns_arm(struct sl_pool *pool, struct sl_conn_slot *conn);
/* Its deadline is there. False: the server has left its pings unanswered for too long. Nothing has happened then, and
 * the caller gives the connection up, with the lease on it if there is one. */
bool sl_conns_on_timer(struct sl_pool *pool, struct sl_conn_slot *conn);

#endif
