/* SPDX-License-Identifier: MIT */
/* The one place that says whether a client may lease what it names: the target, or the sentence why not. Asked by every
 * front end, for a lease and for anything that only a lease's owner may know; and again by a reload, for every lease and
 * everybody who waits: no other moment changes what may be had, so whoever is granted something may have it. */
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>

/* What the name means: the caller owns the reference. */
static int find(const struct sl_conf *conf, const char *name, struct sl_target_conf **ret_target)
{
    struct sl_target_conf *target = sl_conf_find(conf, name);
    bool same = false;
    if (target != NULL) {
        *ret_target = sl_target_conf_ref(target);
        return 0;
    }
    int r = conf->one_user ? sl_conf_adhoc(conf, name, ret_target) : SL_E_NO_TARGET;
    if (r != SL_E_NO_TARGET)
        return r;
    /* USER@NAME says more than NAME, and is not to be had where it is wrong. */
    target = sl_conf_find_as(conf, name, &same);
    if (!same)
        return r;
    *ret_target = sl_target_conf_ref(target);
    return 0;
}

static int admit(
    const struct sl_conf *conf, const char *name, const struct sl_who *who, struct sl_target_conf **ret_target)
{
    struct sl_target_conf *target = NULL;
    int r = find(conf, name, &target);
    if (r != 0)
        return r;
    if (!sl_target_conf_allows(target, who)) {
        sl_target_conf_unref(target);
        return SL_E_NOT_ALLOWED;
    }
    *ret_target = target;
    return 0;
}

/* USER@TARGET is no target because the target has another user; who may lease that is told its name and user. */
static const struct sl_target_conf *of_another_user(
    const struct sl_driver *d, const char *name, const struct sl_who *who)
{
    bool same = true;
    const struct sl_target_conf *conf = sl_conf_find_as(d->conf, name, &same);
    return !same && sl_target_conf_allows(conf, who) ? conf : NULL;
}

void sl_driver_door_says(
    const struct sl_driver *d, int status, const char *name, const struct sl_who *who, char *text, size_t size)
{
    char quoted[SL_LOG_QUOTE_SIZE];
    const struct sl_target_conf *other;
    if (status == SL_E_NO_TARGET && (other = of_another_user(d, name, who)) != NULL)
        snprintf(text, size, "no such target: %s (%s logs in as %s)", sl_log_quote(quoted, sizeof quoted, name),
            other->name, other->user != NULL ? other->user : "nobody");
    else if (status == SL_E_NO_TARGET) /* a name that nobody has checked: it ends on somebody's terminal */
        snprintf(text, size, "no such target: %s", sl_log_quote(quoted, sizeof quoted, name));
    else if (status == SL_E_NOT_ALLOWED)
        snprintf(text, size, "not allowed to lease %s", name);
    else if (status == SL_E_LIMIT)
        snprintf(text, size, "target %s: the daemon knows too many targets already (limits.targets)", name);
    else
        snprintf(text, size, "target %s: %s", name, sl_status_text(status));
}

int sl_driver_admit(const struct sl_driver *d, const char *name, const struct sl_who *who,
    struct sl_target_conf **ret_conf, char *text, size_t size)
{
    int r = admit(d->conf, name, who, ret_conf);
    if (r != 0)
        sl_driver_door_says(d, r, name, who, text, size);
    return r;
}

/* --- again, at a reload ------------------------------------------------------------------------------------------- */

/* What its client's name for it comes to under `conf`. A connection that it has stays as it was logged in, whatever
 * becomes of the name and the target. */
static int ask_again(const struct sl_conf *conf, const struct sl_lease *lease)
{
    struct sl_target_conf *target = NULL;
    int r = admit(conf, lease->name, &lease->who, &target);
    sl_target_conf_unref(target);
    return r == SL_E_NO_TARGET && lease->conn != NULL ? 0 : r;
}

static bool is_in_core(const struct sl_lease *lease)
{
    return !sl_id_is_none(lease->id) && (lease->phase == SL_LEASE_PHASE_ASKING || lease->phase == SL_LEASE_PHASE_HELD);
}

int sl_driver_door_revokes(
    const struct sl_driver *d, const struct sl_conf *conf, struct sl_pool_revocation **ret_item, size_t *ret_count)
{
    struct sl_pool_revocation *item = malloc((d->lease_slot_count + 1) * sizeof *item);
    size_t count = 0;
    if (item == NULL)
        return SL_E_NOMEM;
    for (uint32_t i = 0; i < d->lease_slot_count; i++) {
        const struct sl_lease *lease = d->lease_slot[i].lease;
        int r = lease != NULL && is_in_core(lease) ? ask_again(conf, lease) : 0;
        if (r == SL_E_NOMEM) {
            free(item);
            return r;
        }
        if (r != 0)
            item[count++] = (struct sl_pool_revocation){.lease = lease->id, .status = r};
    }
    *ret_item = item;
    *ret_count = count;
    return 0;
}
