/* SPDX-License-Identifier: MIT */
/* A server's offer against ours: what is read of the packet, which gap is found, and what is said about it. */
#include "daemon/ssh/keys/kexinit.h"

#include "daemon/ssh/keys/algorithms.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <string.h>

struct offer {
    const char *list[SL_KEXINIT_LISTS];
};

static const struct offer modern = {{
    "curve25519-sha256,kex-strict-s-v00@openssh.com",
    "ssh-ed25519",
    "aes128-ctr",
    "aes128-ctr",
    "hmac-sha2-256",
    "hmac-sha2-256",
    "none",
    "none",
}};

static size_t pack(const struct offer *offer, uint8_t *packet)
{
    size_t at = 17;
    memset(packet, 0xa5, at);
    packet[0] = 20;
    for (size_t i = 0; i < SL_KEXINIT_LISTS; i++) {
        size_t len = strlen(offer->list[i]);
        memset(packet + at, 0, 4);
        packet[at + 2] = (uint8_t)(len >> 8);
        packet[at + 3] = (uint8_t)len;
        memcpy(packet + at + 4, offer->list[i], len);
        at += 4 + len;
    }
    return at;
}

static char kex[] = "curve25519-sha256,ecdh-sha2-nistp256", host_key[] = "ssh-ed25519,rsa-sha2-256",
            cipher[] = "aes128-ctr,aes256-gcm@openssh.com", mac[] = "hmac-sha2-256,hmac-sha1", pubkey[] = "";
static char *const ours[SL_ALGORITHM_KINDS] = {kex, host_key, cipher, mac, pubkey};

static char text[640];

/* What is said of that offer, where the library has `has` of what is missing; "" for nothing. */
static const char *said(const struct offer *offer, const char *has)
{
    uint8_t packet[4096];
    struct sl_kexinit kexinit;
    assert_int_equal(sl_kexinit_parse(packet, pack(offer, packet), &kexinit), 0);
    struct sl_kexinit_gap gap = sl_kexinit_compare(&kexinit, ours);
    struct sl_strv names = {0};
    assert_int_equal(sl_strv_add(&names, has), 0);
    text[0] = '\0';
    if (gap.what != SL_GAP_NONE)
        assert_ptr_equal(sl_kexinit_explain(&gap, &names, text, sizeof text), text);
    sl_strv_fini(&names);
    sl_kexinit_fini(&kexinit);
    return text;
}

TEST(two_that_agree)
{
    assert_string_equal(said(&modern, "x"), "");
    /* Such a cipher brings its own MAC; but only where it is the one that is agreed upon. */
    struct offer offer = modern;
    offer.list[SL_KEXINIT_CIPHER_CS] = offer.list[SL_KEXINIT_CIPHER_SC] = "aes256-gcm@openssh.com";
    offer.list[SL_KEXINIT_MAC_CS] = offer.list[SL_KEXINIT_MAC_SC] = "umac-64@openssh.com";
    assert_string_equal(said(&offer, "x"), "");
    offer.list[SL_KEXINIT_CIPHER_SC] = "aes256-gcm@openssh.com,aes128-ctr";
    assert_non_null(strstr(said(&offer, "x"), "no MAC"));
}

TEST(the_setting_that_would_allow_it_is_named)
{
    static const struct {
        int list;
        const char *offered, *has, *said;
    } rows[] = {
        {SL_KEXINIT_KEX, "diffie-hellman-group14-sha1,ext-info-s,kex-strict-s-v00@openssh.com",
            "diffie-hellman-group14-sha1",
            "the server offers no key exchange method that this target allows: it offers diffie-hellman-group14-sha1; "
            "\"kex_algorithms: +diffie-hellman-group14-sha1\" would allow one, see sshleased.yaml(5)"},
        {SL_KEXINIT_HOST_KEY, "ssh-dss,ssh-rsa", "ssh-rsa",
            "the server offers no host key algorithm that this target allows: it offers ssh-dss, ssh-rsa; "
            "\"host_key_algorithms: +ssh-rsa\" would allow one, see sshleased.yaml(5)"},
        {SL_KEXINIT_CIPHER_CS, "aes128-cbc", "aes128-cbc",
            "the server offers no cipher that this target allows: it offers aes128-cbc; \"ciphers: +aes128-cbc\" would "
            "allow one, see sshleased.yaml(5)"},
        {SL_KEXINIT_CIPHER_SC, "aes128-cbc", "aes128-cbc",
            "the server offers no cipher that this target allows: it offers aes128-cbc; \"ciphers: +aes128-cbc\" would "
            "allow one, see sshleased.yaml(5)"},
        {SL_KEXINIT_MAC_SC, "hmac-sha1-96,hmac-md5", "hmac-md5",
            "the server offers no MAC that this target allows: it offers hmac-sha1-96, hmac-md5; \"macs: +hmac-md5\" "
            "would allow one, see sshleased.yaml(5)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct offer offer = modern;
        offer.list[rows[i].list] = rows[i].offered;
        assert_string_equal(said(&offer, rows[i].has), rows[i].said);
    }
}

TEST(what_is_safe_here_is_named_first)
{
    struct offer offer = modern;
    if (!sl_algorithms_risky("hmac-sha2-256-etm@openssh.com", strlen("hmac-sha2-256-etm@openssh.com")))
        skip(); /* with a library that is mended nothing is a risk */
    offer.list[SL_KEXINIT_MAC_CS] = "hmac-sha2-256-etm@openssh.com";
    assert_string_equal(said(&offer, "hmac-sha2-256-etm@openssh.com"),
        "the server offers no MAC that this target allows: it offers hmac-sha2-256-etm@openssh.com; \"macs: "
        "+hmac-sha2-256-etm@openssh.com\" would allow one, at a risk: see sshleased.yaml(5)");
    offer.list[SL_KEXINIT_CIPHER_CS] = "aes128-ctr,aes256-gcm@openssh.com";
    assert_string_equal(said(&offer, "hmac-sha2-256-etm@openssh.com"),
        "the server offers no MAC that this target allows: it offers hmac-sha2-256-etm@openssh.com; \"ciphers: "
        "^aes256-gcm@openssh.com\", which needs none, would do, see sshleased.yaml(5)");
    /* The library has the risky one first. */
    offer = modern;
    offer.list[SL_KEXINIT_CIPHER_CS] = "chacha20-poly1305@openssh.com,aes256-cbc";
    struct sl_strv names = {0};
    assert_int_equal(sl_strv_add(&names, "chacha20-poly1305@openssh.com"), 0);
    assert_int_equal(sl_strv_add(&names, "aes256-cbc"), 0);
    struct sl_kexinit_gap gap = {
        .what = SL_GAP_ALGORITHM, .kind = SL_ALGORITHM_CIPHER, .offered = offer.list[SL_KEXINIT_CIPHER_CS]};
    assert_non_null(strstr(sl_kexinit_explain(&gap, &names, text, sizeof text), "\"ciphers: +aes256-cbc\" would"));
    sl_strv_fini(&names);
}

TEST(no_setting_is_named_where_none_can_help)
{
    struct offer offer = modern;
    offer.list[SL_KEXINIT_KEX] = "sntrup761x25519-sha512@openssh.com";
    assert_string_equal(said(&offer, "curve25519-sha256"),
        "the server offers no key exchange method that the SSH library of this build has (it offers "
        "sntrup761x25519-sha512@openssh.com): no setting can help, the server must offer another");
    offer = modern;
    offer.list[SL_KEXINIT_MAC_CS] = "";
    assert_string_equal(said(&offer, "hmac-md5"),
        "the server offers no MAC that the SSH library of this build has (it offers none): no setting can help, the "
        "server must offer another");
    offer = modern;
    offer.list[SL_KEXINIT_COMPRESSION_SC] = "zlib@openssh.com,zlib";
    assert_string_equal(said(&offer, "x"),
        "the server insists on compression (it offers zlib@openssh.com, zlib), which is not done here");
}

TEST(certificates_are_called_by_their_name)
{
    struct offer offer = modern;
    offer.list[SL_KEXINIT_HOST_KEY] = "ssh-ed25519-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com";
    assert_string_equal(said(&offer, "ssh-ed25519"),
        "the server offers host certificates only (ssh-ed25519-cert-v01@openssh.com, "
        "rsa-sha2-512-cert-v01@openssh.com), and host certificates are not supported by the SSH library: let the "
        "server "
        "offer its plain host key, too (HostKeyAlgorithms in sshd_config(5))");
    offer.list[SL_KEXINIT_HOST_KEY] = "ssh-ed25519-cert-v01@openssh.com,ssh-rsa";
    assert_non_null(strstr(said(&offer, "ssh-rsa"), "\"host_key_algorithms: +ssh-rsa\""));
}

TEST(a_long_offer_is_cut)
{
    char many[2000] = "x1";
    for (int i = 2; i < 180; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), ",name%d", i);
    struct offer offer = modern;
    offer.list[SL_KEXINIT_MAC_CS] = many;
    assert_non_null(strstr(said(&offer, "name179"), ", ...; \"macs: +name179\" would allow one"));
    memset(many, 'n', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    assert_non_null(strstr(said(&offer, "name179"), "(it offers ...)"));
    assert_true(strlen(text) < sizeof text - 1);
}

TEST(what_is_no_offer_of_a_server)
{
    uint8_t packet[4096];
    struct sl_kexinit kexinit;
    size_t len = pack(&modern, packet);
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(sl_kexinit_parse(packet, cut, &kexinit), SL_E_INVALID);
    packet[0] = 21;
    assert_int_equal(sl_kexinit_parse(packet, len, &kexinit), SL_E_INVALID);
    packet[0] = 20;
    memset(packet + 17, 0xff, 4); /* a length that lies */
    assert_int_equal(sl_kexinit_parse(packet, len, &kexinit), SL_E_INVALID);
    struct offer offer = modern;
    offer.list[SL_KEXINIT_MAC_SC] = "hmac\x1b[31m";
    assert_int_equal(sl_kexinit_parse(packet, pack(&offer, packet), &kexinit), SL_E_INVALID);
    offer = modern;
    offer.list[SL_KEXINIT_KEX] = "ext-info-c,kex-strict-c-v00@openssh.com,curve25519-sha256"; /* our own */
    assert_int_equal(sl_kexinit_parse(packet, pack(&offer, packet), &kexinit), SL_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_that_agree),
        cmocka_unit_test(the_setting_that_would_allow_it_is_named),
        cmocka_unit_test(what_is_safe_here_is_named_first),
        cmocka_unit_test(no_setting_is_named_where_none_can_help),
        cmocka_unit_test(certificates_are_called_by_their_name),
        cmocka_unit_test(a_long_offer_is_cut),
        cmocka_unit_test(what_is_no_offer_of_a_server),
    };
    return cmocka_run_group_tests_name("ssh.kexinit", tests, NULL, NULL);
}
