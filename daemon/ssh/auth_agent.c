/* Keys that an ssh-agent holds. The agent is asked on the loop; libssh2's call for a signature says "not yet" until the
 * answer is there, and is then repeated. */
#include "daemon/ssh/algorithms.h"
#include "daemon/ssh/auth_method.h"
#include "daemon/ssh/known_hosts.h"
#include "proto/status.h"

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
    snprintf(auth->trouble, sizeof auth->trouble, "agent %s: %s", auth->conn->target->identity_agent, why);
    sl_agent_close(auth->agent);
    auth->agent = NULL;
    auth->agent_key_count = 0;
    return SL_AUTH_REJECTED;
}

/* Keys that were tried from their files need not be tried again. */
static bool is_tried(const struct sl_auth *auth, const struct sl_agent_key *key)
{
    for (size_t i = 0; i < auth->credentials->count; i++) {
        const struct sl_credential *item = &auth->credentials->item[i];
        if (item->blob_len == key->blob.len && memcmp(item->blob, key->blob.data, key->blob.len) == 0) {
            return true;
        }
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
    auth->agent_list = malloc(answer.len);
    if (auth->agent_list == NULL) {
        return give_up(auth, "out of memory");
    }
    memcpy(auth->agent_list, answer.data, answer.len);
    answer.data = auth->agent_list;
    struct sl_agent_key key[SL_AGENT_KEYS_MAX];
    size_t count = 0;
    if (sl_agent_get_list(answer, key, &count) != 0) {
        return give_up(auth, "its list of keys makes no sense");
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_tried(auth, &key[i]) && is_accepted(auth, &key[i])) {
            auth->agent_key[auth->agent_key_count++] = key[i];
        }
    }
    if (count == 0) {
        snprintf(auth->trouble, sizeof auth->trouble, "agent %s holds no keys", conn->target->identity_agent);
    }
    return SL_AUTH_REJECTED; /* nothing was tried yet: choose from them */
}

/* libssh2 wants `to_sign` signed. It frees the result with the session's allocator. */
static int on_sign(LIBSSH2_SESSION *session, unsigned char **ret_signature, size_t *ret_len,
    const unsigned char *to_sign, size_t to_sign_len, void **abstract)
{
    (void)session;
    struct sl_auth *auth = *abstract;
    struct sl_bytes data = {to_sign, to_sign_len}, signature;
    if (auth->sign == SL_SIGN_NONE) {
        const struct sl_agent_key *key = &auth->agent_key[auth->agent_key_at];
        size_t size = 64 + key->blob.len + data.len;
        uint8_t *message = malloc(size);
        struct sl_writer w;
        if (message == NULL || sl_agent_state(auth->agent) != SL_AGENT_IDLE) {
            free(message);
            return -1;
        }
        sl_writer_init(&w, message, size);
        sl_agent_put_sign(&w, key->blob, data, sl_agent_sign_flags(data));
        sl_agent_ask(auth->agent, message, w.at);
        free(message);
        auth->sign = SL_SIGN_ASKED;
    }
    if (sl_agent_state(auth->agent) == SL_AGENT_BUSY) {
        return LIBSSH2_ERROR_EAGAIN;
    }
    auth->sign = SL_SIGN_NONE;
    if (sl_agent_state(auth->agent) == SL_AGENT_FAILED ||
        sl_agent_get_signature(sl_agent_answer(auth->agent), &signature) != 0) {
        return -1;
    }
    *ret_signature = sl_witness_alloc(&auth->conn->witness, signature.len > 0 ? signature.len : 1);
    if (*ret_signature == NULL) {
        return -1;
    }
    memcpy(*ret_signature, signature.data, signature.len);
    *ret_len = signature.len;
    return 0;
}

enum sl_auth_result sl_auth_agent_key_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    const struct sl_agent_key *key = &auth->agent_key[auth->agent_key_at];
    void *abstract = auth;
    int r = libssh2_userauth_publickey(
        conn->session, conn->target->user, key->blob.data, key->blob.len, on_sign, &abstract);
    enum sl_auth_result result = sl_auth_judge(auth, r);
    if (result == SL_AUTH_REJECTED || result == SL_AUTH_REJECTED_AFTER_PROOF) {
        char *fingerprint = sl_key_fingerprint(key->blob.data, key->blob.len);
        sl_auth_note_tried(auth, "agent's key %s", fingerprint != NULL ? fingerprint : "?");
        free(fingerprint);
        auth->agent_key_at++;
        if (auth->agent != NULL && sl_agent_state(auth->agent) == SL_AGENT_FAILED) {
            give_up(auth, sl_agent_error(auth->agent));
        }
    }
    return result;
}
