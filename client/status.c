/* SPDX-License-Identifier: MIT */
/* What needs no handle: the statuses by name, the version, and where the daemon listens. */
#include "client/handle.h"

#include "proto/status.h"
#include "sshlease_version.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Every status of the table stands in the public header with the same number: a line that is missing there does not
 * compile. */
#define SAME(name, number, id, text, retryable) _Static_assert((int)SSHLEASE_E_##name == (int)SL_E_##name, #name);
SL_STATUS_TABLE(SAME)
#undef SAME

const char *sshlease_status_name(int status)
{
    return sl_status_name(status);
}

const char *sshlease_status_text(int status)
{
    return sl_status_text(status);
}

bool sshlease_status_retryable(int status)
{
    return sl_status_retryable(status);
}

bool sshlease_status_is_host_key(int status)
{
    return status == SL_E_HOST_KEY_UNKNOWN || status == SL_E_HOST_KEY_CHANGED || status == SL_E_HOST_KEY_REVOKED;
}

const char *sshlease_version(void)
{
    return SSHLEASE_VERSION;
}

/* Whether a daemon of the user's own has a socket there. Its path may be cut: then there is none. */
static bool own_socket(char *path, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int len = runtime != NULL && runtime[0] == '/'
                  ? snprintf(path, size, "%s/sshleased.sock", runtime)
                  /* cron and su leave the variable out; systemd-logind makes the directory here */
                  : snprintf(path, size, "/run/user/%u/sshleased.sock", (unsigned)geteuid());
    return len >= 0 && (size_t)len < size && (access(path, F_OK) == 0 || sl_left_ms(path) < SL_LEFT_MS);
}

int sshlease_default_socket(char *path, size_t size)
{
    const char *named = getenv("SSHLEASE_SOCKET");
    int len;
    if (named != NULL && named[0] != '\0') {
        len = snprintf(path, size, "%s", named);
        return len >= 0 && (size_t)len < size ? 0 : SL_E_INVALID;
    }
    if (own_socket(path, size))
        return 0;
    len = snprintf(path, size, "/run/sshleased/sshleased.sock");
    return len >= 0 && (size_t)len < size ? 0 : SL_E_INVALID;
}
