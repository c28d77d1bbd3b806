/* SPDX-License-Identifier: MIT */
/* The table of targets. A target's place in it is the core's name for it and stays for life; its name for clients is
 * looked up in a sorted table of those that can be asked for.
 *   configured   from the file, at start and at reload
 *   ad hoc       user@host[:port] of the one-user mode, made when first asked for, dropped when long unused
 *   removed      not to be asked for any more; the place is free again when its last connection and lease are gone */
#include "daemon/lease/state.h"

#include "base/state.h"
#include "proto/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Ad-hoc targets without a connection, a waiter or a failed dial to remember go this long after they were last asked
 * for. */
#define UNUSED_MS 600000u
#define SWEEP_MS  60000u

/* --- the tables --------------------------------------------------------------------------------------------------- */

/* Where `name` is, or would be. */
static uint32_t position_of(const struct sl_driver *d, const char *name, bool *ret_found)
{
    uint32_t low = 0, high = d->named_count;
    *ret_found = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct sl_driver_target *target = d->by_name[middle];
        assert(target != NULL);
        int order = strcmp(target->conf->name, name);
        if (order == 0)
            *ret_found = true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct sl_driver_target *sl_driver_targets_known(const struct sl_driver *d, const char *name)
{
    bool found;
    uint32_t at = position_of(d, name, &found);
    if (!found)
        return NULL;
    assert(d->by_name[at] != NULL);
    return d->by_name[at];
}

/* Of targets whose allowed users share connections: no uid. */
#define OWNER_SHARED UINT64_MAX

uint64_t sl_driver_owner_class(const struct sl_driver_target *target, uid_t uid)
{
    return target->conf->policy.owners_shared ? OWNER_SHARED : uid;
}

static int free_place(struct sl_driver *d, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < d->target_count; i++) {
        if (d->target[i] == NULL) {
            *ret_index = i;
            return 0;
        }
    }
    if (d->target_count == SL_POOL_TARGETS_MAX)
        return SL_E_LIMIT;
    uint32_t count = d->target_count == 0 ? 16 : d->target_count * 2;
    struct sl_driver_target **table = realloc(d->target, count * sizeof(struct sl_driver_target *));
    if (table == NULL)
        return SL_E_NOMEM;
    memset(table + d->target_count, 0, (count - d->target_count) * sizeof(struct sl_driver_target *));
    *ret_index = d->target_count;
    d->target = table;
    d->target_count = count;
    return 0;
}

/* A target in a place of its own, without a name for clients yet. Takes a reference to `conf`. */
static int new_target(struct sl_driver *d, struct sl_target_conf *conf, struct sl_driver_target **ret_target)
{
    uint32_t index = 0;
    int r = free_place(d, &index);
    if (r != 0)
        return r;
    struct sl_driver_target *target = calloc(1, sizeof *target);
    struct sl_compat *compat = sl_compat_new();
    struct sl_quota *queue = sl_quota_new();
    if (target == NULL || compat == NULL || queue == NULL) {
        free(target);
        sl_compat_free(compat);
        sl_quota_free(queue);
        return SL_E_NOMEM;
    }
    target->queue = queue;
    target->compat = compat;
    target->driver = d;
    target->index = index;
    target->identity = ++d->identities;
    target->conf = sl_target_conf_ref(conf);
    target->used_ms = uv_now(d->loop);
    TAILQ_INIT(&target->leases);
    TAILQ_INIT(&target->conns);
    d->target[index] = target;
    *ret_target = target;
    return 0;
}

static void free_target(struct sl_driver *d, struct sl_driver_target *target)
{
    assert(TAILQ_EMPTY(&target->leases) && TAILQ_EMPTY(&target->conns));
    sl_driver_basis_forget(target);
    d->target[target->index] = NULL;
    sl_target_conf_unref(target->conf);
    sl_compat_free(target->compat);
    sl_quota_free(target->queue);
    free(target->last_error);
    free(target);
}

void sl_driver_targets_collect(struct sl_driver *d)
{
    struct sl_driver_target *target, *next;
    for (target = TAILQ_FIRST(&d->removed); target != NULL; target = next) {
        next = TAILQ_NEXT(target, removed);
        if (TAILQ_EMPTY(&target->leases) && TAILQ_EMPTY(&target->conns)) {
            TAILQ_REMOVE(&d->removed, target, removed);
            free_target(d, target);
        }
    }
}

void sl_driver_targets_free(struct sl_driver *d)
{
    for (uint32_t i = 0; i < d->target_count; i++)
        if (d->target[i] != NULL)
            free_target(d, d->target[i]);
    free(d->target);
    free(d->by_name);
}

static const struct sl_state phases[] = {
    [SL_DRIVER_TARGET_NEW] = {"new", SL_TO(SL_DRIVER_TARGET_PRESENT) | SL_TO(SL_DRIVER_TARGET_REMOVED)},
    [SL_DRIVER_TARGET_PRESENT] = {"present", SL_TO(SL_DRIVER_TARGET_REMOVED)},
    [SL_DRIVER_TARGET_REMOVED] = {"removed", 0},
};

static void move(struct sl_driver_target *target, enum sl_driver_target_phase to)
{
    SL_MOVE(phases, target->phase, to);
}

static void be_present(struct sl_driver_target *target)
{
    if (target->phase == SL_DRIVER_TARGET_NEW)
        move(target, SL_DRIVER_TARGET_PRESENT);
}

static void remove_target(struct sl_driver *d, struct sl_driver_target *target)
{
    move(target, SL_DRIVER_TARGET_REMOVED);
    TAILQ_INSERT_TAIL(&d->removed, target, removed);
}

/* --- telling the core --------------------------------------------------------------------------------------------- */

/* What the table is to be: built aside, so that a failure changes nothing. */
struct plan {
    struct sl_driver_target *target;
    struct sl_target_conf *conf; /* a reference of its own */
    uint64_t identity;
    bool fresh;
};

static int tell_core(struct sl_driver *d, const struct sl_limits *limits, const struct plan *plan, uint32_t count,
    uint64_t retry_epoch, const struct sl_pool_revocations *revoked)
{
    struct sl_pool_target *told = malloc((count + 1) * sizeof *told);
    if (told == NULL)
        return SL_E_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        told[i] = (struct sl_pool_target){
            .target = plan[i].target->index,
            .identity = plan[i].identity,
            .retry_epoch = retry_epoch + plan[i].target->retry_epoch,
            .policy = plan[i].conf->policy,
        };
    }
    int r = sl_driver_conns_reserve(d, limits->connections);
    if (r == 0)
        r = sl_pool_configure(d->pool, uv_now(d->loop), limits, told, count, revoked);
    free(told);
    return r;
}

bool sl_driver_targets_configure(struct sl_driver *d)
{
    struct plan *plan = malloc((d->named_count + 1) * sizeof *plan);
    int r = SL_E_NOMEM;
    for (uint32_t i = 0; plan != NULL && i < d->named_count; i++)
        plan[i] =
            (struct plan){.target = d->by_name[i], .conf = d->by_name[i]->conf, .identity = d->by_name[i]->identity};
    if (plan != NULL)
        r = tell_core(d, &d->conf->limits, plan, d->named_count, d->configurations, NULL);
    free(plan);
    if (r != 0) {
        /* New ones stay new, and are refused as unknown until the next try. */
        sl_log(d->log, SL_LOG_ERROR, "targets", "cannot add a target: %s", sl_status_text(r));
        return false;
    }
    for (uint32_t i = 0; i < d->named_count; i++)
        be_present(d->by_name[i]);
    return true;
}

/* --- a whole configuration ---------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct plan *first = a, *second = b;
    return strcmp(first->conf->name, second->conf->name);
}

static int plan_one(struct sl_driver *d, struct sl_target_conf *conf, struct plan *ret_plan)
{
    struct sl_driver_target *target = sl_driver_targets_known(d, conf->name);
    const bool fresh = target == NULL;
    if (fresh) {
        int r = new_target(d, conf, &target);
        if (r != 0)
            return r;
    }
    const bool same = fresh || sl_target_conf_same_identity(target->conf, conf);
    *ret_plan = (struct plan){
        .target = target,
        .conf = sl_target_conf_ref(conf),
        .identity = same ? target->identity : ++d->identities,
        .fresh = fresh,
    };
    return 0;
}

/* Those of the file, then the ad-hoc ones in use, made anew from the new defaults. */
static int make_plan(struct sl_driver *d, const struct sl_conf *conf, struct plan *plan, uint32_t *count)
{
    for (size_t i = 0; i < conf->target_count; i++) {
        int r = plan_one(d, conf->target[i], &plan[*count]);
        if (r != 0)
            return r;
        (*count)++;
    }
    for (uint32_t i = 0; i < d->named_count; i++) {
        const struct sl_target_conf *old = d->by_name[i]->conf;
        struct sl_target_conf *made = NULL;
        if (!old->adhoc || sl_conf_find(conf, old->name) != NULL)
            continue;
        int r = sl_conf_adhoc(conf, old->name, &made);
        if (r == SL_E_NO_TARGET)
            continue;
        if (r == 0)
            r = plan_one(d, made, &plan[*count]);
        sl_target_conf_unref(made);
        if (r != 0)
            return r;
        (*count)++;
    }
    qsort(plan, *count, sizeof *plan, by_name);
    return 0;
}

static void drop_plan(struct sl_driver *d, struct plan *plan, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        sl_target_conf_unref(plan[i].conf);
        if (plan[i].fresh)
            free_target(d, plan[i].target);
    }
    free(plan);
}

static void carry_plan_out(struct sl_driver *d, struct sl_driver_target **named, struct plan *plan, uint32_t count)
{
    for (uint32_t i = 0; i < d->named_count; i++)
        d->by_name[i]->kept = false;
    for (uint32_t i = 0; i < count; i++) {
        struct sl_driver_target *target = plan[i].target;
        target->kept = true;
        be_present(target);
        if (target->identity != plan[i].identity)
            sl_compat_reset(target->compat);
        else
            sl_compat_forgive(target->compat);
        target->identity = plan[i].identity;
        sl_target_conf_unref(target->conf);
        target->conf = plan[i].conf;
        named[i] = target;
    }
    for (uint32_t i = 0; i < d->named_count; i++)
        if (!d->by_name[i]->kept)
            remove_target(d, d->by_name[i]);
    free(d->by_name);
    free(plan);
    d->by_name = named;
    d->named_count = count;
}

int sl_driver_targets_apply(struct sl_driver *d, const struct sl_conf *conf)
{
    const size_t room = conf->target_count + d->named_count + 1;
    struct plan *plan = malloc(room * sizeof *plan);
    struct sl_driver_target **named = malloc(room * sizeof(struct sl_driver_target *));
    struct sl_pool_revocation *lost = NULL;
    struct sl_pool_revocations revoked = {.count = 0};
    uint32_t count = 0;
    int r = SL_E_NOMEM;
    if (plan != NULL && named != NULL && (r = make_plan(d, conf, plan, &count)) == 0)
        r = sl_driver_door_revokes(d, conf, &lost, &revoked.count);
    revoked.item = lost;
    if (r == 0)
        r = tell_core(d, &conf->limits, plan, count, d->configurations + 1, &revoked);
    free(lost);
    if (r != 0) {
        drop_plan(d, plan, count);
        free(named);
        return r;
    }
    carry_plan_out(d, named, plan, count);
    d->configurations++;
    d->configured = true; /* its actions are carried out with the next flush */
    return 0;
}

/* --- ad hoc ------------------------------------------------------------------------------------------------------- */

static bool is_unused(const struct sl_driver *d, const struct sl_driver_target *target, uint64_t unused_ms)
{
    const uint64_t now = uv_now(d->loop);
    struct sl_pool_target_info info;
    if (!target->conf->adhoc || target->phase == SL_DRIVER_TARGET_NEW || !TAILQ_EMPTY(&target->leases) ||
        !TAILQ_EMPTY(&target->conns) || now - target->used_ms < unused_ms)
        return false;
    /* One that is held back after failed dials must not be forgotten, and dialed at once when it is asked for again. */
    return !sl_pool_target_info(d->pool, target->index, &info) || info.retry_at_ms <= now;
}

void sl_driver_targets_sweep(struct sl_driver *d, uint64_t unused_ms)
{
    uint32_t kept = 0, adhoc = 0;
    for (uint32_t i = 0; i < d->named_count; i++) {
        struct sl_driver_target *target = d->by_name[i];
        if (is_unused(d, target, unused_ms)) {
            remove_target(d, target);
            continue;
        }
        adhoc += target->conf->adhoc;
        d->by_name[kept++] = target;
    }
    if (kept < d->named_count)
        sl_driver_note(d, &d->work, SL_TODO_CONFIGURE);
    d->named_count = kept;
    if (adhoc == 0)
        (void)uv_timer_stop(&d->sweep_timer);
}

static void on_sweep(uv_timer_t *timer)
{
    sl_driver_targets_sweep(timer->data, UNUSED_MS);
}

static int insert_adhoc(struct sl_driver *d, struct sl_target_conf *conf, struct sl_driver_target **ret_target)
{
    bool found;
    struct sl_driver_target **named = realloc(d->by_name, (d->named_count + 1) * sizeof(struct sl_driver_target *));
    if (named == NULL)
        return SL_E_NOMEM;
    d->by_name = named;
    int r = new_target(d, conf, ret_target);
    if (r != 0)
        return r;
    uint32_t at = position_of(d, conf->name, &found);
    memmove(named + at + 1, named + at, (d->named_count - at) * sizeof(struct sl_driver_target *));
    named[at] = *ret_target;
    d->named_count++;
    if (!uv_is_active((uv_handle_t *)&d->sweep_timer))
        (void)uv_timer_start(&d->sweep_timer, on_sweep, SWEEP_MS, SWEEP_MS);
    return 0;
}

int sl_driver_targets_take(struct sl_driver *d, struct sl_target_conf *conf, struct sl_driver_target **ret_target)
{
    struct sl_driver_target *target = sl_driver_targets_known(d, conf->name);
    if (target == NULL) {
        if (d->named_count >= d->conf->limits.targets)
            sl_driver_targets_sweep(d, 0);
        int r = d->named_count >= d->conf->limits.targets ? SL_E_LIMIT : insert_adhoc(d, conf, &target);
        if (r != 0)
            return r;
    }
    target->used_ms = uv_now(d->loop);
    if (target->phase == SL_DRIVER_TARGET_NEW)
        sl_driver_note(d, &d->work, SL_TODO_CONFIGURE);
    *ret_target = target;
    return 0;
}
