/* SPDX-License-Identifier: MIT */
/* Names of states and reasons, for the log and the counters. */
#include "daemon/core/vocabulary.h"

const char *sl_conn_state_name(enum sl_conn_state state)
{
    switch (state) {
    case SL_CONN_GONE:
        return "gone";
    case SL_CONN_DIALING:
        return "dialing";
    case SL_CONN_IDLE:
        return "idle";
    case SL_CONN_LEASED:
        return "leased";
    case SL_CONN_RETIRING:
        return "retiring";
    case SL_CONN_DRAINING:
        return "draining";
    case SL_CONN_CLOSING:
        return "closing";
    }
    return "unknown";
}

const char *sl_lease_state_name(enum sl_lease_state state)
{
    switch (state) {
    case SL_LEASE_NONE:
        return "none";
    case SL_LEASE_WAITING:
        return "waiting";
    case SL_LEASE_GRANTED:
        return "granted";
    case SL_LEASE_MOVING:
        return "moving";
    case SL_LEASE_RELEASED:
        return "released";
    case SL_LEASE_ENDED:
        return "ended";
    case SL_LEASE_REFUSED:
        return "refused";
    }
    return "unknown";
}

const char *sl_reason_name(enum sl_reason reason)
{
    switch (reason) {
#define SL_REASON_NAME(name, id)                                                                                       \
    case SL_REASON_##name:                                                                                             \
        return id;
        SL_REASON_TABLE(SL_REASON_NAME)
#undef SL_REASON_NAME
    case SL_REASON_COUNT:
        break;
    }
    return "unknown";
}
