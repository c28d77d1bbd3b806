/* SPDX-License-Identifier: MIT */
/* Callbacks that do nothing, for streams and ports that nobody hears any more. */
#include "daemon/ssh/channel/nobody.h"

static void hear_status(void *arg, int status, const char *text)
{
    (void)arg, (void)status, (void)text;
}

static void hear_data(void *arg, int fd, const uint8_t *data, size_t len)
{
    (void)arg, (void)fd, (void)data, (void)len;
}

static void hear_sent(void *arg, size_t len)
{
    (void)arg, (void)len;
}

static void hear_end(void *arg, const struct sl_stream_result *result)
{
    (void)arg, (void)result;
}

static void hear_listening(void *arg, int status, uint16_t port, const char *text)
{
    (void)arg, (void)status, (void)port, (void)text;
}

static void hear(void *arg)
{
    (void)arg;
}

const struct sl_stream_handler sl_nobody_stream = {
    .on_open = hear_status, .on_data = hear_data, .on_eof = hear, .on_sent = hear_sent, .on_end = hear_end};

const struct sl_remote_handler sl_nobody_remote = {
    .on_listening = hear_listening, .on_connection = hear, .on_closed = hear};
