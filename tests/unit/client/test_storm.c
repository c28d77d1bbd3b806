/* SPDX-License-Identifier: MIT */
/* Messages at random from the daemon's side, valid ones out of turn and bytes that are no message: whatever comes,
 * every call comes back, and a command counts as ended well only if the daemon said so. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS 400u

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* One of the daemon's messages, its ids near those in use. Returns whether it says that stream 1 exited with 0. */
static bool send_something(struct fake *f, uint32_t *seed)
{
    static uint8_t data[SL_MSG_DATA_MAX];
    uint32_t rid = 1 + next(seed) % 6, stream = next(seed) % 4, number = next(seed) % 70000;
    struct sl_msg msg = {0};
    bool exits = false;
    switch (next(seed) % 13) {
    case 0:
        msg = (struct sl_msg){.type = SL_MSG_OK, .request = {.rid = rid}};
        break;
    case 1:
        msg = (struct sl_msg){.type = SL_MSG_ERROR,
            .error = {.rid = rid - number % 2, .code = 1 + number % 80, .text = sl_bytes_of(number % 3 ? "text" : "")}};
        break;
    case 2:
        msg = (struct sl_msg){.type = SL_MSG_WAITING, .waiting = {.rid = rid, .position = number}};
        break;
    case 3:
        msg = (struct sl_msg){.type = SL_MSG_GRANTED,
            .granted = {.rid = rid, .lease = 7, .lease_timeout_ms = number, .max_lease_ms = number, .streams = 4}};
        break;
    case 4:
        msg = (struct sl_msg){.type = SL_MSG_RENEWED, .renewed = {.rid = rid, .lease_timeout_ms = number}};
        break;
    case 5:
        msg = (struct sl_msg){.type = SL_MSG_LEASE_ENDED, .lease_ended = {.lease = 7, .code = 31 + number % 3}};
        break;
    case 6:
        msg = (struct sl_msg){
            .type = SL_MSG_STREAM_OPENED, .stream_opened = {.rid = rid, .stream = stream, .window = number}};
        break;
    case 7:
        msg = (struct sl_msg){.type = SL_MSG_STREAM_END,
            .stream_end = {
                .stream = stream, .how = number % 3, .exit_status = number % 2, .signal = sl_bytes_of("HUP")}};
        exits = stream == 1 && number % 6 == 0;
        break;
    case 8:
        msg = (struct sl_msg){.type = SL_MSG_STATUS_REPLY,
            .status_reply = {.rid = rid, .more = number % 2, .json = {.data = data, .len = number}}};
        if (number > sizeof data)
            msg.status_reply.json.len = 0;
        break;
    case 9:
        msg = (struct sl_msg){.type = SL_MSG_EOF, .stream = {.stream = stream}};
        break;
    case 10:
        msg = (struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = stream, .bytes = number}};
        break;
    case 11:
        fake_send_data(f, stream, number % 2, data, number % sizeof data);
        return false;
    default:
        for (size_t i = 0; i < 8; i++)
            data[i] = (uint8_t)next(seed);
        if (number % 20 == 0)
            fake_send_raw(f, data, 8);
        return false;
    }
    fake_send(f, &msg);
    return exits;
}

static void storms(struct fake *f)
{
    uint32_t seed = f->number * 2654435761u, count = 1 + next(&seed) % 30;
    bool exits = false;
    fake_greet(f);
    if (f->number % 8 != 0)
        fake_grant(f);
    if (f->number % 8 > 2)
        fake_open_stream(f, 1000);
    for (uint32_t i = 0; i < count; i++)
        exits = send_something(f, &seed) || exits;
    f->number = exits;
}

static void one(uint32_t seed)
{
    struct fake f = {.number = seed, .quiet = true};
    struct sshlease *lease;
    struct sshlease_stream *stream = NULL;
    struct sshlease_output output = {0};
    static uint8_t data[3000];
    const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "true"};
    const struct sshlease_acquire_options options = {.auto_renew = true};
    char *json = NULL;
    fake_start(&f, storms);
    if (sshlease_open(f.path, 10000, &lease) == 0 && sshlease_acquire(lease, "web1", &options) == 0) {
        int status = sshlease_run(lease, &command, data, sizeof data, 10000, 10000, &output);
        bool well = status == 0 && output.result.how == SSHLEASE_EXITED && output.result.exit_status == 0;
        if (sshlease_stream_start(lease, &command, &stream) == 0) {
            sshlease_stream_write(stream, data, sizeof data, 0);
            sshlease_stream_read(stream, data, sizeof data, NULL, 10000);
            if (seed % 2 == 0)
                sshlease_stream_free(stream);
        }
        sshlease_renew(lease, 5, NULL);
        if (sshlease_admin_status(lease, 10000, &json) == 0)
            free(json);
        sshlease_release(lease);
        sshlease_acquire(lease, "web1", NULL);
        sshlease_output_fini(&output);
        sshlease_free(lease);
        fake_stop_quietly(&f, true);
        if (well && f.number == 0)
            fail_msg("seed %u: a success that the daemon never told", seed);
        return;
    }
    sshlease_free(lease);
    fake_stop_quietly(&f, true);
}

TEST(whatever_the_daemon_says)
{
    for (uint32_t seed = 1; seed <= SEEDS; seed++)
        one(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_the_daemon_says),
    };
    return cmocka_run_group_tests_name("client.storm", tests, NULL, NULL);
}
