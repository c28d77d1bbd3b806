/* MUX: where OpenSSH's client finds a target. Authorised as a lease of that target would be; nothing is leased. */
#include "daemon/front/native_handlers.h"
#include "proto/status.h"

#include <stdio.h>

/* The target of that name, as the driver would take it; the caller owns the reference. */
static int find_target(const struct sl_conf *conf, const char *name, struct sl_target_conf **ret_target)
{
    struct sl_target_conf *target = sl_conf_find(conf, name);

    bool same = false;

    if (target == NULL) {
        int r = sl_conf_adhoc(conf, name, ret_target);
        if (r != SL_E_NO_TARGET)
            return r;
        target = sl_conf_find_as(conf, name, &same);
        if (!same)
            return r;
    }
    *ret_target = sl_target_conf_ref(target);
    return SL_OK;
}

void sl_client_on_mux(struct sl_client *c, const struct sl_msg *msg)
{
    const struct sl_native_hooks *hooks = &c->native->hooks;
    const uint32_t rid = msg->mux.rid;
    char name[SL_MSG_NAME_MAX + 1], quoted[SL_LOG_QUOTE_SIZE], text[SL_MSG_NAME_MAX + SL_LOG_QUOTE_SIZE];
    struct sl_target_conf *target = NULL;

    int r = find_target(sl_driver_conf(c->native->driver), sl_client_text(msg->mux.target, name, sizeof name), &target);
    if (r == SL_E_NO_TARGET)
        (void)snprintf(text, sizeof text, "no such target: %s", sl_log_quote(quoted, sizeof quoted, name));
    else if (r != 0)
        (void)snprintf(text, sizeof text, "%s", sl_status_text(r));
    if (r == 0 && !sl_target_conf_allows(target, c->peer.uid, c->peer.gid, c->peer.gid_count)) {
        r = SL_E_NOT_ALLOWED;
        (void)snprintf(text, sizeof text, "not allowed to lease %s", target->name);
    }
    if (r == 0 && hooks->mux_path == NULL) {
        r = SL_E_UNSUPPORTED;
        (void)snprintf(text, sizeof text, "this daemon has no mux sockets");
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
