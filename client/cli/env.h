/* SPDX-License-Identifier: MIT */
/* env.h - says what of exec's -e the target's settings keep back. Decides nothing: the daemon does. */
#ifndef SSHLEASE_CLI_ENV_H
#define SSHLEASE_CLI_ENV_H

#include "client/sshlease.h"

/* One line for each variable that the target of the lease that is held does not let pass. Costs a status; silent where
 * that is not to be had. */
void cli_env_tell(struct sshlease *lease, const char *target, const struct sshlease_env *env, size_t count);

#endif
