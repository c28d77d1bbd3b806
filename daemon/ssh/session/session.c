/* SPDX-License-Identifier: MIT */
/* Sets a libssh2 session up, steps its handshake, and turns its errors into a status and a sentence. */
#include "daemon/ssh/session/session.h"

#include "base/text.h"
#include "daemon/ssh/keys/algorithms.h"
#include "daemon/ssh/keys/hostkey.h"
#include "daemon/ssh/keys/kexinit.h"
#include "daemon/ssh/session/compat.h"
#include "daemon/ssh/session/io.h"
#include "daemon/ssh/session/supported.h"
#include "proto/status.h"

#include <errno.h>
#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_kexinit(void *arg, const uint8_t *payload, size_t len)
{
    struct sl_conn *conn = arg;
    struct sl_kexinit kexinit;
    if (conn->server_kexinit == NULL && sl_kexinit_parse(payload, len, &kexinit) == 0) {
        conn->server_kexinit = malloc(sizeof kexinit);
        if (conn->server_kexinit == NULL)
            sl_kexinit_fini(&kexinit);
        else
            *conn->server_kexinit = kexinit;
    }
}

void sl_session_forget_offer(struct sl_conn *conn)
{
    conn->tap.on_kexinit = NULL;
    if (conn->server_kexinit != NULL) {
        sl_kexinit_fini(conn->server_kexinit);
        free(conn->server_kexinit);
        conn->server_kexinit = NULL;
    }
}

static int prefer(struct sl_conn *conn, int method, const char *list)
{
    int r = list == NULL ? LIBSSH2_ERROR_ALLOC : libssh2_session_method_pref(conn->session, method, list);
    return r == 0 ? 0 : r == LIBSSH2_ERROR_ALLOC ? SL_E_NOMEM : SL_E_INTERNAL;
}

/* Whether ciphers that need no MAC may come before the others: not where the order is the user's own. */
static bool may_reorder_ciphers(const struct sl_conn *conn)
{
    return !conn->target->algorithms[SL_ALGORITHM_CIPHER].in_order;
}

/* What this connection offers; from malloc(), NULL: no memory. */
static char *offer_of(const struct sl_conn *conn, enum sl_algorithm_kind kind, const struct sl_known_keys *known)
{
    char *list = sl_algorithms_offer(conn->target, kind, known);
    if (kind == SL_ALGORITHM_CIPHER && list != NULL && may_reorder_ciphers(conn) &&
        sl_compat_without_mac(conn->compat) && !sl_algorithms_put_first_without_mac(list)) {
        free(list);
        return NULL;
    }
    return list;
}

int sl_session_prepare(struct sl_conn *conn, const struct sl_known_keys *known)
{
    static const struct {
        int method;
        enum sl_algorithm_kind kind;
    } offers[] = {
        {LIBSSH2_METHOD_KEX, SL_ALGORITHM_KEX},
        {LIBSSH2_METHOD_HOSTKEY, SL_ALGORITHM_HOST_KEY},
        {LIBSSH2_METHOD_CRYPT_CS, SL_ALGORITHM_CIPHER},
        {LIBSSH2_METHOD_CRYPT_SC, SL_ALGORITHM_CIPHER},
        {LIBSSH2_METHOD_MAC_CS, SL_ALGORITHM_MAC},
        {LIBSSH2_METHOD_MAC_SC, SL_ALGORITHM_MAC},
    };
    int r = 0;
    for (size_t i = 0; i < sizeof offers / sizeof offers[0] && r == 0; i++) {
        char *list = offer_of(conn, offers[i].kind, known);
        r = prefer(conn, offers[i].method, list);
        free(list);
    }
    /* libssh2 has a choice with RSA keys only. */
    char *rsa = sl_algorithms_rsa_signatures(conn->target);
    if (r == 0 && (rsa == NULL || rsa[0] != '\0'))
        r = prefer(conn, LIBSSH2_METHOD_SIGN_ALGO, rsa);
    free(rsa);
    conn->tap.on_kexinit = on_kexinit;
    return r;
}

int sl_session_handshake_step(struct sl_conn *conn)
{
    return libssh2_session_handshake(conn->session, conn->fd);
}

/* What a socket's end is called; the reason the server gave goes behind it. */
static void describe_end(const struct sl_conn *conn, char *out, size_t size)
{
    char said[208] = "";
    const char *what;
    switch (conn->error) {
    case ENODATA:
        what = "the server closed the connection";
        break;
    case ECONNRESET:
    case EPIPE:
        what = "the server reset the connection";
        break;
    case ETIMEDOUT:
        what = "the server does not answer any more";
        break;
    case ENOBUFS:
        what = "the server takes nothing and asks for ever more";
        break;
    case EBADMSG:
        what = SL_DAMAGED_TEXT;
        break;
    case 0:
        what = "the server closed the connection";
        break;
    default:
        what = strerror(conn->error);
        break;
    }
    if (conn->disconnect_text != NULL) {
        sl_text_clean(said, sizeof said, conn->disconnect_text, strlen(conn->disconnect_text));
        snprintf(out, size, "%s: \"%s\"", what, said);
    } else {
        snprintf(out, size, "%s", what);
    }
}

/* OpenSSH says these in the place of its identification to those whom it turns away, but not for ever. */
static bool is_come_back_later(const char *line)
{
    return strncmp(line, "Exceeded MaxStartups", 20) == 0 || strncmp(line, "Not allowed at this time", 24) == 0;
}

/* Whether that is why: the two ends had nothing in common. They will not have it the next time either, unless a cipher
 * that comes with its own MAC is all it takes. */
static bool died_of_mismatch(struct sl_conn *conn)
{
    char *ours[SL_ALGORITHM_KINDS] = {NULL};
    struct sl_kexinit_gap gap = {.what = SL_GAP_NONE};
    struct sl_strv has = {0};
    bool all = conn->server_kexinit != NULL;
    for (enum sl_algorithm_kind kind = 0; kind < SL_ALGORITHM_KINDS && all; kind++) {
        ours[kind] = offer_of(conn, kind, sl_hostkey_keys(conn->hostkey));
        all = ours[kind] != NULL;
    }
    if (all)
        gap = sl_kexinit_compare(conn->server_kexinit, ours);
    if (gap.what == SL_GAP_ALGORITHM && gap.cipher != NULL && may_reorder_ciphers(conn) &&
        sl_compat_saw_no_mac(conn->compat)) {
        /* The next dial comes soon. */
        sl_conn_learned(conn);
        sl_conn_die(conn, SL_E_HANDSHAKE,
            "the server offers no MAC that this target allows: ciphers that need none are preferred from now on");
    } else if (gap.what != SL_GAP_NONE && sl_supported_names(conn->session, gap.kind, &has) == 0) {
        char text[640];
        sl_conn_die(conn, SL_E_NO_ALGORITHM, "%s", sl_kexinit_explain(&gap, &has, text, sizeof text));
        sl_strv_fini(&has);
    }
    for (size_t i = 0; i < SL_ALGORITHM_KINDS; i++)
        free(ours[i]);
    return conn->phase == SL_CONN_PHASE_DEAD;
}

static void handshake_failed(struct sl_conn *conn, int result)
{
    if (died_of_mismatch(conn))
        return;
    const struct sl_pre_banner *pre_banner = conn->pre_banner;
    char line[128] = "", end[320];
    if (pre_banner != NULL && strncmp(pre_banner->line, "SSH-", 4) != 0)
        sl_text_clean(line, sizeof line, pre_banner->line, pre_banner->line_len);
    describe_end(conn, end, sizeof end);
    if (conn->server == NULL && is_come_back_later(line))
        sl_conn_die(conn, SL_E_CONNECT, "the server takes no connections right now: \"%s\"", line);
    else if (result == LIBSSH2_ERROR_BANNER_RECV)
        sl_conn_die(conn, SL_E_HANDSHAKE, "does not speak SSH: got binary data");
    else if (conn->server == NULL && line[0] != '\0')
        sl_conn_die(conn, SL_E_HANDSHAKE, "does not speak SSH: got \"%s\"", line);
    else if (conn->server == NULL && conn->error != 0)
        sl_conn_die(conn, SL_E_HANDSHAKE, "%s before its banner", end);
    else if (conn->error != 0 || conn->disconnect_text != NULL)
        sl_conn_die(conn, SL_E_HANDSHAKE, "%s during the handshake", end);
    else
        sl_conn_die(conn, SL_E_HANDSHAKE, "the SSH handshake failed: %s", sl_io_error_text(conn));
}

int sl_session_handshake_result(struct sl_conn *conn, int result)
{
    const char *banner = libssh2_session_banner_get(conn->session);
    if (conn->server == NULL && banner != NULL && strncmp(banner, "SSH-", 4) == 0) {
        char clean[SL_BANNER_MAX + 1];
        conn->server = strdup(sl_text_clean(clean, sizeof clean, banner, strlen(banner)));
    }
    if (result == LIBSSH2_ERROR_EAGAIN && conn->error == 0)
        return SL_E_AGAIN;
    if (result != 0) {
        handshake_failed(conn, result);
        return SL_E_HANDSHAKE;
    }
    sl_session_forget_offer(conn);
    free(conn->pre_banner);
    conn->pre_banner = NULL;
    sl_log(conn->transport->log, SL_LOG_DEBUG, "ssh", "conn=%p server=%s kex=%s cipher=%s mac=%s", (void *)conn,
        conn->server != NULL ? conn->server : "?", libssh2_session_methods(conn->session, LIBSSH2_METHOD_KEX),
        libssh2_session_methods(conn->session, LIBSSH2_METHOD_CRYPT_CS),
        libssh2_session_methods(conn->session, LIBSSH2_METHOD_MAC_CS));
    return 0;
}

const uint8_t *sl_session_host_key(struct sl_conn *conn, size_t *ret_len)
{
    int type;
    return (const uint8_t *)libssh2_session_hostkey(conn->session, ret_len, &type);
}

bool sl_session_survives(int result)
{
    switch (result) {
    case LIBSSH2_ERROR_NONE:
    case LIBSSH2_ERROR_EAGAIN:
    case LIBSSH2_ERROR_CHANNEL_FAILURE:
    case LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED:
    case LIBSSH2_ERROR_CHANNEL_CLOSED:
    case LIBSSH2_ERROR_CHANNEL_EOF_SENT:
    case LIBSSH2_ERROR_INVAL:
        return true;
    default:
        return result > 0;
    }
}

void sl_session_lost(struct sl_conn *conn)
{
    char end[320];
    describe_end(conn, end, sizeof end);
    if (sl_conn_is_dialing(conn)) {
        sl_conn_die(conn, SL_E_HANDSHAKE, "%s %s", end,
            conn->phase == SL_CONN_PHASE_AUTH ? "while logging in" : "during the handshake");
        return;
    }
    sl_conn_die(conn, conn->error == ETIMEDOUT ? SL_E_PEER_DEAD : SL_E_CONNECTION_LOST, "%s", end);
}

void sl_session_failed(struct sl_conn *conn, int result)
{
    if (conn->error != 0 || conn->disconnect_text != NULL || result == LIBSSH2_ERROR_SOCKET_DISCONNECT)
        sl_session_lost(conn);
    else if (result == LIBSSH2_ERROR_TIMEOUT)
        sl_conn_die(conn, SL_E_PEER_DEAD, "the server did not answer a request for a minute");
    else if (result == LIBSSH2_ERROR_ALLOC)
        sl_conn_die(conn, SL_E_NOMEM, "out of memory for the session");
    else
        sl_conn_die(conn, SL_E_CONNECTION_LOST, "the SSH session broke: %s (%d)", sl_io_error_text(conn), result);
}

void sl_session_say_goodbye(struct sl_conn *conn)
{
    (void)libssh2_session_disconnect(conn->session, "bye");
}
