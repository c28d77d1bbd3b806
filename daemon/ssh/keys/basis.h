/* SPDX-License-Identifier: MIT */
/* basis.h - what a login is made of, as numbers that change when it does: files, what known_hosts says, an agent's
 * keys. Looks without logging in; keeps no secret. struct sl_basis is transport.h's. */
#ifndef SSHLEASE_SSH_KEYS_BASIS_H
#define SSHLEASE_SSH_KEYS_BASIS_H

#include "daemon/ssh/keys/known_hosts.h"
#include "daemon/ssh/transport.h"
#include "proto/wire.h"

/* The agent could not be asked. */
#define SL_BASIS_NO_AGENT 1u

/* Key files, certificates, secrets: where and how old they are, not what is in them. Blocks: for a worker. */
void sl_basis_of_files(const struct sl_target_conf *target, struct sl_basis *basis);
/* Of all lines about a host together, in whatever order; never 0. One line's share of it can be added. */
uint64_t sl_basis_of_lines(const struct sl_known_keys *keys);
uint64_t sl_basis_of_line(const struct sl_known_key *key);
/* Of what an agent says it holds. Never 0. */
uint64_t sl_basis_of_agent(struct sl_bytes list);

#endif
