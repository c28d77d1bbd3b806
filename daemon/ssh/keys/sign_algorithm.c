/* SPDX-License-Identifier: MIT */
/* Lists the signature algorithms to try with a key, one for each number, best first. */
#include "daemon/ssh/keys/sign_algorithm.h"

#include "daemon/ssh/keys/algorithms.h"

#include <stdio.h>
#include <string.h>

static const char certificate[] = "-cert-v01@openssh.com";

const char *sl_sign_algorithm(
    const struct sl_auth_said *said, const char *type, const char *rsa, unsigned at, char buf[SL_SIGN_ALGORITHM_SIZE])
{
    bool is_certificate = strncmp(type, "ssh-rsa-cert-v01@", 17) == 0;
    /* OpenSSH before 7.8 names SHA-2 and does not take it with RSA certificates; libssh2 knows about that. */
    if ((strcmp(type, "ssh-rsa") != 0 && !is_certificate) || (is_certificate && said->names_sig_algs)) {
        snprintf(buf, SL_SIGN_ALGORITHM_SIZE, "%s", type);
        return at == 0 ? buf : NULL;
    }
    const char *name;
    size_t len;
    rsa = rsa[0] != '\0' ? rsa : "rsa-sha2-512,rsa-sha2-256,ssh-rsa";
    while (sl_name_list_next(&rsa, &name, &len)) {
        if (said->names_sig_algs && !sl_name_list_has(said->sig_algs, name, len))
            continue;
        if (at == 0) {
            snprintf(buf, SL_SIGN_ALGORITHM_SIZE, "%.*s%s", (int)len, name, is_certificate ? certificate : "");
            return buf;
        }
        if (said->names_sig_algs)
            break; /* its word is as good for the next: what it refuses is the key */
        at--;
    }
    return NULL;
}
