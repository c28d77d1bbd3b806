/* SPDX-License-Identifier: MIT */
/* Where secrets come from, and what is said when they do not. */
#include "daemon/ssh/keys/secret.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/sshlease-test.XXXXXX";
static char path[64];
static char why[300];

static int group_setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/secret", dir);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    unlink(path);
    rmdir(dir);
    return 0;
}

static void write_secret(const char *text, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static void expect(enum sl_secret_kind kind, const char *name, const char *text)
{
    char *read = NULL;
    struct sl_secret secret = {.kind = kind, .name = (char *)(uintptr_t)name};
    assert_int_equal(sl_secret_read(&secret, why, sizeof why, &read), 0);
    if (text == NULL)
        assert_null(read);
    else
        assert_string_equal(read, text);
    sl_secret_wipe(read);
}

static void expect_trouble(enum sl_secret_kind kind, const char *name, const char *text)
{
    char *read = NULL;
    struct sl_secret secret = {.kind = kind, .name = (char *)(uintptr_t)name};
    assert_int_equal(sl_secret_read(&secret, why, sizeof why, &read), SL_E_CREDENTIALS);
    assert_null(read);
    assert_non_null(strstr(why, text));
}

TEST(test_file)
{
    expect(SL_SECRET_NONE, NULL, NULL);
    write_secret("open sesame\n", 12);
    expect(SL_SECRET_FILE, path, "open sesame");
    write_secret("open\nsesame\r\n", 13);
    expect(SL_SECRET_FILE, path, "open\nsesame");
    write_secret(" two lines end \n\n", 17);
    expect(SL_SECRET_FILE, path, " two lines end \n");
    write_secret("", 0);
    expect(SL_SECRET_FILE, path, "");
    write_secret("a\0b", 3);
    expect_trouble(SL_SECRET_FILE, path, "has a zero byte in it");
    expect_trouble(SL_SECRET_FILE, "/nonexistent", "/nonexistent: No such file or directory");
    expect_trouble(SL_SECRET_FILE, dir, ": Is a directory");
    char *big = calloc(1, 70000);
    assert_non_null(big);
    memset(big, 'x', 70000);
    write_secret(big, 70000);
    free(big);
    expect_trouble(SL_SECRET_FILE, path, ": File too large");
}

/* A FIFO that nobody writes to must not hold a worker for ever. */
TEST(test_fifo)
{
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect(SL_SECRET_FILE, path, "");
    unlink(path);
}

TEST(test_environment_and_credentials)
{
    setenv("TEST_SECRET", "s3cret\n", 1);
    expect(SL_SECRET_ENV, "TEST_SECRET", "s3cret");
    unsetenv("TEST_SECRET");
    expect_trouble(SL_SECRET_ENV, "TEST_SECRET", "TEST_SECRET, which should hold a secret, is not set");
    unsetenv("CREDENTIALS_DIRECTORY");
    expect_trouble(SL_SECRET_CREDENTIAL, "secret", "there is no systemd credential secret");
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    write_secret("c", 1);
    expect(SL_SECRET_CREDENTIAL, "secret", "c");
    expect_trouble(SL_SECRET_CREDENTIAL, "../secret", "there is no systemd credential");
    expect_trouble(SL_SECRET_CREDENTIAL, "other", "other: No such file or directory");
    unsetenv("CREDENTIALS_DIRECTORY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_fifo),
        cmocka_unit_test(test_environment_and_credentials),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
