/* SPDX-License-Identifier: MIT */
/* peer.h - who is at the other end of a Unix socket: read once from the kernel, never asked of the client. */
#ifndef SSHLEASE_NET_PEER_H
#define SSHLEASE_NET_PEER_H

#include "base/who.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Fills *ret_who from SO_PEERCRED and SO_PEERGROUPS of `fd`: what was true when the client connected. 0, SL_E_NOMEM,
 * or SL_E_IO when the kernel does not say, which has to be taken for a refusal. The caller
 * frees it by sl_who_fini(). */
int sl_peer_read(int fd, struct sl_who *ret_who);

/* The user alone; (uid_t)-1 when the kernel does not say. */
uid_t sl_peer_uid(int fd);

/* When the process began, or 0 when that cannot be known. */
uint64_t sl_peer_start_time(pid_t pid);

/* Writes the arguments of `pid` as they are now, each with a NUL behind it, cut to `size`. How many bytes they are; 0
 * when they cannot be read, and when it is not the process that began at `start_time`. May block for a moment (procfs
 * waits for the process's memory): not for the loop. */
size_t sl_peer_words(pid_t pid, uint64_t start_time, char *buf, size_t size);
/* The same as one text, joined by spaces. */
void sl_peer_command_line(pid_t pid, uint64_t start_time, char *buf, size_t size);

/* Writes the name of `uid`, or its number where it has no name. May block (NSS): not for the loop. */
void sl_peer_user_name(uid_t uid, char *buf, size_t size);

#endif
