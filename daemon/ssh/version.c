/* SPDX-License-Identifier: MIT */
/* The library's version as it was compiled in. */
#include "daemon/ssh/transport.h"
#include "sshlease_version.h"

#include <libssh2.h>
#include <openssl/opensslv.h>

const char *sl_transport_version(void)
{
    return "libssh2 " LIBSSH2_VERSION " (" SSHLEASE_LIBSSH2_ORIGIN "), OpenSSL " OPENSSL_VERSION_STR;
}
