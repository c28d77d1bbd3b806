/* `user@host[:port]`: targets of the one-user mode that no file names. */
#include "config/conf_build.h"
#include "config/conf_value.h"
#include "proto/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The longest of each, with "@", "[", "]", ":" and a NUL. */
#define NAME_SIZE (255u + 1u + 253u + 2u + 6u + 1u)

struct destination {
    const char *user; /* NULL: the defaults' */
    const char *host;
    uint16_t port; /* 0: the defaults' */
};

static bool parse_port(const char *text, uint16_t *ret_port)
{
    uint64_t port;
    if (sl_value_number(text, &port) != SL_VALUE_OK || port == 0 || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* Takes `name` apart in place. */
static bool parse_destination(char *name, struct destination *ret_destination)
{
    struct destination d = {0};
    char *host = name;
    char *at = strrchr(name, '@'); /* the last: users of a directory service may have one in their names */
    if (at != NULL) {
        *at = '\0';
        d.user = name;
        host = at + 1;
        /* With a colon somebody tries to give a password, which is to stay out of names and logs. */
        if (sl_value_user_wrong(d.user) != NULL || strchr(d.user, ':') != NULL)
            return false;
    }

    char *rest = NULL; /* what follows the host: "" or ":port" */
    if (host[0] == '[') {
        host++;
        char *end = strchr(host, ']');
        if (end == NULL)
            return false;
        *end = '\0';
        if (strchr(host, ':') == NULL)
            return false;
        rest = end + 1;
    } else {
        char *colon = strchr(host, ':');
        bool bare_ipv6 = colon != NULL && strchr(colon + 1, ':') != NULL;
        rest = colon == NULL || bare_ipv6 ? host + strlen(host) : colon;
    }
    if (*rest == ':') {
        if (!parse_port(rest + 1, &d.port))
            return false;
        *rest = '\0';
    } else if (*rest != '\0') {
        return false;
    }
    if (sl_value_host_wrong(host) != NULL)
        return false;

    for (char *c = host; *c != '\0' && *c != '%'; c++) { /* a zone is an interface's name: as it is */
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    }
    d.host = host;
    *ret_destination = d;
    return true;
}

static int build(const struct sl_conf *conf, const struct destination *d, struct sl_target_conf **ret_target)
{
    struct sl_target_conf *t;
    int r = sl_target_conf_copy(conf->defaults, &t);
    if (r != SL_OK)
        return r;
    t->adhoc = true;
    if (d->port != 0)
        t->port = d->port;
    if (d->user != NULL) {
        free(t->user);
        t->user = strdup(d->user);
    }
    free(t->host);
    t->host = strdup(d->host);
    if (t->host == NULL || (d->user != NULL && t->user == NULL)) {
        sl_target_conf_unref(t);
        return SL_E_NOMEM;
    }
    if (t->user == NULL) {
        sl_target_conf_unref(t);
        return SL_E_NO_TARGET;
    }

    bool ipv6 = strchr(t->host, ':') != NULL, default_port = t->port == 22;
    char port[8] = "";
    if (!default_port)
        snprintf(port, sizeof port, ":%u", (unsigned)t->port);
    if (asprintf(&t->name, "%s@%s%s%s%s", t->user, ipv6 && !default_port ? "[" : "", t->host,
            ipv6 && !default_port ? "]" : "", port) < 0) {
        t->name = NULL;
        sl_target_conf_unref(t);
        return SL_E_NOMEM;
    }
    *ret_target = t;
    return SL_OK;
}

int sl_conf_adhoc(const struct sl_conf *conf, const char *name, struct sl_target_conf **ret_target)
{
    size_t length = strlen(name);
    if (!conf->one_user || length >= NAME_SIZE)
        return SL_E_NO_TARGET;
    char copy[NAME_SIZE];
    memcpy(copy, name, length + 1);
    struct destination d;
    if (!parse_destination(copy, &d))
        return SL_E_NO_TARGET;
    return build(conf, &d, ret_target);
}
