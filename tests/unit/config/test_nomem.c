/* SPDX-License-Identifier: MIT */
/* Every allocation of ours fails once: each time it is SL_E_NOMEM, nothing leaks (the address sanitizer looks) and
 * nothing is half made. The linker puts the functions below in front of libc's, for our library only. */
#include "tests/support/test.h"
#include "tests/unit/config/parse.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
int __real_vasprintf(char **ret_text, const char *format, va_list args);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_vasprintf(char **ret_text, const char *format, va_list args);
int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How many allocations from now is the one that fails; 0: none. What linker wrapping calls has no argument to carry it.
 */
static unsigned fail_at;

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

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(old, count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

int __wrap_vasprintf(char **ret_text, const char *format, va_list args)
{
    return fails() ? -1 : __real_vasprintf(ret_text, format, args);
}

int __wrap_asprintf(char **ret_text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = fails() ? -1 : __real_vasprintf(ret_text, format, args);
    va_end(args);
    return length;
}

/* Parses with one failure after the other until none is met any more; then the outcome must be `expected`. */
static void parse_short_of_memory(bool one_user, const char *text, int expected)
{
    for (unsigned nth = 1; nth < 10000; nth++) {
        struct sl_conf *conf = NULL;
        struct sl_conf_errors errors = {0};
        fail_at = nth;
        int status = sl_conf_parse_in(&world, "f", text, strlen(text), one_user, &conf, &errors);
        bool met = fail_at == 0;
        fail_at = 0;
        sl_conf_errors_fini(&errors);
        if (!met) {
            assert_int_equal(status, expected);
            assert_true(nth > 10);
            sl_conf_free(conf);
            return;
        }
        assert_int_equal(status, SL_E_NOMEM);
        assert_null(conf);
    }
    fail_msg("more allocations than any configuration needs");
}

TEST(a_good_file)
{
    const char *text =
        "listen: {path: /run/x.sock, mode: \"0600\", group: testers}\n"
        "mux: {directory: /run/mux/}\n"
        "limits: {clients: 10}\n"
        "admin: {users: ci, groups: testers}\n"
        "defaults: {user: ci, identity_file: [/keys/a, /keys/b], certificate_file: [/keys/c, /keys/d],\n"
        "  allow: {users: ci, groups: testers}}\n"
        "targets:\n"
        "  a: {host: b, password: {file: /keys/p}, passphrase: {env: KEY_PASSPHRASE}, send_env: [A, B], "
        "permit_remote_open: [a:1, b:2]}\n"
        "  b: {user_known_hosts_file: [/k, /l], global_known_hosts_file: /g, host_key_alias: x}\n"
        "  c: {identity_agent: SSH_AUTH_SOCK, password: {credential: db}}\n"
        "  d: {ciphers: aes128-cbc, macs: +hmac-md5, kex_algorithms: [^*-sha1], host_key_algorithms: -rsa-*}\n";
    parse_short_of_memory(false, text, 0);
    parse_short_of_memory(true, text, 0);
}

TEST(a_bad_file)
{
    const char *text =
        "targets:\n"
        "  a: {port: 0, identity_file: [x, /keys/a, /none], password: {file: /none}, nonsense: 1}\n"
        "  a: {allow: {users: [ci, bob], groups: testers}, certificate_file: /keys/a, min_idle: 7}\n"
        "  b: {send_env: [A, B=], macs: +x, ciphers: -*, password: {credential: x}, identity_agent: x, min_idle: 5}\n";
    parse_short_of_memory(false, text, SL_E_CONFIG);
    parse_short_of_memory(false, "targets: {a: !tag b, c: *d}", SL_E_CONFIG);
}

TEST(ad_hoc_targets)
{
    struct sl_conf *conf = parse_good(true, "defaults: {password: {file: /keys/p}}");
    for (unsigned nth = 1;; nth++) {
        struct sl_target_conf *t = NULL;
        fail_at = nth;
        int status = sl_conf_adhoc(conf, "root@web1:23", &t);
        bool met = fail_at == 0;
        fail_at = 0;
        if (!met) {
            assert_int_equal(status, 0);
            assert_true(nth > 10);
            sl_target_conf_unref(t);
            break;
        }
        assert_int_equal(status, SL_E_NOMEM);
        assert_null(t);
    }
    sl_conf_free(conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file),
        cmocka_unit_test(a_bad_file),
        cmocka_unit_test(ad_hoc_targets),
    };
    return cmocka_run_group_tests_name("config.nomem", tests, NULL, NULL);
}
