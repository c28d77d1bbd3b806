/* SPDX-License-Identifier: MIT */
/* hostkey.h - whether a server's key is the right one: reads known_hosts off the loop, judges, and writes a new key
 * down where the target says accept-new. Never sees the session. */
#ifndef SSHLEASE_SSH_KEYS_HOSTKEY_H
#define SSHLEASE_SSH_KEYS_HOSTKEY_H

#include "config/conf.h"
#include "daemon/ssh/keys/known_hosts.h"

#include <uv.h>

struct sl_hostkey;

/* Starts to read the target's known_hosts files; `loaded` is called on the loop when sl_hostkey_loaded() has become
 * true. 0 or SL_E_NOMEM/SL_E_INTERNAL. Never calls back before it returns. */
int sl_hostkey_load(uv_loop_t *loop, const struct sl_target_conf *target, void (*loaded)(void *arg), void *arg,
    struct sl_hostkey **ret_hostkey);
/* Forgets what is under way. NULL is fine. Not from `loaded` or a check's answer, but for the last thing they do. */
void sl_hostkey_free(struct sl_hostkey *hostkey);

bool sl_hostkey_loaded(const struct sl_hostkey *hostkey);
/* What they come to, with a key that was written down since. */
uint64_t sl_hostkey_basis(const struct sl_hostkey *hostkey);
/* What they would come to now. Blocks: for a worker. 0 where that cannot be known. */
uint64_t sl_hostkey_basis_now(const struct sl_target_conf *target);
/* What the files say about the host. Borrowed. */
const struct sl_known_keys *sl_hostkey_keys(const struct sl_hostkey *hostkey);

/* `status` 0, or SL_E_HOST_KEY_UNKNOWN/CHANGED/REVOKED, or SL_E_NOMEM or SL_E_LIMIT when the files could not all be
 * read just now; with a text that goes behind "host:port: ". With status 0, a text is a warning; "": all is well. */
typedef void (*sl_hostkey_fn)(void *arg, int status, const char *text);
/* Answers at once, but for a new key that has to be written down first: then on the loop, later. Once only. */
void sl_hostkey_check(struct sl_hostkey *hostkey, const uint8_t *blob, size_t len, sl_hostkey_fn fn, void *arg);

#endif
