/* SPDX-License-Identifier: MIT */
/* Names of states and reasons, for the log and the counters. */
#include "daemon/core/vocabulary.h"

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
