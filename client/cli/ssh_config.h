/* SPDX-License-Identifier: MIT */
/* ssh_config.h - what `sshlease ssh-config` prints: blocks of ssh_config(5) and of ansible.cfg. Asks nobody anything.
 */
#ifndef SSHLEASE_CLI_SSH_CONFIG_H
#define SSHLEASE_CLI_SSH_CONFIG_H

#include <stdbool.h>

struct cli_mux_target {
    char *name; /* as it was asked for */
    char *path; /* of its socket */
};

/* Whether ssh_config can name the socket: not with a `${` in its path, which ssh would take for a variable. */
bool cli_ssh_config_can_say(const char *path);

/* Whether the target is one of the one-user mode, USER@HOST[:PORT]: its socket then is named USER@HOST:PORT. */
bool cli_ssh_config_is_adhoc(const struct cli_mux_target *target);

/* The lines before the first block. `socket`: the daemon's. */
void cli_ssh_config_print_head(const char *socket);

/* The block of one target. `program` and `socket`: what Match exec makes the socket with; `socket` NULL: the default.
 */
void cli_ssh_config_print(const struct cli_mux_target *target, const char *program, const char *socket);

/* The lines for ansible.cfg, whose sockets are all in one directory; none of `targets` is one of the one-user mode. */
void cli_ansible_print(const struct cli_mux_target *targets, unsigned count, const char *socket);

#endif
