/* Public keys from files. libssh2 decrypts and signs inside the call that authenticates, so the whole call runs in a
 * worker, with the session handed over, each time there is something for it to do. */
#include "daemon/ssh/auth_method.h"
#include "daemon/ssh/io.h"

#include <libssh2.h>
#include <string.h>

/* In a worker. */
static int key_step(struct sl_conn *conn)
{
    const struct sl_auth *auth = conn->auth;
    const struct sl_credential *key = &auth->credentials->item[auth->key_at];
    const char *user = conn->target->user;
    return libssh2_userauth_publickey_frommemory(conn->session, user, strlen(user), key->public_line,
        key->public_line != NULL ? strlen(key->public_line) : 0, key->private_key.data, key->private_key.len,
        auth->credentials->passphrase);
}

/* A wrong passphrase shows only when the key is needed, as an error of libssh2's signing callback. */
static void explain(struct sl_auth *auth, const struct sl_credential *key, int r)
{
    const char *text = sl_io_error_text(auth->conn);
    bool unusable = r == LIBSSH2_ERROR_FILE || r == LIBSSH2_ERROR_KEYFILE_AUTH_FAILED ||
                    (r == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED && strstr(text, "Callback") != NULL);
    if (unusable) {
        /* The server has rejected nothing here. */
        sl_credentials_note_trouble(
            auth->credentials, "%s: cannot be read%s", key->path, key->encrypted ? " (is the passphrase right?)" : "");
    } else {
        sl_auth_note_tried(auth, "%s %s",
            key->public_line != NULL && strstr(key->public_line, "-cert-v01@") != NULL ? "certificate for" : "key",
            key->path);
    }
}

enum sl_auth_result sl_auth_key_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    if (conn->away == SL_HOME) {
        /* Called for nothing it would only come back with EAGAIN; but the first call has a request to send. */
        if (auth->key_state == SL_KEY_ASKED && conn->socket == SL_SOCKET_DRY) {
            return SL_AUTH_WAIT;
        }
        auth->key_state = SL_KEY_ASKED;
        sl_io_step_away(conn, key_step);
        return SL_AUTH_WAIT;
    }
    conn->away = SL_HOME;
    enum sl_auth_result result = sl_auth_judge(auth, conn->away_result);
    if (result == SL_AUTH_WAIT) {
        return sl_auth_key_step(auth);
    }
    if (result == SL_AUTH_REJECTED || result == SL_AUTH_REJECTED_AFTER_PROOF) {
        explain(auth, &auth->credentials->item[auth->key_at], conn->away_result);
        /* "No" to the question whether a key would do is no proof, and leaves nothing to ask for. */
        if (conn->away_result == LIBSSH2_ERROR_AUTHENTICATION_FAILED &&
            strstr(sl_io_error_text(conn), "combination invalid") != NULL) {
            result = SL_AUTH_REJECTED;
        }
        auth->key_at++;
        auth->key_state = SL_KEY_NEW;
    }
    return result;
}
