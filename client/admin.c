/* The administrative requests: status, end, reload. One at a time on a handle. */
#include "client/handle.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

/* No daemon has that much to say; one that does is mad. */
#define STATUS_MAX (64u << 20)

static void forget(struct sl_asked *asked)
{
    free(asked->text);
    *asked = (struct sl_asked){0};
}

void sl_asked_fini(struct sshlease *lease)
{
    forget(&lease->asked);
}

int sl_asked_on_message(struct sshlease *lease, const struct sl_msg *msg)
{
    struct sl_asked *asked = &lease->asked;
    struct sl_bytes part = msg->status_reply.json;

    if (msg->status_reply.rid != asked->rid || asked->rid == 0)
        return msg->status_reply.rid < lease->link.next_rid ? 0 : SL_E_PROTOCOL; /* nobody waits for it any more */
    if (asked->type != SL_MSG_STATUS || asked->status != SL_E_AGAIN || part.len > STATUS_MAX - asked->len)
        return SL_E_PROTOCOL;
    if (part.len + 1 > asked->cap - asked->len) {
        size_t cap = asked->cap == 0 ? 4096 : asked->cap;
        while (cap - asked->len < part.len + 1)
            cap *= 2;
        char *grown = realloc(asked->text, cap);
        if (grown == NULL)
            return SL_E_NOMEM;
        asked->text = grown;
        asked->cap = cap;
    }
    if (part.len > 0)
        memcpy(asked->text + asked->len, part.data, part.len);
    asked->len += part.len;
    asked->text[asked->len] = '\0';
    if (!msg->status_reply.more)
        asked->status = 0;
    return 0;
}

bool sl_asked_on_answer(struct sshlease *lease, uint32_t rid, int status, const struct sl_msg_error *error)
{
    struct sl_asked *asked = &lease->asked;

    if (rid != asked->rid || asked->status != SL_E_AGAIN)
        return false;
    if (error == NULL && asked->type == SL_MSG_STATUS)
        return false;
    asked->status = status;
    if (error != NULL) {
        free(asked->text);
        asked->text = sl_text_dup(error->text, status);
    }
    return true;
}

void sl_asked_on_link_end(struct sshlease *lease, int status)
{
    if (lease->asked.rid != 0)
        lease->asked.status = status;
}

/* Sends `request` unless the same is asked already (then this call goes on with it), and waits. */
static int ask(struct sshlease *lease, struct sl_msg *request, uint64_t id, uint32_t *rid, int timeout_ms)
{
    struct sl_asked *asked = &lease->asked;
    int64_t deadline_ms = sl_deadline(timeout_ms);
    int status = sl_link_check(lease);

    if (status != 0)
        return status;
    if (asked->rid != 0 && (asked->type != request->type || asked->id != id))
        return sl_refuse(lease, SL_E_BUSY, "another request of this handle is not answered yet");
    if (asked->rid == 0) {
        *rid = sl_link_next_rid(lease);
        if ((status = sl_link_queue(lease, request)) != 0)
            return status;
        *asked = (struct sl_asked){.rid = *rid, .type = request->type, .id = id, .status = SL_E_AGAIN};
    }
    while (asked->status == SL_E_AGAIN) {
        if (sl_link_turn(lease, deadline_ms) != SL_E_AGAIN)
            continue;
        if (timeout_ms == 0)
            return SL_E_AGAIN;
        forget(asked);
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
    int status = ask(lease, &request, 0, &request.request.rid, timeout_ms);

    if (status == SL_E_AGAIN || status == SL_E_BUSY)
        return status;
    if (status == 0) {
        *ret_json = lease->asked.text;
        lease->asked.text = NULL;
    }
    forget(&lease->asked);
    return status;
}

int sshlease_admin_end(struct sshlease *lease, uint64_t id, int timeout_ms)
{
    struct sl_msg request = {.type = SL_MSG_END, .end = {.lease = id}};
    int status = ask(lease, &request, id, &request.end.rid, timeout_ms);

    if (status != SL_E_AGAIN && status != SL_E_BUSY)
        forget(&lease->asked);
    return status;
}

int sshlease_admin_reload(struct sshlease *lease, int timeout_ms)
{
    struct sl_msg request = {.type = SL_MSG_RELOAD};
    int status = ask(lease, &request, 0, &request.request.rid, timeout_ms);

    if (status != SL_E_AGAIN && status != SL_E_BUSY)
        forget(&lease->asked);
    return status;
}
