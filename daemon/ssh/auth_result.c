#include "daemon/ssh/auth_result.h"

#include "daemon/ssh/io.h"
#include "daemon/ssh/session.h"
#include "proto/status.h"

#include <errno.h>
#include <libssh2.h>
#include <stdio.h>
#include <string.h>

void sl_auth_note_tried(struct sl_auth *auth, const char *format, ...)
{
    size_t at = strlen(auth->tried), size = sizeof auth->tried;
    if (at > 0 && at + 2 < size) {
        memcpy(auth->tried + at, ", ", 3);
        at += 2;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(auth->tried + at, size - at, format, args);
    va_end(args);
    auth->attempts++;
}

void sl_auth_fail(struct sl_auth *auth)
{
    const struct sl_credentials *c = auth->credentials;
    const char *user = auth->conn->target->user;
    char trouble[720];
    snprintf(trouble, sizeof trouble, "%s%s%s%s", c->trouble[0] != '\0' || auth->trouble[0] != '\0' ? "; " : "",
        c->trouble, c->trouble[0] != '\0' && auth->trouble[0] != '\0' ? "; " : "", auth->trouble);
    if (auth->attempts > 0) {
        sl_conn_die(auth->conn, SL_E_AUTH_FAILED, "the server rejects the credentials of %s (tried %s; it takes %s)%s",
            user, auth->tried, auth->server_takes, trouble);
    } else {
        sl_conn_die(auth->conn, SL_E_CREDENTIALS, "no credentials of %s can be used (the server takes %s)%s", user,
            auth->server_takes, trouble);
    }
}

/* libssh2 gives a transport that failed while it waited for the answer the same number as a rejection. Going on then
 * would be to decrypt with a key stream that is out of step. */
static bool is_no_answer(struct sl_conn *conn)
{
    return strncmp(sl_io_error_text(conn), "Waiting for", 11) == 0;
}

enum sl_auth_result sl_auth_judge(struct sl_auth *auth, int r)
{
    struct sl_conn *conn = auth->conn;
    switch (r) {
    case 0:
        return libssh2_userauth_authenticated(conn->session) ? SL_AUTH_IN : SL_AUTH_REJECTED_AFTER_PROOF;
    case LIBSSH2_ERROR_EAGAIN:
        if (conn->error == 0) {
            return SL_AUTH_WAIT;
        }
        break;
    case LIBSSH2_ERROR_AUTHENTICATION_FAILED:
    case LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED: /* the same number under an older name in places */
        if (conn->error == 0 && conn->disconnect_text == NULL && !is_no_answer(conn)) {
            return SL_AUTH_REJECTED_AFTER_PROOF;
        }
        break;
    case LIBSSH2_ERROR_FILE:
    case LIBSSH2_ERROR_KEYFILE_AUTH_FAILED:
    case LIBSSH2_ERROR_METHOD_NONE:
    case LIBSSH2_ERROR_METHOD_NOT_SUPPORTED:
    case LIBSSH2_ERROR_ALGO_UNSUPPORTED:
    case LIBSSH2_ERROR_INVAL:
    case LIBSSH2_ERROR_PROTO:
        if (conn->error == 0 && conn->disconnect_text == NULL) {
            return SL_AUTH_REJECTED;
        }
        break;
    default:
        break;
    }
    if (conn->disconnect_text != NULL && strstr(conn->disconnect_text, "authentication failures") != NULL) {
        sl_auth_fail(auth);
    } else if (conn->error != 0 || conn->disconnect_text != NULL || r == LIBSSH2_ERROR_SOCKET_DISCONNECT) {
        char said[208] = "";
        if (conn->disconnect_text != NULL) {
            sl_session_printable(said, sizeof said, conn->disconnect_text, strlen(conn->disconnect_text));
        }
        sl_conn_die(conn, SL_E_HANDSHAKE, "%s while logging in%s%s%s",
            conn->error == EBADMSG ? SL_DAMAGED_TEXT : "the server closed the connection",
            said[0] != '\0' ? ": \"" : "", said, said[0] != '\0' ? "\"" : "");
    } else {
        sl_conn_die(conn, SL_E_HANDSHAKE, "logging in failed: %s (%d)", sl_io_error_text(conn), r);
    }
    return SL_AUTH_DIED;
}
