/* SPDX-License-Identifier: MIT */
/* Takes a KEXINIT apart, compares its lists with ours, and says what may help where they have nothing in common. */
#include "daemon/ssh/keys/kexinit.h"

#include "daemon/ssh/keys/algorithms.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 4253 section 12. */
#define MSG_KEXINIT 20u
/* byte 20, byte[16] cookie, then the lists, each uint32 length and names */
#define LISTS_AT 17u
/* Of what the server offers so much is shown. */
#define SHOWN_MAX 256u

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_printable(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    return true;
}

int sl_kexinit_parse(const uint8_t *payload, size_t len, struct sl_kexinit *ret_kexinit)
{
    struct sl_kexinit kexinit = {{NULL}};
    size_t at = LISTS_AT;
    int r = len > LISTS_AT && payload[0] == MSG_KEXINIT ? 0 : SL_E_INVALID;
    for (size_t i = 0; i < SL_KEXINIT_LISTS && r == 0; i++) {
        if (len - at < 4 || get_u32(payload + at) > len - at - 4 ||
            !is_printable(payload + at + 4, get_u32(payload + at))) {
            r = SL_E_INVALID;
            break;
        }
        size_t list_len = get_u32(payload + at);
        kexinit.list[i] = strndup((const char *)payload + at + 4, list_len);
        r = kexinit.list[i] != NULL ? 0 : SL_E_NOMEM;
        at += 4 + list_len;
    }
    /* Only clients say this (and ours does). */
    if (r == 0 && sl_name_list_has(kexinit.list[SL_KEXINIT_KEX], "ext-info-c", 10))
        r = SL_E_INVALID;
    if (r != 0) {
        sl_kexinit_fini(&kexinit);
        return r;
    }
    *ret_kexinit = kexinit;
    return 0;
}

void sl_kexinit_fini(struct sl_kexinit *kexinit)
{
    for (size_t i = 0; i < SL_KEXINIT_LISTS; i++)
        free(kexinit->list[i]);
    *kexinit = (struct sl_kexinit){{NULL}};
}

/* The first of ours that is theirs, too, as RFC 4253 has it; NULL: none. */
static const char *agree(const char *ours, const char *theirs, size_t *ret_len)
{
    const char *name;
    while (sl_name_list_next(&ours, &name, ret_len))
        if (sl_name_list_has(theirs, name, *ret_len))
            return name;
    return NULL;
}

/* A cipher of both that would do without a MAC, if it were the first of ours. */
static const char *without_mac(const char *ours, const char *theirs, size_t *ret_len)
{
    const char *name;
    while (sl_name_list_next(&ours, &name, ret_len))
        if (sl_algorithms_needs_no_mac(name, *ret_len) && sl_name_list_has(theirs, name, *ret_len))
            return name;
    return NULL;
}

struct sl_kexinit_gap sl_kexinit_compare(const struct sl_kexinit *server, char *const ours[SL_ALGORITHM_KINDS])
{
    static const struct {
        enum sl_algorithm_kind kind;
        int list;
        int cipher; /* of a MAC: the list of the ciphers of its direction */
    } order[] = {
        {SL_ALGORITHM_KEX, SL_KEXINIT_KEX, -1},
        {SL_ALGORITHM_HOST_KEY, SL_KEXINIT_HOST_KEY, -1},
        {SL_ALGORITHM_CIPHER, SL_KEXINIT_CIPHER_CS, -1},
        {SL_ALGORITHM_CIPHER, SL_KEXINIT_CIPHER_SC, -1},
        {SL_ALGORITHM_MAC, SL_KEXINIT_MAC_CS, SL_KEXINIT_CIPHER_CS},
        {SL_ALGORITHM_MAC, SL_KEXINIT_MAC_SC, SL_KEXINIT_CIPHER_SC},
    };
    const char *our_ciphers = ours[SL_ALGORITHM_CIPHER];
    struct sl_kexinit_gap gap = {.what = SL_GAP_NONE};
    size_t len;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        const char *ciphers = order[i].cipher >= 0 ? server->list[order[i].cipher] : NULL;
        const char *cipher = ciphers != NULL ? agree(our_ciphers, ciphers, &len) : NULL;
        if (cipher != NULL && sl_algorithms_needs_no_mac(cipher, len))
            continue;
        gap.offered = server->list[order[i].list];
        if (agree(ours[order[i].kind], gap.offered, &len) == NULL) {
            gap.what = SL_GAP_ALGORITHM;
            gap.kind = order[i].kind;
            gap.cipher = ciphers != NULL ? without_mac(our_ciphers, ciphers, &gap.cipher_len) : NULL;
            return gap;
        }
    }
    for (int i = SL_KEXINIT_COMPRESSION_CS; i <= SL_KEXINIT_COMPRESSION_SC; i++) {
        gap.offered = server->list[i];
        if (!sl_name_list_has(gap.offered, "none", 4)) {
            gap.what = SL_GAP_COMPRESSION;
            return gap;
        }
    }
    return gap;
}

/* "a, b", without what is no algorithm; cut where it is long. */
static void show(const char *list, char *buf, size_t size)
{
    const char *name;
    size_t len, at = 0;
    buf[0] = '\0';
    while (sl_name_list_next(&list, &name, &len)) {
        if (sl_name_list_has("ext-info-s,kex-strict-s-v00@openssh.com", name, len))
            continue;
        if (at + len + sizeof ", ..." + 1 >= size) {
            snprintf(buf + at, size - at, "%s...", at > 0 ? ", " : "");
            return;
        }
        at += (size_t)snprintf(buf + at, size - at, "%s%.*s", at > 0 ? ", " : "", (int)len, name);
    }
    if (at == 0)
        snprintf(buf, size, "none");
}

static bool only_certificates(const char *list)
{
    const char *name;
    size_t len;
    bool any = false;
    while (sl_name_list_next(&list, &name, &len)) {
        if (memmem(name, len, "-cert-v01@", 10) == NULL)
            return false;
        any = true;
    }
    return any;
}

/* What would allow one, as the setting of it; false: nothing would. */
static bool remedy(const struct sl_kexinit_gap *gap, const struct sl_strv *has, char *buf, size_t size)
{
    if (gap->cipher != NULL) {
        snprintf(buf, size, "\"%s: ^%.*s\", which needs none, would do, see", sl_algorithm_setting(SL_ALGORITHM_CIPHER),
            (int)gap->cipher_len, gap->cipher);
        return true;
    }
    for (int risky = 0; risky <= 1; risky++) {
        /* The library's order is from better to worse. */
        for (size_t i = 0; i < has->count; i++) {
            size_t len = strlen(has->item[i]);
            if (sl_algorithms_risky(has->item[i], len) == (risky == 1) &&
                sl_name_list_has(gap->offered, has->item[i], len)) {
                snprintf(buf, size, "\"%s: +%s\" would allow one, %s", sl_algorithm_setting(gap->kind), has->item[i],
                    risky == 1 ? "at a risk: see" : "see");
                return true;
            }
        }
    }
    return false;
}

const char *sl_kexinit_explain(const struct sl_kexinit_gap *gap, const struct sl_strv *has, char *buf, size_t size)
{
    static const char *const noun[SL_ALGORITHM_KINDS] = {
        [SL_ALGORITHM_KEX] = "key exchange method",
        [SL_ALGORITHM_HOST_KEY] = "host key algorithm",
        [SL_ALGORITHM_CIPHER] = "cipher",
        [SL_ALGORITHM_MAC] = "MAC",
        [SL_ALGORITHM_PUBKEY] = "signature",
    };
    char offered[SHOWN_MAX], setting[160];
    show(gap->offered, offered, sizeof offered);
    if (gap->what == SL_GAP_COMPRESSION) {
        snprintf(buf, size, "the server insists on compression (it offers %s), which is not done here", offered);
    } else if (gap->kind == SL_ALGORITHM_HOST_KEY && only_certificates(gap->offered)) {
        snprintf(buf, size,
            "the server offers host certificates only (%s), and host certificates are not supported by the SSH "
            "library: "
            "let the server offer its plain host key, too (HostKeyAlgorithms in sshd_config(5))",
            offered);
    } else if (remedy(gap, has, setting, sizeof setting)) {
        snprintf(buf, size, "the server offers no %s that this target allows: it offers %s; %s sshleased.yaml(5)",
            noun[gap->kind], offered, setting);
    } else {
        snprintf(buf, size,
            "the server offers no %s that the SSH library of this build has (it offers %s): no setting can help, the "
            "server must offer another",
            noun[gap->kind], offered);
    }
    return buf;
}
