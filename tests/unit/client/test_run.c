/* SPDX-License-Identifier: MIT */
/* sshlease_run(): one message out for a command without input, the output collected, and how it can fail. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

static const struct sshlease_command command = {.kind = SSHLEASE_EXEC, .command = "true"};

static void runs_true(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    const struct sl_msg_stream_open *open = &fake_take(f, SL_MSG_STREAM_OPEN)->stream_open;
    uint32_t rid = open->rid, stream = open->stream;
    /* The end of an input that is not there came in the same packet: nothing was read since. */
    if (f->in_at == f->in_end)
        fake_fail(f, "EOF did not come together with STREAM_OPEN");
    fake_take(f, SL_MSG_EOF);
    fake_send(f, &(struct sl_msg){
                     .type = SL_MSG_STREAM_OPENED, .stream_opened = {.rid = rid, .stream = stream, .window = 1000}});
    fake_send_data(f, stream, 1, "warned", 6);
    fake_send_data(f, stream, 0, "done\n", 5);
    fake_send_end(f, stream, 3);
    fake_release(f);
    fake_take_end(f);
}

TEST(a_command_without_input_is_one_packet)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, runs_true);
    struct sshlease_output output;
    assert_int_equal(sshlease_run(lease, &command, NULL, 0, 0, 10000, &output), 0);
    assert_int_equal(output.result.how, SSHLEASE_EXITED);
    assert_int_equal(output.result.exit_status, 3);
    assert_int_equal(output.stdout_len, 5);
    assert_string_equal(output.stdout_data, "done\n");
    assert_string_equal(output.stderr_data, "warned");
    assert_false(output.truncated);
    sshlease_output_fini(&output);
    assert_null(output.stdout_data);
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

/* A cat: everything that comes goes back, input and output within their credit. */
static void echoes(struct fake *f)
{
    size_t credit_out = 262144;
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 50000);
    uint32_t left = 50000;
    for (;;) {
        /* Which comes next is the client's choice. */
        uint32_t type = fake_peek(f);
        if (type == SL_MSG_EOF)
            break;
        if (type == SL_MSG_WINDOW) {
            credit_out += fake_take(f, SL_MSG_WINDOW)->window.bytes;
            continue;
        }
        struct sl_bytes data = fake_take(f, SL_MSG_DATA)->data.data;
        if (data.len > left || data.len > credit_out)
            fake_fail(f, "too much: %zu bytes, credit %u and %zu", data.len, left, credit_out);
        left -= (uint32_t)data.len;
        credit_out -= data.len;
        fake_send_data(f, stream, 0, data.data, data.len);
        if (left < 10000) {
            fake_send(f, &(struct sl_msg){.type = SL_MSG_WINDOW, .window = {.stream = stream, .bytes = 50000 - left}});
            left = 50000;
        }
    }
    fake_take(f, SL_MSG_EOF);
    fake_send_end(f, stream, 0);
}

TEST(input_goes_out_while_output_comes_in)
{
    static const size_t maxima[] = {0, 12345};
    size_t len = 3000000;
    uint8_t *input = malloc(len);
    assert_non_null(input);
    for (size_t i = 0; i < len; i++)
        input[i] = (uint8_t)(i * 7 + (i >> 8));
    for (size_t i = 0; i < 2; i++) {
        struct fake f = {0};
        struct sshlease *lease = fake_lease(&f, echoes);
        struct sshlease_output output;
        size_t expected = maxima[i] != 0 ? maxima[i] : len;
        assert_int_equal(
            sshlease_run(lease, &command, input, len, maxima[i], i == 0 ? 20000 : SSHLEASE_FOREVER, &output), 0);
        assert_int_equal(output.stdout_len, expected);
        assert_memory_equal(output.stdout_data, input, expected);
        assert_int_equal(output.stdout_data[expected], '\0');
        assert_int_equal(output.truncated, maxima[i] != 0);
        sshlease_output_fini(&output);
        sshlease_free(lease);
        fake_stop(&f);
    }
    free(input);
}

static void hangs(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 0, "so far", 6);
    fake_take(f, SL_MSG_CLOSE);
    fake_send_end(f, stream, 0);
    fake_release(f);
    fake_take_end(f);
}

TEST(a_command_that_hangs_is_ended)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, hangs);
    struct sshlease_output output;
    assert_int_equal(sshlease_run(lease, &command, NULL, 0, 0, 100, &output), SSHLEASE_E_TIMEOUT);
    assert_string_equal(sshlease_error(lease), "the command was still running after 100 ms");
    assert_int_equal(output.result.how, SSHLEASE_UNKNOWN);
    assert_string_equal(output.stdout_data, "so far");
    sshlease_output_fini(&output);
    assert_int_equal(sshlease_release(lease), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

static void loses_the_lease(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 1, "half", 4);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STREAM_END,
                     .stream_end = {.stream = stream, .how = SL_END_UNKNOWN, .text = sl_bytes_of("lost")}});
    fake_send(
        f, &(struct sl_msg){.type = SL_MSG_LEASE_ENDED,
               .lease_ended = {
                   .lease = 7, .code = (uint32_t)-SSHLEASE_E_EXPIRED, .text = sl_bytes_of("web1: the lease ran out")}});
}

/* The daemon's two messages in one packet or not: both are told apart from success, and by name when it is known. */
TEST(a_lease_that_ends_under_it)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, loses_the_lease);
    struct sshlease_output output;
    int status = sshlease_run(lease, &command, NULL, 0, 0, 10000, &output);
    if (status != 0) {
        assert_int_equal(status, SSHLEASE_E_EXPIRED);
        assert_string_equal(sshlease_error(lease), "web1: the lease ran out");
    }
    assert_int_equal(output.result.how, SSHLEASE_UNKNOWN);
    assert_string_equal(output.stderr_data, "half");
    sshlease_output_fini(&output);
    /* Perhaps before it was known; the end of the lease then crosses the release. */
    assert_int_equal(sshlease_release(lease), SSHLEASE_E_EXPIRED);
    sshlease_free(lease);
    fake_stop(&f);
}

static void refuses_one(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    fake_send_error(f, fake_take(f, SL_MSG_STREAM_OPEN)->stream_open.rid, SSHLEASE_E_STREAM_REFUSED, true, "web1: no");
    fake_take(f, SL_MSG_EOF);
    fake_take_end(f);
}

TEST(a_refused_command)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, refuses_one);
    struct sshlease_output output;
    assert_int_equal(sshlease_run(lease, &command, NULL, 0, 0, 10000, &output), SSHLEASE_E_STREAM_REFUSED);
    assert_string_equal(sshlease_error(lease), "web1: no");
    assert_true(sshlease_error_unsent(lease));
    assert_string_equal(output.stdout_data, "");
    sshlease_output_fini(&output);
    /* One that the library refuses itself fills the output too. */
    assert_int_equal(sshlease_run(lease, &(struct sshlease_command){.kind = SSHLEASE_EXEC}, NULL, 0, 0, 10000, &output),
        SSHLEASE_E_INVALID);
    assert_null(output.stdout_data);
    sshlease_output_fini(&output);
    sshlease_free(lease);
    fake_stop(&f);
}

static void runs_one_unseen(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    fake_send_data(f, stream, 0, "unseen", 6);
    fake_send_end(f, stream, 0);
    fake_take_end(f);
}

TEST(output_that_nobody_wants)
{
    struct fake f = {0};
    struct sshlease *lease = fake_lease(&f, runs_one_unseen);
    assert_int_equal(sshlease_run(lease, &command, NULL, 0, 0, 10000, NULL), 0);
    sshlease_free(lease);
    fake_stop(&f);
}

static void lets_a_short_lease_live(struct fake *f)
{
    fake_greet(f);
    fake_grant(f);
    uint32_t stream = fake_open_stream(f, 0);
    fake_take(f, SL_MSG_EOF);
    for (int i = 0; i < 3; i++) {
        const struct sl_msg_renew *renew = &fake_take(f, SL_MSG_RENEW)->renew;
        fake_send(f, &(struct sl_msg){.type = SL_MSG_RENEWED, .renewed = {.rid = renew->rid, .lease_timeout_ms = 60}});
    }
    fake_send_end(f, stream, 0);
    fake_take_end(f);
}

TEST(a_command_longer_than_its_lease)
{
    struct fake f = {.lease_ms = 60};
    struct sshlease *lease = fake_open(&f, lets_a_short_lease_live);
    const struct sshlease_acquire_options options = {.auto_renew = true};
    struct sshlease_output output;
    assert_int_equal(sshlease_acquire(lease, "web1", &options), 0);
    assert_int_equal(sshlease_run(lease, &command, NULL, 0, 0, SSHLEASE_FOREVER, &output), 0);
    assert_int_equal(output.result.exit_status, 0);
    sshlease_output_fini(&output);
    sshlease_free(lease);
    fake_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_without_input_is_one_packet),
        cmocka_unit_test(input_goes_out_while_output_comes_in),
        cmocka_unit_test(a_command_that_hangs_is_ended),
        cmocka_unit_test(a_lease_that_ends_under_it),
        cmocka_unit_test(a_refused_command),
        cmocka_unit_test(output_that_nobody_wants),
        cmocka_unit_test(a_command_longer_than_its_lease),
    };
    return cmocka_run_group_tests_name("client.run", tests, NULL, NULL);
}
