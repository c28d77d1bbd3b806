/* SPDX-License-Identifier: MIT */
/* Where the daemon lets itself be led by SOCKS, as ssh does by its PermitRemoteOpen: which no master is told of. */
#include "daemon/front/forward/forward.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Whether `text` is what `pattern` says, in letters of any size; * and ? are all there is to a pattern. */
static bool matches(const char *pattern, const char *text)
{
    for (; *pattern != '\0'; pattern++, text++) {
        if (*pattern == '*') {
            while (!matches(pattern + 1, text))
                if (*text++ == '\0')
                    return false;
            return true;
        }
        if (*text == '\0' || (*pattern != '?' && tolower((unsigned char)*pattern) != tolower((unsigned char)*text)))
            return false;
    }
    return *text == '\0';
}

bool sl_forward_permits(const struct sl_mux_client *c, const char *host, uint16_t port)
{
    const struct sl_conf *conf = sl_driver_conf(c->mux->driver);
    struct sl_target_conf *made = NULL, *target = sl_conf_find(conf, c->target);
    char where[300];
    bool permitted = false;
    if (target == NULL && sl_conf_adhoc(conf, c->target, &made) == 0)
        target = made;
    snprintf(where, sizeof where, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
    for (size_t i = 0; target != NULL && i < target->permit_remote_open.count; i++) {
        const char *pattern = target->permit_remote_open.item[i];
        permitted |= strcmp(pattern, "any") == 0 || matches(pattern, where);
    }
    sl_target_conf_unref(made);
    return permitted;
}
