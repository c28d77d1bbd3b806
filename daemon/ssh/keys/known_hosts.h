/* SPDX-License-Identifier: MIT */
/* known_hosts.h - finds what known_hosts files say about one host and judges a host key by it. Pure: reads no file.
 * The format is sshd(8)'s, "SSH_KNOWN_HOSTS FILE FORMAT". */
#ifndef SSHLEASE_SSH_KEYS_KNOWN_HOSTS_H
#define SSHLEASE_SSH_KEYS_KNOWN_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How a host is looked up. */
struct sl_known_name {
    char *name;     /* "web1", or "[web1]:2222" for another port than 22 */
    char *fallback; /* "web1" for another port: a line without the port counts too, but only when its key agrees; or
                       NULL */
};
/* 0 or SL_E_NOMEM. With an alias, the alias alone is looked up, as ssh_config(5) HostKeyAlias says. */
int sl_known_name_init(struct sl_known_name *name, const char *host, uint16_t port, const char *alias);
void sl_known_name_fini(struct sl_known_name *name);

/* One line about the host. */
struct sl_known_key {
    char *type; /* "ssh-ed25519" */
    uint8_t *blob;
    size_t blob_len;
    bool revoked;
    bool by_fallback;
    char *file;
    unsigned line;
};
struct sl_known_keys {
    struct sl_known_key *item;
    size_t count;
    /* The first @cert-authority line about the host; NULL: none. Host certificates cannot be checked here, so it
     * vouches for no key. */
    char *authority_file;
    unsigned authority_line;
};

/* Adds every line of `text` that is about `name`. Lines that are not understood are skipped. 0 or SL_E_NOMEM; what was
 * added before stays. */
int sl_known_keys_scan(
    struct sl_known_keys *keys, const char *file, const char *text, size_t len, const struct sl_known_name *name);
void sl_known_keys_fini(struct sl_known_keys *keys);

enum sl_known_verdict {
    SL_KNOWN_OK,
    SL_KNOWN_UNKNOWN,
    SL_KNOWN_CHANGED, /* lines about the host exist, but none with this key */
    SL_KNOWN_REVOKED,
};
/* `ret_line` is the line that decided, NULL for UNKNOWN. */
enum sl_known_verdict sl_known_keys_judge(
    const struct sl_known_keys *keys, const uint8_t *blob, size_t len, const struct sl_known_key **ret_line);

/* "host ssh-ed25519 AAAA…\n" for a new line; the caller frees it. NULL when out of memory or when it is no key. */
char *sl_known_hosts_line(const struct sl_known_name *name, const uint8_t *blob, size_t len);

/* The type that stands at the beginning of a key's blob. 0 or SL_E_INVALID; borrowed, not NUL-terminated. */
int sl_key_blob_type(const uint8_t *blob, size_t len, const char **ret_type, size_t *ret_len);
/* "SHA256:…"; the caller frees it. NULL when out of memory. */
char *sl_key_fingerprint(const uint8_t *blob, size_t len);

#endif
