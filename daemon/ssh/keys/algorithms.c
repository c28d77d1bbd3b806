/* SPDX-License-Identifier: MIT */
/* The default lists, what a target makes of them, and their order for what one server offers. */
#include "daemon/ssh/keys/algorithms.h"

#include <stdlib.h>
#include <string.h>

/* libssh2 1.11.1, Debian's patches included, takes the padding length of an encrypt-then-MAC packet without a look at
 * the packet's length, and lets the length of a chacha20-poly1305 packet wrap: memory errors before anybody has logged
 * in. The server chooses among what is offered, so a place at the end is no protection. The build of a library that
 * checks both says so by defining this. */
#ifndef SL_LIBSSH2_CHECKS_LENGTHS
#define SL_LIBSSH2_CHECKS_LENGTHS 0
#endif

#if SL_LIBSSH2_CHECKS_LENGTHS
#define SAFE_CIPHERS ",chacha20-poly1305@openssh.com"
#define SAFE_MACS    "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,"
#define SAFE_SHA1    "hmac-sha1-etm@openssh.com,"
#else
#define SAFE_CIPHERS ""
#define SAFE_MACS    ""
#define SAFE_SHA1    ""
#endif

const char *sl_algorithms_default(enum sl_algorithm_kind kind)
{
    static const char *const list[SL_ALGORITHM_KINDS] = {
        [SL_ALGORITHM_KEX] =
            "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,"
            "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha256,"
            "diffie-hellman-group14-sha256",
        [SL_ALGORITHM_HOST_KEY] = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
                                  "rsa-sha2-512,rsa-sha2-256",
        /* aes128-ctr leads: it is the fastest here. */
        [SL_ALGORITHM_CIPHER] =
            "aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com" SAFE_CIPHERS,
        [SL_ALGORITHM_MAC] = SAFE_MACS "hmac-sha2-256,hmac-sha2-512," SAFE_SHA1 "hmac-sha1",
        [SL_ALGORITHM_PUBKEY] =
            "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,"
            "ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,"
            "sk-ssh-ed25519-cert-v01@openssh.com,sk-ecdsa-sha2-nistp256-cert-v01@openssh.com,"
            "rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,"
            "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
            "sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256",
    };
    return list[kind];
}

bool sl_name_list_next(const char **list, const char **ret_name, size_t *ret_len)
{
    while (**list == ',')
        (*list)++;
    *ret_name = *list;
    *ret_len = strcspn(*list, ",");
    *list += *ret_len;
    return *ret_len > 0;
}

bool sl_name_list_has(const char *list, const char *name, size_t name_len)
{
    const char *item;
    size_t len;
    while (sl_name_list_next(&list, &item, &len))
        if (len == name_len && memcmp(item, name, len) == 0)
            return true;
    return false;
}

bool sl_algorithms_usable(enum sl_algorithm_kind kind, const char *name)
{
    /* Of the ciphers what only a provider of OpenSSL 3 has that nobody loads; of the others what is no algorithm. */
    static const char not_working[] =
        "none,arcfour,arcfour128,blowfish-cbc,cast128-cbc,ext-info-c,kex-strict-c-v00@openssh.com";
    /* libssh2 knows the names of host certificates, and can neither read nor check one. */
    return !sl_name_list_has(not_working, name, strlen(name)) &&
           !(kind == SL_ALGORITHM_HOST_KEY && strstr(name, "-cert-v01@") != NULL);
}

bool sl_algorithms_risky(const char *name, size_t name_len)
{
    static const char etm[] = "-etm@openssh.com";
    size_t etm_len = sizeof etm - 1;
    return !SL_LIBSSH2_CHECKS_LENGTHS &&
           ((name_len > etm_len && memcmp(name + name_len - etm_len, etm, etm_len) == 0) ||
               sl_name_list_has("chacha20-poly1305@openssh.com", name, name_len));
}

static bool is_rsa(const char *name, size_t len)
{
    return sl_name_list_has("rsa-sha2-512,rsa-sha2-256,ssh-rsa", name, len);
}

/* Whether the host is known by a key that this host-key algorithm is about. */
static bool is_known(const struct sl_known_keys *known, const char *name, size_t len)
{
    for (size_t i = 0; i < known->count; i++) {
        const char *type = known->item[i].type;
        if (!known->item[i].revoked &&
            (is_rsa(name, len) ? strcmp(type, "ssh-rsa") == 0 : strlen(type) == len && memcmp(type, name, len) == 0))
            return true;
    }
    return false;
}

static void append(char *list, const char *name, size_t len)
{
    char *at = list + strlen(list);
    if (at != list)
        *at++ = ',';
    memcpy(at, name, len);
    at[len] = '\0';
}

char *sl_algorithms_offer(
    const struct sl_target_conf *target, enum sl_algorithm_kind kind, const struct sl_known_keys *known)
{
    const struct sl_algorithm_choice *choice = &target->algorithms[kind];
    const char *from = choice->names != NULL ? choice->names : sl_algorithms_default(kind);
    if (kind != SL_ALGORITHM_HOST_KEY || choice->in_order)
        return strdup(from);
    char *list = calloc(1, strlen(from) + 1);
    for (int want = 1; want >= 0 && list != NULL; want--) {
        const char *at = from, *name;
        size_t len;
        while (sl_name_list_next(&at, &name, &len))
            if (is_known(known, name, len) == (want == 1))
                append(list, name, len);
    }
    return list;
}

bool sl_algorithms_needs_no_mac(const char *cipher, size_t len)
{
    return sl_name_list_has("aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com", cipher, len);
}

bool sl_algorithms_put_first_without_mac(char *ciphers)
{
    char *from = strdup(ciphers);
    if (from == NULL)
        return false;
    ciphers[0] = '\0';
    for (int want = 1; want >= 0; want--) {
        const char *at = from, *name;
        size_t len;
        while (sl_name_list_next(&at, &name, &len))
            if (sl_algorithms_needs_no_mac(name, len) == (want == 1))
                append(ciphers, name, len);
    }
    free(from);
    return true;
}

/* The name that a certificate's algorithm has without the certificate. */
static size_t bare_len(const char *name, size_t len)
{
    static const char suffix[] = "-cert-v01@openssh.com";
    size_t suffix_len = sizeof suffix - 1;
    return len > suffix_len && memcmp(name + len - suffix_len, suffix, suffix_len) == 0 ? len - suffix_len : len;
}

char *sl_algorithms_rsa_signatures(const struct sl_target_conf *target)
{
    const char *at = target->algorithms[SL_ALGORITHM_PUBKEY].names, *name;
    at = at != NULL ? at : "";
    char *list = calloc(1, strlen(at) + 1);
    size_t len;
    while (list != NULL && sl_name_list_next(&at, &name, &len)) {
        len = bare_len(name, len);
        if (is_rsa(name, len) && !sl_name_list_has(list, name, len))
            append(list, name, len);
    }
    return list;
}

bool sl_algorithms_accept_key(const struct sl_target_conf *target, const char *type, size_t type_len)
{
    const char *at = target->algorithms[SL_ALGORITHM_PUBKEY].names, *name;
    size_t len, bare = bare_len(type, type_len);
    bool rsa = bare == 7 && memcmp(type, "ssh-rsa", bare) == 0;
    if (at == NULL)
        return true;
    while (sl_name_list_next(&at, &name, &len)) {
        size_t name_bare = bare_len(name, len);
        bool same = rsa ? is_rsa(name, name_bare) && (name_bare == len) == (bare == type_len)
                        : len == type_len && memcmp(name, type, len) == 0;
        if (same)
            return true;
    }
    return false;
}
