/* SPDX-License-Identifier: MIT */
/* secret.h - reads a secret from where the configuration says it is. Blocks: for workers only. */
#ifndef SSHLEASE_SSH_KEYS_SECRET_H
#define SSHLEASE_SSH_KEYS_SECRET_H

#include "config/conf.h"

/* One line end at the secret's end is not part of it. 0 with a NUL-terminated text for sl_secret_wipe(), or NULL for
 * SL_SECRET_NONE; SL_E_CREDENTIALS, or SL_E_LIMIT when files cannot be opened just now, both with `why` filled (never
 * with the secret); SL_E_NOMEM. */
int sl_secret_read(const struct sl_secret *secret, char *why, size_t why_size, char **ret_text);
/* Overwrites and frees. NULL is fine. */
void sl_secret_wipe(char *text);

#endif
