/* conf_build.h - what the makers of a configuration share: lists of strings, copies of targets. Not for users of one.
 */
#ifndef SSHLEASE_CONFIG_CONF_BUILD_H
#define SSHLEASE_CONFIG_CONF_BUILD_H

#include "config/conf.h"

/* All of these: 0 or SL_E_NOMEM, and on failure nothing has changed but that `take` has freed what it was given. */
int sl_strv_add(struct sl_strv *list, const char *text); /* a copy of it */
int sl_strv_take(struct sl_strv *list, char *text);      /* the text itself, from malloc() */
int sl_strv_copy(const struct sl_strv *list, struct sl_strv *ret_list);
void sl_strv_fini(struct sl_strv *list);
bool sl_strv_equal(const struct sl_strv *a, const struct sl_strv *b);

/* A nameless target with one reference and the defaults of the settings table; texts and lists are empty. */
int sl_target_conf_new(struct sl_target_conf **ret_target);

/* A copy in depth with one reference. */
int sl_target_conf_copy(const struct sl_target_conf *from, struct sl_target_conf **ret_target);

/* The same text, or both NULL. */
bool sl_text_equal(const char *a, const char *b);

/* Replaces the user's or the global known_hosts files; takes over what is in `files` and leaves it empty. */
enum sl_known_hosts_part { SL_KNOWN_HOSTS_USER, SL_KNOWN_HOSTS_GLOBAL };
int sl_target_conf_set_known_hosts(struct sl_target_conf *target, enum sl_known_hosts_part part, struct sl_strv *files);

void sl_identities_free(struct sl_identity *identity, size_t count);
void sl_secret_fini(struct sl_secret *secret);

#endif
