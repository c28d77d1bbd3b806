/* SPDX-License-Identifier: MIT */
/* A handle's beginning and end, and what an event loop asks of it. */
#include "client/handle.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT_FIRST 4096u

/* NULL: the default. */
static int set_path(struct sshlease *lease, const char *path)
{
    if (path == NULL) {
        if (sshlease_default_socket(lease->path, sizeof lease->path) != 0)
            return sl_loop_end(
                lease, SL_E_INVALID, "the socket's path is longer than %zu bytes", sizeof lease->path - 1);
        path = lease->path;
    }
    const size_t len = strlen(path);
    if (len == 0 || len >= sizeof lease->path)
        return sl_loop_end(
            lease, SL_E_INVALID, "the socket's path has %zu bytes; it may have 1 to %zu", len, sizeof lease->path - 1);
    memmove(lease->path, path, len + 1);
    return 0;
}

static int open_link(struct sshlease *lease, int timeout_ms)
{
    const int64_t deadline_ms = sl_deadline(timeout_ms);
    struct sl_patience patience = {.deadline_ms = deadline_ms};
    int status;
    if (timeout_ms == 0)
        return sl_link_connect(lease, deadline_ms);
    do {
        status = sl_link_connect(lease, deadline_ms);
        if (status == 0)
            status = sl_link_greet(lease, deadline_ms);
    } while (status != 0 && sl_patience_lasts(&patience, lease, &status));
    return status;
}

int sshlease_open(const char *path, int timeout_ms, struct sshlease **ret_lease)
{
    struct sshlease *lease = calloc(1, sizeof *lease);
    if (lease == NULL) {
        *ret_lease = NULL;
        return SL_E_NOMEM;
    }
    TAILQ_INIT(&lease->streams);
    lease->owner = getpid();
    lease->next_stream = 1;
    lease->held.renew_at_ms = SL_NEVER;
    lease->link = (struct sl_link){
        .fd = -1, .next_rid = 1, .in = {.max = SIZE_MAX, .keep = SIZE_MAX}, .out = {.max = SIZE_MAX, .keep = SIZE_MAX}};
    if (sl_buf_reserve(&lease->link.in, SL_LINK_IN_FIRST) == NULL ||
        sl_buf_reserve(&lease->link.out, OUT_FIRST) == NULL) {
        sshlease_free(lease);
        *ret_lease = NULL;
        return SL_E_NOMEM;
    }
    *ret_lease = lease;
    int status = set_path(lease, path);
    return status != 0 ? status : open_link(lease, timeout_ms);
}

void sshlease_free(struct sshlease *lease)
{
    if (lease == NULL)
        return;
    sl_streams_fini(lease);
    sl_held_fini(lease);
    sl_asked_fini(lease);
    if (lease->link.fd >= 0)
        close(lease->link.fd);
    sl_buf_fini(&lease->link.in);
    sl_buf_fini(&lease->link.out);
    free(lease);
}

const char *sshlease_error(const struct sshlease *lease)
{
    return lease->error;
}

bool sshlease_error_unsent(const struct sshlease *lease)
{
    return lease->error_unsent;
}

int sshlease_fd(const struct sshlease *lease)
{
    return lease->link.fd;
}

int sshlease_want(const struct sshlease *lease)
{
    if (lease->link.state == SL_LINK_ENDED)
        return 0;
    return SSHLEASE_WANT_READ | (lease->link.out.len > 0 ? SSHLEASE_WANT_WRITE : 0);
}

int sshlease_timeout_ms(const struct sshlease *lease)
{
    if (lease->held.renew_at_ms == SL_NEVER || lease->link.state == SL_LINK_ENDED)
        return -1;
    int64_t left_ms = lease->held.renew_at_ms - sl_now_ms();
    if (left_ms < 0)
        return 0;
    return left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
}
