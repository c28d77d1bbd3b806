/* SPDX-License-Identifier: MIT */
/* A share is one moment: that at which all of it can be had again. Each line moves it on by what a line costs. */
#include "base/log_shares.h"

#include <stddef.h>

#define LINE_MS  (1000u / SL_LOG_SHARE_RATE)
#define BURST_MS ((uint64_t)SL_LOG_SHARE_BURST * LINE_MS)

const char *sl_log_kind_name(enum sl_log_kind kind)
{
    static const char *const name[SL_LOG_KINDS] = {
        [SL_LOG_REFUSALS] = "refusals",
        [SL_LOG_VIOLATIONS] = "violations",
        [SL_LOG_TURNED_AWAY] = "turned away",
        [SL_LOG_FORWARDS] = "forwards",
        [SL_LOG_VARIABLES] = "variables",
        [SL_LOG_WISHES] = "new logins",
    };
    return kind < SL_LOG_KINDS ? name[kind] : "?";
}

static bool is_free(const struct sl_log_share *share, uint64_t now_ms)
{
    return share->full_ms <= now_ms && share->dropped == 0;
}

/* Its own, a free one, or the one of all others. */
static struct sl_log_share *find(struct sl_log_shares *shares, uint32_t uid, enum sl_log_kind kind, uint64_t now_ms)
{
    struct sl_log_share *free = NULL;
    for (size_t i = 0; i < SL_LOG_SHARES_MAX && uid != SL_LOG_NOBODY; i++) {
        struct sl_log_share *share = &shares->item[i];
        if (is_free(share, now_ms))
            free = free != NULL ? free : share;
        else if (share->uid == uid && share->kind == kind)
            return share;
    }
    if (free == NULL) {
        free = &shares->others[kind];
        uid = SL_LOG_NOBODY;
    }
    free->uid = uid;
    free->kind = kind;
    return free;
}

static bool is_calm(const struct sl_log_share *share, uint64_t now_ms)
{
    return share->full_ms <= now_ms + BURST_MS / 2;
}

static void tell(struct sl_log_share *share, struct sl_log_share *ret_calm)
{
    *ret_calm = *share;
    share->dropped = 0;
}

bool sl_log_shares_take(
    struct sl_log_shares *shares, uint32_t uid, enum sl_log_kind kind, uint64_t now_ms, struct sl_log_share *ret_calm)
{
    struct sl_log_share *share = find(shares, uid, kind, now_ms);
    uint64_t full_ms = (share->full_ms > now_ms ? share->full_ms : now_ms) + LINE_MS;
    *ret_calm = (struct sl_log_share){0};
    if (full_ms > now_ms + BURST_MS || (share->dropped > 0 && !is_calm(share, now_ms))) {
        share->dropped += share->dropped < UINT32_MAX;
        return false;
    }
    tell(share, ret_calm);
    share->full_ms = full_ms;
    return true;
}

static bool owes(const struct sl_log_share *share, uint64_t now_ms)
{
    return share->dropped > 0 && is_calm(share, now_ms);
}

static struct sl_log_share *debtor(struct sl_log_shares *shares, uint64_t now_ms)
{
    for (size_t i = 0; i < SL_LOG_SHARES_MAX; i++)
        if (owes(&shares->item[i], now_ms))
            return &shares->item[i];
    for (size_t i = 0; i < SL_LOG_KINDS; i++)
        if (owes(&shares->others[i], now_ms))
            return &shares->others[i];
    return NULL;
}

bool sl_log_shares_calm(struct sl_log_shares *shares, uint64_t now_ms, struct sl_log_share *ret_calm)
{
    struct sl_log_share *share = debtor(shares, now_ms);
    if (share != NULL)
        tell(share, ret_calm);
    return share != NULL;
}

bool sl_log_shares_owes(const struct sl_log_shares *shares)
{
    bool any = false;
    for (size_t i = 0; i < SL_LOG_SHARES_MAX; i++)
        any = any || shares->item[i].dropped > 0;
    for (size_t i = 0; i < SL_LOG_KINDS; i++)
        any = any || shares->others[i].dropped > 0;
    return any;
}
