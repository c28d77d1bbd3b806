/* SPDX-License-Identifier: MIT */
/* Every allocation of the library fails once, in the middle of a life with everything in it: each time some call says
 * so, nothing crashes, nothing leaks (the address sanitizer looks), and no command passes for a success that it was
 * not. */
#include "fake_daemon.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

/* How many allocations of this thread from now is the one that fails; 0: none. The script's thread is another. */
static _Thread_local unsigned fail_at;

static bool fails(void)
{
    return fail_at != 0 && --fail_at == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

/* Serves whatever is asked until the client goes. */
static void serves(struct fake *f)
{
    static uint8_t much[SL_MSG_DATA_MAX];
    struct sl_msg waiting = {.type = SL_MSG_WAITING, .waiting = {.position = 1, .reason = sl_bytes_of("busy")}};
    fake_greet(f);
    waiting.waiting.rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid;
    fake_send_error(f, waiting.waiting.rid, SSHLEASE_E_QUEUE_FULL, true, "web1: too many");
    waiting.waiting.rid = fake_take(f, SL_MSG_ACQUIRE)->acquire.rid;
    fake_send(f, &waiting);
    fake_send(f, &(struct sl_msg){.type = SL_MSG_GRANTED,
                     .granted = {.rid = waiting.waiting.rid,
                         .lease = 7,
                         .lease_timeout_ms = 60000,
                         .max_lease_ms = 60000,
                         .streams = 8}});
    uint32_t stream = fake_open_stream(f, 100000);
    fake_take(f, SL_MSG_DATA);
    fake_take(f, SL_MSG_EOF);
    for (uint32_t i = 0; i < 4; i++)
        fake_send_data(f, stream, i % 2, much, sizeof much);
    fake_send_end(f, stream, 0);
    while (fake_peek(f) == SL_MSG_WINDOW) /* credit, given back or not, is no concern here */
        fake_take(f, SL_MSG_WINDOW);
    uint32_t rid = fake_take(f, SL_MSG_STATUS)->request.rid;
    fake_send(f, &(struct sl_msg){.type = SL_MSG_STATUS_REPLY,
                     .status_reply = {.rid = rid, .json = {.data = much, .len = sizeof much}}});
    fake_send_error(f, fake_take(f, SL_MSG_RELOAD)->request.rid, SSHLEASE_E_CONFIG, true, "wrong");
    fake_send_error(f, fake_take(f, SL_MSG_STREAM_OPEN)->stream_open.rid, SSHLEASE_E_STREAM_REFUSED, true, "no");
    fake_release(f);
    fake_take_end(f);
}

static void on_waiting(void *arg, uint32_t position, uint32_t waited_ms, const char *reason)
{
    (void)arg;
    (void)position;
    (void)waited_ms;
    (void)reason;
}

/* Returns the first status that is not what it would be with enough memory. */
static int live(const char *path, struct sshlease **ret_lease)
{
    static char input[5000];
    const struct sshlease_env env[] = {{"A", "b"}};
    const struct sshlease_pty pty = {.term = "vt100", .cols = 80, .rows = 24};
    const struct sshlease_command command = {
        .kind = SSHLEASE_EXEC, .command = "true", .env = env, .env_count = 1, .pty = &pty};
    const struct sshlease_acquire_options options = {.label = "x", .auto_renew = true, .on_waiting = on_waiting};
    struct sshlease_output output;
    struct sshlease_stream *stream;
    char *json = NULL;
    int status;
    if ((status = sshlease_open(path, 10000, ret_lease)) != 0)
        return status;
    if ((status = sshlease_acquire(*ret_lease, "web1", &options)) != SSHLEASE_E_QUEUE_FULL)
        return status;
    if ((status = sshlease_acquire(*ret_lease, "web1", &options)) != 0)
        return status;
    status = sshlease_run(*ret_lease, &command, input, sizeof input, 0, 10000, &output);
    if (status == 0)
        assert_int_equal(output.stdout_len + output.stderr_len, 4 * SL_MSG_DATA_MAX);
    sshlease_output_fini(&output);
    if (status != 0)
        return status;
    if ((status = sshlease_admin_status(*ret_lease, 10000, &json)) != 0)
        return status;
    assert_int_equal(strlen(json), 0);
    free(json);
    if ((status = sshlease_admin_reload(*ret_lease, 10000)) != SSHLEASE_E_CONFIG)
        return status;
    if ((status = sshlease_stream_open(*ret_lease, &command, 10000, &stream)) != SSHLEASE_E_STREAM_REFUSED)
        return status;
    return sshlease_release(*ret_lease);
}

TEST(every_allocation_fails_once)
{
    unsigned count = 1, refused = 0;
    bool last = false;
    for (; !last; count++) {
        struct fake f = {.quiet = true};
        struct sshlease *lease = NULL;
        fake_start(&f, serves);
        fail_at = count;
        int status = live(f.path, &lease);
        last = fail_at != 0; /* it had no allocation left to fail */
        fail_at = 0;
        /* Some do without: an error's own text is then the status'. */
        if (status != 0)
            assert_int_equal(status, SSHLEASE_E_NOMEM);
        if (status != 0 && lease != NULL)
            assert_non_null(strstr(sshlease_error(lease), "out of memory"));
        refused += status != 0;
        sshlease_free(lease);
        if (lease == NULL) { /* it never connected: let the script end */
            sshlease_open(f.path, 10000, &lease);
            sshlease_free(lease);
        }
        fake_stop_quietly(&f, status != 0);
    }
    assert_true(refused > 10);
    assert_true(count < 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests_name("client.nomem", tests, NULL, NULL);
}
