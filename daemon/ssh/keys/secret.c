/* SPDX-License-Identifier: MIT */
/* Reads a secret from a file, an environment variable or a systemd credential, without the line's end. */
#include "daemon/ssh/keys/secret.h"

#include "daemon/ssh/keys/file.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_MAX 65536u

static char *copy_trimmed(const char *text, size_t len)
{
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len > 0 && text[len - 1] == '\r')
        len--;
    char *copy = malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

static int read_file(const char *path, char *why, size_t why_size, char **ret_text)
{
    struct sl_file file;
    int error = sl_file_read(path, SECRET_MAX, &file);
    if (error != 0) {
        snprintf(why, why_size, "cannot read the secret in %s: %s", path, strerror(error));
        int shortage = sl_file_shortage(error);
        return shortage != 0 ? shortage : SL_E_CREDENTIALS;
    }
    if (memchr(file.data, '\0', file.len) != NULL) {
        snprintf(why, why_size, "the secret in %s has a zero byte in it", path);
        sl_file_free(&file);
        return SL_E_CREDENTIALS;
    }
    char *text = copy_trimmed(file.data, file.len);
    sl_file_free(&file);
    if (text == NULL)
        return SL_E_NOMEM;
    *ret_text = text;
    return 0;
}

static int read_variable(const char *name, char *why, size_t why_size, char **ret_text)
{
    const char *value = getenv(name);
    if (value == NULL) {
        snprintf(why, why_size, "the environment variable %s, which should hold a secret, is not set", name);
        return SL_E_CREDENTIALS;
    }
    char *text = copy_trimmed(value, strlen(value));
    if (text == NULL)
        return SL_E_NOMEM;
    *ret_text = text;
    return 0;
}

/* systemd.exec(5), "Credentials". */
static int read_credential(const char *name, char *why, size_t why_size, char **ret_text)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char *path = NULL;
    if (directory == NULL || strchr(name, '/') != NULL) {
        snprintf(why, why_size, "there is no systemd credential %s ($CREDENTIALS_DIRECTORY is not set)", name);
        return SL_E_CREDENTIALS;
    }
    if (asprintf(&path, "%s/%s", directory, name) < 0)
        return SL_E_NOMEM;
    int r = read_file(path, why, why_size, ret_text);
    free(path);
    return r;
}

int sl_secret_read(const struct sl_secret *secret, char *why, size_t why_size, char **ret_text)
{
    switch (secret->kind) {
    case SL_SECRET_FILE:
        return read_file(secret->name, why, why_size, ret_text);
    case SL_SECRET_ENV:
        return read_variable(secret->name, why, why_size, ret_text);
    case SL_SECRET_CREDENTIAL:
        return read_credential(secret->name, why, why_size, ret_text);
    case SL_SECRET_NONE:
        break;
    }
    *ret_text = NULL;
    return 0;
}

void sl_secret_wipe(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}
