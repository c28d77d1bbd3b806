/* SPDX-License-Identifier: MIT */
/* Loads the identities and secrets that a target lets be used, and notes which could not be read and why. */
#include "daemon/ssh/keys/credentials.h"

#include "daemon/ssh/keys/algorithms.h"
#include "daemon/ssh/keys/key_file.h"
#include "daemon/ssh/keys/known_hosts.h"
#include "daemon/ssh/keys/secret.h"
#include "proto/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 65536u

void sl_credentials_note_trouble(struct sl_credentials *c, const char *format, ...)
{
    size_t at = strlen(c->trouble), size = sizeof c->trouble;
    if (at > 0 && at + 2 < size) {
        memcpy(c->trouble + at, "; ", 3);
        at += 2;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(c->trouble + at, size - at, format, args);
    va_end(args);
}

/* Whether the target lets it be offered; a key that nobody knows the type of yet is. */
static bool is_accepted(struct sl_credentials *c, const struct sl_target_conf *target, const struct sl_credential *item)
{
    const char *type;
    size_t len;
    if (item->blob == NULL || sl_key_blob_type(item->blob, item->blob_len, &type, &len) != 0 ||
        sl_algorithms_accept_key(target, type, len))
        return true;
    sl_credentials_note_trouble(c, "%s: pubkey_accepted_algorithms has nothing for %.*s", item->path, (int)len, type);
    return false;
}

/* Takes `key` and `line` over, whatever comes of it. */
static int add(struct sl_credentials *c, const struct sl_target_conf *target, const char *path, struct sl_file *key,
    char *line, bool encrypted)
{
    struct sl_credential found = {
        .path = strdup(path), .private_key = *key, .public_line = line, .encrypted = encrypted};
    struct sl_credential *item = realloc(c->item, (c->count + 1) * sizeof *item);
    if (item != NULL)
        c->item = item;
    int r = found.path != NULL && item != NULL ? 0 : SL_E_NOMEM;
    if (r == 0 && line != NULL)
        r = sl_key_public_blob(line, strlen(line), &found.blob, &found.blob_len) == SL_E_NOMEM ? SL_E_NOMEM : 0;
    if (r != 0 || !is_accepted(c, target, &found)) {
        free(found.path);
        sl_file_free(&found.private_key);
        free(line);
        free(found.blob);
        return r;
    }
    c->item[c->count++] = found;
    return 0;
}

static int copy_file(const struct sl_file *from, struct sl_file *ret_copy)
{
    struct sl_file copy = {.data = malloc(from->len + 1), .len = from->len};
    if (copy.data == NULL)
        return SL_E_NOMEM;
    memcpy(copy.data, from->data, from->len + 1);
    *ret_copy = copy;
    return 0;
}

static void note_unread(struct sl_credentials *c, const char *path, int error)
{
    sl_credentials_note_trouble(c, "%s: %s", path, strerror(error));
    if (c->shortage == 0)
        c->shortage = sl_file_shortage(error);
}

/* The first line of FILE.suffix, or NULL; a certificate that was asked for by name must be there. */
static char *read_public(struct sl_credentials *c, const char *path, const char *suffix, bool must)
{
    char *name = NULL, *line = NULL;
    struct sl_file file;
    if (asprintf(&name, "%s%s", path, suffix) < 0)
        return NULL;
    int error = sl_file_read(name, KEY_MAX, &file);
    if (error == 0) {
        uint8_t *blob;
        size_t len;
        if (sl_key_public_blob(file.data, file.len, &blob, &len) == 0) {
            line = sl_key_public_line(blob, len);
            free(blob);
        } else {
            sl_credentials_note_trouble(c, "%s: not a public key or certificate", name);
        }
        sl_file_free(&file);
    } else if (must || error != ENOENT) {
        note_unread(c, name, error);
    }
    free(name);
    return line;
}

static bool is_usable(
    struct sl_credentials *c, const char *path, const struct sl_file *key, const struct sl_key_file *look)
{
    if (!look->is_key)
        sl_credentials_note_trouble(c, "%s: not a private key", path);
    else if (key->exposed != 0)
        sl_credentials_note_trouble(c, "%s " SL_CONF_EXPOSED_TEXT "; give it 0600", path, key->exposed);
    else if (look->encrypted && c->passphrase == NULL)
        sl_credentials_note_trouble(c, "%s: encrypted, and no passphrase is configured", path);
    else
        return true;
    return false;
}

static int load_identity(
    struct sl_credentials *c, const struct sl_target_conf *target, const struct sl_identity *identity)
{
    struct sl_file key;
    struct sl_key_file look;
    int error = sl_file_read(identity->file, KEY_MAX, &key);
    if (error != 0) {
        note_unread(c, identity->file, error);
        return 0;
    }
    int r = sl_key_file_look(key.data, key.len, &look);
    if (r != 0 || !is_usable(c, identity->file, &key, &look)) {
        if (r == 0)
            sl_key_file_fini(&look);
        sl_file_free(&key);
        return r;
    }
    char *public_line = look.blob != NULL ? sl_key_public_line(look.blob, look.blob_len)
                                          : read_public(c, identity->file, ".pub", false);
    bool encrypted = look.encrypted;
    sl_key_file_fini(&look);
    char *certificate = identity->certificate_file != NULL ? read_public(c, identity->certificate_file, "", true)
                                                           : read_public(c, identity->file, "-cert.pub", false);
    /* The certificate first, as ssh does; then the key alone, which the server may know too. */
    if (certificate != NULL) {
        struct sl_file copy;
        r = copy_file(&key, &copy);
        if (r == 0)
            r = add(c, target, identity->file, &copy, certificate, encrypted);
        else
            free(certificate);
    }
    if (r == 0)
        return add(c, target, identity->file, &key, public_line, encrypted);
    sl_file_free(&key);
    free(public_line);
    return r;
}

static int load_secret(struct sl_credentials *c, const struct sl_secret *secret, char **ret_text)
{
    char why[300];
    int r = sl_secret_read(secret, why, sizeof why, ret_text);
    if (r == SL_E_CREDENTIALS || r == SL_E_LIMIT) {
        sl_credentials_note_trouble(c, "%s", why);
        c->shortage = r == SL_E_LIMIT ? r : c->shortage;
        r = 0;
    }
    return r;
}

int sl_credentials_load(const struct sl_target_conf *target, struct sl_credentials **ret_credentials)
{
    struct sl_credentials *c = calloc(1, sizeof *c);
    if (c == NULL)
        return SL_E_NOMEM;
    int r = load_secret(c, &target->passphrase, &c->passphrase);
    for (size_t i = 0; r == 0 && i < target->identity_count; i++)
        r = load_identity(c, target, &target->identity[i]);
    if (r == 0)
        r = load_secret(c, &target->password, &c->password);
    if (r != 0) {
        sl_credentials_free(c);
        return r;
    }
    *ret_credentials = c;
    return 0;
}

void sl_credentials_free(struct sl_credentials *credentials)
{
    if (credentials != NULL) {
        for (size_t i = 0; i < credentials->count; i++) {
            struct sl_credential *item = &credentials->item[i];
            free(item->path);
            sl_file_free(&item->private_key);
            free(item->public_line);
            free(item->blob);
        }
        free(credentials->item);
        sl_secret_wipe(credentials->passphrase);
        sl_secret_wipe(credentials->password);
        free(credentials);
    }
}
