/* SPDX-License-Identifier: MIT */
/* auth_result.h - a login under way, and what the server's answers to it mean. Tries nothing itself: auth.c chooses,
 * the methods' files do. */
#ifndef SSHLEASE_SSH_LOGIN_AUTH_RESULT_H
#define SSHLEASE_SSH_LOGIN_AUTH_RESULT_H

#include "daemon/ssh/keys/agent.h"
#include "daemon/ssh/keys/agent_codec.h"
#include "daemon/ssh/keys/credentials.h"
#include "daemon/ssh/session/conn_base.h"

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
    unsigned offered;      /* methods the server takes now */
    unsigned untried;      /* methods that have something left to try */
    unsigned attempts;     /* that the server rejected */
    uint32_t failures;     /* conn->tap.said.failures when the step under way began */
    size_t key_at;         /* of the files' keys */
    unsigned algorithm_at; /* with which the key under way signs */
    char *rsa;             /* what RSA keys may sign with here; "": everything */
    char *key_line;        /* the key under way as libssh2 is to see it */
    bool key_asked;
    struct sl_agent *agent;
    enum { SL_AGENT_UNASKED, SL_AGENT_LISTED, SL_AGENT_GIVEN_UP } agent_asked;
    uint8_t *agent_list; /* the agent's answer; agent_key points into it */
    struct sl_agent_key agent_key[SL_AGENT_KEYS_MAX];
    size_t agent_key_count, agent_key_at;
    bool signature_asked;
    char sign_error[160];   /* why the agent's answer is no signature; "" */
    unsigned unsigned_keys; /* that the server would take and the agent did not sign with */
    bool password_given;    /* the password goes out once, whatever asks for it */
    char prompt[96];        /* that has no answer; "" */
    char server_takes[128];
    char tried[400];
    char trouble[400]; /* with the agent, or with what the server asks */
};

/* What one step of a method comes to. */
enum sl_auth_result {
    SL_AUTH_WAIT,     /* for the server, a worker or the agent */
    SL_AUTH_IN,       /* authenticated */
    SL_AUTH_REJECTED, /* or accepted as one of several; what the server takes now is in auth->offered */
    SL_AUTH_UNUSABLE, /* this side could not do it: the server has rejected nothing */
    SL_AUTH_DIED,
};
/* libssh2's answer to an authentication call. */
enum sl_auth_result sl_auth_judge(struct sl_auth *auth, int r);
/* The login ends: what was tried, what the server takes, and what was wrong with the rest. */
void sl_auth_fail(struct sl_auth *auth);
/* The methods in a list of the server's. */
void sl_auth_take_methods(struct sl_auth *auth, const char *list);
/* Adds to what was tried, for the error message. */
void sl_auth_note_tried(struct sl_auth *auth, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds to what was in the way on this side. */
void sl_auth_note_trouble(struct sl_auth *auth, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
