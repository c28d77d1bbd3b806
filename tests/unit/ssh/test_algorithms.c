/* SPDX-License-Identifier: MIT */
/* What is offered: the defaults, a target's own lists, the order of host-key algorithms, and which keys may be used. */
#include "daemon/ssh/keys/algorithms.h"
#include "daemon/ssh/transport.h"
#include "tests/support/test.h"

#include <stdlib.h>
#include <string.h>

static const struct sl_known_keys nobody_known = {.item = NULL};

static void expect_offer(const struct sl_target_conf *target, enum sl_algorithm_kind kind,
    const struct sl_known_keys *known, const char *expected)
{
    char *list = sl_algorithms_offer(target, kind, known);
    assert_non_null(list);
    assert_string_equal(list, expected);
    free(list);
}

TEST(what_this_library_does_not_do_safely_is_not_offered)
{
    const struct sl_target_conf plain = {.name = NULL};
    bool mended = !sl_algorithms_risky("hmac-sha2-256-etm@openssh.com", strlen("hmac-sha2-256-etm@openssh.com"));
    expect_offer(&plain, SL_ALGORITHM_MAC, &nobody_known,
        mended ? "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512,"
                 "hmac-sha1-etm@openssh.com,hmac-sha1"
               : "hmac-sha2-256,hmac-sha2-512,hmac-sha1");
    expect_offer(&plain, SL_ALGORITHM_CIPHER, &nobody_known,
        mended ? "aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com,"
                 "chacha20-poly1305@openssh.com"
               : "aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com");
    assert_null(strstr(sl_algorithms_default(SL_ALGORITHM_KEX), "sha1"));
    assert_null(strstr(sl_algorithms_default(SL_ALGORITHM_HOST_KEY), "cert"));
}

TEST(a_target_says_otherwise)
{
    char macs[] = "hmac-md5,hmac-sha1";
    struct sl_target_conf target = {.name = NULL};
    target.algorithms[SL_ALGORITHM_MAC].names = macs;
    expect_offer(&target, SL_ALGORITHM_MAC, &nobody_known, macs);
}

TEST(ciphers_that_need_no_mac_can_come_first)
{
    char list[] = "aes128-ctr,aes128-gcm@openssh.com,aes256-ctr,aes256-gcm@openssh.com";
    assert_true(sl_algorithms_put_first_without_mac(list));
    assert_string_equal(list, "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr");
    char none[] = "aes256-ctr,aes128-ctr";
    assert_true(sl_algorithms_put_first_without_mac(none));
    assert_string_equal(none, "aes256-ctr,aes128-ctr");
}

TEST(host_key_algorithms_of_known_keys_come_first)
{
    struct sl_target_conf target = {.name = NULL};
    expect_offer(&target, SL_ALGORITHM_HOST_KEY, &nobody_known,
        "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256");
    char rsa[] = "ssh-rsa", p384[] = "ecdsa-sha2-nistp384", ed[] = "ssh-ed25519";
    struct sl_known_key item[] = {{.type = rsa}, {.type = p384}, {.type = ed, .revoked = true}};
    const struct sl_known_keys known = {.item = item, .count = 3};
    expect_offer(&target, SL_ALGORITHM_HOST_KEY, &known,
        "ecdsa-sha2-nistp384,rsa-sha2-512,rsa-sha2-256,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp521");
    /* As in ssh: after + and - still so, but a list of the user's own keeps its order. */
    char names[] = "ssh-ed25519,ssh-rsa,ecdsa-sha2-nistp384";
    target.algorithms[SL_ALGORITHM_HOST_KEY].names = names;
    expect_offer(&target, SL_ALGORITHM_HOST_KEY, &known, "ssh-rsa,ecdsa-sha2-nistp384,ssh-ed25519");
    target.algorithms[SL_ALGORITHM_HOST_KEY].in_order = true;
    expect_offer(&target, SL_ALGORITHM_HOST_KEY, &known, names);
}

TEST(which_keys_may_be_used)
{
    static const struct {
        const char *accepted, *type;
        bool yes;
    } rows[] = {
        {NULL, "ssh-rsa", true},
        {NULL, "something-new@example.org", true},
        {"ssh-ed25519", "ssh-ed25519", true},
        {"ssh-ed25519", "ssh-rsa", false},
        {"ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com", false},
        {"ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com", true},
        {"ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", false},
        {"rsa-sha2-256", "ssh-rsa", true},
        {"rsa-sha2-256", "ssh-rsa-cert-v01@openssh.com", false},
        {"rsa-sha2-512-cert-v01@openssh.com", "ssh-rsa-cert-v01@openssh.com", true},
        {"rsa-sha2-512-cert-v01@openssh.com", "ssh-rsa", false},
        {"ssh-rsa", "ssh-rsa", true},
        {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *accepted = rows[i].accepted != NULL ? strdup(rows[i].accepted) : NULL;
        struct sl_target_conf target = {.name = NULL};
        target.algorithms[SL_ALGORITHM_PUBKEY].names = accepted;
        if (sl_algorithms_accept_key(&target, rows[i].type, strlen(rows[i].type)) != rows[i].yes)
            fail_msg("%s and %s", rows[i].accepted, rows[i].type);
        free(accepted);
    }
}

TEST(what_rsa_keys_sign_with)
{
    static const struct {
        const char *accepted, *signatures;
    } rows[] = {
        {NULL, ""},
        {"ssh-ed25519", ""},
        {"ssh-ed25519,rsa-sha2-256,ssh-rsa", "rsa-sha2-256,ssh-rsa"},
        {"rsa-sha2-256-cert-v01@openssh.com,rsa-sha2-512,rsa-sha2-256", "rsa-sha2-256,rsa-sha2-512"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *accepted = rows[i].accepted != NULL ? strdup(rows[i].accepted) : NULL;
        struct sl_target_conf target = {.name = NULL};
        target.algorithms[SL_ALGORITHM_PUBKEY].names = accepted;
        char *list = sl_algorithms_rsa_signatures(&target);
        assert_non_null(list);
        assert_string_equal(list, rows[i].signatures);
        free(list);
        free(accepted);
    }
}

static bool has(const struct sl_strv *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->item[i], name) == 0)
            return true;
    return false;
}

TEST(what_the_library_has)
{
    struct sl_algorithms there;
    assert_int_equal(sl_transport_algorithms(&there), 0);
    for (size_t kind = 0; kind < SL_ALGORITHM_KINDS; kind++) {
        /* All that is offered by default is there, in that order. */
        const char *list = sl_algorithms_default((enum sl_algorithm_kind)kind), *name;
        size_t len;
        for (size_t i = 0; sl_name_list_next(&list, &name, &len); i++) {
            assert_true(i < there.by_default[kind].count);
            assert_memory_equal(there.by_default[kind].item[i], name, len);
            assert_true(has(&there.has[kind], there.by_default[kind].item[i]));
        }
    }
    assert_true(has(&there.has[SL_ALGORITHM_CIPHER], "chacha20-poly1305@openssh.com"));
    assert_true(has(&there.has[SL_ALGORITHM_CIPHER], "aes128-cbc"));
    assert_true(has(&there.has[SL_ALGORITHM_MAC], "hmac-sha2-256-etm@openssh.com"));
    assert_true(has(&there.has[SL_ALGORITHM_KEX], "diffie-hellman-group14-sha1"));
    assert_true(has(&there.has[SL_ALGORITHM_HOST_KEY], "ssh-rsa"));
    /* Names that libssh2 knows, and that would not work. */
    assert_false(has(&there.has[SL_ALGORITHM_KEX], "ext-info-c"));
    assert_false(has(&there.has[SL_ALGORITHM_CIPHER], "arcfour"));
    assert_false(has(&there.has[SL_ALGORITHM_HOST_KEY], "ssh-ed25519-cert-v01@openssh.com"));
    sl_algorithms_fini(&there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_this_library_does_not_do_safely_is_not_offered),
        cmocka_unit_test(a_target_says_otherwise),
        cmocka_unit_test(ciphers_that_need_no_mac_can_come_first),
        cmocka_unit_test(host_key_algorithms_of_known_keys_come_first),
        cmocka_unit_test(which_keys_may_be_used),
        cmocka_unit_test(what_rsa_keys_sign_with),
        cmocka_unit_test(what_the_library_has),
    };
    return cmocka_run_group_tests_name("ssh.algorithms", tests, NULL, NULL);
}
