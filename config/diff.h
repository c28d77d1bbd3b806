/* SPDX-License-Identifier: MIT */
/* diff.h - what a reload changes: which targets are new, gone, changed in identity, or only in policy. Pure. */
#ifndef SSHLEASE_CONFIG_DIFF_H
#define SSHLEASE_CONFIG_DIFF_H

#include "config/conf.h"

enum sl_conf_change { SL_CONF_SAME, SL_CONF_ADDED, SL_CONF_REMOVED, SL_CONF_POLICY, SL_CONF_IDENTITY };
const char *sl_conf_change_name(enum sl_conf_change change);

typedef void (*sl_conf_diff_fn)(
    void *arg, enum sl_conf_change change, struct sl_target_conf *old_target, struct sl_target_conf *new_target);

/* Calls `fn` once for each target of either, in name order, those without a change included. The pointers are borrowed.
 */
void sl_conf_diff(const struct sl_conf *old_conf, const struct sl_conf *new_conf, sl_conf_diff_fn fn, void *arg);

/* Settings a reload cannot change while the daemon runs (those of listen): the key's name of the first that
 * differs, or NULL. Static. */
const char *sl_conf_needs_restart(const struct sl_conf *old_conf, const struct sl_conf *new_conf);

#endif
