/* SPDX-License-Identifier: MIT */
/* Credit both ways: what may be sent and what is buffered never exceeds what was given. */
#include "client/stream.h"
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW ((size_t)262144) /* what the library gives */

static const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "cat"};

static struct sshlease_stream *open_stream(struct sshlease *lease)
{
    struct sshlease_stream *stream = NULL;
    int status = sshlease_stream_open(lease, &command, 10000, &stream);
    if (status != 0)
        fail_msg("stream_open: %s", sshlease_error(lease));
    return stream;
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 131 + (at >> 9));
}

/* Sends far more than the window, on two streams, never beyond the credit; the second's reader is slow. */
static void streams_much(struct fake *f)
{
    static uint8_t block[SL_MSG_DATA_MAX];
    size_t sent[3] = {0}, credit[3] = {0, WINDOW, WINDOW}, total = 20 * WINDOW;
    fake_greet(f);
    fake_grant(f);
    fake_open_stream(f, 0);
    fake_open_stream(f, 0);
    while (sent[1] < total || sent[2] < total) {
        for (uint32_t s = 1; s <= 2; s++) {
            size_t len = credit[s] < sizeof block ? credit[s] : sizeof block;
            if (len > total - sent[s])
                len = total - sent[s];
            for (size_t i = 0; i < len; i++)
                block[i] = pattern(sent[s] + i);
            if (len > 0)
                fake_send_data(f, s, (uint32_t)(sent[s] / 100000 % 2), block, len);
            sent[s] += len;
            credit[s] -= len;
            if (sent[s] == total && len > 0)
                fake_send_end(f, s, 0);
        }
        while ((sent[1] < total || sent[2] < total) && (credit[1] == 0 || sent[1] == total) &&
               (credit[2] == 0 || sent[2] == total)) {
            const struct sl_msg_window *window = &fake_take(f, SL_MSG_WINDOW)->window;
            if (window->bytes < WINDOW / 2)
                fake_fail(f, "credit in small change: %u", window->bytes);
            credit[window->stream] += window->bytes;
            if (credit[window->stream] > WINDOW)
                fake_fail(f, "more credit than the window");
        }
    }
}

TEST(credit_bounds_what_is_buffered)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, streams_much);
    struct sshlease_stream *fast = open_stream(lease), *slow = open_stream(lease);
    static uint8_t data[50000];
    size_t got[2] = {0};
    /* Reading only the fast one to its end; what the slow one may buffer is bounded by its credit, and its far side
     * waits. */
    for (int s = 0; s < 2; s++) {
        long count;
        int fd;
        while ((count = sshlease_stream_read(s == 0 ? fast : slow, data, sizeof data, &fd, 10000)) > 0)
            for (long i = 0; i < count; i++)
                if (data[i] != pattern(got[s]++))
                    fail_msg("byte %zu of stream %d is wrong", got[s] - 1, s);
        assert_int_equal(count, 0);
        assert_int_equal(got[s], 20 * WINDOW);
    }
    sshlease_free(lease);
    fake_stop(&f);
}

static void overdraws(struct fake *f)
{
    static const uint8_t block[SL_MSG_DATA_MAX];
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    for (size_t i = 0; i < WINDOW / sizeof block; i++)
        fake_send_data(f, stream, 0, block, sizeof block);
    if (f->number == 0)
        fake_send_data(f, stream, 0, block, 1);
    else
        fake_send(f, &(struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = stream, .bytes = SL_MSG_WINDOW_MAX}});
    if (f->number != 0)
        fake_send(f, &(struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = stream, .bytes = 1}});
    fake_take_end(f);
}

TEST(credit_beyond_bounds_is_a_violation)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct fake f = {.number = i};
        struct sshlease *lease = fake_lease(&f, overdraws);
        struct sshlease_stream *stream = open_stream(lease);
        int status = 0;
        while (status == 0) {
            struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
            assert_int_equal(poll(&pfd, 1, 10000), 1);
            status = sshlease_process(lease);
        }
        assert_int_equal(status, SSHLEASE_E_PROTOCOL);
        assert_non_null(strstr(sshlease_error(lease), i == 0 ? "DATA" : "WINDOW"));
        sshlease_stream_free(stream);
        sshlease_free(lease);
        fake_stop(&f);
    }
}

/* Takes input, at most what credit was given for, and gives more in two steps. */
static void takes_input(struct fake *f)
{
    size_t credit = 1000, got = 0, total = 500000;
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, (uint32_t)credit);
    while (got < total) {
        const struct sl_msg_data *data = &fake_take(f, SL_MSG_DATA)->data;
        if (data->data.len > credit || data->data.len == 0 || data->stream != stream || data->fd != 0)
            fake_fail(f, "%zu bytes of input with %zu of credit", data->data.len, credit);
        for (size_t i = 0; i < data->data.len; i++)
            if (data->data.data[i] != pattern(got + i))
                fake_fail(f, "byte %zu of the input is wrong", got + i);
        got += data->data.len;
        credit -= data->data.len;
        if (credit == 0) {
            credit = got < 100000 ? 33000 : total;
            fake_send(
                f, &(struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = stream, .bytes = (uint32_t)credit}});
        }
    }
    fake_take(f, SL_MSG_EOF);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

TEST(input_keeps_to_its_credit)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, takes_input);
    struct sshlease_stream *stream = open_stream(lease);
    struct sshlease_result result;
    uint8_t *data = malloc(500000);
    assert_non_null(data);
    for (size_t i = 0; i < 500000; i++)
        data[i] = pattern(i);
    assert_int_equal(sshlease_stream_write(stream, data, 0, 10000), 0);
    assert_int_equal(sshlease_stream_write(stream, data, 400000, SSHLEASE_FOREVER), 400000);
    size_t done = 400000;
    while (done < 500000) { /* and without waiting */
        long taken = sshlease_stream_write(stream, data + done, 500000 - done, 0);
        if (taken > 0) {
            done += (size_t)taken;
            continue;
        }
        assert_int_equal(taken, SSHLEASE_E_AGAIN);
        struct pollfd pfd = {.fd = sshlease_fd(lease),
            .events = (short)(POLLIN | (sshlease_want(lease) & SSHLEASE_WANT_WRITE ? POLLOUT : 0))};
        assert_int_equal(poll(&pfd, 1, 10000), 1);
    }
    assert_int_equal(sshlease_stream_eof(stream), 0);
    assert_int_equal(sshlease_stream_wait(stream, 10000, &result), 0);
    assert_int_equal(result.exit_status, 0);
    free(data);
    assert_int_equal(sshlease_release(lease), 0);
    assert_true(TAILQ_EMPTY(&lease->streams));
    sshlease_free(lease);
    fake_stop(&f);
}

/* One byte to each output in turn: the buffer's bookkeeping, not the data, is what could grow. */
static void alternates(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    for (size_t i = 0; i < 20000; i++)
        fake_send_data(f, stream, (uint32_t)(i % 2), &(uint8_t){pattern(i)}, 1);
    fake_send_end(f, stream, 0);
    fake_take_end(f);
}

TEST(outputs_that_alternate)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, alternates);
    struct sshlease_stream *stream = open_stream(lease);
    uint8_t data[64];
    long count;
    int fd;
    for (size_t i = 0; (count = sshlease_stream_read(stream, data, sizeof data, &fd, 10000)) != 0; i++) {
        assert_int_equal(count, 1);
        assert_int_equal(fd, i % 2 + 1);
        assert_int_equal(data[0], pattern(i));
    }
    sshlease_free(lease);
    fake_stop(&f);
}

/* Answers each signal with more: the test has read a part of what came before. */
static void sends_when_told(struct fake *f)
{
    size_t sent = 0;
    uint8_t block[3000];
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    for (size_t i = 0; i < 20; i++) {
        fake_take(f, SL_MSG_SIGNAL);
        size_t len = 1 + i * 997 % sizeof block;
        for (size_t k = 0; k < len; k++)
            block[k] = pattern(sent + k);
        fake_send_data(f, stream, i % 5 == 4 ? SL_DATA_STDERR : SL_DATA_STDOUT, block, len);
        fake_send_data(f, stream, SL_DATA_STDOUT, "", 0);
        sent += len;
    }
    fake_send_end(f, stream, 0);
    fake_take_end(f);
}

TEST(reading_in_parts_while_more_comes)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, sends_when_told);
    struct sshlease_stream *stream = open_stream(lease);
    uint8_t data[1500];
    size_t got = 0;
    long count;
    int fd;
    for (size_t i = 0; i < 20; i++) {
        size_t last_run = stream->inbox.bytes.len;
        assert_int_equal(sshlease_stream_signal(stream, "USR1"), 0);
        while (stream->inbox.bytes.len == last_run) { /* until the next piece is here */
            struct pollfd pfd = {.fd = sshlease_fd(lease), .events = POLLIN};
            assert_int_equal(poll(&pfd, 1, 10000), 1);
            assert_int_equal(sshlease_process(lease), 0);
        }
        assert_true((count = sshlease_stream_read(stream, data, sizeof data, &fd, 10000)) > 0);
        for (long k = 0; k < count; k++)
            assert_int_equal(data[k], pattern(got++));
    }
    while ((count = sshlease_stream_read(stream, data, sizeof data, &fd, 10000)) > 0)
        for (long k = 0; k < count; k++)
            assert_int_equal(data[k], pattern(got++));
    assert_int_equal(count, 0);
    sshlease_free(lease);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credit_bounds_what_is_buffered),
        cmocka_unit_test(credit_beyond_bounds_is_a_violation),
        cmocka_unit_test(input_keeps_to_its_credit),
        cmocka_unit_test(outputs_that_alternate),
        cmocka_unit_test(reading_in_parts_while_more_comes),
    };
    return cmocka_run_group_tests_name("client.credit", tests, NULL, NULL);
}
