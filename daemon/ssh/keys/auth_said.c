/* SPDX-License-Identifier: MIT */
/* Looks into USERAUTH_FAILURE and EXT_INFO, and keeps the names in them, cut to a maximum. */
#include "daemon/ssh/keys/auth_said.h"

#include "proto/wire.h"

#include <string.h>

#define MSG_EXT_INFO         7u
#define MSG_USERAUTH_FAILURE 51u

static bool is_name_list(struct sl_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            return false;
    return true;
}

/* What does not fit is cut between two names. */
static void keep(char *out, size_t size, struct sl_bytes list)
{
    size_t len = list.len;
    if (len >= size) {
        len = size - 1;
        while (len > 0 && list.data[len] != ',')
            len--;
    }
    memcpy(out, list.data, len);
    out[len] = '\0';
}

/* byte 51, name-list that can continue, boolean partial success */
static void look_failure(struct sl_auth_said *said, struct sl_reader *r)
{
    struct sl_bytes methods;
    uint8_t partial;
    if (sl_get_string(r, &methods) == 0 && sl_get_u8(r, &partial) == 0 && partial <= 1 && is_name_list(methods)) {
        said->failures++;
        said->partial = partial == 1;
        keep(said->methods, sizeof said->methods, methods);
    }
}

/* byte 7, uint32 count, string name and string value of each */
static void look_extensions(struct sl_auth_said *said, struct sl_reader *r)
{
    struct sl_bytes name, value;
    uint32_t count;
    if (sl_get_u32(r, &count) != 0 || count > 64)
        return;
    for (uint32_t i = 0; i < count && sl_get_string(r, &name) == 0 && sl_get_string(r, &value) == 0; i++) {
        if (name.len == 15 && memcmp(name.data, "server-sig-algs", 15) == 0 && is_name_list(value)) {
            said->names_sig_algs = true;
            keep(said->sig_algs, sizeof said->sig_algs, value);
        }
    }
}

void sl_auth_said_look(struct sl_auth_said *said, const uint8_t *mem, size_t len)
{
    struct sl_reader r;
    uint8_t type;
    sl_reader_init(&r, mem, len);
    if (sl_get_u8(&r, &type) != 0)
        return;
    if (type == MSG_USERAUTH_FAILURE)
        look_failure(said, &r);
    else if (type == MSG_EXT_INFO)
        look_extensions(said, &r);
}
