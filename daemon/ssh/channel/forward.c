/* SPDX-License-Identifier: MIT */
/* direct-tcpip and direct-streamlocal: their parameters, and the sentence for a refusal. */
#include "daemon/ssh/channel/forward.h"

#include "proto/status.h"
#include "proto/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 4254 section 7.2; direct-streamlocal@openssh.com in section 2.4 of OpenSSH's PROTOCOL: a path, and two fields
 * that are reserved. */
static struct sl_chan *ask(struct sl_tenant *tenant, const struct sl_stream_spec *spec)
{
    const char *origin = spec->origin != NULL ? spec->origin : "127.0.0.1";
    size_t size = 16 + strlen(spec->kind == SL_SPEC_TCP ? spec->host : spec->path) + strlen(origin);
    struct sl_writer out;
    uint8_t *message = malloc(size);
    if (message == NULL)
        return NULL;
    sl_writer_init(&out, message, size);
    if (spec->kind == SL_SPEC_TCP) {
        sl_put_text(&out, spec->host);
        sl_put_u32(&out, spec->port);
        sl_put_text(&out, origin);
        sl_put_u32(&out, spec->origin_port);
        return sl_chan_ask(tenant, "direct-tcpip", message, out.at);
    }
    sl_put_text(&out, spec->path);
    sl_put_text(&out, "");
    sl_put_u32(&out, 0);
    return sl_chan_ask(tenant, "direct-streamlocal@openssh.com", message, out.at);
}

static char *describe(const struct sl_stream_spec *spec)
{
    if (spec->kind == SL_SPEC_UNIX)
        return strdup(spec->path);
    size_t size = strlen(spec->host) + sizeof "[]:65535";
    char *text = malloc(size);
    if (text != NULL)
        snprintf(text, size, strchr(spec->host, ':') != NULL ? "[%s]:%u" : "%s:%u", spec->host, (unsigned)spec->port);
    return text;
}

int sl_forward_ask(
    struct sl_tenant *tenant, const struct sl_stream_spec *spec, char **ret_where, struct sl_chan **ret_chan)
{
    char *where = describe(spec);
    struct sl_chan *chan = where != NULL ? ask(tenant, spec) : NULL;
    if (chan == NULL) {
        free(where);
        return SL_E_NOMEM;
    }
    *ret_where = where;
    *ret_chan = chan;
    return 0;
}

const char *sl_forward_why(const struct sl_chan *chan, const char *where, char *buf, size_t size)
{
    if (chan->state == SL_CHAN_REFUSED)
        snprintf(buf, size, "the server does not connect to %.384s: %s", where, chan->request->why);
    else
        snprintf(buf, size, "the server did not connect to %.384s in time: others were before it", where);
    return buf;
}
