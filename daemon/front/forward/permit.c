/* SPDX-License-Identifier: MIT */
/* Where the daemon connects to for those who come from the server's side, by -R: for a destination that its client has
 * named as for one that SOCKS names. The client may be one that has no way there by itself. ssh's PermitRemoteOpen, of
 * which no master is told, is about SOCKS alone. */
#include "daemon/front/forward/forward.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const char *sl_forward_destination(const char *host, uint16_t port, char *buf, size_t size)
{
    snprintf(buf, size, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
    return buf;
}

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

/* The caller owns the reference. NULL where it is not to be had any more, or there is no memory. */
static struct sl_target_conf *find_target(const struct sl_mux_client *c)
{
    struct sl_target_conf *target = NULL;
    char text[SL_MUX_TEXT_MAX];
    (void)sl_driver_admit(c->mux->driver, c->target, &c->who, &target, text, sizeof text);
    return target;
}

bool sl_forward_permits(const struct sl_mux_client *c, const char *host, uint16_t port)
{
    struct sl_target_conf *target;
    char where[SL_FORWARD_DESTINATION_SIZE];
    bool permitted = false;
    if (strlen(host) + sizeof "[]:65535" > sizeof where) /* cut, it might be one that is permitted */
        return false;
    target = find_target(c);
    (void)sl_forward_destination(host, port, where, sizeof where);
    for (size_t i = 0; target != NULL && i < target->permit_remote_open.count; i++) {
        const char *pattern = target->permit_remote_open.item[i];
        permitted |= strcmp(pattern, "any") == 0 || matches(pattern, where);
    }
    sl_target_conf_unref(target);
    return permitted;
}

bool sl_forward_permits_some(const struct sl_mux_client *c)
{
    struct sl_target_conf *target = find_target(c);
    bool some = false;
    for (size_t i = 0; target != NULL && i < target->permit_remote_open.count; i++)
        some |= strcmp(target->permit_remote_open.item[i], "none") != 0;
    sl_target_conf_unref(target);
    return some;
}
