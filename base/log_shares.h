/* SPDX-License-Identifier: MIT */
/* log_shares.h - how many lines of a kind each user may cause: so many at once, then so many a second. What is beyond is
 * counted, until it is calm again. Pure: the caller knows the time. */
#ifndef SSHLEASE_BASE_LOG_SHARES_H
#define SSHLEASE_BASE_LOG_SHARES_H

#include <stdbool.h>
#include <stdint.h>

#define SL_LOG_SHARE_BURST 200u
#define SL_LOG_SHARE_RATE  10u /* lines a second */
/* Users and kinds that are told apart at the same time; all beyond have one share together. */
#define SL_LOG_SHARES_MAX 128u
/* Of whom the uid is not known, and of all for whom there is no share left. */
#define SL_LOG_NOBODY UINT32_MAX

enum sl_log_kind {
    SL_LOG_REFUSALS,    /* of requests */
    SL_LOG_VIOLATIONS,  /* of a protocol */
    SL_LOG_TURNED_AWAY, /* clients, connections */
    SL_LOG_FORWARDS,    /* opened, closed, failed */
    SL_LOG_WISHES,      /* that connections be made anew */
    SL_LOG_VARIABLES,   /* of commands, that are left out */
    SL_LOG_KINDS,
    SL_LOG_UNSHARED = SL_LOG_KINDS, /* each costs its user more than a line: all are written */
};
const char *sl_log_kind_name(enum sl_log_kind kind);

struct sl_log_share {
    uint32_t uid;
    enum sl_log_kind kind;
    uint64_t full_ms; /* when it has all its lines again; not after now: the place is free */
    uint32_t dropped; /* since it had none left; until it has half of them again nothing is logged */
};

/* All zero is a table of full shares. */
struct sl_log_shares {
    struct sl_log_share item[SL_LOG_SHARES_MAX];
    struct sl_log_share others[SL_LOG_KINDS];
};

/* Whether a line may be written. `ret_calm->dropped` is not 0 where so many lines of that share were not, before it. */
bool sl_log_shares_take(
    struct sl_log_shares *shares, uint32_t uid, enum sl_log_kind kind, uint64_t now_ms, struct sl_log_share *ret_calm);
/* A share that has grown calm and dropped lines before: they are told with this, and forgotten. False: there is none. */
bool sl_log_shares_calm(struct sl_log_shares *shares, uint64_t now_ms, struct sl_log_share *ret_calm);
/* Whether some were dropped and are not told yet. */
bool sl_log_shares_owes(const struct sl_log_shares *shares);

#endif
