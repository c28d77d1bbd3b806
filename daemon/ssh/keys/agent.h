/* SPDX-License-Identifier: MIT */
/* agent.h - a connection to an ssh-agent's socket: one request, one answer, on the loop. Knows no SSH session. */
#ifndef SSHLEASE_SSH_KEYS_AGENT_H
#define SSHLEASE_SSH_KEYS_AGENT_H

#include "proto/wire.h"

#include <uv.h>

struct sl_agent;

/* Something came, or it failed: look at sl_agent_state(). */
typedef void (*sl_agent_fn)(void *arg);

enum sl_agent_state {
    SL_AGENT_CONNECTING,
    SL_AGENT_IDLE, /* nothing asked, or an answer to look at */
    SL_AGENT_BUSY, /* the answer is out */
    SL_AGENT_FAILED,
};

/* Connects to the socket at `path`. 0, SL_E_NOMEM. Never calls back before it returns. */
int sl_agent_open(uv_loop_t *loop, const char *path, sl_agent_fn fn, void *arg, struct sl_agent **ret_agent);
/* No callback any more. NULL is fine. */
void sl_agent_close(struct sl_agent *agent);

enum sl_agent_state sl_agent_state(const struct sl_agent *agent);
/* Why it failed. Borrowed. */
const char *sl_agent_error(const struct sl_agent *agent);
/* SL_E_LIMIT or SL_E_NOMEM when it failed because the daemon or the agent is short of something just now, else 0. */
int sl_agent_shortage(const struct sl_agent *agent);

/* Sends a whole message (copied) and waits for the answer. Only when idle. */
void sl_agent_ask(struct sl_agent *agent, const uint8_t *data, size_t len);
/* The last answer without its length, valid until the next request; empty when there is none. */
struct sl_bytes sl_agent_answer(const struct sl_agent *agent);

#endif
