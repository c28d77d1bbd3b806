/* SPDX-License-Identifier: MIT */
/* Any bytes as a SOCKS client: no more is used than came, what is asked for is a host with a name, and how the bytes
 * were cut into pieces makes no difference. */
#include "daemon/front/forward/socks.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* Feeds what came in steps of `step` bytes; returns how many were used. */
static size_t run(struct sl_socks *socks, const uint8_t *data, size_t size, size_t step)
{
    uint8_t reply[SL_SOCKS_REPLY_MAX];
    size_t used = 0, here = 0, reply_len;
    sl_socks_init(socks);
    for (;;) {
        size_t took = sl_socks_feed(socks, data + used, here - used, reply, &reply_len);
        FUZZ_CHECK(took <= here - used && reply_len <= sizeof reply);
        used += took;
        if (socks->phase >= SL_SOCKS_ASKED)
            return used;
        if (took > 0)
            continue;
        FUZZ_CHECK(here - used < SL_SOCKS_REQUEST_MAX);
        if (here == size)
            return used;
        here = size - here < step ? size : here + step;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sl_socks whole, pieces;
    if (size == 0)
        return 0;
    (void)run(&whole, data, size, size < SL_SOCKS_REQUEST_MAX ? size : SL_SOCKS_REQUEST_MAX);
    (void)run(&pieces, data, size, 1);
    FUZZ_CHECK(whole.phase == pieces.phase);
    if (whole.phase == SL_SOCKS_ASKED) {
        uint8_t reply[SL_SOCKS_REPLY_MAX];
        FUZZ_CHECK(whole.version == 4 || whole.version == 5);
        FUZZ_CHECK(whole.host[0] != '\0' && strcmp(whole.host, pieces.host) == 0 && whole.port == pieces.port);
        FUZZ_CHECK(sl_socks_answer(&whole, SL_SOCKS_CONNECTED, reply) <= sizeof reply);
    } else if (whole.phase == SL_SOCKS_FAILED) {
        FUZZ_CHECK(whole.why != NULL);
    }
    return 0;
}
