/* SPDX-License-Identifier: MIT */
/* Hashes the files' inodes, sizes and times, known_hosts' lines and the agent's list into one number each. */
#include "daemon/ssh/keys/basis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* FNV-1a: nobody gains by two files that look alike, who could replace them anyway. */
#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)

static void add(uint64_t *hash, const void *data, size_t len)
{
    const uint8_t *byte = data;
    for (size_t i = 0; i < len; i++)
        *hash = (*hash ^ byte[i]) * UINT64_C(0x100000001b3);
}

static void add_number(uint64_t *hash, uint64_t number)
{
    add(hash, &number, sizeof number);
}

static void add_file(uint64_t *hash, const char *path)
{
    struct stat st;
    if (path == NULL || stat(path, &st) != 0) {
        add_number(hash, path == NULL ? 0 : (uint64_t)errno);
        return;
    }
    add_number(hash, (uint64_t)st.st_dev);
    add_number(hash, (uint64_t)st.st_ino);
    add_number(hash, (uint64_t)st.st_size);
    add_number(hash, (uint64_t)st.st_mtim.tv_sec);
    add_number(hash, (uint64_t)st.st_mtim.tv_nsec);
    add_number(hash, (uint64_t)st.st_ctim.tv_sec);
    add_number(hash, (uint64_t)st.st_ctim.tv_nsec);
}

static void add_file_beside(uint64_t *hash, const char *path, const char *suffix)
{
    char *name = NULL;
    if (asprintf(&name, "%s%s", path, suffix) >= 0) {
        add_file(hash, name);
        free(name);
    }
}

/* A variable is what it was when the daemon began. */
static void add_secret(uint64_t *hash, const struct sl_secret *secret)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    char *name = NULL;
    if (secret->kind == SL_SECRET_FILE) {
        add_file(hash, secret->name);
    } else if (secret->kind == SL_SECRET_CREDENTIAL && directory != NULL &&
               asprintf(&name, "%s/%s", directory, secret->name) >= 0) {
        add_file(hash, name);
        free(name);
    }
}

static uint64_t finished(uint64_t hash)
{
    return hash > SL_BASIS_NO_AGENT ? hash : hash + 2; /* neither "unknown" nor "no agent" */
}

void sl_basis_of_files(const struct sl_target_conf *target, struct sl_basis *basis)
{
    uint64_t keys = HASH_BEGIN, password = HASH_BEGIN;
    for (size_t i = 0; i < target->identity_count; i++) {
        const struct sl_identity *identity = &target->identity[i];
        add_file(&keys, identity->file);
        add_file_beside(&keys, identity->file, ".pub");
        if (identity->certificate_file != NULL)
            add_file(&keys, identity->certificate_file);
        else
            add_file_beside(&keys, identity->file, "-cert.pub");
    }
    add_secret(&keys, &target->passphrase);
    add_secret(&password, &target->password);
    basis->keys = finished(keys);
    basis->password = finished(password);
}

uint64_t sl_basis_of_line(const struct sl_known_key *key)
{
    uint64_t hash = HASH_BEGIN;
    add(&hash, key->blob, key->blob_len);
    add_number(&hash, (uint64_t)key->revoked << 1 | key->by_fallback);
    return hash;
}

uint64_t sl_basis_of_lines(const struct sl_known_keys *keys)
{
    uint64_t sum = HASH_BEGIN + (keys->authority_file != NULL);
    for (size_t i = 0; i < keys->count; i++)
        sum += sl_basis_of_line(&keys->item[i]);
    return finished(sum);
}

uint64_t sl_basis_of_agent(struct sl_bytes list)
{
    uint64_t hash = HASH_BEGIN;
    add(&hash, list.data, list.len);
    return finished(hash);
}
