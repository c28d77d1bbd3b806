/* SPDX-License-Identifier: MIT */
/* Keys that an ssh-agent holds. The agent is asked on the loop; libssh2's call for a signature says "not yet" until the
 * answer is there, and is then repeated. */
#include "daemon/ssh/keys/algorithms.h"
#include "daemon/ssh/keys/basis.h"
#include "daemon/ssh/keys/known_hosts.h"
#include "daemon/ssh/keys/sign_algorithm.h"
#include "daemon/ssh/login/auth_method.h"
#include "daemon/ssh/session/io.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include "base/text.h"
#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_agent(void *arg)
{
    sl_conn_schedule(arg);
}

static enum sl_auth_result give_up(struct sl_auth *auth, const char *why)
{
    sl_auth_note_trouble(auth, "agent %s: %s", auth->conn->target->identity_agent, why);
    sl_agent_close(auth->agent);
    auth->agent = NULL;
    if (auth->agent_asked == SL_AGENT_UNASKED)
        auth->conn->basis.agent = SL_BASIS_NO_AGENT;
    auth->agent_asked = SL_AGENT_GIVEN_UP;
    auth->agent_key_at = auth->agent_key_count = 0;
    return SL_AUTH_UNUSABLE;
}

/* Keys that were tried from their files need not be tried again. */
static bool is_tried(const struct sl_auth *auth, const struct sl_agent_key *key)
{
    for (size_t i = 0; i < auth->credentials->count; i++) {
        const struct sl_credential *item = &auth->credentials->item[i];
        if (item->blob_len == key->blob.len && memcmp(item->blob, key->blob.data, key->blob.len) == 0)
            return true;
    }
    return false;
}

/* A key of no known type is libssh2's to refuse. */
static bool is_accepted(const struct sl_auth *auth, const struct sl_agent_key *key)
{
    const char *type;
    size_t len;
    return sl_key_blob_type(key->blob.data, key->blob.len, &type, &len) != 0 ||
           sl_algorithms_accept_key(auth->conn->target, type, len);
}

enum sl_auth_result sl_auth_agent_list_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    if (auth->agent == NULL) {
        const char *path = conn->target->identity_agent != NULL ? conn->target->identity_agent : "";
        if (sl_agent_open(conn->transport->loop, path, on_agent, conn, &auth->agent) != 0) {
            sl_conn_die(conn, SL_E_NOMEM, "out of memory");
            return SL_AUTH_DIED;
        }
    }
    switch (sl_agent_state(auth->agent)) {
    case SL_AGENT_FAILED:
        if (sl_agent_shortage(auth->agent) != 0) {
            sl_conn_die(conn, sl_agent_shortage(auth->agent), "agent %s: %s", conn->target->identity_agent,
                sl_agent_error(auth->agent));
            return SL_AUTH_DIED;
        }
        return give_up(auth, sl_agent_error(auth->agent));
    case SL_AGENT_CONNECTING:
    case SL_AGENT_BUSY:
        return SL_AUTH_WAIT;
    case SL_AGENT_IDLE:
        break;
    }
    struct sl_bytes answer = sl_agent_answer(auth->agent);
    if (answer.len == 0) {
        uint8_t message[8];
        struct sl_writer w;
        sl_writer_init(&w, message, sizeof message);
        sl_agent_put_list(&w);
        sl_agent_ask(auth->agent, message, w.at);
        return SL_AUTH_WAIT;
    }
    conn->basis.agent = sl_basis_of_agent(answer);
    auth->agent_list = malloc(answer.len);
    if (auth->agent_list == NULL)
        return give_up(auth, "out of memory");
    memcpy(auth->agent_list, answer.data, answer.len);
    answer.data = auth->agent_list;
    struct sl_agent_key key[SL_AGENT_KEYS_MAX];
    size_t count = 0;
    if (sl_agent_get_list(answer, key, &count) != 0)
        return give_up(auth, "its list of keys makes no sense");
    for (size_t i = 0; i < count; i++)
        if (!is_tried(auth, &key[i]) && is_accepted(auth, &key[i]))
            auth->agent_key[auth->agent_key_count++] = key[i];
    if (count == 0)
        sl_auth_note_trouble(auth, "agent %s holds no keys", conn->target->identity_agent);
    auth->agent_asked = SL_AGENT_LISTED;
    return SL_AUTH_UNUSABLE; /* nothing was tried yet: choose from them */
}

/* "SHA256:… (comment)". */
static const char *name_of(const struct sl_agent_key *key, char *buf, size_t size)
{
    char comment[64];
    char *fingerprint = sl_key_fingerprint(key->blob.data, key->blob.len);
    sl_text_clean(comment, sizeof comment, key->comment.data, key->comment.len);
    snprintf(buf, size, "%s%s%s%s", fingerprint != NULL ? fingerprint : "?", comment[0] != '\0' ? " (" : "", comment,
        comment[0] != '\0' ? ")" : "");
    free(fingerprint);
    return buf;
}

/* --- signing --- */

static int ask_for_signature(struct sl_auth *auth, struct sl_bytes data)
{
    const struct sl_agent_key *key = &auth->agent_key[auth->agent_key_at];
    struct sl_bytes algorithm;
    size_t size = 64 + key->blob.len + data.len;
    uint8_t *message = malloc(size);
    struct sl_writer w;
    if (message == NULL || sl_agent_state(auth->agent) != SL_AGENT_IDLE ||
        sl_agent_get_algorithm(data, &algorithm) != 0) {
        free(message);
        return -1;
    }
    sl_writer_init(&w, message, size);
    sl_agent_put_sign(&w, key->blob, data, sl_agent_sign_flags(algorithm));
    sl_agent_ask(auth->agent, message, w.at);
    free(message);
    auth->signature_asked = true;
    return 0;
}

/* The signature in the agent's answer; 0, or -1 and why not in auth->sign_error. */
static int look_at_answer(struct sl_auth *auth, struct sl_bytes data, struct sl_bytes *ret_signature)
{
    struct sl_bytes wanted = {NULL, 0}, made = {NULL, 0};
    int r = sl_agent_get_signature(sl_agent_answer(auth->agent), &made, ret_signature);
    if (r == SL_E_CREDENTIALS) {
        snprintf(auth->sign_error, sizeof auth->sign_error, "refuses to sign with");
    } else if (r != 0 || sl_agent_get_algorithm(data, &wanted) != 0) {
        snprintf(auth->sign_error, sizeof auth->sign_error, "gives an answer that makes no sense for");
    } else if (!sl_agent_is_signed_with(made, wanted)) {
        char a[48], b[48];
        snprintf(auth->sign_error, sizeof auth->sign_error, "signs with \"%s\" where \"%s\" is asked for, for",
            sl_text_clean(a, sizeof a, made.data, made.len), sl_text_clean(b, sizeof b, wanted.data, wanted.len));
    }
    return auth->sign_error[0] == '\0' ? 0 : -1;
}

/* libssh2 wants `to_sign` signed. It frees the result with the session's allocator. */
static int on_sign(LIBSSH2_SESSION *session, unsigned char **ret_signature, size_t *ret_len,
    const unsigned char *to_sign, size_t to_sign_len, void **abstract)
{
    (void)session;
    struct sl_auth *auth = *abstract;
    struct sl_bytes data = {to_sign, to_sign_len}, signature;
    if (!auth->signature_asked && ask_for_signature(auth, data) != 0)
        return -1;
    if (sl_agent_state(auth->agent) == SL_AGENT_BUSY)
        return LIBSSH2_ERROR_EAGAIN;
    auth->signature_asked = false;
    if (sl_agent_state(auth->agent) == SL_AGENT_FAILED || look_at_answer(auth, data, &signature) != 0)
        return -1;
    *ret_signature = sl_packet_tap_alloc(&auth->conn->tap, signature.len > 0 ? signature.len : 1);
    if (*ret_signature == NULL)
        return -1;
    memcpy(*ret_signature, signature.data, signature.len);
    *ret_len = signature.len;
    return 0;
}

/* --- one key --- */

/* libssh2 takes the algorithm's name from the key's blob and cannot be told another here; but it takes one that an
 * earlier call has left in the session, and a call with a public key that is too short leaves one (1.11.1). Where that
 * does not work it asks for "ssh-rsa" of servers that do not say what they take, as it does by itself. */
static void propose(struct sl_auth *auth, const char *algorithm)
{
    char line[SL_SIGN_ALGORITHM_SIZE + 8];
    const char *user = auth->conn->target->user;
    int n = snprintf(line, sizeof line, "%s AA==", algorithm);
    (void)libssh2_userauth_publickey_frommemory(
        auth->conn->session, user, strlen(user), line, (size_t)n, "none", 4, NULL);
}

/* The algorithm for the try that is to begin; NULL: there is none (left). */
static const char *algorithm_for(
    const struct sl_auth *auth, const struct sl_agent_key *key, char buf[SL_SIGN_ALGORITHM_SIZE])
{
    char type[64];
    const char *in_blob;
    size_t len;
    if (sl_key_blob_type(key->blob.data, key->blob.len, &in_blob, &len) != 0 || len >= sizeof type)
        return NULL;
    memcpy(type, in_blob, len);
    type[len] = '\0';
    return sl_sign_algorithm(&auth->conn->tap.said, type, auth->rsa, auth->algorithm_at, buf);
}

static void next_key(struct sl_auth *auth)
{
    auth->agent_key_at++;
    auth->algorithm_at = 0;
    auth->key_asked = false;
}

/* Why the agent's key could not be used, though the server would take it. */
static void explain(struct sl_auth *auth, const struct sl_agent_key *key)
{
    char name[160];
    auth->unsigned_keys++;
    if (auth->sign_error[0] != '\0') {
        sl_auth_note_trouble(auth, "agent %s: it %s %s", auth->conn->target->identity_agent, auth->sign_error,
            name_of(key, name, sizeof name));
        auth->sign_error[0] = '\0';
    } else if (sl_agent_state(auth->agent) == SL_AGENT_FAILED) {
        give_up(auth, sl_agent_error(auth->agent));
    } else {
        sl_auth_note_trouble(
            auth, "agent's key %s cannot be used: %s", name_of(key, name, sizeof name), sl_io_error_text(auth->conn));
    }
}

enum sl_auth_result sl_auth_agent_key_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    const struct sl_agent_key *key = &auth->agent_key[auth->agent_key_at];
    char buf[SL_SIGN_ALGORITHM_SIZE], name[160];
    if (!auth->key_asked) {
        const char *algorithm = algorithm_for(auth, key, buf);
        if (algorithm == NULL) {
            sl_auth_note_trouble(auth, "agent's key %s: the server takes no signature that it may make (it takes %s)",
                name_of(key, name, sizeof name), conn->tap.said.sig_algs);
            next_key(auth);
            return SL_AUTH_UNUSABLE;
        }
        propose(auth, algorithm);
        auth->key_asked = true;
    }
    void *abstract = auth;
    int r = libssh2_userauth_publickey(
        conn->session, conn->target->user, key->blob.data, key->blob.len, on_sign, &abstract);
    enum sl_auth_result result = sl_auth_judge(auth, r);
    if (result == SL_AUTH_UNUSABLE) {
        explain(auth, key);
        next_key(auth);
    } else if (result == SL_AUTH_REJECTED) {
        auth->key_asked = false;
        auth->algorithm_at++;
        if (r != LIBSSH2_ERROR_AUTHENTICATION_FAILED || algorithm_for(auth, key, buf) == NULL) {
            sl_auth_note_tried(auth, "agent's key %s", name_of(key, name, sizeof name));
            next_key(auth);
        }
    }
    return result;
}
