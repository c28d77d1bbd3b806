/* SPDX-License-Identifier: MIT */
/* The one administrative request that is asked on a handle: what the daemon says to it. */
#include "client/handle.h"

#include "proto/status.h"

#include <stdlib.h>
#include <string.h>

void sl_asked_fini(struct sshlease *lease)
{
    sl_buf_fini(&lease->asked.json);
    free(lease->asked.text);
    lease->asked = (struct sl_asked){0};
}

int sl_asked_on_message(struct sshlease *lease, const struct sl_msg *msg)
{
    struct sl_asked *asked = &lease->asked;
    struct sl_bytes part = msg->status_reply.json;
    if (msg->status_reply.rid != asked->rid || asked->rid == 0)
        return msg->status_reply.rid < lease->link.next_rid ? 0 : SL_E_PROTOCOL; /* nobody waits for it any more */
    if (asked->type != SL_MSG_STATUS || asked->status != SL_E_AGAIN)
        return SL_E_PROTOCOL;
    int status = sl_buf_put_text(&asked->json, part.data, part.len);
    if (status != 0)
        return status == SL_E_LIMIT ? SL_E_PROTOCOL : status;
    if (!msg->status_reply.more) {
        asked->text = sl_buf_take(&asked->json);
        asked->status = 0;
    }
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
