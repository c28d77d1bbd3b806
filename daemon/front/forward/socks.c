/* SPDX-License-Identifier: MIT */
/* Takes a SOCKS request from the bytes so far, however they were cut, and writes the replies to it. */
#include "daemon/front/forward/socks.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

/* RFC 1928 sections 3 to 6. */
#define METHOD_NONE    0x00u
#define METHOD_NO_SUCH 0xffu
#define CMD_CONNECT    1u
#define ATYP_IPV4      1u
#define ATYP_NAME      3u
#define ATYP_IPV6      4u
#define REP_OK         0u
#define REP_FAILURE    1u
#define REP_COMMAND    7u
#define REP_ADDRESS    8u
/* SOCKS 4: request granted; rejected or failed. */
#define SOCKS4_GRANTED  90u
#define SOCKS4_REJECTED 91u

void sl_socks_init(struct sl_socks *s)
{
    memset(s, 0, sizeof *s);
}

static size_t put_reply5(uint8_t *reply, uint8_t code)
{
    /* The address bound to is not known here; zeros are what ssh says, too. */
    memcpy(reply, (const uint8_t[10]){5, code, 0, ATYP_IPV4}, 10);
    return 10;
}

static size_t put_reply4(uint8_t *reply, uint8_t code)
{
    memcpy(reply, (const uint8_t[8]){0, code}, 8);
    return 8;
}

static void fail(struct sl_socks *s, const char *why)
{
    s->phase = SL_SOCKS_FAILED;
    s->why = why;
}

/* A name as it may go to the server: not empty, no NUL, fits. */
static int take_name(struct sl_socks *s, const uint8_t *name, size_t len)
{
    if (len == 0 || len >= sizeof s->host || memchr(name, '\0', len) != NULL)
        return -1;
    memcpy(s->host, name, len);
    s->host[len] = '\0';
    return 0;
}

static uint16_t get_port(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* version, command, port, address, user name NUL; with an address 0.0.0.x (4a) host name NUL. */
static size_t feed4(struct sl_socks *s, const uint8_t *data, size_t len, uint8_t *reply, size_t *ret_reply_len)
{
    const uint8_t *user_end, *name = NULL, *end;
    if (len < 9 || (user_end = memchr(data + 8, '\0', len - 8)) == NULL)
        return 0;
    end = user_end + 1;
    if (data[4] == 0 && data[5] == 0 && data[6] == 0 && data[7] != 0) {
        name = end;
        end = memchr(name, '\0', len - (size_t)(name - data));
        if (end == NULL)
            return 0;
        end++;
    }
    s->version = 4;
    s->port = get_port(data + 2);
    if (data[1] != CMD_CONNECT) {
        *ret_reply_len = put_reply4(reply, SOCKS4_REJECTED);
        fail(s, "a SOCKS 4 command other than CONNECT");
    } else if (name == NULL ? inet_ntop(AF_INET, data + 4, s->host, sizeof s->host) == NULL
                            : take_name(s, name, (size_t)(end - name) - 1) != 0) {
        *ret_reply_len = put_reply4(reply, SOCKS4_REJECTED);
        fail(s, "a host name that is not valid");
    } else {
        s->phase = SL_SOCKS_ASKED;
    }
    return (size_t)(end - data);
}

/* version, count, methods */
static size_t feed_methods(struct sl_socks *s, const uint8_t *data, size_t len, uint8_t *reply, size_t *ret_reply_len)
{
    if (len < 2 || len < 2u + data[1])
        return 0;
    s->version = 5;
    reply[0] = 5;
    reply[1] = memchr(data + 2, METHOD_NONE, data[1]) != NULL ? METHOD_NONE : METHOD_NO_SUCH;
    *ret_reply_len = 2;
    if (reply[1] == METHOD_NONE)
        s->phase = SL_SOCKS_REQUEST;
    else
        fail(s, "a SOCKS 5 client that insists on authentication");
    return 2u + data[1];
}

/* version, command, reserved, address type, address, port */
static size_t feed5(struct sl_socks *s, const uint8_t *data, size_t len, uint8_t *reply, size_t *ret_reply_len)
{
    size_t address_len, at = 4;
    int bad;
    if (len < 5)
        return 0;
    switch (data[3]) {
    case ATYP_IPV4:
        address_len = 4;
        break;
    case ATYP_IPV6:
        address_len = 16;
        break;
    case ATYP_NAME:
        address_len = data[4];
        at = 5;
        break;
    default:
        *ret_reply_len = put_reply5(reply, REP_ADDRESS);
        fail(s, "an unknown type of address in a SOCKS 5 request");
        return len;
    }
    if (len < at + address_len + 2)
        return 0;
    if (data[3] == ATYP_NAME)
        bad = take_name(s, data + at, address_len);
    else
        bad = inet_ntop(data[3] == ATYP_IPV4 ? AF_INET : AF_INET6, data + at, s->host, sizeof s->host) == NULL;
    s->port = get_port(data + at + address_len);
    if (data[0] != 5 || data[1] != CMD_CONNECT) {
        *ret_reply_len = put_reply5(reply, REP_COMMAND);
        fail(s, "a SOCKS 5 command other than CONNECT");
    } else if (bad != 0) {
        *ret_reply_len = put_reply5(reply, REP_FAILURE);
        fail(s, "a host name that is not valid");
    } else {
        s->phase = SL_SOCKS_ASKED;
    }
    return at + address_len + 2;
}

size_t sl_socks_feed(
    struct sl_socks *s, const uint8_t *data, size_t len, uint8_t reply[SL_SOCKS_REPLY_MAX], size_t *ret_reply_len)
{
    size_t used = 0;
    *ret_reply_len = 0;
    if (len == 0 || s->phase >= SL_SOCKS_ASKED)
        return 0;
    if (s->phase == SL_SOCKS_REQUEST)
        used = feed5(s, data, len, reply, ret_reply_len);
    else if (data[0] == 4)
        used = feed4(s, data, len, reply, ret_reply_len);
    else if (data[0] == 5)
        used = feed_methods(s, data, len, reply, ret_reply_len);
    else
        fail(s, "something that is not SOCKS");
    if (used == 0 && s->phase < SL_SOCKS_ASKED && len >= SL_SOCKS_REQUEST_MAX)
        fail(s, "a SOCKS request without an end");
    return used;
}

size_t sl_socks_answer(const struct sl_socks *s, enum sl_socks_verdict verdict, uint8_t reply[SL_SOCKS_REPLY_MAX])
{
    const bool connected = verdict == SL_SOCKS_CONNECTED;
    if (s->version == 4)
        return put_reply4(reply, (uint8_t)(connected ? SOCKS4_GRANTED : SOCKS4_REJECTED));
    return put_reply5(reply, (uint8_t)(connected ? REP_OK : REP_FAILURE));
}
