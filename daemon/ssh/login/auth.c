/* SPDX-License-Identifier: MIT */
/* The way of a login:
 *   1. LOADING: keys, certificates and secrets are read in a worker
 *   2. LISTING: the server says which methods it takes
 *   3. the next untried of: identity files, the agent's keys, keyboard-interactive, password: ssh's own order
 *   4. rejected, or good as one of several (partial success, RFC 4252 section 5.1): the answer names what it takes now,
 *      back to 3
 * Each answer "no" is one of the few that a server allows, so nothing is asked that is known. The password goes out
 * once. libssh2 keeps the state of a call in the session: each is repeated until it no longer says EAGAIN. */
#include "daemon/ssh/login/auth.h"

#include "daemon/ssh/keys/algorithms.h"
#include "daemon/ssh/keys/basis.h"
#include "daemon/ssh/keys/job.h"
#include "daemon/ssh/login/auth_method.h"
#include "daemon/ssh/session/io.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdlib.h>
#include <string.h>

#define AUTH_BUDGET 65536u
/* More than servers allow (sshd: 6, MaxAuthTries); where the limit is, they tell by ending the connection. */
#define ATTEMPTS_MAX 20u

/* --- loading --- */

struct load {
    struct sl_target_conf *target; /* a reference is held by the loop's side for the job's life */
    struct sl_credentials *credentials;
    struct sl_basis basis;
    int status;
};

static void load_work(void *data)
{
    struct load *load = data;
    sl_basis_of_files(load->target, &load->basis); /* before: what is changed meanwhile is another */
    load->status = sl_credentials_load(load->target, &load->credentials);
}

static void load_done(void *arg, void *data)
{
    struct sl_auth *auth = arg;
    struct load *load = data;
    auth->job = NULL;
    auth->conn->basis.keys = load->basis.keys;
    auth->conn->basis.password = load->basis.password;
    auth->credentials = load->credentials;
    load->credentials = NULL;
    if (load->status != 0) {
        sl_conn_die(auth->conn, load->status, "%s", sl_status_text(load->status));
    } else if (auth->credentials->shortage != 0) {
        /* Going on without would be called a rejection, which is not tried again for long. */
        sl_conn_die(auth->conn, auth->credentials->shortage, "%s", auth->credentials->trouble);
    }
    sl_conn_schedule(auth->conn);
}

static void load_dispose(void *data)
{
    struct load *load = data;
    sl_credentials_free(load->credentials);
    sl_target_conf_unref(load->target);
    free(load);
}

static const struct sl_job_kind load_kind = {load_work, load_done, load_dispose};

int sl_auth_new(struct sl_conn *conn, struct sl_auth **ret_auth)
{
    struct sl_auth *auth = calloc(1, sizeof *auth);
    struct load *load = calloc(1, sizeof *load);
    if (auth == NULL || load == NULL) {
        free(auth);
        free(load);
        return SL_E_NOMEM;
    }
    auth->conn = conn;
    auth->stage = SL_AUTH_LOADING;
    auth->rsa = sl_algorithms_rsa_signatures(conn->target);
    load->target = sl_target_conf_ref(conn->target);
    if (auth->rsa == NULL || sl_job_start(conn->transport->loop, &load_kind, load, auth, &auth->job) != 0) {
        load_dispose(load);
        free(auth->rsa);
        free(auth);
        return SL_E_NOMEM;
    }
    *ret_auth = auth;
    return 0;
}

void sl_auth_free(struct sl_auth *auth)
{
    if (auth != NULL) {
        sl_job_forget(auth->job);
        sl_agent_close(auth->agent);
        sl_credentials_free(auth->credentials);
        free(auth->rsa);
        free(auth->key_line);
        free(auth->agent_list);
        free(auth);
    }
}

/* --- what the server takes --- */

static enum sl_auth_result list_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    const char *user = conn->target->user;
    const char *list = libssh2_userauth_list(conn->session, user, (unsigned)strlen(user));
    if (list == NULL) {
        if (libssh2_userauth_authenticated(conn->session))
            return SL_AUTH_IN; /* the server asks for nothing */
        int r = libssh2_session_last_errno(conn->session);
        return sl_auth_judge(auth, r != 0 ? r : LIBSSH2_ERROR_PROTO);
    }
    sl_auth_take_methods(auth, list);
    auth->failures = conn->tap.said.failures;
    return SL_AUTH_UNUSABLE; /* nothing was tried yet */
}

/* The next thing to try; false when nothing is left. */
static bool choose(struct sl_auth *auth)
{
    const struct sl_credentials *c = auth->credentials;
    const struct sl_target_conf *target = auth->conn->target;
    if (auth->attempts >= ATTEMPTS_MAX)
        return false;
    if ((auth->offered & SL_AUTH_PUBLICKEY) != 0) {
        if (auth->key_at < c->count) {
            auth->stage = SL_AUTH_KEY;
            return true;
        }
        if (target->identity_agent_set && auth->agent_asked == SL_AGENT_UNASKED) {
            auth->stage = SL_AUTH_AGENT_LIST;
            return true;
        }
        if (auth->agent_key_at < auth->agent_key_count) {
            auth->stage = SL_AUTH_AGENT_KEY;
            return true;
        }
    }
    unsigned secret = auth->offered & auth->untried;
    if (c->password == NULL || auth->password_given || secret == 0)
        return false;
    bool interactive = (secret & SL_AUTH_INTERACTIVE) != 0;
    auth->stage = interactive ? SL_AUTH_INTERACTIVE_SENT : SL_AUTH_PASSWORD_SENT;
    auth->untried &= ~(interactive ? SL_AUTH_INTERACTIVE : SL_AUTH_PASSWORD);
    return true;
}

static enum sl_auth_result step(struct sl_auth *auth)
{
    switch (auth->stage) {
    case SL_AUTH_LISTING:
        return list_step(auth);
    case SL_AUTH_KEY:
        return sl_auth_key_step(auth);
    case SL_AUTH_AGENT_LIST:
        return sl_auth_agent_list_step(auth);
    case SL_AUTH_AGENT_KEY:
        return sl_auth_agent_key_step(auth);
    case SL_AUTH_PASSWORD_SENT:
        return sl_auth_password_step(auth);
    case SL_AUTH_INTERACTIVE_SENT:
        return sl_auth_interactive_step(auth);
    case SL_AUTH_LOADING:
    case SL_AUTH_CHOOSING:
        break;
    }
    return SL_AUTH_UNUSABLE;
}

int sl_auth_tick(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    if (auth->stage == SL_AUTH_LOADING) {
        if (auth->credentials == NULL)
            return SL_E_AGAIN;
        auth->untried = SL_AUTH_PASSWORD | SL_AUTH_INTERACTIVE;
        auth->stage = SL_AUTH_LISTING;
    }
    while (conn->phase == SL_CONN_PHASE_AUTH) {
        if (auth->stage == SL_AUTH_CHOOSING && !choose(auth)) {
            sl_auth_fail(auth);
            break;
        }
        sl_io_gate_open(conn, AUTH_BUDGET);
        enum sl_auth_result result = step(auth);
        if (conn->offloop == SL_ON_LOOP)
            sl_io_gate_shut(conn);
        if (result == SL_AUTH_IN)
            return 0;
        if (result == SL_AUTH_WAIT || result == SL_AUTH_DIED)
            break;
        if (result == SL_AUTH_REJECTED && (conn->error != 0 || conn->disconnect_reason != 0)) {
            sl_auth_fail(auth);
            break;
        }
        auth->stage = SL_AUTH_CHOOSING;
    }
    return SL_E_AGAIN;
}

/* For the agent to list or sign. */
static bool waits_for_agent(const struct sl_auth *auth)
{
    bool signs = auth->stage == SL_AUTH_AGENT_KEY && auth->signature_asked && auth->agent != NULL &&
                 sl_agent_state(auth->agent) == SL_AGENT_BUSY;
    return auth->stage == SL_AUTH_AGENT_LIST || signs;
}

bool sl_auth_wants_read(const struct sl_auth *auth)
{
    return auth != NULL && auth->stage != SL_AUTH_LOADING && !waits_for_agent(auth);
}

const char *sl_auth_delay(const struct sl_auth *auth)
{
    return auth == NULL || !waits_for_agent(auth) ? ""
           : auth->stage == SL_AUTH_AGENT_LIST    ? ": the agent does not answer"
                                               : ": the agent has not signed (does it wait for somebody to confirm?)";
}
