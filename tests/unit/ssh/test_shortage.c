/* SPDX-License-Identifier: MIT */
/* With no file descriptor to spare nothing can be read, which must not be taken for a rejection, for a missing key, or
 * for a host that is not known: those are not tried again for long, and a new host's key would be believed. */
#include "config/build.h"
#include "daemon/ssh/keys/agent.h"
#include "daemon/ssh/keys/credentials.h"
#include "daemon/ssh/keys/hostkey.h"
#include "daemon/ssh/keys/secret.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char file[] = "/tmp/sshlease-shortage.XXXXXX";
static char agent_path[64];
static int agent_socket;
static struct rlimit files;
static uv_loop_t loop;
static struct sl_target_conf *target;

static char *copy(const char *text)
{
    char *made = strdup(text);
    assert_non_null(made);
    return made;
}

/* No new descriptors: those that are open stay. */
static void run_out_of_files(void)
{
    struct rlimit none = {.rlim_cur = 0, .rlim_max = files.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void have_files_again(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(file + strlen(file) - 6, "XXXXXX");
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    static const char text[] = "-----BEGIN PRIVATE KEY-----\n";
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    snprintf(agent_path, sizeof agent_path, "%s.agent", file);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, agent_path);
    agent_socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(agent_socket, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(agent_socket, 1), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(sl_target_conf_new(&target), 0);
    target->name = copy("test");
    target->host = copy("192.0.2.1");
    target->port = 22;
    assert_int_equal(sl_strv_add(&target->known_hosts, file), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    have_files_again();
    sl_target_conf_unref(target);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    close(agent_socket);
    unlink(agent_path);
    unlink(file);
    return 0;
}

static void load(int shortage)
{
    struct sl_credentials *credentials;
    assert_int_equal(sl_credentials_load(target, &credentials), 0);
    assert_int_equal(credentials->shortage, shortage);
    if (shortage != 0)
        assert_non_null(strstr(credentials->trouble, "Too many open files"));
    sl_credentials_free(credentials);
}

TEST(test_keys)
{
    target->identity = calloc(1, sizeof *target->identity);
    assert_non_null(target->identity);
    target->identity_count = 1;
    target->identity[0].file = copy(file);
    run_out_of_files();
    load(SL_E_LIMIT);
    have_files_again();
    load(0);
    free(target->identity[0].file);
    target->identity[0].file = copy("/nonexistent/key");
    load(0); /* is the file's fault */
}

TEST(test_secrets)
{
    struct sl_secret secret = {.kind = SL_SECRET_FILE, .name = file};
    char why[200], *text = NULL;
    run_out_of_files();
    assert_int_equal(sl_secret_read(&secret, why, sizeof why, &text), SL_E_LIMIT);
    target->password = (struct sl_secret){.kind = SL_SECRET_FILE, .name = copy(file)};
    load(SL_E_LIMIT);
    have_files_again();
    assert_int_equal(sl_secret_read(&secret, why, sizeof why, &text), 0);
    sl_secret_wipe(text);
    load(0);
}

static int answered;
static char answer[300];

static void on_loaded(void *arg)
{
    (void)arg;
}

static void on_checked(void *arg, int status, const char *text)
{
    (void)arg;
    answered = status;
    snprintf(answer, sizeof answer, "%s", text);
}

/* string "ssh-ed25519", string key */
static const uint8_t blob[] = "\0\0\0\013ssh-ed25519\0\0\0\040abcdefghijklmnopqrstuvwxyz012345";

static void check_key(void)
{
    struct sl_hostkey *hostkey;
    answered = 1;
    assert_int_equal(sl_hostkey_load(&loop, target, on_loaded, NULL, &hostkey), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(sl_hostkey_loaded(hostkey));
    sl_hostkey_check(hostkey, blob, sizeof blob - 1, on_checked, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    sl_hostkey_free(hostkey);
}

TEST(test_known_hosts)
{
    for (int i = 0; i < 2; i++) {
        target->host_key_checking = i == 0 ? SL_HOST_KEY_STRICT : SL_HOST_KEY_ACCEPT_NEW;
        run_out_of_files();
        check_key();
        assert_int_equal(answered, SL_E_LIMIT);
        assert_non_null(strstr(answer, "Too many open files"));
        have_files_again();
        check_key();
        assert_int_equal(answered, i == 0 ? SL_E_HOST_KEY_UNKNOWN : 0);
    }
}

TEST(test_agent)
{
    struct sl_agent *agent;
    run_out_of_files();
    assert_int_equal(sl_agent_open(&loop, agent_path, on_loaded, NULL, &agent), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(sl_agent_state(agent), SL_AGENT_FAILED);
    assert_int_equal(sl_agent_shortage(agent), SL_E_LIMIT);
    sl_agent_close(agent);
    have_files_again();
    assert_int_equal(sl_agent_open(&loop, "/nonexistent/agent", on_loaded, NULL, &agent), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(sl_agent_state(agent), SL_AGENT_FAILED);
    assert_int_equal(sl_agent_shortage(agent), 0);
    sl_agent_close(agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secrets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_known_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_agent, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
