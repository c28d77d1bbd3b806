/* SPDX-License-Identifier: MIT */
/* The one place that says whether a client may lease what it names: the target, or the sentence why not. Asked by every
 * front end, for a lease and for anything that only a lease's owner may know. */
#include "daemon/lease/state.h"

#include "proto/status.h"

#include <stdio.h>

/* What the name means: the caller owns the reference. */
static int find(const struct sl_driver *d, const char *name, struct sl_target_conf **ret_conf)
{
    const struct sl_driver_target *target = sl_driver_targets_known(d, name);
    bool same = false;
    if (target != NULL) {
        *ret_conf = sl_target_conf_ref(target->conf);
        return 0;
    }
    int r = d->conf->one_user ? sl_conf_adhoc(d->conf, name, ret_conf) : SL_E_NO_TARGET;
    if (r != SL_E_NO_TARGET)
        return r;
    /* USER@NAME says more than NAME, and is not to be had where it is wrong. */
    struct sl_target_conf *conf = sl_conf_find_as(d->conf, name, &same);
    if (!same)
        return r;
    *ret_conf = sl_target_conf_ref(conf);
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
    struct sl_target_conf *conf = NULL;
    int r = find(d, name, &conf);
    if (r == 0 && !sl_target_conf_allows(conf, who)) {
        sl_target_conf_unref(conf);
        r = SL_E_NOT_ALLOWED;
    }
    if (r == 0)
        *ret_conf = conf;
    else
        sl_driver_door_says(d, r, name, who, text, size);
    return r;
}
