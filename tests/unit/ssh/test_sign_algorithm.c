/* SPDX-License-Identifier: MIT */
/* Which signature algorithm is tried with which key. */
#include "daemon/ssh/keys/sign_algorithm.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

static const char *rsa = "";

static void expect(const char *type, const char *server, unsigned at, const char *algorithm)
{
    struct sl_auth_said said = {.names_sig_algs = server != NULL};
    char buf[SL_SIGN_ALGORITHM_SIZE];
    if (server != NULL)
        strcpy(said.sig_algs, server);
    const char *got = sl_sign_algorithm(&said, type, rsa, at, buf);
    if (algorithm == NULL) {
        assert_null(got);
    } else {
        assert_non_null(got);
        assert_string_equal(got, algorithm);
    }
}

TEST(test_only_rsa_leaves_a_choice)
{
    expect("ssh-ed25519", NULL, 0, "ssh-ed25519");
    expect("ssh-ed25519", NULL, 1, NULL);
    expect("ecdsa-sha2-nistp256", "rsa-sha2-512", 0, "ecdsa-sha2-nistp256");
    expect("ecdsa-sha2-nistp256", "rsa-sha2-512", 1, NULL);
}

TEST(test_a_server_that_says_is_believed)
{
    expect("ssh-rsa", "ssh-ed25519,rsa-sha2-256,rsa-sha2-512", 0, "rsa-sha2-512");
    expect("ssh-rsa", "ssh-ed25519,rsa-sha2-256,rsa-sha2-512", 1, NULL);
    expect("ssh-rsa", "rsa-sha2-256", 0, "rsa-sha2-256");
    expect("ssh-rsa", "ssh-rsa", 0, "ssh-rsa");
    expect("ssh-rsa", "ssh-ed25519", 0, NULL);
    expect("ssh-rsa", "", 0, NULL);
    expect("ssh-rsa-cert-v01@openssh.com", "rsa-sha2-512", 0, "ssh-rsa-cert-v01@openssh.com");
    expect("ssh-rsa-cert-v01@openssh.com", "rsa-sha2-512", 1, NULL);
}

TEST(test_where_none_is_named_all_are_tried_sha_1_last)
{
    expect("ssh-rsa", NULL, 0, "rsa-sha2-512");
    expect("ssh-rsa", NULL, 1, "rsa-sha2-256");
    expect("ssh-rsa", NULL, 2, "ssh-rsa");
    expect("ssh-rsa", NULL, 3, NULL);
    expect("ssh-rsa-cert-v01@openssh.com", NULL, 0, "rsa-sha2-512-cert-v01@openssh.com");
    expect("ssh-rsa-cert-v01@openssh.com", NULL, 2, "ssh-rsa-cert-v01@openssh.com");
    expect("ssh-rsa-cert-v01@openssh.com", NULL, 3, NULL);
}

TEST(test_what_a_target_allows)
{
    rsa = "rsa-sha2-256,rsa-sha2-512";
    expect("ssh-rsa", "rsa-sha2-512,rsa-sha2-256,ssh-rsa", 0, "rsa-sha2-256");
    expect("ssh-rsa", "ssh-rsa", 0, NULL);
    expect("ssh-rsa", NULL, 0, "rsa-sha2-256");
    expect("ssh-rsa", NULL, 1, "rsa-sha2-512");
    expect("ssh-rsa", NULL, 2, NULL);
    expect("ssh-ed25519", NULL, 0, "ssh-ed25519");
    rsa = "";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_rsa_leaves_a_choice),
        cmocka_unit_test(test_a_server_that_says_is_believed),
        cmocka_unit_test(test_where_none_is_named_all_are_tried_sha_1_last),
        cmocka_unit_test(test_what_a_target_allows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
