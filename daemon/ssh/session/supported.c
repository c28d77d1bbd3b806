/* SPDX-License-Identifier: MIT */
/* Asks libssh2 for its algorithms of each kind, and takes those of the defaults that it has. */
#include "daemon/ssh/session/supported.h"

#include "daemon/ssh/keys/algorithms.h"
#include "daemon/ssh/session/io.h"
#include "daemon/ssh/transport.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdlib.h>
#include <string.h>

/* Adds a comma-separated list. */
static int add_list(struct sl_strv *names, const char *list)
{
    const char *name;
    size_t len;
    while (sl_name_list_next(&list, &name, &len)) {
        char *copy = strndup(name, len);
        if (copy == NULL || sl_strv_take(names, copy) != 0)
            return SL_E_NOMEM;
    }
    return 0;
}

/* libssh2 cannot be asked for these: they are what it signs with, and what an agent may. */
static int pubkey_names(struct sl_strv *names)
{
    int r = add_list(names, sl_algorithms_default(SL_ALGORITHM_PUBKEY));
    return r == 0 ? add_list(names, "ssh-rsa,ssh-rsa-cert-v01@openssh.com,ssh-dss") : r;
}

static int library_names(LIBSSH2_SESSION *session, enum sl_algorithm_kind kind, struct sl_strv *names)
{
    static const int method[SL_ALGORITHM_KINDS] = {
        [SL_ALGORITHM_KEX] = LIBSSH2_METHOD_KEX,
        [SL_ALGORITHM_HOST_KEY] = LIBSSH2_METHOD_HOSTKEY,
        [SL_ALGORITHM_CIPHER] = LIBSSH2_METHOD_CRYPT_CS,
        [SL_ALGORITHM_MAC] = LIBSSH2_METHOD_MAC_CS,
    };
    const char **list = NULL;
    int count = libssh2_session_supported_algs(session, method[kind], &list);
    int r = count == LIBSSH2_ERROR_ALLOC ? SL_E_NOMEM : count < 0 ? SL_E_INTERNAL : 0;
    for (int i = 0; i < count && r == 0; i++)
        r = sl_algorithms_usable(kind, list[i]) ? sl_strv_add(names, list[i]) : 0;
    libssh2_free(session, list);
    return r;
}

int sl_supported_names(LIBSSH2_SESSION *session, enum sl_algorithm_kind kind, struct sl_strv *ret_names)
{
    struct sl_strv names = {0};
    int r = kind == SL_ALGORITHM_PUBKEY ? pubkey_names(&names) : library_names(session, kind, &names);
    if (r != 0) {
        sl_strv_fini(&names);
        return r;
    }
    *ret_names = names;
    return 0;
}

/* What the library does not have is not offered by default either. */
static int default_names(enum sl_algorithm_kind kind, const struct sl_strv *has, struct sl_strv *names)
{
    const char *list = sl_algorithms_default(kind), *name;
    size_t len;
    int r = 0;
    while (r == 0 && sl_name_list_next(&list, &name, &len)) {
        for (size_t i = 0; i < has->count; i++) {
            if (strlen(has->item[i]) == len && memcmp(has->item[i], name, len) == 0) {
                r = sl_strv_add(names, has->item[i]);
                break;
            }
        }
    }
    return r;
}

int sl_transport_algorithms(struct sl_algorithms *ret_algorithms)
{
    struct sl_algorithms algorithms = {.has = {{0}}};
    int r = sl_io_library_init();
    if (r != 0)
        return r;
    LIBSSH2_SESSION *session = libssh2_session_init();
    r = session != NULL ? 0 : SL_E_NOMEM;
    for (enum sl_algorithm_kind kind = 0; kind < SL_ALGORITHM_KINDS && r == 0; kind++) {
        r = sl_supported_names(session, kind, &algorithms.has[kind]);
        if (r == 0)
            r = default_names(kind, &algorithms.has[kind], &algorithms.by_default[kind]);
    }
    if (session != NULL)
        libssh2_session_free(session);
    sl_io_library_exit();
    if (r != 0) {
        sl_algorithms_fini(&algorithms);
        return r;
    }
    *ret_algorithms = algorithms;
    return 0;
}
