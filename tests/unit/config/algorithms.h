/* SPDX-License-Identifier: MIT */
/* algorithms.h - a made-up SSH library's algorithms, for configurations to name. */
#ifndef SSHLEASE_TESTS_UNIT_CONFIG_ALGORITHMS_H
#define SSHLEASE_TESTS_UNIT_CONFIG_ALGORITHMS_H

#include "config/parts.h"

#define NAMES(...)                                                                                                     \
    {                                                                                                                  \
        .item = (char *[]){__VA_ARGS__}, .count = sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)                     \
    }

static const struct sl_algorithms some_algorithms = {
    .has =
        {
            [SL_ALGORITHM_KEX] =
                NAMES("curve25519-sha256", "diffie-hellman-group14-sha256", "diffie-hellman-group14-sha1"),
            [SL_ALGORITHM_HOST_KEY] = NAMES("ssh-ed25519", "rsa-sha2-256", "ssh-rsa"),
            [SL_ALGORITHM_CIPHER] = NAMES("aes128-ctr", "aes256-ctr", "aes128-cbc", "aes256-cbc"),
            [SL_ALGORITHM_MAC] = NAMES("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1", "hmac-md5",
                "hmac-sha2-256-etm@openssh.com", "hmac-md5-96"),
            [SL_ALGORITHM_PUBKEY] = NAMES("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
        },
    .by_default =
        {
            [SL_ALGORITHM_KEX] = NAMES("curve25519-sha256", "diffie-hellman-group14-sha256"),
            [SL_ALGORITHM_HOST_KEY] = NAMES("ssh-ed25519", "rsa-sha2-256"),
            [SL_ALGORITHM_CIPHER] = NAMES("aes128-ctr", "aes256-ctr"),
            [SL_ALGORITHM_MAC] = NAMES("hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"),
            [SL_ALGORITHM_PUBKEY] = NAMES("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"),
        },
};

#undef NAMES

#endif
