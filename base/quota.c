/* SPDX-License-Identifier: MIT */
/* A table of users by uid, in chains. An entry is made by the first thing that its user takes, and goes with the last. */
#include "base/quota.h"

#include "proto/status.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CHAINS 16u
/* What the privileged may have beyond a limit: a sixteenth of it, and so much at least. */
#define RESERVE_MIN  8u
#define RESERVE_PART 16u

struct user {
    struct user *next;
    uid_t uid;
    bool privileged;
    uint64_t count[SL_QUOTA_KINDS];
};

struct sl_quota {
    pthread_mutex_t lock;
    unsigned share; /* percent */
    uint64_t limit[SL_QUOTA_KINDS], total[SL_QUOTA_KINDS];
    struct user **chain;
    size_t chains, users; /* the former is a power of two */
};

static const struct {
    const char *name;
    const char *are;     /* what they are: "7 clients ARE" */
    const char *setting; /* NULL: none */
    const char *remedy;
} kinds[SL_QUOTA_KINDS] = {
    [SL_QUOTA_CLIENTS] = {"clients", "are connected already", "limits.clients", "end some, or have the limit raised"},
    [SL_QUOTA_DESCRIPTORS] = {"descriptors", "are open already", "limits.descriptors",
        "end some commands or forwards, or have the limit raised"},
    [SL_QUOTA_LEASES] = {"leases", "are held or asked for already", "limits.leases",
        "give some back, or have the limit raised"},
    [SL_QUOTA_WAITERS] = {"leases", "are waited for already", "waiters",
        "try again when some were granted, or have the limit raised"},
    [SL_QUOTA_STREAMS] = {"streams", "are open already", "limits.streams",
        "end some commands or forwards, or have the limit raised"},
    [SL_QUOTA_BYTES] = {"bytes", "are held already", "limits.held_mib",
        "read what was asked for, or have the limit raised"},
    [SL_QUOTA_STATUSES] = {"answers to STATUS", "are being made, or were not read", NULL, "read them, or try again"},
};

/* --- the table ---------------------------------------------------------------------------------------------------- */

static struct user **chain_of(struct user **chain, size_t chains, uid_t uid)
{
    const uint32_t mixed = (uint32_t)uid * 2654435769u; /* those of a range of subordinate uids are apart */
    return &chain[(mixed >> 16 ^ mixed) & (chains - 1)];
}

/* Where its entry is linked, or would be. */
static struct user **place_of(const struct sl_quota *q, uid_t uid)
{
    struct user **at = chain_of(q->chain, q->chains, uid);
    while (*at != NULL && (*at)->uid != uid)
        at = &(*at)->next;
    return at;
}

/* Without memory for it the chains get longer. */
static void grow(struct sl_quota *q)
{
    const size_t chains = q->chains * 2;
    struct user **chain = calloc(chains, sizeof(struct user *));
    if (chain == NULL)
        return;
    for (size_t i = 0; i < q->chains; i++) {
        struct user *user, *next;
        for (user = q->chain[i]; user != NULL; user = next) {
            struct user **at = chain_of(chain, chains, user->uid);
            next = user->next;
            user->next = *at;
            *at = user;
        }
    }
    free(q->chain);
    q->chain = chain;
    q->chains = chains;
}

static struct user *need_user(struct sl_quota *q, uid_t uid)
{
    struct user **at = place_of(q, uid);
    if (*at != NULL)
        return *at;
    struct user *user = calloc(1, sizeof *user);
    if (user == NULL)
        return NULL;
    user->uid = uid;
    *at = user;
    if (++q->users > q->chains)
        grow(q);
    return user;
}

static void drop_if_empty(struct sl_quota *q, uid_t uid)
{
    struct user **at = place_of(q, uid), *user = *at;
    for (int i = 0; i < SL_QUOTA_KINDS; i++)
        if (user->count[i] > 0)
            return;
    *at = user->next;
    q->users--;
    free(user);
}

struct sl_quota *sl_quota_new(void)
{
    struct sl_quota *q = calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    q->chain = calloc(FIRST_CHAINS, sizeof(struct user *));
    if (q->chain == NULL) {
        free(q);
        return NULL;
    }
    q->chains = FIRST_CHAINS;
    q->share = 100;
    for (int i = 0; i < SL_QUOTA_KINDS; i++)
        q->limit[i] = SL_QUOTA_NO_LIMIT;
    (void)pthread_mutex_init(&q->lock, NULL);
    return q;
}

void sl_quota_free(struct sl_quota *q)
{
    if (q == NULL)
        return;
    for (size_t i = 0; i < q->chains; i++) {
        struct user *user, *next;
        for (user = q->chain[i]; user != NULL; user = next) {
            next = user->next;
            free(user);
        }
    }
    (void)pthread_mutex_destroy(&q->lock);
    free(q->chain);
    free(q);
}

/* --- how much ----------------------------------------------------------------------------------------------------- */

static uint64_t reserve_of(uint64_t limit)
{
    const uint64_t part = limit / RESERVE_PART;
    return part > RESERVE_MIN ? part : RESERVE_MIN;
}

/* All that the user may have, with what it has. */
static uint64_t most(const struct sl_quota *q, const struct user *user, enum sl_quota_kind kind)
{
    const uint64_t limit = q->limit[kind], others = q->total[kind] - user->count[kind];
    if (limit == SL_QUOTA_NO_LIMIT)
        return limit;
    if (user->privileged) {
        const uint64_t all = limit + reserve_of(limit);
        return all > others ? all - others : 0;
    }
    if (limit <= others)
        return 0;
    const uint64_t left = limit - others;
    return left / 100 * q->share + (left % 100 * q->share + 99) / 100;
}

void sl_quota_limit(struct sl_quota *q, enum sl_quota_kind kind, uint64_t limit)
{
    (void)pthread_mutex_lock(&q->lock);
    q->limit[kind] = limit;
    (void)pthread_mutex_unlock(&q->lock);
}

void sl_quota_share(struct sl_quota *q, unsigned percent)
{
    assert(percent >= 1 && percent <= 100);
    (void)pthread_mutex_lock(&q->lock);
    q->share = percent;
    (void)pthread_mutex_unlock(&q->lock);
}

static int take(struct sl_quota *q, uid_t uid, const bool *privileged, enum sl_quota_kind kind, uint64_t amount)
{
    int r = 0;
    (void)pthread_mutex_lock(&q->lock);
    struct user *user = need_user(q, uid);
    if (user == NULL) {
        r = SL_E_NOMEM;
    } else {
        if (privileged != NULL)
            user->privileged = *privileged;
        const uint64_t all = most(q, user, kind), has = user->count[kind];
        if (has > all || amount > all - has) {
            r = SL_E_LIMIT;
            drop_if_empty(q, uid);
        } else {
            user->count[kind] += amount;
            q->total[kind] += amount;
        }
    }
    (void)pthread_mutex_unlock(&q->lock);
    return r;
}

int sl_quota_take(struct sl_quota *q, uid_t uid, enum sl_quota_kind kind, uint64_t amount)
{
    return amount > 0 ? take(q, uid, NULL, kind, amount)
                      : 0; /* of nothing no entry is made: nobody would give it back */
}

int sl_quota_admit(struct sl_quota *q, uid_t uid, bool privileged, enum sl_quota_kind kind, uint64_t amount)
{
    return take(q, uid, &privileged, kind, amount);
}

void sl_quota_give(struct sl_quota *q, uid_t uid, enum sl_quota_kind kind, uint64_t amount)
{
    if (amount == 0)
        return;
    (void)pthread_mutex_lock(&q->lock);
    struct user *user = *place_of(q, uid);
    assert(user != NULL && user->count[kind] >= amount);
    user->count[kind] -= amount;
    q->total[kind] -= amount;
    drop_if_empty(q, uid);
    (void)pthread_mutex_unlock(&q->lock);
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

uint64_t sl_quota_of(struct sl_quota *q, uid_t uid, enum sl_quota_kind kind)
{
    (void)pthread_mutex_lock(&q->lock);
    const struct user *user = *place_of(q, uid);
    const uint64_t count = user != NULL ? user->count[kind] : 0;
    (void)pthread_mutex_unlock(&q->lock);
    return count;
}

uint64_t sl_quota_total(struct sl_quota *q, enum sl_quota_kind kind)
{
    (void)pthread_mutex_lock(&q->lock);
    const uint64_t total = q->total[kind];
    (void)pthread_mutex_unlock(&q->lock);
    return total;
}

const char *sl_quota_refusal(struct sl_quota *q, uid_t uid, enum sl_quota_kind kind, char *buf, size_t size)
{
    const char *setting = kinds[kind].setting;
    (void)pthread_mutex_lock(&q->lock);
    const struct user *user = *place_of(q, uid);
    const uint64_t own = user != NULL ? user->count[kind] : 0, total = q->total[kind], limit = q->limit[kind];
    const unsigned share = q->share;
    (void)pthread_mutex_unlock(&q->lock);
    if (share == 100 || own == 0) /* it is the others, or all that there is */
        snprintf(buf, size, "%" PRIu64 " %s %s%s%s%s: %s", total, kinds[kind].name, kinds[kind].are,
            setting != NULL ? " (" : "", setting != NULL ? setting : "", setting != NULL ? ")" : "",
            kinds[kind].remedy);
    else
        snprintf(buf, size, "%" PRIu64 " %s of uid %lu %s, its share of %" PRIu64 " (%s%slimits.user_share): %s", own,
            kinds[kind].name, (unsigned long)uid, kinds[kind].are, limit, setting != NULL ? setting : "",
            setting != NULL ? ", " : "", kinds[kind].remedy);
    return buf;
}

size_t sl_quota_each(struct sl_quota *q, struct sl_quota_view *view, size_t room)
{
    size_t count = 0;
    (void)pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < q->chains; i++) {
        for (const struct user *user = q->chain[i]; user != NULL && count < room; user = user->next) {
            view[count].uid = user->uid;
            for (int kind = 0; kind < SL_QUOTA_KINDS; kind++)
                view[count].count[kind] = user->count[kind];
            count++;
        }
    }
    (void)pthread_mutex_unlock(&q->lock);
    return count;
}
