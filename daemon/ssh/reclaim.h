/* reclaim.h - ends on the far side what a lease has started: streams first, then the sweep; then the report. */
#ifndef SSHLEASE_SSH_RECLAIM_H
#define SSHLEASE_SSH_RECLAIM_H

#include "daemon/ssh/conn_base.h"

void sl_reclaim_tick(struct sl_conn *conn);
uint64_t sl_reclaim_deadline(const struct sl_conn *conn);
/* Whether it waits for a session channel for the sweep: 0 or 1. */
uint32_t sl_reclaim_needs_channel(const struct sl_conn *conn);
/* The connection died: what was not done by now is not known. */
void sl_reclaim_lost(struct sl_conn *conn);
/* Gives the report to the handler. */
void sl_reclaim_report(struct sl_conn *conn);
void sl_reclaim_free(struct sl_conn *conn);

#endif
