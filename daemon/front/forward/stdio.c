/* SPDX-License-Identifier: MIT */
/* `ssh -W host:port`: a forward between the two descriptors that the client passes. A lease is asked for; when the
 * server has connected, SESSION_OPENED; the client leaves when its socket is closed. Until SESSION_OPENED a refusal is
 * told in words, which this request of ssh's prints and gives up on. */
#include "daemon/front/mux/handlers.h"
#include "daemon/front/texts.h"
#include "daemon/relay/relay.h"
#include "proto/status.h"

#include "base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sl_mux_stdio {
    struct sl_mux_client *client;
    struct sl_mux_user user;
    struct sl_relay *relay; /* NULL before the descriptors have come */
    uint32_t rid, id;
    enum { STDIO_ASKED, STDIO_OPEN, STDIO_REFUSED } phase;
    char *host;
    uint32_t port;
    char label[160];
};

static void refuse(struct sl_mux_stdio *s, const char *text)
{
    if (s->phase == STDIO_ASKED)
        sl_mux_client_refuse(s->client, SL_MUX_FAILURE, s->rid, text);
    s->phase = STDIO_REFUSED;
}

static void free_stdio(struct sl_mux_stdio *s)
{
    s->client->stdio = NULL;
    sl_relay_free(s->relay);
    free(s->host);
    free(s);
}

/* Its lease is left, or over. */
static void conclude(struct sl_mux_stdio *s)
{
    struct sl_mux_client *c = s->client;
    free_stdio(s);
    sl_mux_forwards_end(c);
    sl_mux_client_finish(c);
}

/* --- the stream --------------------------------------------------------------------------------------------------- */

static void on_open(void *arg, int status, const char *text)
{
    struct sl_mux_stdio *s = arg;
    uint8_t room[SL_FRAME_HEADER + 8];
    struct sl_writer w;
    if (status != 0) {
        /* on_end follows, with the relay's. ssh closes its socket as soon as it is told; the connection, on which nothing
         * was opened, is given back before that. */
        sl_mux_lease_leave(s->client, &s->user);
        refuse(s, text);
        return;
    }
    s->phase = STDIO_OPEN;
    sl_writer_init(&w, room, sizeof room);
    sl_mux_put_session_opened(&w, s->rid, s->id);
    sl_mux_client_send(s->client, &w);
}

static void on_end(void *arg, const struct sl_stream_result *result)
{
    struct sl_mux_stdio *s = arg;
    (void)result; /* a forward has no status, and ssh none to ask for */
    s->relay = NULL;
    sl_mux_lease_leave(s->client, &s->user);
    conclude(s);
}

static const struct sl_relay_handler relay_handler = {.on_open = on_open, .on_end = on_end};

/* --- the lease ---------------------------------------------------------------------------------------------------- */

static void on_granted(void *arg)
{
    struct sl_mux_stdio *s = arg;
    struct sl_stream *stream;
    char text[SL_QUOTA_TEXT_SIZE];
    const struct sl_stream_spec spec = {
        .kind = SL_SPEC_TCP, .host = s->host, .port = (uint16_t)s->port, .credit = SL_RELAY_CREDIT};
    int r = sl_lease_stream_open(s->client->lease, &spec, &sl_relay_stream_handler, s->relay, &stream);
    if (r == 0) {
        sl_relay_take_stream(s->relay, stream);
        return;
    }
    (void)sl_lease_stream_refusal(s->client->lease, r, text, sizeof text);
    sl_mux_lease_leave(s->client, &s->user);
    refuse(s, text);
    sl_relay_finish(s->relay); /* on_end follows; not now, for the client's other users are still to be told */
}

static void on_lost(void *arg, int status, const char *text)
{
    struct sl_mux_stdio *s = arg;
    (void)status;
    refuse(s, text);
    conclude(s);
}

static const struct sl_mux_user_handler user_handler = {.on_granted = on_granted, .on_lost = on_lost};

/* --- the request -------------------------------------------------------------------------------------------------- */

void sl_mux_on_stdio_fwd(struct sl_mux_client *c, const struct sl_mux_msg *msg)
{
    const struct sl_mux_stdio_fwd *fwd = &msg->stdio_fwd;
    const char *why = NULL;
    c->fds = SL_MUX_FDS_UNWANTED;
    if (c->session != NULL || c->stdio != NULL)
        why = "one session at a time: this socket has one already";
    else if (fwd->port == 0 || fwd->port > UINT16_MAX || fwd->host.len == 0)
        why = "there is no such port to connect to";
    struct sl_mux_stdio *s = why == NULL ? calloc(1, sizeof *s) : NULL;
    char *host = s != NULL ? strndup((const char *)fwd->host.data, fwd->host.len) : NULL;
    if (host == NULL) {
        free(s);
        sl_mux_client_refuse(c, SL_MUX_FAILURE, msg->rid, why != NULL ? why : sl_status_text(SL_E_NOMEM));
        return;
    }
    s->client = c;
    s->rid = msg->rid;
    s->id = c->sessions++;
    s->host = host;
    s->port = fwd->port;
    c->stdio = s;
    c->fds = SL_MUX_FDS_STDIO_FWD;
}

void sl_mux_on_stdio_fwd_fds(struct sl_mux_client *c, const int fd[SL_MUX_STDIO_FWD_FDS])
{
    struct sl_mux_stdio *s = c->stdio;
    const int three[3] = {fd[0], fd[1], -1};
    snprintf(s->label, sizeof s->label, "mux -W %.120s:%u", s->host, s->port);
    sl_text_clean(s->label, strlen(s->label) + 1, s->label, strlen(s->label));
    s->user = (struct sl_mux_user){.handler = &user_handler, .arg = s, .label = s->label};
    int r = sl_relay_new(c->mux->watch, three, 0, &relay_handler, s, &s->relay);
    if (r != 0) {
        sl_fd_jobs_close(sl_watch_jobs(c->mux->watch), fd[0]);
        sl_fd_jobs_close(sl_watch_jobs(c->mux->watch), fd[1]);
    } else {
        r = sl_mux_lease_join(c, &s->user);
    }
    if (r != 0) {
        refuse(s, sl_status_text(r));
        conclude(s);
    }
}

void sl_mux_stdio_drop(struct sl_mux_client *c)
{
    if (c->stdio != NULL)
        free_stdio(c->stdio);
}
