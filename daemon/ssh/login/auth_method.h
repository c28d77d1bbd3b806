/* SPDX-License-Identifier: MIT */
/* auth_method.h - the methods of logging in, one step each: auth_key.c, auth_agent.c, auth_password.c. None knows of
 * the others, or when it is its turn. */
#ifndef SSHLEASE_SSH_LOGIN_AUTH_METHOD_H
#define SSHLEASE_SSH_LOGIN_AUTH_METHOD_H

#include "daemon/ssh/login/auth_result.h"

enum sl_auth_result sl_auth_key_step(struct sl_auth *auth);
/* Whether the agent has another key; connects and lists first. */
enum sl_auth_result sl_auth_agent_list_step(struct sl_auth *auth);
enum sl_auth_result sl_auth_agent_key_step(struct sl_auth *auth);
enum sl_auth_result sl_auth_password_step(struct sl_auth *auth);
enum sl_auth_result sl_auth_interactive_step(struct sl_auth *auth);

#endif
