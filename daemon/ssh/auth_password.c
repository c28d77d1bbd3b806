/* Password and keyboard-interactive: both answer with the target's one secret. */
#include "daemon/ssh/auth_method.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdlib.h>
#include <string.h>

enum sl_auth_result sl_auth_password_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    const char *user = conn->target->user, *password = auth->credentials->password;
    int r = libssh2_userauth_password_ex(
        conn->session, user, (unsigned)strlen(user), password, (unsigned)strlen(password), NULL);
    if (r == LIBSSH2_ERROR_PASSWORD_EXPIRED) {
        sl_conn_die(conn, SL_E_CREDENTIALS, "the password of %s has expired and must be changed", user);
        return SL_AUTH_DIED;
    }
    return sl_auth_judge(auth, r);
}

/* Answers hidden prompts with the password, once: a server that asks again did not like it, and gets nothing. */
static void on_prompt(const char *name, int name_len, const char *instruction, int instruction_len, int count,
    const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompt, LIBSSH2_USERAUTH_KBDINT_RESPONSE *response, void **abstract)
{
    (void)name;
    (void)name_len;
    (void)instruction;
    (void)instruction_len;
    struct sl_conn *conn = *abstract;
    struct sl_auth *auth = conn->auth;
    for (int i = 0; i < count; i++) {
        const char *answer = auth->prompts == 0 && prompt[i].echo == 0 ? auth->credentials->password : "";
        size_t len = strlen(answer);
        /* libssh2 frees it with the session's own allocator. */
        response[i].text = sl_witness_alloc(&conn->witness, len + 1);
        response[i].length = 0;
        if (response[i].text != NULL) {
            memcpy(response[i].text, answer, len + 1);
            response[i].length = (unsigned)len;
        }
    }
    auth->prompts += count > 0;
}

enum sl_auth_result sl_auth_interactive_step(struct sl_auth *auth)
{
    struct sl_conn *conn = auth->conn;
    const char *user = conn->target->user;
    int r = libssh2_userauth_keyboard_interactive_ex(conn->session, user, (unsigned)strlen(user), on_prompt);
    return sl_auth_judge(auth, r);
}
