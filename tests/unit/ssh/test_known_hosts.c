/* SPDX-License-Identifier: MIT */
/* The matcher: names, patterns, hashes, ports, markers, and what each verdict rests on. */
#include "daemon/ssh/keys/base64.h"
#include "daemon/ssh/keys/known_hosts.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A blob of a type with a body that tells keys apart. */
struct key {
    uint8_t blob[64];
    size_t len;
    char text[160]; /* "type base64" */
};

static struct key make_key(const char *type, uint8_t body)
{
    struct key key = {.len = 0};
    size_t n = strlen(type);
    key.blob[3] = (uint8_t)n;
    memcpy(key.blob + 4, type, n);
    memset(key.blob + 4 + n, body, 16);
    key.len = 4 + n + 16;
    char *base64 = sl_base64_encode(key.blob, key.len);
    snprintf(key.text, sizeof key.text, "%s %s", type, base64);
    free(base64);
    return key;
}

static void hashed(const char *name, char *out, size_t size)
{
    uint8_t salt[20], hash[EVP_MAX_MD_SIZE];
    unsigned len;
    memset(salt, 7, sizeof salt);
    HMAC(EVP_sha1(), salt, sizeof salt, (const uint8_t *)name, strlen(name), hash, &len);
    char *a = sl_base64_encode(salt, sizeof salt), *b = sl_base64_encode(hash, len);
    snprintf(out, size, "|1|%s|%s", a, b);
    free(a);
    free(b);
}

static const struct sl_known_key *decided;
static struct sl_known_keys keys;
static unsigned decided_line;

/* The verdict of one file's text about one host and key. */
static enum sl_known_verdict judge(
    const char *text, const char *host, uint16_t port, const char *alias, const struct key *key)
{
    struct sl_known_name name;
    assert_int_equal(sl_known_name_init(&name, host, port, alias), 0);
    sl_known_keys_fini(&keys);
    assert_int_equal(sl_known_keys_scan(&keys, "kh", text, strlen(text), &name), 0);
    sl_known_name_fini(&name);
    enum sl_known_verdict verdict = sl_known_keys_judge(&keys, key->blob, key->len, &decided);
    decided_line = decided != NULL ? decided->line : 0;
    return verdict;
}

static char line[4096];
static const char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *format(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    return line;
}

TEST(test_plain_names)
{
    struct key a = make_key("ssh-ed25519", 1), b = make_key("ssh-ed25519", 2);
    assert_int_equal(judge(format("web1 %s\n", a.text), "web1", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("web1 %s", a.text), "WEB1", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("WEB1 %s\r\n", a.text), "web1", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("  web0,web1\t%s comment here\n", a.text), "web1", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("web1 %s\n", a.text), "web11", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("web11 %s\n", a.text), "web1", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge("", "web1", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("# web1\n\nweb1 %s\n", b.text), "web1", 22, NULL, &a), SL_KNOWN_CHANGED);
    assert_int_equal(decided_line, 3);
    assert_string_equal(decided->file, "kh");
}

TEST(test_patterns)
{
    struct key a = make_key("ssh-ed25519", 1);
    assert_int_equal(judge(format("*.example.org %s\n", a.text), "a.example.org", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("*.example.org %s\n", a.text), "example.org", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("10.0.0.? %s\n", a.text), "10.0.0.5", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("10.0.0.? %s\n", a.text), "10.0.0.55", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("*,!bad.* %s\n", a.text), "bad.example", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("!bad.*,* %s\n", a.text), "bad.example", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("*,!bad.* %s\n", a.text), "good.example", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("!good %s\n", a.text), "other", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("a*b*c %s\n", a.text), "aXbXbXc", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("a*b*c %s\n", a.text), "aXbXbX", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    /* Costs no more than length times length. */
    assert_int_equal(judge(format("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b %s\n", a.text),
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 22, NULL, &a),
        SL_KNOWN_UNKNOWN);
}

TEST(test_hashed_names)
{
    struct key a = make_key("ssh-ed25519", 1), b = make_key("ssh-ed25519", 2);
    char hash[128], port[128];
    hashed("web1", hash, sizeof hash);
    hashed("[web1]:2222", port, sizeof port);
    assert_int_equal(judge(format("%s %s\n", hash, a.text), "web1", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("%s %s\n", hash, a.text), "Web1", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("%s %s\n", hash, b.text), "web1", 22, NULL, &a), SL_KNOWN_CHANGED);
    assert_int_equal(judge(format("%s %s\n", hash, a.text), "web2", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("%s %s\n", port, a.text), "web1", 2222, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("%s %s\n", port, a.text), "web1", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("|1|x|y %s\n|1| %s\n|1|%s %s\n", a.text, a.text, "=", a.text), "web1", 22, NULL, &a),
        SL_KNOWN_UNKNOWN);
    /* One that ssh-keygen -H made. */
    assert_int_equal(judge(format("|1|G77bWCsYccQUPFDxMOgmv5oesXE=|kHIh2H/mG6FjYtdkxitUofIbWro= %s\n", a.text),
                         "192.168.1.61", 22, NULL, &a),
        SL_KNOWN_OK);
}

TEST(test_ports)
{
    struct key a = make_key("ssh-ed25519", 1), b = make_key("ssh-ed25519", 2);
    assert_int_equal(judge(format("[web1]:2222 %s\n", a.text), "web1", 2222, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("[web1]:2222 %s\n", b.text), "web1", 2222, NULL, &a), SL_KNOWN_CHANGED);
    assert_int_equal(judge(format("[web1]:2222 %s\n", a.text), "web1", 2223, NULL, &a), SL_KNOWN_UNKNOWN);
    /* A line without the port helps, but does not hurt. */
    assert_int_equal(judge(format("web1 %s\n", a.text), "web1", 2222, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("web1 %s\n", b.text), "web1", 2222, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("[web1]:* %s\n", a.text), "web1", 2222, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("alias %s\n", a.text), "web1", 2222, "alias", &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("web1 %s\n", a.text), "web1", 22, "alias", &a), SL_KNOWN_UNKNOWN);
}

TEST(test_markers)
{
    struct key a = make_key("ssh-ed25519", 1), b = make_key("ssh-ed25519", 2);
    assert_int_equal(judge(format("web1 %s\n@revoked * %s\n", a.text, a.text), "web1", 22, NULL, &a), SL_KNOWN_REVOKED);
    assert_int_equal(decided_line, 2);
    assert_int_equal(judge(format("@revoked * %s\nweb1 %s\n", b.text, a.text), "web1", 22, NULL, &a), SL_KNOWN_OK);
    assert_int_equal(judge(format("@revoked web1 %s\n", a.text), "web1", 2222, NULL, &a), SL_KNOWN_REVOKED);
    assert_int_equal(judge(format("@revoked web2 %s\n", a.text), "web1", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    /* A revoked key alone does not make another a changed one. */
    assert_int_equal(judge(format("@revoked * %s\n", b.text), "web1", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("@cert-authority * %s\n", a.text), "web1", 22, NULL, &a), SL_KNOWN_UNKNOWN);
    assert_int_equal(judge(format("@something web1 %s\n", a.text), "web1", 22, NULL, &a), SL_KNOWN_UNKNOWN);
}

TEST(test_several_types)
{
    struct key ed = make_key("ssh-ed25519", 1), rsa = make_key("ssh-rsa", 2), rsa2 = make_key("ssh-rsa", 3);
    assert_int_equal(judge(format("h %s\nh %s\n", ed.text, rsa.text), "h", 22, NULL, &rsa), SL_KNOWN_OK);
    assert_int_equal(decided_line, 2);
    assert_int_equal(judge(format("h %s\nh %s\n", ed.text, rsa.text), "h", 22, NULL, &rsa2), SL_KNOWN_CHANGED);
    assert_int_equal(decided_line, 2);
    /* A key of a type never seen is not the known host's key either. */
    assert_int_equal(judge(format("h %s\n", ed.text), "h", 22, NULL, &rsa), SL_KNOWN_CHANGED);
}

TEST(test_bad_lines_are_skipped)
{
    struct key a = make_key("ssh-ed25519", 1);
    assert_int_equal(judge(format("h\nh ssh-ed25519\nh ssh-ed25519 !!!\nh ssh-rsa %s\n\xff\xfe\nh %s\n",
                               strchr(a.text, ' ') + 1, a.text),
                         "h", 22, NULL, &a),
        SL_KNOWN_OK);
    assert_int_equal(decided_line, 6);
    assert_int_equal(keys.count, 1);
}

TEST(test_new_line)
{
    struct key a = make_key("ssh-ed25519", 1);
    struct sl_known_name name;
    assert_int_equal(sl_known_name_init(&name, "Web1", 2222, NULL), 0);
    char *made = sl_known_hosts_line(&name, a.blob, a.len);
    assert_string_equal(made, format("[web1]:2222 %s\n", a.text));
    assert_int_equal(judge(made, "web1", 2222, NULL, &a), SL_KNOWN_OK);
    free(made);
    assert_null(sl_known_hosts_line(&name, (const uint8_t *)"junk", 4));
    sl_known_name_fini(&name);
    char *fingerprint = sl_key_fingerprint((const uint8_t *)"abc", 3);
    assert_string_equal(fingerprint, "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0");
    free(fingerprint);
}

TEST(test_base64)
{
    for (size_t len = 0; len < 40; len++) {
        uint8_t data[40] = {0}, *back;
        size_t back_len;
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)(i * 37 + len);
        char *text = sl_base64_encode(data, len);
        assert_int_equal(sl_base64_decode(text, strlen(text), &back, &back_len), 0);
        assert_int_equal(back_len, len);
        assert_memory_equal(back, data, len);
        free(text);
        free(back);
    }
    uint8_t *none;
    size_t none_len;
    assert_int_equal(sl_base64_decode("A", 1, &none, &none_len), SL_E_INVALID);
    assert_int_equal(sl_base64_decode("AA=A", 4, &none, &none_len), SL_E_INVALID);
    assert_int_equal(sl_base64_decode("A$AA", 4, &none, &none_len), SL_E_INVALID);
}

static int group_teardown(void **state)
{
    (void)state;
    sl_known_keys_fini(&keys);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_names),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_hashed_names),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_markers),
        cmocka_unit_test(test_several_types),
        cmocka_unit_test(test_bad_lines_are_skipped),
        cmocka_unit_test(test_new_line),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, group_teardown);
}
