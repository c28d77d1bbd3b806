/* SPDX-License-Identifier: MIT */
/* compat.h - what a target's server was seen to do where SSH servers differ: environment variables, a second session,
 * life after a command, probes of its life, shells, MACs. Learned from what it did, and kept for the target for as long
 * as the same server answers there. Pure: never talks to a server, never decides for a lease. */
#ifndef SSHLEASE_SSH_SESSION_COMPAT_H
#define SSHLEASE_SSH_SESSION_COMPAT_H

#include "daemon/ssh/transport.h"

/* What became of an environment variable that was sent. */
enum sl_env_verdict {
    SL_ENV_UNKNOWN,
    SL_ENV_TAKEN,
    SL_ENV_REFUSED,
    SL_ENV_UNANSWERED, /* the server never said: the channel is of no use any more */
    SL_ENV_FATAL,      /* the server ended the channel, or the connection */
};

/* What becomes of a second session beside one that is open. */
enum sl_sessions_verdict {
    SL_SESSIONS_UNKNOWN,
    SL_SESSIONS_SEVERAL, /* both were served */
    SL_SESSIONS_ONE,     /* the connection ended, or nobody answered */
};

/* How to ask for a sign of life. */
enum sl_probe {
    SL_PROBE_UNTRIED,      /* the next one, as long as no command hangs on it */
    SL_PROBE_UNKNOWN_TYPE, /* a channel of an unknown type: its refusal costs nothing */
    SL_PROBE_TCP,          /* nothing that the server sees: its TCP has to acknowledge */
};

/* Whether a command that the sweep runs gets a POSIX shell. */
enum sl_shell_verdict { SL_SHELL_UNKNOWN, SL_SHELL_POSIX, SL_SHELL_OTHER };

/* Making, freeing, resetting it and describing it: transport.h. */

/* A connection was logged in to the server that calls itself `server` (its identification string). Another one than
 * before: what was learned is dropped. Returns the number of this memory, which sl_compat_is() compares: what a
 * connection saw that belongs to an older one is not for this server. */
#define SL_COMPAT_NONE 0u /* no memory's */
uint32_t sl_compat_meet(struct sl_compat *compat, const char *server);
bool sl_compat_is(const struct sl_compat *compat, uint32_t number);
/* OpenSSH and dropbear refuse a channel of an unknown type as they should, and never end a connection by themselves
 * after a command. */
bool sl_compat_is_well_known(const struct sl_compat *compat);
/* Whether it is told that nobody reads a command's output any more (eow@openssh.com). ssh tells only its own kin. */
bool sl_compat_takes_eow(const struct sl_compat *compat);

/* --- the handshake --- */

/* Whether ciphers that need no MAC are to be offered first: the server has no MAC that is offered to it. */
bool sl_compat_without_mac(const struct sl_compat *compat);
/* True when that is news. */
bool sl_compat_saw_no_mac(struct sl_compat *compat);

/* --- environment variables, by name --- */

/* Names are remembered up to so many; the others are UNKNOWN for ever. Their places are numbered below it. */
#define SL_COMPAT_NAMES 64u
enum sl_env_verdict sl_compat_env(const struct sl_compat *compat, const char *name, uint64_t now_ms);
/* True when that is news. */
bool sl_compat_saw_env(struct sl_compat *compat, const char *name, enum sl_env_verdict verdict, uint64_t now_ms);
/* The place of a name that is remembered; SL_COMPAT_NAMES: none. */
uint32_t sl_compat_place(const struct sl_compat *compat, const char *name);

/* --- sessions --- */

enum sl_sessions_verdict sl_compat_sessions(const struct sl_compat *compat);
/* `why` ends the sentence "opens ahead: no, …"; static. True when that is news. */
bool sl_compat_saw_sessions(struct sl_compat *compat, enum sl_sessions_verdict verdict, const char *why);
/* How many sessions the server was seen to allow at once; UINT32_MAX: not known. Believed for a minute. */
uint32_t sl_compat_session_limit(const struct sl_compat *compat, uint64_t now_ms);
bool sl_compat_saw_session_limit(struct sl_compat *compat, uint32_t limit, uint64_t now_ms);

/* --- life after a command --- */

/* True once a connection was seen to go on after a command. */
bool sl_compat_goes_on(const struct sl_compat *compat);
/* A connection answered after `commands` commands had ended on it. True when that is news. */
bool sl_compat_saw_life(struct sl_compat *compat, uint32_t commands);
/* A connection was of no use any more after `commands` of them: it was closed, or opened no more sessions. True when
 * that is news. */
bool sl_compat_saw_end(struct sl_compat *compat, uint32_t commands, uint64_t now_ms);
/* Commands that a connection serves; UINT32_MAX: any number. */
uint32_t sl_compat_uses(const struct sl_compat *compat, uint64_t now_ms);

/* --- signs of life --- */

enum sl_probe sl_compat_probe(const struct sl_compat *compat);
/* The server answered one. */
void sl_compat_saw_probe(struct sl_compat *compat);
/* The server did not answer an open of an unknown type, or ended the connection on it. Nothing is learned of that where
 * it has answered one before. `why` is static. True when that is news. */
bool sl_compat_saw_probe_fail(struct sl_compat *compat, const char *why);

/* --- the sweep --- */

enum sl_shell_verdict sl_compat_shell(const struct sl_compat *compat);
bool sl_compat_saw_shell(struct sl_compat *compat, enum sl_shell_verdict verdict);

#endif
