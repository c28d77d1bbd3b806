/* auth_result.h - a login under way, and what the server's answers to it mean. Tries nothing itself: auth.c chooses,
 * the methods' files do. */
#ifndef SSHLEASE_SSH_AUTH_RESULT_H
#define SSHLEASE_SSH_AUTH_RESULT_H

#include "daemon/ssh/agent.h"
#include "daemon/ssh/agent_codec.h"
#include "daemon/ssh/conn_base.h"
#include "daemon/ssh/credentials.h"

#define SL_AUTH_PUBLICKEY   1u
#define SL_AUTH_PASSWORD    2u
#define SL_AUTH_INTERACTIVE 4u

enum sl_auth_stage {
    SL_AUTH_LOADING, /* credentials are being read */
    SL_AUTH_LISTING, /* the server is asked what it takes */
    SL_AUTH_CHOOSING,
    SL_AUTH_KEY,
    SL_AUTH_AGENT_LIST, /* the agent is asked for its keys */
    SL_AUTH_AGENT_KEY,
    SL_AUTH_PASSWORD_SENT,
    SL_AUTH_INTERACTIVE_SENT,
};

struct sl_auth {
    struct sl_conn *conn;
    struct sl_job *job;
    struct sl_credentials *credentials;
    enum sl_auth_stage stage;
    unsigned offered; /* methods the server takes now */
    unsigned untried; /* methods that have something left to try */
    unsigned attempts;
    size_t key_at;
    enum { SL_KEY_NEW, SL_KEY_ASKED } key_state;
    struct sl_agent *agent;
    uint8_t *agent_list; /* the agent's answer; agent_key points into it */
    struct sl_agent_key agent_key[SL_AGENT_KEYS_MAX];
    size_t agent_key_count, agent_key_at;
    enum { SL_SIGN_NONE, SL_SIGN_ASKED } sign;
    unsigned prompts; /* rounds of keyboard-interactive that asked something */
    char server_takes[128];
    char tried[400];
    char trouble[300]; /* with the agent */
};

/* What one step of a method comes to. */
enum sl_auth_result {
    SL_AUTH_WAIT, /* for the server, a worker or the agent */
    SL_AUTH_IN,   /* authenticated */
    SL_AUTH_REJECTED,
    SL_AUTH_REJECTED_AFTER_PROOF, /* or accepted as one of several: the server must be asked what it wants now */
    SL_AUTH_DIED,
};
/* libssh2's answer to an authentication call. */
enum sl_auth_result sl_auth_judge(struct sl_auth *auth, int r);
/* The login ends: what was tried, what the server takes, and what was wrong with the rest. */
void sl_auth_fail(struct sl_auth *auth);
/* Adds to what was tried, for the error message. */
void sl_auth_note_tried(struct sl_auth *auth, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
