/* SPDX-License-Identifier: MIT */
/* What is to be known of a channel without doing anything to it: how far its end has come, and its cookie. */
#include "daemon/ssh/channel/channel.h"
#include "proto/status.h"

#include <libssh2.h>
#include <stdio.h>
#include <sys/random.h>

int sl_chan_make_cookie_base(struct sl_conn *conn)
{
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return SL_E_INTERNAL;
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(conn->cookie_base + 2 * i, 3, "%02x", random[i]);
    return 0;
}

const char *sl_chan_cookie(const struct sl_conn *conn, struct sl_cookie mark, char *buf)
{
    /* The full stop keeps number 1 from being found in number 12. */
    snprintf(buf, SL_COOKIE_SIZE, "%s-%u-%u.", conn->cookie_base, (unsigned)mark.epoch, (unsigned)mark.number);
    return buf;
}

enum sl_chan_end sl_chan_look(struct sl_chan *chan)
{
    if (chan->end == SL_CHAN_END_NONE && libssh2_channel_wait_eof(chan->ch) == 0)
        chan->end = SL_CHAN_END_EOF;
    if (chan->end == SL_CHAN_END_EOF && libssh2_channel_wait_closed(chan->ch) == 0)
        chan->end = SL_CHAN_END_CLOSE;
    return chan->end;
}

void sl_chan_saw_exit(struct sl_conn *conn, uint32_t number, enum sl_chan_exit exit)
{
    struct sl_chan *chan;
    TAILQ_FOREACH(chan, &conn->chans, link)
    {
        if (chan->ch != NULL && chan->number == number)
            chan->exit = exit;
    }
}
