/* SPDX-License-Identifier: MIT */
/* The list of an agent's keys and a signature by one: requests written, answers taken apart. */
#include "daemon/ssh/keys/agent_codec.h"

#include "proto/status.h"

#include <string.h>

#define AGENT_FAILURE            5u
#define AGENT_REQUEST_IDENTITIES 11u
#define AGENT_IDENTITIES_ANSWER  12u
#define AGENT_SIGN_REQUEST       13u
#define AGENT_SIGN_RESPONSE      14u

void sl_agent_put_list(struct sl_writer *w)
{
    sl_put_u32(w, 1);
    sl_put_u8(w, AGENT_REQUEST_IDENTITIES);
}

void sl_agent_put_sign(struct sl_writer *w, struct sl_bytes blob, struct sl_bytes data, uint32_t flags)
{
    sl_put_u32(w, (uint32_t)(1 + 4 + blob.len + 4 + data.len + 4));
    sl_put_u8(w, AGENT_SIGN_REQUEST);
    sl_put_string(w, blob.data, blob.len);
    sl_put_string(w, data.data, data.len);
    sl_put_u32(w, flags);
}

int sl_agent_get_list(struct sl_bytes answer, struct sl_agent_key *ret_key, size_t *ret_count)
{
    struct sl_reader r;
    uint8_t type;
    uint32_t count;
    sl_reader_init(&r, answer.data, answer.len);
    if (sl_get_u8(&r, &type) != 0 || type != AGENT_IDENTITIES_ANSWER || sl_get_u32(&r, &count) != 0)
        return SL_E_PROTOCOL;
    size_t taken = 0;
    for (uint32_t i = 0; i < count && taken < SL_AGENT_KEYS_MAX; i++) {
        struct sl_agent_key key;
        if (sl_get_string(&r, &key.blob) != 0 || sl_get_string(&r, &key.comment) != 0)
            return SL_E_PROTOCOL;
        ret_key[taken++] = key;
    }
    *ret_count = taken;
    return 0;
}

static int starts_with(struct sl_bytes bytes, const char *text)
{
    size_t len = strlen(text);
    return bytes.len >= len && memcmp(bytes.data, text, len) == 0;
}

int sl_agent_get_signature(struct sl_bytes answer, struct sl_bytes *ret_algorithm, struct sl_bytes *ret_signature)
{
    struct sl_reader r, inner;
    struct sl_bytes signature, algorithm, raw;
    uint8_t type;
    sl_reader_init(&r, answer.data, answer.len);
    if (sl_get_u8(&r, &type) != 0)
        return SL_E_PROTOCOL;
    if (type == AGENT_FAILURE)
        return SL_E_CREDENTIALS;
    if (type != AGENT_SIGN_RESPONSE || sl_get_string(&r, &signature) != 0)
        return SL_E_PROTOCOL;
    sl_reader_init(&inner, signature.data, signature.len);
    if (sl_get_string(&inner, &algorithm) != 0)
        return SL_E_PROTOCOL;
    if (starts_with(algorithm, "sk-")) {
        *ret_algorithm = algorithm;
        *ret_signature = (struct sl_bytes){inner.data + inner.at, sl_reader_left(&inner)};
        return 0;
    }
    if (sl_get_string(&inner, &raw) != 0)
        return SL_E_PROTOCOL;
    *ret_algorithm = algorithm;
    *ret_signature = raw;
    return 0;
}

int sl_agent_get_algorithm(struct sl_bytes to_sign, struct sl_bytes *ret_algorithm)
{
    struct sl_reader r;
    struct sl_bytes session, user, service, method, algorithm;
    uint8_t type;
    bool with_signature;
    sl_reader_init(&r, to_sign.data, to_sign.len);
    if (sl_get_string(&r, &session) != 0 || sl_get_u8(&r, &type) != 0 || sl_get_string(&r, &user) != 0 ||
        sl_get_string(&r, &service) != 0 || sl_get_string(&r, &method) != 0 || sl_get_bool(&r, &with_signature) != 0 ||
        sl_get_string(&r, &algorithm) != 0)
        return SL_E_PROTOCOL;
    *ret_algorithm = algorithm;
    return 0;
}

uint32_t sl_agent_sign_flags(struct sl_bytes algorithm)
{
    return starts_with(algorithm, "rsa-sha2-512")   ? SL_AGENT_RSA_SHA2_512
           : starts_with(algorithm, "rsa-sha2-256") ? SL_AGENT_RSA_SHA2_256
                                                    : 0;
}

bool sl_agent_is_signed_with(struct sl_bytes signature_algorithm, struct sl_bytes algorithm)
{
    static const char certificate[] = "-cert-v01@openssh.com";
    size_t tail = sizeof certificate - 1;
    if (algorithm.len > tail && memcmp(algorithm.data + algorithm.len - tail, certificate, tail) == 0) {
        /* "ssh-rsa-cert-v01@openssh.com" and "sk-ssh-ed25519-cert-v01@openssh.com" */
        algorithm.len -= tail;
        size_t plain = algorithm.len;
        if (starts_with(algorithm, "sk-") && signature_algorithm.len == plain + 12 &&
            memcmp(signature_algorithm.data + plain, "@openssh.com", 12) == 0)
            signature_algorithm.len = plain;
    }
    return signature_algorithm.len == algorithm.len &&
           memcmp(signature_algorithm.data, algorithm.data, algorithm.len) == 0;
}
