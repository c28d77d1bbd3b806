/* SPDX-License-Identifier: MIT */
/* What is offered where the library checks the lengths of packets, too: compiled with SL_LIBSSH2_CHECKS_LENGTHS. */
#include "daemon/ssh/keys/algorithms.h"
#include "tests/support/test.h"

TEST(encrypt_then_mac_leads_and_sha1_is_last)
{
    assert_string_equal(sl_algorithms_default(SL_ALGORITHM_MAC),
        "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512,"
        "hmac-sha1-etm@openssh.com,hmac-sha1");
    assert_string_equal(sl_algorithms_default(SL_ALGORITHM_CIPHER),
        "aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
        "chacha20-poly1305@openssh.com");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(encrypt_then_mac_leads_and_sha1_is_last)};
    return cmocka_run_group_tests_name("ssh.algorithms_checked", tests, NULL, NULL);
}
