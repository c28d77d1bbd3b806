/* SPDX-License-Identifier: MIT */
/* Judges the server's answer to a try: a method refused, half a login, a loss, a limit, and the sentence for it. */
#include "daemon/ssh/login/auth_result.h"

#include "base/text.h"
#include "daemon/ssh/keys/algorithms.h"
#include "daemon/ssh/session/io.h"
#include "daemon/ssh/session/session.h"
#include "proto/status.h"

#include <errno.h>
#include <libssh2.h>
#include <stdio.h>
#include <string.h>

/* A server that ends the connection after so many rejections does it for them. */
#define TRIES_MIN 2u

/* --- for the error message --- */

__attribute__((format(printf, 4, 0))) static void append(
    char *text, size_t size, const char *between, const char *format, va_list args)
{
    size_t at = strlen(text), gap = strlen(between);
    if (at > 0 && at + gap < size) {
        memcpy(text + at, between, gap + 1);
        at += gap;
    }
    vsnprintf(text + at, size - at, format, args);
}

void sl_auth_note_tried(struct sl_auth *auth, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    append(auth->tried, sizeof auth->tried, ", ", format, args);
    va_end(args);
    auth->attempts++;
}

void sl_auth_note_trouble(struct sl_auth *auth, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    append(auth->trouble, sizeof auth->trouble, "; ", format, args);
    va_end(args);
}

/* What the server said when it ended the login before we did: ": it ends the login: "…"", or "". */
static const char *ending(const struct sl_auth *auth, char *buf, size_t size)
{
    const struct sl_conn *conn = auth->conn;
    size_t left = auth->credentials->count - auth->key_at;
    left += auth->agent != NULL ? auth->agent_key_count - auth->agent_key_at : 0;
    buf[0] = '\0';
    if (conn->error == 0 && conn->disconnect_reason == 0)
        return buf;
    char said[208] = "", keys[64] = "";
    if (conn->disconnect_text != NULL)
        sl_text_clean(said, sizeof said, conn->disconnect_text, strlen(conn->disconnect_text));
    if (left > 0)
        snprintf(keys, sizeof keys, ", with %zu key%s not tried yet", left, left > 1 ? "s" : "");
    snprintf(buf, size, "; it allows no more tries%s%s%s%s", keys, said[0] != '\0' ? ": \"" : "", said,
        said[0] != '\0' ? "\"" : "");
    return buf;
}

void sl_auth_fail(struct sl_auth *auth)
{
    const struct sl_credentials *c = auth->credentials;
    const char *user = auth->conn->target->user;
    char trouble[820], end[320];
    snprintf(trouble, sizeof trouble, "%s%s%s%s", c->trouble[0] != '\0' || auth->trouble[0] != '\0' ? "; " : "",
        c->trouble, c->trouble[0] != '\0' && auth->trouble[0] != '\0' ? "; " : "", auth->trouble);
    ending(auth, end, sizeof end);
    if (auth->attempts == 0) {
        sl_conn_die(auth->conn, SL_E_CREDENTIALS, "no credentials of %s can be used (the server takes %s)%s%s", user,
            auth->server_takes, end, trouble);
    } else if (auth->unsigned_keys > 0) {
        /* The server would take one: it is not to blame, and not to be spared. */
        sl_conn_die(auth->conn, SL_E_CREDENTIALS,
            "no credentials of %s can be used (the server rejects %s; it takes %s)%s%s", user, auth->tried,
            auth->server_takes, end, trouble);
    } else {
        sl_conn_die(auth->conn, SL_E_AUTH_FAILED,
            "the server rejects the credentials of %s (tried %s; it takes %s)%s%s", user, auth->tried,
            auth->server_takes, end, trouble);
    }
}

/* --- what an answer means --- */

void sl_auth_take_methods(struct sl_auth *auth, const char *list)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"publickey", SL_AUTH_PUBLICKEY}, {"password", SL_AUTH_PASSWORD},
        {"keyboard-interactive", SL_AUTH_INTERACTIVE}};
    sl_text_clean(auth->server_takes, sizeof auth->server_takes, list, strlen(list));
    auth->offered = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (sl_name_list_has(list, known[i].name, strlen(known[i].name)))
            auth->offered |= known[i].bit;
}

/* Where libssh2 and servers have one number for several things, their text decides. What is not in the table counts as
 * a connection that broke, which is tried again soon. */
static bool says(const char *text, int number)
{
    static const struct {
        int number;
        const char *text;
    } table[] = {
        /* libssh2 1.11.1: a signature that could not be made; the others of that number are an answer that
         * did not come and a rejection */
        {LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED, "Callback returned error"},
        {LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED, "Invalid public key"},
        /* OpenSSH's and Go's DISCONNECT after MaxAuthTries, which has the number of every protocol error */
        {SSH_DISCONNECT_PROTOCOL_ERROR, "authentication failures"},
    };
    for (size_t i = 0; text != NULL && i < sizeof table / sizeof table[0]; i++)
        if (table[i].number == number && strstr(text, table[i].text) != NULL)
            return true;
    return false;
}

/* The server has ended the connection, for what we tried. */
static bool is_fed_up(const struct sl_auth *auth)
{
    const struct sl_conn *conn = auth->conn;
    if (conn->error == EBADMSG)
        return false;
    return conn->disconnect_reason == SSH_DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE ||
           says(conn->disconnect_text, conn->disconnect_reason) ||
           ((conn->error != 0 || conn->disconnect_reason != 0) && auth->attempts >= TRIES_MIN);
}

/* libssh2 could not even ask: no file, no signature, no algorithm. */
static bool is_ours(struct sl_conn *conn, int r)
{
    switch (r) {
    case LIBSSH2_ERROR_FILE:
    case LIBSSH2_ERROR_KEYFILE_AUTH_FAILED:
    case LIBSSH2_ERROR_METHOD_NONE:
    case LIBSSH2_ERROR_METHOD_NOT_SUPPORTED:
    case LIBSSH2_ERROR_ALGO_UNSUPPORTED:
    case LIBSSH2_ERROR_INVAL:
        return true;
    default:
        return says(sl_io_error_text(conn), r);
    }
}

enum sl_auth_result sl_auth_judge(struct sl_auth *auth, int r)
{
    struct sl_conn *conn = auth->conn;
    const struct sl_auth_said *said = &conn->tap.said;
    bool ended = conn->error != 0 || conn->disconnect_reason != 0 || r == LIBSSH2_ERROR_SOCKET_DISCONNECT;
    if (r == 0 && libssh2_userauth_authenticated(conn->session))
        return SL_AUTH_IN;
    if (r == LIBSSH2_ERROR_EAGAIN && !ended)
        return SL_AUTH_WAIT;
    bool no = r == LIBSSH2_ERROR_AUTHENTICATION_FAILED || r == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED;
    /* Only what the server has really said counts: libssh2's number for a rejection stands for a transport that failed
     * meanwhile, too, and going on then would be to decrypt with a key stream that is out of step. */
    if (no && said->failures != auth->failures) {
        auth->failures = said->failures;
        sl_auth_take_methods(auth, said->methods);
        return SL_AUTH_REJECTED;
    }
    if (is_fed_up(auth))
        return SL_AUTH_REJECTED;
    if (ended) {
        char text[208] = "";
        if (conn->disconnect_text != NULL)
            sl_text_clean(text, sizeof text, conn->disconnect_text, strlen(conn->disconnect_text));
        sl_conn_die(conn, SL_E_HANDSHAKE, "%s while logging in%s%s%s",
            conn->error == EBADMSG ? SL_DAMAGED_TEXT : "the server closed the connection",
            text[0] != '\0' ? ": \"" : "", text, text[0] != '\0' ? "\"" : "");
        return SL_AUTH_DIED;
    }
    if (is_ours(conn, r))
        return SL_AUTH_UNUSABLE;
    sl_conn_die(conn, SL_E_HANDSHAKE, "logging in failed: %s (%d)", sl_io_error_text(conn), r);
    return SL_AUTH_DIED;
}
