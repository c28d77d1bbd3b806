/* SPDX-License-Identifier: MIT */
/* What packets of a login say, and what is none. */
#include "daemon/ssh/keys/auth_said.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

#define LOOK(said, bytes) sl_auth_said_look(said, (const uint8_t *)(bytes), sizeof(bytes) - 1)

TEST(test_a_rejection)
{
    struct sl_auth_said said = {0};
    LOOK(&said, "\x33\0\0\0\x12publickey,password\0");
    assert_int_equal(said.failures, 1);
    assert_false(said.partial);
    assert_string_equal(said.methods, "publickey,password");
    /* Good, and another is wanted. What lies behind a packet in its memory is not of it. */
    LOOK(&said, "\x33\0\0\0\x08password\1rubbish");
    assert_int_equal(said.failures, 2);
    assert_true(said.partial);
    assert_string_equal(said.methods, "password");
    LOOK(&said, "\x33\0\0\0\0\0");
    assert_int_equal(said.failures, 3);
    assert_string_equal(said.methods, "");
}

TEST(test_what_is_none)
{
    struct sl_auth_said said = {0};
    LOOK(&said, "");
    LOOK(&said, "\x33");
    LOOK(&said, "3des-cbc,aes128-ctr,aes192-ctr");
    LOOK(&said, "\x33\0\0\0\x08passwor");
    LOOK(&said, "\x33\0\0\0\x08password");
    LOOK(&said, "\x33\0\0\0\x08password\2");
    LOOK(&said, "\x33\0\0\0\x08pass\0ord\0");
    LOOK(&said, "\x34\0\0\0\x08password\0");
    LOOK(&said, "\x07\0\0\x01\0\0\0\0\x0fserver-sig-algs\0\0\0\x03"
                "abc");
    assert_int_equal(said.failures, 0);
    assert_false(said.names_sig_algs);
}

TEST(test_extensions)
{
    struct sl_auth_said said = {0};
    LOOK(&said, "\x07\0\0\0\x01\0\0\0\x05other\0\0\0\x01x");
    assert_false(said.names_sig_algs);
    LOOK(&said, "\x07\0\0\0\x02\0\0\0\x05other\0\0\0\x01x\0\0\0\x0fserver-sig-algs\0\0\0\x14ssh-rsa,rsa-sha2-256");
    assert_true(said.names_sig_algs);
    assert_string_equal(said.sig_algs, "ssh-rsa,rsa-sha2-256");
}

TEST(test_too_long_a_list_is_cut_between_names)
{
    struct sl_auth_said said = {0};
    uint8_t packet[1 + 4 + 200 + 1] = {0x33, 0, 0, 0, 200};
    for (int i = 0; i < 200; i += 10)
        memcpy(packet + 5 + i, "abcdefghi,", 10);
    sl_auth_said_look(&said, packet, sizeof packet);
    assert_int_equal(said.failures, 1);
    assert_int_equal(strlen(said.methods), 119);
    assert_string_equal(said.methods + 110, "abcdefghi");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_rejection),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_too_long_a_list_is_cut_between_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
