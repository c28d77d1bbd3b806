/* SPDX-License-Identifier: MIT */
/* The one administrative request that is asked on a handle: what the daemon says to it. */
#include "client/handle.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

/* No daemon has that much to say; one that does is mad. */
#define STATUS_MAX (64u << 20)

void sl_asked_fini(struct sshlease *lease)
{
    free(lease->asked.text);
    lease->asked = (struct sl_asked){0};
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

int sl_asked_on_mux_path(struct sshlease *lease, const struct sl_msg *msg)
{
    struct sl_asked *asked = &lease->asked;
    const struct sl_bytes path = msg->mux_path.path;
    if (msg->mux_path.rid != asked->rid || asked->rid == 0)
        return msg->mux_path.rid < lease->link.next_rid ? 0 : SL_E_PROTOCOL; /* nobody waits for it any more */
    if (asked->type != SL_MSG_MUX || asked->status != SL_E_AGAIN || path.len == 0 || path.data[0] != '/')
        return SL_E_PROTOCOL;
    asked->text = malloc(path.len + 1);
    if (asked->text == NULL)
        return SL_E_NOMEM;
    memcpy(asked->text, path.data, path.len);
    asked->text[path.len] = '\0';
    asked->status = 0;
    return 0;
}

bool sl_asked_on_answer(struct sshlease *lease, uint32_t rid, int status, const struct sl_msg_error *error)
{
    struct sl_asked *asked = &lease->asked;
    if (rid != asked->rid || asked->status != SL_E_AGAIN)
        return false;
    if (error == NULL && (asked->type == SL_MSG_STATUS || asked->type == SL_MSG_MUX))
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
