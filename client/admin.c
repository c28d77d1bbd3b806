/* SPDX-License-Identifier: MIT */
/* The administrative requests: status, end, reload, reconnect, and where a mux socket is. One at a time on a handle. */
#include "client/handle.h"

#include "proto/status.h"

#include <stdio.h>
#include <string.h>

/* Sends `request`, about the lease `id` or the target (0 and "": about neither), unless the same is asked already (then
 * this call goes on with it), and waits. */
static int ask(
    struct sshlease *lease, struct sl_msg *request, uint64_t id, const char *target, uint32_t *rid, int timeout_ms)
{
    struct sl_asked *asked = &lease->asked;
    int64_t deadline_ms = sl_deadline(timeout_ms);
    int status = sl_link_check(lease);
    if (status != 0)
        return status;
    if (asked->rid != 0 && (asked->type != request->type || asked->id != id || strcmp(asked->target, target) != 0))
        return sl_refuse(lease, SL_E_BUSY, "another request of this handle is not answered yet");
    if (asked->rid == 0) {
        *rid = sl_link_next_rid(lease);
        if ((status = sl_link_queue(lease, request)) != 0)
            return status;
        *asked = (struct sl_asked){
            .rid = *rid, .type = request->type, .id = id, .status = SL_E_AGAIN, .json = {.max = SL_ASKED_MAX + 1}};
        snprintf(asked->target, sizeof asked->target, "%s", target);
    }
    while (asked->status == SL_E_AGAIN) {
        if (sl_loop_turn(lease, deadline_ms) != SL_E_AGAIN)
            continue;
        if (timeout_ms == 0)
            return SL_E_AGAIN;
        sl_asked_fini(lease);
        return sl_fail(lease, SL_E_TIMEOUT, "sshleased did not answer within %d ms", timeout_ms);
    }
    status = asked->status;
    if (status != 0 && lease->link.state != SL_LINK_ENDED)
        sl_refuse(lease, status, "%s", asked->text != NULL ? asked->text : sl_status_text(status));
    return status;
}

int sshlease_admin_status(struct sshlease *lease, int timeout_ms, char **ret_json)
{
    struct sl_msg request = {.type = SL_MSG_STATUS};
    int status = ask(lease, &request, 0, "", &request.request.rid, timeout_ms);
    if (status == SL_E_AGAIN || status == SL_E_BUSY)
        return status;
    if (status == 0) {
        *ret_json = lease->asked.text;
        lease->asked.text = NULL;
    }
    sl_asked_fini(lease);
    return status;
}

int sshlease_admin_end(struct sshlease *lease, uint64_t id, int timeout_ms)
{
    struct sl_msg request = {.type = SL_MSG_END, .end = {.lease = id}};
    int status = ask(lease, &request, id, "", &request.end.rid, timeout_ms);
    if (status != SL_E_AGAIN && status != SL_E_BUSY)
        sl_asked_fini(lease);
    return status;
}

int sshlease_admin_reload(struct sshlease *lease, int timeout_ms)
{
    struct sl_msg request = {.type = SL_MSG_RELOAD};
    int status = ask(lease, &request, 0, "", &request.request.rid, timeout_ms);
    if (status != SL_E_AGAIN && status != SL_E_BUSY)
        sl_asked_fini(lease);
    return status;
}

/* A request about a target that not every daemon knows. */
static int ask_about(struct sshlease *lease, struct sl_msg *request, const char *target, int timeout_ms)
{
    int64_t deadline_ms = sl_deadline(timeout_ms);
    int status = sl_link_check(lease);
    if (status != 0)
        return status;
    if (target == NULL || strlen(target) > SL_MSG_NAME_MAX)
        return sl_refuse(lease, SL_E_INVALID, "a target's name has at most %u bytes", SL_MSG_NAME_MAX);
    status = sl_loop_need(lease, sl_msg_since(request->type), deadline_ms);
    if (status == SL_E_AGAIN && timeout_ms != 0)
        return sl_fail(lease, SL_E_TIMEOUT, "sshleased did not answer within %d ms", timeout_ms);
    if (status != 0)
        return status;
    request->mux.target = sl_bytes_of(target);
    return ask(lease, request, 0, target, &request->mux.rid, timeout_ms);
}

int sshlease_admin_reconnect(struct sshlease *lease, const char *target, int timeout_ms)
{
    struct sl_msg request = {.type = SL_MSG_RECONNECT};
    int status = ask_about(lease, &request, target, timeout_ms);
    if (status != SL_E_AGAIN && status != SL_E_BUSY)
        sl_asked_fini(lease);
    return status;
}

int sshlease_mux_path(struct sshlease *lease, const char *target, int timeout_ms, char **ret_path)
{
    struct sl_msg request = {.type = SL_MSG_MUX};
    int status = ask_about(lease, &request, target, timeout_ms);
    if (status == SL_E_AGAIN || status == SL_E_BUSY)
        return status;
    if (status == 0) {
        *ret_path = lease->asked.text;
        lease->asked.text = NULL;
    }
    sl_asked_fini(lease);
    return status;
}
