/* SPDX-License-Identifier: MIT */
/* Streams between the server and descriptors that the client passed: what there is to say about them is their opening
 * and their end. They come with their message, so they are there when it is handled. */
#include "daemon/front/native/handlers.h"
#include "daemon/relay/relay.h"
#include "proto/status.h"

#include <unistd.h>

static void on_open(void *arg, int status, const char *text)
{
    sl_client_stream_opened(arg, status, text);
}

static void on_broken(void *arg, int status, const char *text)
{
    const struct sl_client_stream *s = arg;
    if (s->phase != SL_NATIVE_STREAM_REFUSED)
        sl_client_send(s->client, &(struct sl_msg){
                                      .type = SL_MSG_OUTPUT_LOST,
                                      .output_lost = {.stream = s->id,
                                          .fd = SL_DATA_STDOUT,
                                          .code = (uint32_t)-status,
                                          .text = sl_bytes_of(text)},
                                  });
}

static void on_end(void *arg, const struct sl_stream_result *result)
{
    struct sl_client_stream *s = arg;
    s->relay = NULL;
    sl_client_stream_ended(s, result);
}

static const struct sl_relay_handler relay_handler = {.on_open = on_open, .on_broken = on_broken, .on_end = on_end};

static int open_passed(struct sl_client_stream *s, const struct sl_stream_spec *spec, const int fd[3])
{
    const struct sl_client *c = s->client;
    struct sl_stream_spec ours = *spec;
    struct sl_stream *stream;
    int r = sl_relay_new(c->native->watch, fd, SL_RELAY_COMMAND, &relay_handler, s, &s->relay);
    if (r != 0)
        return r;
    ours.credit = SL_RELAY_CREDIT;
    r = sl_lease_stream_open(c->lease, &ours, &sl_relay_stream_handler, s->relay, &stream);
    if (r == 0) {
        sl_relay_take_stream(s->relay, stream);
    } else {
        sl_relay_disown(s->relay);
        s->relay = NULL;
    }
    return r;
}

void sl_client_on_stream_open_fds(struct sl_client *c, const struct sl_msg *msg)
{
    int fd[3] = {-1, -1, -1};
    bool complete = true;
    for (unsigned i = 0; i < 3; i++) {
        if ((msg->stream_open.fds & (1u << i)) == 0)
            continue;
        fd[i] = sl_socket_take_fd(c->socket);
        complete = complete && fd[i] >= 0;
    }
    if (!complete)
        sl_client_fault(c, SL_E_PROTOCOL, "STREAM_OPEN_FDS came without its descriptors");
    else if (sl_client_open_stream(c, &msg->stream_open, open_passed, fd))
        return;
    for (unsigned i = 0; i < 3; i++)
        if (fd[i] >= 0)
            sl_fd_jobs_close(sl_watch_jobs(c->native->watch), fd[i]);
}
