/* SPDX-License-Identifier: MIT */
/* reclaim.h - ends on the far side what a lease has started: streams first, then the sweep; then the report. */
#ifndef SSHLEASE_SSH_RECLAIM_RECLAIM_H
#define SSHLEASE_SSH_RECLAIM_RECLAIM_H

#include "daemon/ssh/channel/tenant.h"

void sl_reclaim_tick(struct sl_conn *conn);
uint64_t sl_reclaim_deadline(const struct sl_conn *conn);
/* Session channels that are waited for to sweep in. */
uint32_t sl_reclaim_needs_channels(const struct sl_conn *conn);
/* The connection died: what was not done by now is not known. */
void sl_reclaim_lost(struct sl_conn *conn);
/* Gives the reports to the handler; their tenants are gone then. */
void sl_reclaim_report(struct sl_conn *conn);
void sl_reclaim_free(struct sl_tenant *tenant);

#endif
