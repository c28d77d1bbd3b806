/* SPDX-License-Identifier: MIT */
/* Scans known_hosts line by line for one host, hashed names and patterns included, and judges the key it showed. */
#include "daemon/ssh/keys/known_hosts.h"

#include "daemon/ssh/keys/base64.h"
#include "proto/status.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece of a line. */
struct word {
    const char *text;
    size_t len;
};

static bool word_is(struct word word, const char *text)
{
    return word.len == strlen(text) && memcmp(word.text, text, word.len) == 0;
}

static struct word next_word(const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\t'))
        (*at)++;
    struct word word = {*at, 0};
    while (*at < end && **at != ' ' && **at != '\t' && **at != '\r')
        (*at)++;
    word.len = (size_t)(*at - word.text);
    return word;
}

/* `*` and `?`, without regard to case. Iterative: a pattern of many stars must not cost more than length times length.
 */
static bool matches_pattern(struct word pattern, const char *name)
{
    size_t p = 0, star = SIZE_MAX, n = 0, after_star = 0, len = strlen(name);
    while (n < len) {
        if (p < pattern.len && pattern.text[p] == '*') {
            star = p++;
            after_star = n;
        } else if (p < pattern.len && (pattern.text[p] == '?' ||
                                          tolower((unsigned char)pattern.text[p]) == tolower((unsigned char)name[n]))) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++after_star;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.text[p] == '*')
        p++;
    return p == pattern.len;
}

/* "|1|salt|hash": HMAC-SHA1 of the name, keyed with the salt. */
static bool matches_hashed(struct word field, const char *name)
{
    const char *bar = memchr(field.text + 3, '|', field.len - 3);
    if (bar == NULL)
        return false;
    uint8_t *salt = NULL, *hash = NULL;
    size_t salt_len = 0, hash_len = 0;
    bool same = false;
    if (sl_base64_decode(field.text + 3, (size_t)(bar - field.text - 3), &salt, &salt_len) == 0 &&
        sl_base64_decode(bar + 1, field.len - (size_t)(bar + 1 - field.text), &hash, &hash_len) == 0 &&
        salt_len == SHA_DIGEST_LENGTH && hash_len == SHA_DIGEST_LENGTH) {
        uint8_t made[EVP_MAX_MD_SIZE];
        unsigned made_len = 0;
        same = HMAC(EVP_sha1(), salt, (int)salt_len, (const uint8_t *)name, strlen(name), made, &made_len) != NULL &&
               made_len == hash_len && memcmp(made, hash, hash_len) == 0;
    }
    free(salt);
    free(hash);
    return same;
}

/* A list of patterns; one that begins with ! and matches rules the whole line out. */
static bool matches_field(struct word field, const char *name)
{
    if (name == NULL)
        return false;
    if (field.len > 3 && memcmp(field.text, "|1|", 3) == 0)
        return matches_hashed(field, name);
    bool matched = false;
    const char *at = field.text, *end = field.text + field.len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct word pattern = {at, (size_t)((comma != NULL ? comma : end) - at)};
        at = comma != NULL ? comma + 1 : end;
        bool negated = pattern.len > 0 && pattern.text[0] == '!';
        if (negated) {
            pattern.text++;
            pattern.len--;
        }
        if (pattern.len > 0 && matches_pattern(pattern, name)) {
            if (negated)
                return false;
            matched = true;
        }
    }
    return matched;
}

static int add_key(struct sl_known_keys *keys, const struct sl_known_key *found)
{
    struct sl_known_key *item = realloc(keys->item, (keys->count + 1) * sizeof *item);
    if (item == NULL)
        return SL_E_NOMEM;
    keys->item = item;
    keys->item[keys->count++] = *found;
    return 0;
}

static int note_authority(struct sl_known_keys *keys, const char *file, unsigned number)
{
    if (keys->authority_file == NULL) {
        keys->authority_file = strdup(file);
        keys->authority_line = number;
    }
    return keys->authority_file != NULL ? 0 : SL_E_NOMEM;
}

static int scan_line(struct sl_known_keys *keys, const char *file, unsigned number, const char *at, const char *end,
    const struct sl_known_name *name)
{
    struct word field = next_word(&at, end);
    if (field.len == 0 || field.text[0] == '#')
        return 0;
    bool revoked = word_is(field, "@revoked"), authority = word_is(field, "@cert-authority");
    if (field.text[0] == '@') {
        if (!revoked && !authority)
            return 0;
        field = next_word(&at, end);
    }
    bool direct = matches_field(field, name->name);
    if (!direct && !matches_field(field, name->fallback))
        return 0;
    if (authority)
        return note_authority(keys, file, number);
    struct word type = next_word(&at, end), key = next_word(&at, end);
    uint8_t *blob = NULL;
    size_t blob_len = 0;
    const char *inner;
    size_t inner_len;
    int r = key.len > 0 ? sl_base64_decode(key.text, key.len, &blob, &blob_len) : SL_E_INVALID;
    if (r == SL_E_NOMEM)
        return r;
    /* A line whose key is not what it says it is must not hide behind it. */
    if (r != 0 || sl_key_blob_type(blob, blob_len, &inner, &inner_len) != 0 || inner_len != type.len ||
        memcmp(inner, type.text, type.len) != 0) {
        free(blob);
        return 0;
    }
    struct sl_known_key found = {.type = strndup(type.text, type.len),
        .blob = blob,
        .blob_len = blob_len,
        .revoked = revoked,
        .by_fallback = !direct,
        .file = strdup(file),
        .line = number};
    r = found.type != NULL && found.file != NULL ? add_key(keys, &found) : SL_E_NOMEM;
    if (r != 0) {
        free(found.type);
        free(found.file);
        free(blob);
    }
    return r;
}

int sl_known_keys_scan(
    struct sl_known_keys *keys, const char *file, const char *text, size_t len, const struct sl_known_name *name)
{
    const char *at = text, *end = text + len;
    for (unsigned number = 1; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        int r = scan_line(keys, file, number, at, line_end, name);
        if (r != 0)
            return r;
        at = line_end + 1;
    }
    return 0;
}

void sl_known_keys_fini(struct sl_known_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        free(keys->item[i].type);
        free(keys->item[i].blob);
        free(keys->item[i].file);
    }
    free(keys->item);
    free(keys->authority_file);
    *keys = (struct sl_known_keys){0};
}

static bool same_key(const struct sl_known_key *known, const uint8_t *blob, size_t len)
{
    return known->blob_len == len && memcmp(known->blob, blob, len) == 0;
}

static bool same_type(const struct sl_known_key *known, const uint8_t *blob, size_t len)
{
    const char *type;
    size_t type_len;
    return sl_key_blob_type(blob, len, &type, &type_len) == 0 && strlen(known->type) == type_len &&
           memcmp(known->type, type, type_len) == 0;
}

enum sl_known_verdict sl_known_keys_judge(
    const struct sl_known_keys *keys, const uint8_t *blob, size_t len, const struct sl_known_key **ret_line)
{
    const struct sl_known_key *agrees = NULL, *differs = NULL;
    for (size_t i = 0; i < keys->count; i++) {
        const struct sl_known_key *known = &keys->item[i];
        bool same = same_key(known, blob, len);
        if (known->revoked) {
            if (same) {
                *ret_line = known;
                return SL_KNOWN_REVOKED;
            }
        } else if (same) {
            agrees = agrees != NULL ? agrees : known;
        } else if (!known->by_fallback &&
                   (differs == NULL || (!same_type(differs, blob, len) && same_type(known, blob, len)))) {
            /* The line to show is one of the same type where there is one. */
            differs = known;
        }
    }
    *ret_line = agrees != NULL ? agrees : differs;
    return agrees != NULL ? SL_KNOWN_OK : differs != NULL ? SL_KNOWN_CHANGED : SL_KNOWN_UNKNOWN;
}

static void lower(char *text)
{
    for (; *text != '\0'; text++)
        *text = (char)tolower((unsigned char)*text);
}

int sl_known_name_init(struct sl_known_name *name, const char *host, uint16_t port, const char *alias)
{
    *name = (struct sl_known_name){0};
    if (alias != NULL || port == 22) {
        name->name = strdup(alias != NULL ? alias : host);
    } else {
        if (asprintf(&name->name, "[%s]:%u", host, (unsigned)port) < 0)
            name->name = NULL;
        name->fallback = strdup(host);
        if (name->fallback == NULL) {
            sl_known_name_fini(name);
            return SL_E_NOMEM;
        }
        lower(name->fallback);
    }
    if (name->name == NULL) {
        sl_known_name_fini(name);
        return SL_E_NOMEM;
    }
    /* Hashes are made of the name in lower case. */
    lower(name->name);
    return 0;
}

void sl_known_name_fini(struct sl_known_name *name)
{
    free(name->name);
    free(name->fallback);
    *name = (struct sl_known_name){0};
}

int sl_key_blob_type(const uint8_t *blob, size_t len, const char **ret_type, size_t *ret_len)
{
    if (len < 5)
        return SL_E_INVALID;
    size_t type_len = (size_t)blob[0] << 24 | (size_t)blob[1] << 16 | (size_t)blob[2] << 8 | blob[3];
    if (type_len == 0 || type_len > len - 4 || type_len > 64)
        return SL_E_INVALID;
    for (size_t i = 0; i < type_len; i++)
        if (blob[4 + i] <= ' ' || blob[4 + i] >= 0x7f)
            return SL_E_INVALID;
    *ret_type = (const char *)blob + 4;
    *ret_len = type_len;
    return 0;
}

char *sl_known_hosts_line(const struct sl_known_name *name, const uint8_t *blob, size_t len)
{
    const char *type;
    size_t type_len;
    char *line = NULL;
    char *key = sl_base64_encode(blob, len);
    if (key == NULL || sl_key_blob_type(blob, len, &type, &type_len) != 0 ||
        asprintf(&line, "%s %.*s %s\n", name->name, (int)type_len, type, key) < 0)
        line = NULL;
    free(key);
    return line;
}

char *sl_key_fingerprint(const uint8_t *blob, size_t len)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256(blob, len, digest);
    char *base64 = sl_base64_encode(digest, sizeof digest);
    char *text = NULL;
    if (base64 == NULL || asprintf(&text, "SHA256:%.*s", (int)strcspn(base64, "="), base64) < 0)
        text = NULL;
    free(base64);
    return text;
}
