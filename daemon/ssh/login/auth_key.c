/* SPDX-License-Identifier: MIT */
/* Public keys from files. libssh2 decrypts and signs inside the call that authenticates, so the whole call runs in a
 * worker, with the session handed over, each time there is something for it to do. */
#include "daemon/ssh/keys/sign_algorithm.h"
#include "daemon/ssh/login/auth_method.h"
#include "daemon/ssh/session/io.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In a worker. */
static int key_step(struct sl_conn *conn)
{
    const struct sl_auth *auth = conn->auth;
    const struct sl_credential *key = &auth->credentials->item[auth->key_at];
    const char *user = conn->target->user;
    return libssh2_userauth_publickey_frommemory(conn->session, user, strlen(user), auth->key_line,
        auth->key_line != NULL ? strlen(auth->key_line) : 0, key->private_key.data, key->private_key.len,
        auth->credentials->passphrase);
}

static void explain(struct sl_auth *auth, const struct sl_credential *key, enum sl_auth_result result)
{
    if (result == SL_AUTH_REJECTED) {
        sl_auth_note_tried(auth, "%s %s",
            key->public_line != NULL && strstr(key->public_line, "-cert-v01@") != NULL ? "certificate for" : "key",
            key->path);
    } else {
        /* A wrong passphrase shows only when the key is needed. */
        sl_credentials_note_trouble(
            auth->credentials, "%s: cannot be read%s", key->path, key->encrypted ? " (is the passphrase right?)" : "");
    }
}

/* The key's type, which the line begins with; NULL where only the private key tells. */
static const char *type_of(const struct sl_credential *key, char *buf, size_t size)
{
    if (key->public_line == NULL)
        return NULL;
    snprintf(buf, size, "%.*s", (int)strcspn(key->public_line, " "), key->public_line);
    return buf;
}

/* The next algorithm for the key under way, or the next key. libssh2 takes the line's first word for the algorithm. */
static bool next_try(struct sl_auth *auth)
{
    const struct sl_credential *key = &auth->credentials->item[auth->key_at];
    char type[64], buf[SL_SIGN_ALGORITHM_SIZE];
    free(auth->key_line);
    auth->key_line = NULL;
    if (type_of(key, type, sizeof type) == NULL)
        return auth->algorithm_at == 0;
    const char *algorithm = sl_sign_algorithm(&auth->conn->tap.said, type, auth->rsa, auth->algorithm_at, buf);
    if (algorithm == NULL)
        return false;
    if (asprintf(&auth->key_line, "%s%s", algorithm, key->public_line + strlen(type)) < 0)
        auth->key_line = NULL;
    return true;
}

static enum sl_auth_result begin(struct sl_auth *auth)
{
    const struct sl_credential *key = &auth->credentials->item[auth->key_at];
    if (next_try(auth)) {
        if (key->public_line != NULL && auth->key_line == NULL) {
            sl_conn_die(auth->conn, SL_E_NOMEM, "out of memory");
            return SL_AUTH_DIED;
        }
        auth->key_asked = true;
        sl_io_step_offloop(auth->conn, key_step);
        return SL_AUTH_WAIT;
    }
    if (auth->algorithm_at == 0) {
        sl_credentials_note_trouble(auth->credentials,
            "%s: the server takes no signature that it may make (it takes %s)", key->path,
            auth->conn->tap.said.sig_algs);
    }
    auth->key_at++;
    auth->algorithm_at = 0;
    return SL_AUTH_UNUSABLE;
}

enum sl_auth_result sl_auth_key_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    if (conn->offloop == SL_ON_LOOP && !auth->key_asked)
        return begin(auth);
    if (conn->offloop == SL_ON_LOOP) {
        /* Called for nothing it would only come back with EAGAIN. */
        if (conn->maybe_readable)
            sl_io_step_offloop(conn, key_step);
        return SL_AUTH_WAIT;
    }
    conn->offloop = SL_ON_LOOP;
    enum sl_auth_result result = sl_auth_judge(auth, conn->offloop_result);
    if (result == SL_AUTH_WAIT)
        return sl_auth_key_step(auth);
    if (result == SL_AUTH_REJECTED || result == SL_AUTH_UNUSABLE) {
        const struct sl_credential *key = &auth->credentials->item[auth->key_at];
        auth->key_asked = false;
        /* "No" to the question whether a key would do, with this algorithm: with another? */
        if (conn->offloop_result == LIBSSH2_ERROR_AUTHENTICATION_FAILED) {
            auth->algorithm_at++;
            if (next_try(auth) && key->public_line != NULL)
                return result;
        }
        explain(auth, key, result);
        auth->key_at++;
        auth->algorithm_at = 0;
    }
    return result;
}
