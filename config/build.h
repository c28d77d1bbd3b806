/* SPDX-License-Identifier: MIT */
/* build.h - what the makers of a configuration share: new targets and copies of them. Not for users of one. */
#ifndef SSHLEASE_CONFIG_BUILD_H
#define SSHLEASE_CONFIG_BUILD_H

#include "config/conf.h"

/* A nameless target with one reference and the defaults of the settings table; texts and lists are empty. */
int sl_target_conf_new(struct sl_target_conf **ret_target);

/* A copy in depth with one reference. */
int sl_target_conf_copy(const struct sl_target_conf *from, struct sl_target_conf **ret_target);

/* Replaces the user's or the global known_hosts files; takes over what is in `files` and leaves it empty. */
enum sl_known_hosts_part { SL_KNOWN_HOSTS_USER, SL_KNOWN_HOSTS_GLOBAL };
int sl_target_conf_set_known_hosts(struct sl_target_conf *target, enum sl_known_hosts_part part, struct sl_strv *files);

#endif
