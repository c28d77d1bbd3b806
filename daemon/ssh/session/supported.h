/* SPDX-License-Identifier: MIT */
/* supported.h - what the SSH library of this build has; decides nothing. */
#ifndef SSHLEASE_SSH_SESSION_SUPPORTED_H
#define SSHLEASE_SSH_SESSION_SUPPORTED_H

#include "config/conf.h"

#include <stdbool.h>

struct _LIBSSH2_SESSION;

/* What a target may name of that kind. 0, SL_E_NOMEM or SL_E_INTERNAL; the caller frees it. */
int sl_supported_names(struct _LIBSSH2_SESSION *session, enum sl_algorithm_kind kind, struct sl_strv *ret_names);

#endif
