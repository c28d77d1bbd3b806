/* SPDX-License-Identifier: MIT */
/* Password and keyboard-interactive: both answer with the target's one secret, which goes out once. */
#include "daemon/ssh/login/auth_method.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include "base/text.h"
#include <libssh2.h>
#include <stdlib.h>
#include <string.h>

/* Leaves the new password NULL: libssh2 then says that the old one has expired. Without this, it says "rejected". */
static void on_change(LIBSSH2_SESSION *session, char **new_password, int *new_password_len, void **abstract)
{
    (void)session;
    (void)new_password;
    (void)new_password_len;
    (void)abstract;
}

enum sl_auth_result sl_auth_password_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    const char *user = conn->target->user, *password = auth->credentials->password;
    auth->password_given = true;
    auth->conn->basis.password_sent = true;
    int r = libssh2_userauth_password_ex(
        conn->session, user, (unsigned)strlen(user), password, (unsigned)strlen(password), on_change);
    if (r == LIBSSH2_ERROR_PASSWORD_EXPIRED) {
        sl_conn_die(conn, SL_E_AUTH_FAILED, "the password of %s has expired and must be changed", user);
        return SL_AUTH_DIED;
    }
    enum sl_auth_result result = sl_auth_judge(auth, r);
    if (result == SL_AUTH_REJECTED)
        sl_auth_note_tried(auth, "password");
    return result;
}

/* The prompt among them that has no answer; NULL when all have. The first hidden one is for the password. */
static const LIBSSH2_USERAUTH_KBDINT_PROMPT *unanswerable(
    const struct sl_auth *auth, const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompt, int count)
{
    bool kept = !auth->password_given;
    for (int i = 0; i < count; i++) {
        if (prompt[i].echo != 0 || !kept)
            return &prompt[i];
        kept = false;
    }
    return NULL;
}

/* Nothing is answered where not everything can be: an empty one-time code is a failed login, too. libssh2 has no way to
 * say so, but sends nothing when it gets no memory for the answer. */
static void on_prompt(const char *name, int name_len, const char *instruction, int instruction_len, int count,
    const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompt, LIBSSH2_USERAUTH_KBDINT_RESPONSE *response, void **abstract)
{
    (void)name;
    (void)name_len;
    (void)instruction;
    (void)instruction_len;
    struct sl_conn *conn = *abstract;
    struct sl_auth *auth = conn->auth;
    const LIBSSH2_USERAUTH_KBDINT_PROMPT *asks = unanswerable(auth, prompt, count);
    if (asks != NULL) {
        sl_text_clean(auth->prompt, sizeof auth->prompt, asks->text, asks->length);
        conn->tap.max = 0;
        return;
    }
    if (count > 0) {
        size_t len = strlen(auth->credentials->password);
        /* libssh2 frees it with the session's own allocator. */
        response[0].text = sl_packet_tap_alloc(&conn->tap, len + 1);
        if (response[0].text != NULL) {
            memcpy(response[0].text, auth->credentials->password, len + 1);
            response[0].length = (unsigned)len;
        }
        auth->password_given = true;
        auth->conn->basis.password_sent = true;
    }
}

/* In its first question the method can still be left for another one. */
static enum sl_auth_result no_answer(struct sl_auth *auth, int r)
{
    if (auth->password_given) {
        sl_conn_die(auth->conn, SL_E_AUTH_FAILED,
            "the password of %s is not enough: the server asks \"%s\" after it, and there is no answer to that",
            auth->conn->target->user, auth->prompt);
        return SL_AUTH_DIED;
    }
    sl_auth_note_trouble(
        auth, "keyboard-interactive: the server asks \"%s\", and there is no answer to that", auth->prompt);
    auth->prompt[0] = '\0';
    if (r == LIBSSH2_ERROR_EAGAIN) {
        sl_auth_fail(auth);
        return SL_AUTH_DIED;
    }
    return SL_AUTH_UNUSABLE;
}

enum sl_auth_result sl_auth_interactive_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    const char *user = conn->target->user;
    size_t max = conn->tap.max;
    int r = libssh2_userauth_keyboard_interactive_ex(conn->session, user, (unsigned)strlen(user), on_prompt);
    conn->tap.max = max;
    if (auth->prompt[0] != '\0')
        return no_answer(auth, r);
    enum sl_auth_result result = sl_auth_judge(auth, r);
    if (result == SL_AUTH_REJECTED)
        sl_auth_note_tried(auth, "keyboard-interactive");
    return result;
}
