#include "daemon/ssh/algorithms.h"

#include <stdio.h>
#include <string.h>

/* A key's type and what may be signed with it; no SHA-1, no host certificates (those would not be checked). */
static const struct {
    const char *type;
    const char *algorithms;
} table[] = {
    {"ssh-ed25519", "ssh-ed25519"},
    {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
    {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
    {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
    {"ssh-rsa", "rsa-sha2-512,rsa-sha2-256"},
};
#define TABLE_COUNT (sizeof table / sizeof table[0])

static bool is_known(const struct sl_known_keys *keys, const char *type)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (!keys->item[i].revoked && strcmp(keys->item[i].type, type) == 0) {
            return true;
        }
    }
    return false;
}

void sl_algorithms_host_key(const struct sl_known_keys *keys, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (int known = 1; known >= 0; known--) {
        for (size_t i = 0; i < TABLE_COUNT; i++) {
            if (is_known(keys, table[i].type) == (known == 1)) {
                int n = snprintf(out + at, size - at, "%s%s", at > 0 ? "," : "", table[i].algorithms);
                if (n < 0 || (size_t)n >= size - at) {
                    out[at] = '\0';
                    return;
                }
                at += (size_t)n;
            }
        }
    }
}
