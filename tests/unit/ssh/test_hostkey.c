/* SPDX-License-Identifier: MIT */
/* What is answered about a key where the files cannot be read or written, or name an authority instead of a key. */
#include "config/build.h"
#include "daemon/ssh/keys/base64.h"
#include "daemon/ssh/keys/hostkey.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* string "ssh-ed25519", string key */
static const uint8_t blob[] = "\0\0\0\013ssh-ed25519\0\0\0\040abcdefghijklmnopqrstuvwxyz012345";
static const uint8_t other[] = "\0\0\0\013ssh-ed25519\0\0\0\040another-key-of-32-bytes-exactly.";
#define SHOWN "SHA256:mTB0raVQ96HxbqU8+YC8O/zgPOeWu+1fqOI7c73T7bk ssh-ed25519"

static char directory[64], file[96];
static uv_loop_t loop;
static struct sl_target_conf *target;

static int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/sshlease-hostkey.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(file, sizeof file, "%s/known_hosts", directory);
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(sl_target_conf_new(&target), 0);
    target->name = strdup("test");
    target->host = strdup("192.0.2.1");
    target->port = 22;
    target->host_key_checking = SL_HOST_KEY_ACCEPT_NEW;
    assert_int_equal(sl_strv_add(&target->known_hosts, file), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sl_target_conf_unref(target);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    unlink(file);
    rmdir(directory);
    return 0;
}

static void write_file(const char *prefix, const uint8_t *key, size_t len)
{
    char *base64 = sl_base64_encode(key, len);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    fprintf(f, "%s ssh-ed25519 %s\n", prefix, base64);
    fclose(f);
    free(base64);
}

static int answered;
static char answer[800];

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

/* What a look at `blob` ends with. */
static void expect(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void expect(int status, const char *format, ...)
{
    struct sl_hostkey *hostkey;
    char expected[800];
    va_list args;
    answered = 1;
    assert_int_equal(sl_hostkey_load(&loop, target, on_loaded, NULL, &hostkey), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    sl_hostkey_check(hostkey, blob, sizeof blob - 1, on_checked, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    sl_hostkey_free(hostkey);
    va_start(args, format);
    vsnprintf(expected, sizeof expected, format, args);
    va_end(args);
    assert_string_equal(answer, expected);
    assert_int_equal(answered, status);
}

static void use_file(const char *path)
{
    sl_strv_fini(&target->known_hosts);
    assert_int_equal(sl_strv_add(&target->known_hosts, path), 0);
}

TEST(a_new_key_is_written_down_without_a_word)
{
    expect(0, "%s", "");
    assert_int_equal(access(file, R_OK), 0);
    target->host_key_checking = SL_HOST_KEY_STRICT;
    expect(0, "%s", "");
}

TEST(what_cannot_be_written_is_a_warning)
{
    use_file("/proc/nowhere/known_hosts");
    expect(0,
        "the new host key " SHOWN
        " could not be written down: /proc/nowhere/known_hosts: No such file or directory; it is accepted, and will be "
        "new again the next time");
    /* Nobody is believed for that who is not new. */
    write_file("192.0.2.1", other, sizeof other - 1);
    assert_int_equal(sl_strv_add(&target->known_hosts, file), 0);
    struct sl_hostkey *hostkey;
    assert_int_equal(sl_hostkey_load(&loop, target, on_loaded, NULL, &hostkey), 0);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    sl_hostkey_check(hostkey, blob, sizeof blob - 1, on_checked, NULL);
    assert_int_equal(answered, SL_E_HOST_KEY_CHANGED);
    sl_hostkey_free(hostkey);
}

TEST(whoever_locks_the_file_keeps_nobody_out)
{
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    expect(0,
        "the new host key " SHOWN " could not be written down: %s: locked by another program; it is accepted, and will "
        "be new again the next time",
        file);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    close(fd);
}

static size_t size_of_file(void)
{
    struct stat st;
    return stat(file, &st) == 0 ? (size_t)st.st_size : 0;
}

/* Somebody else writes the host down between our look at the file and our line in it: that counts, and is left alone. */
TEST(what_is_written_meanwhile_counts)
{
    static const struct {
        const char *prefix;
        const uint8_t *key;
        int status;
    } rows[] = {
        {"192.0.2.1", other, SL_E_HOST_KEY_CHANGED},
        {"@revoked *", blob, SL_E_HOST_KEY_REVOKED},
        {"@cert-authority *", other, SL_E_HOST_KEY_UNKNOWN},
        {"192.0.2.1", blob, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sl_hostkey *hostkey;
        (void)unlink(file);
        answered = 1;
        assert_int_equal(sl_hostkey_load(&loop, target, on_loaded, NULL, &hostkey), 0);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        write_file(rows[i].prefix, rows[i].key, sizeof blob - 1);
        size_t before = size_of_file();
        sl_hostkey_check(hostkey, blob, sizeof blob - 1, on_checked, NULL);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        sl_hostkey_free(hostkey);
        assert_int_equal(answered, rows[i].status);
        assert_int_equal(size_of_file(), before);
    }
}

TEST(a_file_that_cannot_be_read_is_not_an_empty_one)
{
    assert_int_equal(sl_strv_add(&target->known_hosts, directory), 0);
    expect(SL_E_HOST_KEY_UNKNOWN,
        "the new host key " SHOWN " is not taken over, for it may be revoked or be another where it could not be "
        "looked up: %s: Is a directory; let "
        "the daemon read that file, or name other files",
        directory);
    target->host_key_checking = SL_HOST_KEY_STRICT;
    expect(
        SL_E_HOST_KEY_UNKNOWN, "the host key " SHOWN " is not in %s (cannot read %s: Is a directory)", file, directory);
    /* A key that is known elsewhere is taken, as by ssh, but it is said. */
    write_file("192.0.2.1", blob, sizeof blob - 1);
    for (int i = 0; i < 2; i++) {
        expect(0,
            "the host key is the one of %s:1; whether it is @revoked where it could not be looked up is not known: %s: "
            "Is "
            "a directory",
            file, directory);
        target->host_key_checking = SL_HOST_KEY_ACCEPT_NEW;
    }
}

/* One that the configuration names may hold what is revoked; a default one, of which the first is the user's, need not be
 * there for us. */
TEST(a_file_that_was_named_must_be_read)
{
    write_file("192.0.2.1", blob, sizeof blob - 1);
    assert_int_equal(sl_strv_add(&target->known_hosts, directory), 0);
    target->user_known_hosts_count = 1;
    for (int i = 0; i < 2; i++) {
        target->user_known_hosts_named = true;
        target->global_known_hosts_named = false;
        expect(0,
            "the host key is the one of %s:1; whether it is @revoked where it could not be looked up is not known: %s: "
            "Is "
            "a directory",
            file, directory);
        target->user_known_hosts_named = false;
        target->global_known_hosts_named = true;
        expect(SL_E_HOST_KEY_UNKNOWN,
            "the host key is the one of %s:1, but may be @revoked in a file that the configuration names: %s: Is a "
            "directory; let the daemon read that file, or name other files",
            file, directory);
        target->host_key_checking = SL_HOST_KEY_STRICT;
    }
    /* One that is not there revokes nothing. */
    assert_int_equal(sl_strv_add(&target->known_hosts, "/nonexistent/known_hosts"), 0);
    target->user_known_hosts_count = 2;
    target->user_known_hosts_named = false;
    target->global_known_hosts_named = true;
    expect(0,
        "the host key is the one of %s:1; whether it is @revoked where it could not be looked up is not known: %s: Is "
        "a directory",
        file, directory);
}

#define NO_CERTIFICATES                                                                                                \
    "host certificates are not supported by the SSH library, and beside the @cert-authority of %s:1 no plain key of "  \
    "this host is known: compare " SHOWN ", which the server shows, and add it with "

TEST(an_authority_vouches_for_no_key)
{
    write_file("@cert-authority 192.0.2.*,[192.0.2.*]:*,alias", other, sizeof other - 1);
    for (int i = 0; i < 2; i++) {
        expect(SL_E_HOST_KEY_UNKNOWN, NO_CERTIFICATES "\"ssh-keyscan 192.0.2.1 >> %s\"", file, file);
        target->host_key_checking = SL_HOST_KEY_STRICT;
    }
    target->port = 2222;
    expect(SL_E_HOST_KEY_UNKNOWN, NO_CERTIFICATES "\"ssh-keyscan -p 2222 192.0.2.1 >> %s\"", file, file);
    target->host_key_alias = strdup("alias");
    expect(SL_E_HOST_KEY_UNKNOWN,
        NO_CERTIFICATES "\"ssh-keyscan -p 2222 192.0.2.1 | sed 's/^[^# ][^ ]*/alias/' >> %s\"", file, file);
    /* One that is about other hosts says nothing. */
    write_file("@cert-authority 198.51.100.*", other, sizeof other - 1);
    expect(SL_E_HOST_KEY_UNKNOWN, "the host key " SHOWN " is not in %s", file);
}

TEST(a_plain_key_beside_an_authority_is_enough)
{
    char text[256];
    char *base64 = sl_base64_encode(blob, sizeof blob - 1);
    snprintf(text, sizeof text, "192.0.2.1 ssh-ed25519 %s\n@cert-authority *", base64);
    free(base64);
    write_file(text, other, sizeof other - 1);
    expect(0, "%s", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_key_is_written_down_without_a_word, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_a_warning, setup, teardown),
        cmocka_unit_test_setup_teardown(whoever_locks_the_file_keeps_nobody_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_written_meanwhile_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_is_not_an_empty_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_was_named_must_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(an_authority_vouches_for_no_key, setup, teardown),
        cmocka_unit_test_setup_teardown(a_plain_key_beside_an_authority_is_enough, setup, teardown),
    };
    return cmocka_run_group_tests_name("ssh.hostkey", tests, NULL, NULL);
}
