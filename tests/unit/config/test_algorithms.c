/* SPDX-License-Identifier: MIT */
/* Lists of algorithms: what + - ^ and patterns make of the defaults, and what is refused, with its place. */
#include "tests/support/test.h"
#include "tests/unit/config/parse.h"

#define HAS_MACS                                                                                                       \
    "it has hmac-sha2-256, hmac-sha2-512, hmac-sha1, hmac-md5, hmac-sha2-256-etm@openssh.com, hmac-md5-96\n"
#define NONE_OF " is not one that this build's SSH library has; "

static struct sl_algorithm_choice *chosen(struct sl_conf *conf, enum sl_algorithm_kind kind)
{
    return &sl_conf_find(conf, "a")->algorithms[kind];
}

TEST(what_a_list_makes_of_the_defaults)
{
    static const struct {
        const char *macs, *names;
        bool in_order;
    } rows[] = {
        {"hmac-md5", "hmac-md5", true},
        {"hmac-md5,hmac-sha1", "hmac-md5,hmac-sha1", true},
        {"[hmac-md5, hmac-sha1]", "hmac-md5,hmac-sha1", true},
        {"[\"hmac-md5,hmac-sha1\", hmac-md5]", "hmac-md5,hmac-sha1", true},
        {"hmac-sha2-*", "hmac-sha2-256,hmac-sha2-512,hmac-sha2-256-etm@openssh.com", true},
        {"hmac-sha2-???", "hmac-sha2-256,hmac-sha2-512", true},
        {"'*'", "hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-md5,hmac-sha2-256-etm@openssh.com,hmac-md5-96", true},
        {"+hmac-md5", "hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-md5", false},
        {"+hmac-md5*,hmac-sha1", "hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-md5,hmac-md5-96", false},
        {"[+hmac-md5, hmac-md5-96]", "hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-md5,hmac-md5-96", false},
        {"-hmac-sha1", "hmac-sha2-256,hmac-sha2-512", false},
        {"-hmac-sha1,*-512", "hmac-sha2-256", false},
        {"-*sha2*", "hmac-sha1", false},
        {"-*-etm@openssh.com", "hmac-sha2-256,hmac-sha2-512,hmac-sha1", false},
        {"^hmac-sha1", "hmac-sha1,hmac-sha2-256,hmac-sha2-512", true},
        {"^hmac-md5,hmac-sha2-512", "hmac-md5,hmac-sha2-512,hmac-sha2-256,hmac-sha1", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "targets:\n  a:\n    macs: %s\n", rows[i].macs);
        struct sl_conf *conf = parse_good(true, text);
        if (strcmp(chosen(conf, SL_ALGORITHM_MAC)->names, rows[i].names) != 0)
            fail_msg("%s gives %s", rows[i].macs, chosen(conf, SL_ALGORITHM_MAC)->names);
        assert_int_equal(chosen(conf, SL_ALGORITHM_MAC)->in_order, rows[i].in_order);
        sl_conf_free(conf);
    }
}

TEST(each_kind_has_its_own_names)
{
    struct sl_conf *conf = parse_good(true, "targets:\n"
                                            "  a:\n"
                                            "    ciphers: +aes128-cbc\n"
                                            "    kex_algorithms: +*-sha1\n"
                                            "    host_key_algorithms: ssh-rsa\n"
                                            "    pubkey_accepted_algorithms: -rsa-*\n");
    assert_string_equal(chosen(conf, SL_ALGORITHM_CIPHER)->names, "aes128-ctr,aes256-ctr,aes128-cbc");
    assert_string_equal(chosen(conf, SL_ALGORITHM_KEX)->names,
        "curve25519-sha256,diffie-hellman-group14-sha256,diffie-hellman-group14-sha1");
    assert_string_equal(chosen(conf, SL_ALGORITHM_HOST_KEY)->names, "ssh-rsa");
    assert_string_equal(chosen(conf, SL_ALGORITHM_PUBKEY)->names, "ssh-ed25519");
    assert_null(chosen(conf, SL_ALGORITHM_MAC)->names);
    sl_conf_free(conf);
}

/* As in ssh_config(5), the signs mean the build's defaults, not those of `defaults`. */
TEST(a_target_takes_the_place_of_defaults)
{
    struct sl_conf *conf = parse_good(true, "defaults: {macs: +hmac-md5, ciphers: aes256-cbc}\n"
                                            "targets: {a: {macs: -hmac-sha1}}\n");
    assert_string_equal(chosen(conf, SL_ALGORITHM_MAC)->names, "hmac-sha2-256,hmac-sha2-512");
    assert_string_equal(chosen(conf, SL_ALGORITHM_CIPHER)->names, "aes256-cbc");
    struct sl_target_conf *adhoc;
    assert_int_equal(sl_conf_adhoc(conf, "u@h", &adhoc), 0);
    assert_string_equal(adhoc->algorithms[SL_ALGORITHM_MAC].names, "hmac-sha2-256,hmac-sha2-512,hmac-sha1,hmac-md5");
    sl_target_conf_unref(adhoc);
    sl_conf_free(conf);
}

TEST(what_the_library_does_not_have)
{
    static const struct {
        const char *setting, *expected;
    } rows[] = {
        {"macs: hmac-sha3", "3:11: macs \"hmac-sha3\"" NONE_OF HAS_MACS},
        {"macs: +umac-64@openssh.com", "3:11: macs \"umac-64@openssh.com\"" NONE_OF HAS_MACS},
        {"macs: ^hmac-sha1,HMAC-MD5", "3:11: macs \"HMAC-MD5\"" NONE_OF HAS_MACS},
        /* What a misspelt removal leaves in place would be a secret to everybody. */
        {"macs: -hmac-sha-1", "3:11: macs \"hmac-sha-1\"" NONE_OF HAS_MACS},
        {"macs: [hmac-sha1, md5*]", "3:23: macs \"md5*\"" NONE_OF HAS_MACS},
        {"macs: [hmac-sha1, +hmac-md5]", "3:23: macs \"+hmac-md5\"" NONE_OF HAS_MACS},
        {"macs: hmac-sha1,", "3:11: macs \"\"" NONE_OF HAS_MACS},
        {"macs: +", "3:11: macs \"\"" NONE_OF HAS_MACS},
        {"macs: hmac-sha1, hmac-md5", "3:11: macs \" hmac-md5\"" NONE_OF HAS_MACS},
        {"ciphers: hmac-sha1",
            "3:14: ciphers \"hmac-sha1\"" NONE_OF "it has aes128-ctr, aes256-ctr, aes128-cbc, aes256-cbc\n"},
        {"host_key_algorithms: ssh-ed25519-cert-v01@openssh.com",
            "3:26: host_key_algorithms \"ssh-ed25519-cert-v01@openssh.com\"" NONE_OF
            "it has ssh-ed25519, rsa-sha2-256, ssh-rsa\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256], line[512];
        snprintf(text, sizeof text, "targets:\n  a:\n    %s\n", rows[i].setting);
        snprintf(line, sizeof line, "f:%s", rows[i].expected);
        parse_bad_bytes(&world, true, text, strlen(text), line);
    }
    parse_bad("defaults:\n  macs: [hmac-x, hmac-md5, hmac-y]\n",
        "f:2:10: macs \"hmac-x\"" NONE_OF HAS_MACS "f:2:28: macs \"hmac-y\"" NONE_OF HAS_MACS);
}

TEST(what_is_no_list_or_leaves_nothing)
{
    parse_bad("defaults:\n  macs: -*\n", "f:2:9: macs takes away all that are offered; leave at least one\n");
#define RIGHT "give names, comma-separated or as a list; + - or ^ before the first changes the defaults\n"
    parse_bad("defaults:\n  macs: []\n", "f:2:9: macs is an empty list; " RIGHT);
    parse_bad("defaults:\n  macs:\n", "f:2:8: macs has no value; " RIGHT);
    parse_bad("defaults:\n  macs: {hmac-md5: yes}\n", "f:2:9: macs is a mapping; " RIGHT);
#undef RIGHT
}

TEST(without_a_library_nothing_can_be_named)
{
    struct sl_conf_world bare = world;
    bare.algorithms = NULL;
    const char *text = "targets: {a: {macs: hmac-sha1}}\n";
    parse_bad_bytes(&bare, true, text, strlen(text), "f:1:21: macs \"hmac-sha1\"" NONE_OF "it has none\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_list_makes_of_the_defaults),
        cmocka_unit_test(each_kind_has_its_own_names),
        cmocka_unit_test(a_target_takes_the_place_of_defaults),
        cmocka_unit_test(what_the_library_does_not_have),
        cmocka_unit_test(what_is_no_list_or_leaves_nothing),
        cmocka_unit_test(without_a_library_nothing_can_be_named),
    };
    return cmocka_run_group_tests_name("config.algorithms", tests, NULL, NULL);
}
