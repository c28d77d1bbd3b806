/* SPDX-License-Identifier: MIT */
/* serve.h - who gets which connection, and who may dial: wait queues against idle connections, limits and backoff.
 * Looks at a target only when something about it changed. For daemon/core only. */
#ifndef SSHLEASE_CORE_SERVE_H
#define SSHLEASE_CORE_SERVE_H

#include "daemon/core/state.h"

/* Grants, pings, dials, makes room and closes what idled too long, until there is nothing left to do at this moment.
 * The last thing of every step. */
void sl_serve(struct sl_pool *pool);

/* Whether the owner rule and the epoch let this connection serve this lease. */
bool sl_serve_may_use(const struct sl_conn_slot *conn, const struct sl_lease_slot *lease);

#endif
