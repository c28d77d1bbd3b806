/* SPDX-License-Identifier: MIT */
/* Finds the public key in an OpenSSH private key file, and reads the line of a .pub file. */
#include "daemon/ssh/keys/key_file.h"

#include "daemon/ssh/keys/base64.h"
#include "daemon/ssh/keys/known_hosts.h"
#include "proto/status.h"
#include "proto/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char openssh_begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char openssh_end[] = "-----END OPENSSH PRIVATE KEY-----";
static const char openssh_magic[] = "openssh-key-v1";

/* OpenSSH's PROTOCOL.key: magic with its NUL, string cipher, string kdf, string kdf options, uint32 count, string
 * public key, string private part. */
static int look_openssh(const uint8_t *data, size_t len, struct sl_key_file *file)
{
    if (len < sizeof openssh_magic || memcmp(data, openssh_magic, sizeof openssh_magic) != 0)
        return 0;
    struct sl_reader r;
    struct sl_bytes cipher, kdf, options, key;
    uint32_t count;
    sl_reader_init(&r, data + sizeof openssh_magic, len - sizeof openssh_magic);
    if (sl_get_string(&r, &cipher) != 0 || sl_get_string(&r, &kdf) != 0 || sl_get_string(&r, &options) != 0 ||
        sl_get_u32(&r, &count) != 0 || count != 1 || sl_get_string(&r, &key) != 0)
        return 0;
    file->is_key = true;
    file->encrypted = cipher.len != 4 || memcmp(cipher.data, "none", 4) != 0;
    file->blob = malloc(key.len + 1);
    if (file->blob == NULL)
        return SL_E_NOMEM;
    memcpy(file->blob, key.data, key.len);
    file->blob_len = key.len;
    return 0;
}

int sl_key_file_look(const char *text, size_t len, struct sl_key_file *ret_file)
{
    *ret_file = (struct sl_key_file){0};
    const char *begin = memmem(text, len, openssh_begin, sizeof openssh_begin - 1);
    if (begin != NULL) {
        begin += sizeof openssh_begin - 1;
        const char *end = memmem(begin, len - (size_t)(begin - text), openssh_end, sizeof openssh_end - 1);
        uint8_t *data = NULL;
        size_t data_len = 0;
        int r = end != NULL ? sl_base64_decode(begin, (size_t)(end - begin), &data, &data_len) : SL_E_INVALID;
        if (r == 0) {
            r = look_openssh(data, data_len, ret_file);
            explicit_bzero(data, data_len);
            free(data);
        }
        return r == SL_E_NOMEM ? r : 0;
    }
    /* PEM: RFC 1421's header, or PKCS#8's own name for it. */
    ret_file->is_key = memmem(text, len, "PRIVATE KEY-----", 16) != NULL;
    ret_file->encrypted = ret_file->is_key && (memmem(text, len, "BEGIN ENCRYPTED PRIVATE KEY", 27) != NULL ||
                                                  memmem(text, len, "ENCRYPTED\n", 10) != NULL ||
                                                  memmem(text, len, "ENCRYPTED\r", 10) != NULL);
    return 0;
}

void sl_key_file_fini(struct sl_key_file *file)
{
    free(file->blob);
    *file = (struct sl_key_file){0};
}

char *sl_key_public_line(const uint8_t *blob, size_t len)
{
    const char *type;
    size_t type_len;
    char *line = NULL;
    char *key = sl_base64_encode(blob, len);
    if (key == NULL || sl_key_blob_type(blob, len, &type, &type_len) != 0 ||
        asprintf(&line, "%.*s %s", (int)type_len, type, key) < 0)
        line = NULL;
    free(key);
    return line;
}

int sl_key_public_blob(const char *text, size_t len, uint8_t **ret_blob, size_t *ret_len)
{
    size_t type_len = 0, key_len = 0;
    while (type_len < len && text[type_len] != ' ' && text[type_len] != '\n')
        type_len++;
    if (type_len == len || text[type_len] != ' ')
        return SL_E_INVALID;
    const char *key = text + type_len + 1;
    while (type_len + 1 + key_len < len && strchr(" \r\n", key[key_len]) == NULL)
        key_len++;
    const char *type;
    size_t inner_len;
    uint8_t *blob;
    size_t blob_len;
    int r = sl_base64_decode(key, key_len, &blob, &blob_len);
    if (r != 0)
        return r;
    if (sl_key_blob_type(blob, blob_len, &type, &inner_len) != 0 || inner_len != type_len ||
        memcmp(type, text, type_len) != 0) {
        free(blob);
        return SL_E_INVALID;
    }
    *ret_blob = blob;
    *ret_len = blob_len;
    return 0;
}
