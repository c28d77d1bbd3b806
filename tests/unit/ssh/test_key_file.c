/* SPDX-License-Identifier: MIT */
/* What is told of key files without a passphrase; and that junk is no key. The keys here were made for this test. */
#include "daemon/ssh/keys/key_file.h"
#include "proto/status.h"
#include "tests/support/test.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static const char plain[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
                            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
                            "QyNTUxOQAAACCKCkfKuWP0Wk+O+HVuOtAIQt8T8TDFGJPmhKCvX2NYAQAAAIgQu78vELu/\n"
                            "LwAAAAtzc2gtZWQyNTUxOQAAACCKCkfKuWP0Wk+O+HVuOtAIQt8T8TDFGJPmhKCvX2NYAQ\n"
                            "AAAECAEMKihlfSGCHyXmfkop5JT7UkSb+H23Hxod3BeiRspIoKR8q5Y/RaT474dW460AhC\n"
                            "3xPxMMUYk+aEoK9fY1gBAAAAAWMBAgME\n"
                            "-----END OPENSSH PRIVATE KEY-----\n";
static const char plain_public[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoKR8q5Y/RaT474dW460AhC3xPxMMUYk+aEoK9fY1gB";
static const char locked[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
                             "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBizYd591\n"
                             "x/epoWese6CMXZAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIKCrYTHnyLLmAg9C\n"
                             "olihnRKjhXnmHKYh3IJ0mHs88M1SAAAAkDCqu4w6jje4kL/yQjiLPtiXUSs4Tl/wH7O9ku\n"
                             "V1kSkrwndJjt5Not2x5yreBgP4wtoWFzyfbSylqaJLypUdKYko4XaHN4S3bY6k0czH7vUH\n"
                             "ZPfP66JIUtChfdu1KbssXSuWFxqOLlOf6dDv1wWJNdIwupEQVo2+f8g36voSvVbbeoennI\n"
                             "fqRwOcsSqaCcoumw==\n"
                             "-----END OPENSSH PRIVATE KEY-----\n";
static const char locked_public[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKCrYTHnyLLmAg9ColihnRKjhXnmHKYh3IJ0mHs88M1S";

/* The first half of what is private in it. */
static const char plain_seed[] = "\x80\x10\xc2\xa2\x86\x57\xd2\x18\x21\xf2\x5e\x67\xe4\xa2\x9e\x49";

static int frees;

void __real_free(void *mem);
void __wrap_free(void *mem);

void __wrap_free(void *mem)
{
    if (mem != NULL) {
        frees++;
        assert_null(memmem(mem, malloc_usable_size(mem), plain_seed, sizeof plain_seed - 1));
    }
    __real_free(mem);
}

static void expect_openssh(const char *text, bool encrypted, const char *public_line)
{
    struct sl_key_file file;
    assert_int_equal(sl_key_file_look(text, strlen(text), &file), 0);
    assert_true(file.is_key);
    assert_int_equal(file.encrypted, encrypted);
    char *line = sl_key_public_line(file.blob, file.blob_len);
    assert_string_equal(line, public_line);
    uint8_t *blob;
    size_t len;
    assert_int_equal(sl_key_public_blob(line, strlen(line), &blob, &len), 0);
    assert_int_equal(len, file.blob_len);
    assert_memory_equal(blob, file.blob, len);
    free(blob);
    free(line);
    sl_key_file_fini(&file);
    assert_null(file.blob);
}

TEST(test_openssh)
{
    expect_openssh(plain, false, plain_public);
    expect_openssh(locked, true, locked_public);
}

TEST(test_nothing_private_is_left_in_freed_memory)
{
    struct sl_key_file file;
    frees = 0;
    assert_int_equal(sl_key_file_look(plain, strlen(plain), &file), 0);
    assert_true(frees > 0);
    sl_key_file_fini(&file);
}

static void expect_pem(const char *text, bool is_key, bool encrypted)
{
    struct sl_key_file file;
    assert_int_equal(sl_key_file_look(text, strlen(text), &file), 0);
    assert_int_equal(file.is_key, is_key);
    assert_int_equal(file.encrypted, encrypted);
    assert_null(file.blob);
    sl_key_file_fini(&file);
}

TEST(test_pem)
{
    expect_pem("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n", true, false);
    expect_pem("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIE\n"
               "-----END RSA PRIVATE KEY-----\n",
        true, true);
    expect_pem("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n", true, false);
    expect_pem("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIE\n-----END ENCRYPTED PRIVATE KEY-----\n", true, true);
    expect_pem("", false, false);
    expect_pem("ssh-ed25519 AAAA comment\n", false, false);
}

/* Every way to cut a key short or to change a byte: never more than is there is read (the sanitizers watch). */
TEST(test_junk)
{
    char text[sizeof plain];
    for (size_t len = 0; len < sizeof plain; len += 7) {
        struct sl_key_file file;
        assert_int_equal(sl_key_file_look(plain, len, &file), 0);
        sl_key_file_fini(&file);
        memcpy(text, plain, sizeof plain);
        text[len] = 'A';
        assert_int_equal(sl_key_file_look(text, strlen(text), &file), 0);
        sl_key_file_fini(&file);
    }
    uint8_t *blob;
    size_t blob_len;
    assert_int_equal(sl_key_public_blob("", 0, &blob, &blob_len), SL_E_INVALID);
    assert_int_equal(sl_key_public_blob("ssh-ed25519", 11, &blob, &blob_len), SL_E_INVALID);
    assert_int_equal(sl_key_public_blob("ssh-ed25519 ", 12, &blob, &blob_len), SL_E_INVALID);
    assert_int_equal(sl_key_public_blob("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA", 32, &blob, &blob_len), SL_E_INVALID);
    assert_null(sl_key_public_line((const uint8_t *)"junk", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openssh),
        cmocka_unit_test(test_nothing_private_is_left_in_freed_memory),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_junk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
