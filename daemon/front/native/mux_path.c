/* SPDX-License-Identifier: MIT */
/* MUX: where OpenSSH's client finds a target. Authorised as a lease of that target would be; nothing is leased. */
#include "daemon/front/native/handlers.h"
#include "proto/status.h"

#include <stdio.h>

void sl_client_on_mux(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_native_hooks *hooks = &c->native->hooks;
    const uint32_t rid = msg->mux.rid;
    char name[SL_MSG_NAME_MAX + 1], text[1024];
    struct sl_target_conf *target = NULL;
    int r = sl_driver_admit(
        c->native->driver, sl_client_text(msg->mux.target, name, sizeof name), &c->who, &target, text, sizeof text);
    if (r == 0 && hooks->mux_path == NULL) {
        r = SL_E_UNSUPPORTED;
        snprintf(text, sizeof text, "this daemon has no mux sockets");
    }
    if (r == 0)
        r = hooks->mux_path(hooks->arg, target, text, sizeof text);
    if (r != 0)
        sl_client_error(c, rid, r, true, text);
    else
        sl_client_send(c, &(struct sl_msg){
                              .type = SL_MSG_MUX_PATH,
                              .mux_path = {.rid = rid, .path = sl_bytes_of(text)},
                          });
    sl_target_conf_unref(target);
}
