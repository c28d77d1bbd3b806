/* SPDX-License-Identifier: MIT */
/* The ssh-agent codec: requests byte for byte, answers good and bad. */
#include "daemon/ssh/keys/agent_codec.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <string.h>

#define BYTES(text) ((struct sl_bytes){(const uint8_t *)(text), sizeof(text) - 1})

TEST(test_requests)
{
    uint8_t message[64];
    struct sl_writer w;
    sl_writer_init(&w, message, sizeof message);
    sl_agent_put_list(&w);
    assert_int_equal(w.at, 5);
    assert_memory_equal(message, "\0\0\0\x01\x0b", 5);
    sl_writer_init(&w, message, sizeof message);
    sl_agent_put_sign(&w, BYTES("key"), BYTES("data"), SL_AGENT_RSA_SHA2_512);
    assert_false(w.overflow);
    assert_int_equal(w.at, 4 + 1 + 7 + 8 + 4);
    assert_memory_equal(message,
        "\0\0\0\x14\x0d\0\0\0\x03key\0\0\0\x04"
        "data\0\0\0\x04",
        w.at);
}

TEST(test_list)
{
    struct sl_agent_key key[SL_AGENT_KEYS_MAX];
    size_t count = 99;
    assert_int_equal(sl_agent_get_list(BYTES("\x0c\0\0\0\0"), key, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(sl_agent_get_list(BYTES("\x0c\0\0\0\x02\0\0\0\x01"
                                             "A\0\0\0\0\0\0\0\x02"
                                             "BB\0\0\0\x01"
                                             "c"),
                         key, &count),
        0);
    assert_int_equal(count, 2);
    assert_int_equal(key[0].blob.len, 1);
    assert_memory_equal(key[1].blob.data, "BB", 2);
    assert_memory_equal(key[1].comment.data, "c", 1);
    /* Says two, brings one; says no; says nothing. */
    count = 99;
    assert_int_equal(sl_agent_get_list(BYTES("\x0c\0\0\0\x02\0\0\0\x01"
                                             "A\0\0\0\0"),
                         key, &count),
        SL_E_PROTOCOL);
    assert_int_equal(sl_agent_get_list(BYTES("\x05"), key, &count), SL_E_PROTOCOL);
    assert_int_equal(sl_agent_get_list(BYTES(""), key, &count), SL_E_PROTOCOL);
    assert_int_equal(sl_agent_get_list(BYTES("\x0c\xff\xff\xff\xff\xff\xff\xff\xff"), key, &count), SL_E_PROTOCOL);
    assert_int_equal(count, 99);
}

TEST(test_many_keys_are_cut)
{
    uint8_t answer[4096];
    struct sl_writer w;
    struct sl_agent_key key[SL_AGENT_KEYS_MAX];
    size_t count = 0;
    sl_writer_init(&w, answer, sizeof answer);
    sl_put_u8(&w, 12);
    sl_put_u32(&w, 200);
    for (int i = 0; i < 200; i++) {
        sl_put_string(&w, "k", 1);
        sl_put_string(&w, "c", 1);
    }
    assert_false(w.overflow);
    assert_int_equal(sl_agent_get_list((struct sl_bytes){answer, w.at}, key, &count), 0);
    assert_int_equal(count, SL_AGENT_KEYS_MAX);
}

TEST(test_signature)
{
    struct sl_bytes algorithm = {NULL, 0}, signature = {NULL, 0};
    assert_int_equal(
        sl_agent_get_signature(BYTES("\x0e\0\0\0\x12\0\0\0\x0bssh-ed25519\0\0\0\x03SIG"), &algorithm, &signature),
        SL_E_PROTOCOL);
    assert_int_equal(
        sl_agent_get_signature(BYTES("\x0e\0\0\0\x16\0\0\0\x0bssh-ed25519\0\0\0\x03SIG"), &algorithm, &signature), 0);
    assert_int_equal(signature.len, 3);
    assert_memory_equal(signature.data, "SIG", 3);
    assert_int_equal(algorithm.len, 11);
    assert_memory_equal(algorithm.data, "ssh-ed25519", 11);
    /* Keys in hardware: the flags and the counter behind the signature belong to it. */
    assert_int_equal(
        sl_agent_get_signature(BYTES("\x0e\0\0\0\x12\0\0\0\x02sk\0\0\0\x03SIGAAAAA"), &algorithm, &signature), 0);
    assert_int_equal(signature.len, 3);
    assert_int_equal(
        sl_agent_get_signature(BYTES("\x0e\0\0\0\x14\0\0\0\x04sk-x\0\0\0\x03SIGAAAAA"), &algorithm, &signature), 0);
    assert_int_equal(signature.len, 12);
    assert_memory_equal(signature.data, "\0\0\0\x03SIGAAAAA", 12);
    assert_int_equal(sl_agent_get_signature(BYTES("\x05"), &algorithm, &signature), SL_E_CREDENTIALS);
    assert_int_equal(sl_agent_get_signature(BYTES(""), &algorithm, &signature), SL_E_PROTOCOL);
}

static uint32_t flags_for(const char *algorithm)
{
    uint8_t data[256];
    struct sl_writer w;
    sl_writer_init(&w, data, sizeof data);
    sl_put_text(&w, "session-id");
    sl_put_u8(&w, 50);
    sl_put_text(&w, "user");
    sl_put_text(&w, "ssh-connection");
    sl_put_text(&w, "publickey");
    sl_put_bool(&w, true);
    sl_put_text(&w, algorithm);
    sl_put_text(&w, "blob");
    struct sl_bytes wanted;
    assert_int_equal(sl_agent_get_algorithm((struct sl_bytes){data, w.at}, &wanted), 0);
    return sl_agent_sign_flags(wanted);
}

TEST(test_sign_flags)
{
    assert_int_equal(flags_for("rsa-sha2-256"), SL_AGENT_RSA_SHA2_256);
    assert_int_equal(flags_for("rsa-sha2-512"), SL_AGENT_RSA_SHA2_512);
    assert_int_equal(flags_for("rsa-sha2-512-cert-v01@openssh.com"), SL_AGENT_RSA_SHA2_512);
    assert_int_equal(flags_for("ssh-ed25519"), 0);
    assert_int_equal(flags_for("ssh-rsa"), 0);
    struct sl_bytes wanted;
    assert_int_equal(sl_agent_get_algorithm(BYTES("junk"), &wanted), SL_E_PROTOCOL);
}

static bool is_signed_with(const char *signature, const char *wanted)
{
    return sl_agent_is_signed_with((struct sl_bytes){(const uint8_t *)signature, strlen(signature)},
        (struct sl_bytes){(const uint8_t *)wanted, strlen(wanted)});
}

TEST(test_algorithm_of_a_signature)
{
    assert_true(is_signed_with("ssh-ed25519", "ssh-ed25519"));
    assert_true(is_signed_with("rsa-sha2-512", "rsa-sha2-512"));
    assert_true(is_signed_with("rsa-sha2-512", "rsa-sha2-512-cert-v01@openssh.com"));
    assert_true(is_signed_with("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com"));
    assert_true(is_signed_with("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519-cert-v01@openssh.com"));
    assert_false(is_signed_with("ssh-rsa", "rsa-sha2-512"));
    assert_false(is_signed_with("rsa-sha2-256", "rsa-sha2-512"));
    assert_false(is_signed_with("", "ssh-rsa"));
    assert_false(is_signed_with("ssh-ed25519@openssh.com", "ssh-ed25519-cert-v01@openssh.com"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_many_keys_are_cut),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_sign_flags),
        cmocka_unit_test(test_algorithm_of_a_signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
