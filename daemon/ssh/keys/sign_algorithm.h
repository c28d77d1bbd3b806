/* SPDX-License-Identifier: MIT */
/* sign_algorithm.h - with which algorithm a key signs. Only RSA leaves a choice (RFC 8332). Pure. */
#ifndef SSHLEASE_SSH_KEYS_SIGN_ALGORITHM_H
#define SSHLEASE_SSH_KEYS_SIGN_ALGORITHM_H

#include "daemon/ssh/keys/auth_said.h"

#define SL_SIGN_ALGORITHM_SIZE 64u

/* The `at`-th that is to be tried for a key or certificate of `type`, as it is called in its blob; NULL: no more. `rsa`
 * is what RSA may sign with here, best first; "": SHA-2, then SHA-1. A server that says what it takes is believed. One
 * that does not may know SHA-2 (RFC 8308 came after RFC 4253, and not to all), or SHA-1 only: all are tried, each at
 * the cost of one try. */
const char *sl_sign_algorithm(
    const struct sl_auth_said *said, const char *type, const char *rsa, unsigned at, char buf[SL_SIGN_ALGORITHM_SIZE]);

#endif
