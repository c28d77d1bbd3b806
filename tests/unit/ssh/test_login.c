/* SPDX-License-Identifier: MIT */
/* Logging in to a real sshd with every kind of credential, and host keys of every kind. */
#include "config/build.h"
#include "proto/status.h"
#include "tests/support/test.h"
#include "tests/unit/ssh/stage.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- keys --- */

static char key_path[128];

static const char *make_key(const char *name, const char *type, const char *bits, const char *passphrase, bool pem)
{
    char public_path[160];
    test_path(&sshd, name, key_path, sizeof key_path);
    const char *argv[20] = {"/usr/bin/ssh-keygen", "-q", "-t", type, "-N", passphrase, "-C", name, "-f", key_path};
    size_t n = 10;
    if (bits != NULL) {
        argv[n++] = "-b";
        argv[n++] = bits;
    }
    if (pem) {
        argv[n++] = "-m";
        argv[n++] = "PEM";
    }
    assert_int_equal(test_run(argv), 0);
    snprintf(public_path, sizeof public_path, "%s.pub", key_path);
    char *text = test_read_file(public_path);
    test_append_file(sshd.authorized_keys, text);
    free(text);
    return key_path;
}

static void use_key(const char *path)
{
    rig_clear_identities(target);
    rig_add_identity(target, path);
}

static void use_passphrase(const char *text)
{
    char path[128];
    test_write_file(test_path(&sshd, "passphrase", path, sizeof path), text);
    target->passphrase.kind = SL_SECRET_FILE;
    free(target->passphrase.name);
    target->passphrase.name = strdup(path);
}

static void expect_login(void)
{
    if (!rig_connect(&rig, &conn, target))
        fail_msg("%s", conn.text);
    struct sl_conn_info info;
    sl_conn_info(conn.conn, &info);
    assert_int_equal(strncmp(info.server, "SSH-2.0-OpenSSH", 15), 0);
    assert_int_equal(strncmp(info.fingerprint, "SHA256:", 7), 0);
    rig_close(&conn);
}

static void expect_failure(int status, const char *text)
{
    char name[64];
    assert_false(rig_connect(&rig, &conn, target));
    assert_string_equal(sl_status_name(conn.status), sl_status_name(status));
    snprintf(name, sizeof name, "%s:%u: ", target->host, (unsigned)target->port);
    assert_int_equal(strncmp(conn.text, name, strlen(name)), 0);
    if (strstr(conn.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", conn.text, text);
    rig_close(&conn);
}

TEST(test_key_types)
{
    use_key(make_key("id_ecdsa", "ecdsa", "256", "", false));
    expect_login();
    use_key(make_key("id_ecdsa521", "ecdsa", "521", "", false));
    expect_login();
    use_key(make_key("id_rsa", "rsa", "2048", "", false));
    expect_login();
    /* The old form, which does not show its public half; and without the file that does. */
    use_key(make_key("id_rsa_pem", "rsa", "2048", "", true));
    expect_login();
    char path[160];
    snprintf(path, sizeof path, "%s.pub", key_path);
    assert_int_equal(unlink(path), 0);
    expect_login();
}

TEST(test_encrypted_keys)
{
    use_key(make_key("id_locked", "ed25519", NULL, "open sesame", false));
    expect_failure(SL_E_CREDENTIALS, "id_locked: encrypted, and no passphrase is configured");
    use_passphrase("wrong\n");
    expect_failure(SL_E_CREDENTIALS, "id_locked: cannot be read (is the passphrase right?)");
    use_passphrase("open sesame\n");
    expect_login();
    use_key(make_key("id_locked_rsa", "rsa", "2048", "open sesame", true));
    expect_login();
    use_passphrase("wrong");
    expect_failure(SL_E_CREDENTIALS, "is the passphrase right?");
    assert_int_equal(setenv("TEST_PASSPHRASE", "open sesame", 1), 0);
    target->passphrase.kind = SL_SECRET_ENV;
    free(target->passphrase.name);
    target->passphrase.name = strdup("TEST_PASSPHRASE");
    expect_login();
    unsetenv("TEST_PASSPHRASE");
    expect_failure(
        SL_E_CREDENTIALS, "the environment variable TEST_PASSPHRASE, which should hold a secret, is not set");
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", sshd.dir, 1), 0);
    target->passphrase.kind = SL_SECRET_CREDENTIAL;
    free(target->passphrase.name);
    target->passphrase.name = strdup("passphrase");
    use_passphrase("open sesame");
    target->passphrase.kind = SL_SECRET_CREDENTIAL;
    free(target->passphrase.name);
    target->passphrase.name = strdup("passphrase");
    expect_login();
    unsetenv("CREDENTIALS_DIRECTORY");
}

TEST(test_certificates)
{
    char ca[128], ca_pub[160], config[128], text[512];
    test_path(&sshd, "ca", ca, sizeof ca);
    snprintf(ca_pub, sizeof ca_pub, "%s.pub", ca);
    const char *const make_ca[] = {"/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ca, NULL};
    assert_int_equal(test_run(make_ca), 0);
    char *line = test_read_file(ca_pub);
    snprintf(text, sizeof text, "cert-authority %s", line);
    free(line);
    test_append_file(sshd.authorized_keys, text);
    (void)config;
    static const char *const type[] = {"ed25519", "ecdsa", "rsa"};
    for (size_t i = 0; i < 3; i++) {
        char key[128], pub[160], name[32];
        snprintf(name, sizeof name, "cert_%s", type[i]);
        test_path(&sshd, name, key, sizeof key);
        snprintf(pub, sizeof pub, "%s.pub", key);
        const char *const make[] = {"/usr/bin/ssh-keygen", "-q", "-t", type[i], "-N", "", "-f", key, NULL};
        assert_int_equal(test_run(make), 0);
        use_key(key);
        expect_failure(SL_E_AUTH_FAILED, "tried key ");
        const char *const sign[] = {
            "/usr/bin/ssh-keygen", "-q", "-s", ca, "-I", "test", "-n", sshd.user, "-V", "+1h", pub, NULL};
        assert_int_equal(test_run(sign), 0);
        expect_login();
    }
    /* One named, and missing. */
    target->identity[0].certificate_file = strdup("/nonexistent-cert.pub");
    expect_failure(SL_E_AUTH_FAILED, "/nonexistent-cert.pub: No such file or directory");
}

TEST(test_unusable_keys)
{
    char path[128];
    use_key("/nonexistent");
    expect_failure(SL_E_CREDENTIALS, "/nonexistent: No such file or directory");
    test_write_file(test_path(&sshd, "junk", path, sizeof path), "this is no key\n");
    use_key(path);
    expect_failure(SL_E_CREDENTIALS, "junk: not a private key");
    assert_int_equal(chmod(sshd.key, 0640), 0);
    use_key(sshd.key);
    expect_failure(SL_E_CREDENTIALS, "an UNPROTECTED PRIVATE KEY FILE: its mode is 0640; give it 0600");
    assert_int_equal(chmod(sshd.key, 0600), 0);
    use_key(path);
    rig_clear_identities(target);
    expect_failure(SL_E_CREDENTIALS, "no credentials of ");
    /* One that is good behind one that is not. */
    use_key(path);
    rig_add_identity(target, sshd.key);
    expect_login();
}

TEST(test_wrong_key)
{
    char *keys = test_read_file(sshd.authorized_keys);
    const char *path = make_key("id_stranger", "ed25519", NULL, "", false);
    test_write_file(sshd.authorized_keys, keys);
    free(keys);
    use_key(path);
    expect_failure(SL_E_AUTH_FAILED, "the server rejects the credentials of ");
    expect_failure(SL_E_AUTH_FAILED, "it takes publickey)");
}

/* --- the agent --- */

static pid_t start_agent(const char *socket)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execl("/usr/bin/ssh-agent", "ssh-agent", "-D", "-a", socket, (char *)NULL);
        _exit(127);
    }
    while (access(socket, F_OK) != 0)
        usleep(5000);
    return pid;
}

TEST(test_agent)
{
    char socket[128], path[128];
    test_path(&sshd, "agent.sock", socket, sizeof socket);
    rig_clear_identities(target);
    target->identity_agent_set = true;
    target->identity_agent = strdup(socket);
    expect_failure(SL_E_CREDENTIALS, "agent.sock: no such file or directory");
    pid_t pid = start_agent(socket);
    expect_failure(SL_E_CREDENTIALS, "agent.sock holds no keys");
    setenv("SSH_AUTH_SOCK", socket, 1);
    /* A stranger first, then one the server knows. */
    char *keys = test_read_file(sshd.authorized_keys);
    make_key("agent_stranger", "ed25519", NULL, "", false);
    test_write_file(sshd.authorized_keys, keys);
    free(keys);
    const char *add[] = {"/usr/bin/ssh-add", "-q", key_path, NULL};
    assert_int_equal(test_run(add), 0);
    expect_failure(SL_E_AUTH_FAILED, "tried agent's key SHA256:");
    make_key("agent_rsa", "rsa", "2048", "", false);
    assert_int_equal(test_run(add), 0);
    expect_login();
    const char *const clear[] = {"/usr/bin/ssh-add", "-q", "-D", NULL};
    assert_int_equal(test_run(clear), 0);
    add[2] = sshd.key;
    assert_int_equal(test_run(add), 0);
    expect_login();
    /* Keys from files go first, and an agent that hangs is bounded by the login timeout. */
    kill(pid, SIGSTOP);
    target->policy.login_timeout_ms = 300;
    expect_failure(SL_E_LOGIN_TIMEOUT, "logging in took longer than 0.3 s");
    target->policy.login_timeout_ms = 30000;
    rig_add_identity(target, sshd.key);
    expect_login();
    kill(pid, SIGCONT);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    unsetenv("SSH_AUTH_SOCK");
    /* A path that does not fit into a socket address. */
    rig_clear_identities(target);
    free(target->identity_agent);
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    target->identity_agent = strdup(path);
    expect_failure(SL_E_CREDENTIALS, "the socket's path is too long");
}

/* --- host keys --- */

static void host_key_line(const char *type, const char *prefix, char *out, size_t size)
{
    char name[32], path[128];
    snprintf(name, sizeof name, "host_%s.pub", type);
    char *key = test_read_file(test_path(&sshd, name, path, sizeof path));
    snprintf(out, size, "%s %s", prefix, key);
    free(key);
}

static void use_known_hosts(const char *path)
{
    sl_strv_fini(&target->known_hosts);
    assert_int_equal(sl_strv_add(&target->known_hosts, path), 0);
}

TEST(test_host_key_by_type)
{
    static const char *const type[] = {"ed25519", "ecdsa", "rsa"};
    char path[128], text[2048], name[64];
    use_known_hosts(test_path(&sshd, "kh_type", path, sizeof path));
    snprintf(name, sizeof name, "[127.0.0.1]:%u", (unsigned)sshd.port);
    for (size_t i = 0; i < 3; i++) {
        host_key_line(type[i], name, text, sizeof text);
        test_write_file(path, text);
        expect_login();
    }
}

TEST(test_host_key_refusals)
{
    char path[128], text[2048], name[64], expected[256];
    use_known_hosts(test_path(&sshd, "kh_refuse", path, sizeof path));
    expect_failure(SL_E_HOST_KEY_UNKNOWN, "is not in ");
    snprintf(name, sizeof name, "[127.0.0.1]:%u", (unsigned)sshd.port);
    char *stranger = test_read_file(strcat(strcpy(text, sshd.key), ".pub"));
    snprintf(text, sizeof text, "# comment\n%s %s", name, stranger);
    free(stranger);
    test_write_file(path, text);
    snprintf(expected, sizeof expected, "%s:2 has SHA256:", path);
    expect_failure(SL_E_HOST_KEY_CHANGED, expected);
    expect_failure(SL_E_HOST_KEY_CHANGED, "the host key has CHANGED: the server shows SHA256:");
    /* Accepting new keys is not accepting changed ones. */
    target->host_key_checking = SL_HOST_KEY_ACCEPT_NEW;
    expect_failure(SL_E_HOST_KEY_CHANGED, expected);
    target->host_key_checking = SL_HOST_KEY_STRICT;
    host_key_line("ed25519", "@revoked *", text, sizeof text);
    test_append_file(path, text);
    host_key_line("ed25519", name, text, sizeof text);
    test_append_file(path, text);
    snprintf(expected, sizeof expected, "which %s:3 marks as revoked", path);
    expect_failure(SL_E_HOST_KEY_REVOKED, expected);
}

TEST(test_accept_new)
{
    char path[128], expected[64];
    snprintf(path, sizeof path, "%s/dot-ssh/known_hosts", sshd.dir);
    use_known_hosts(path);
    target->host_key_checking = SL_HOST_KEY_ACCEPT_NEW;
    expect_login();
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    char *text = test_read_file(path);
    snprintf(expected, sizeof expected, "[127.0.0.1]:%u ssh-ed25519 ", (unsigned)sshd.port);
    assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    /* The second time it is known. */
    target->host_key_checking = SL_HOST_KEY_STRICT;
    expect_login();
    /* A last line without its end is not run into; eight at once write it once. */
    target->host_key_checking = SL_HOST_KEY_ACCEPT_NEW;
    test_write_file(path, "other ssh-ed25519 AAAA");
    struct rig_conn many[8];
    for (int i = 0; i < 8; i++)
        rig_dial(&rig, &many[i], target);
    for (int i = 0; i < 8; i++) {
        assert_true(rig_wait(&rig, &many[i].ready, 20000));
        rig_close(&many[i]);
    }
    char *after = test_read_file(path), whole[2048];
    snprintf(whole, sizeof whole, "other ssh-ed25519 AAAA\n%s", text);
    assert_string_equal(after, whole);
    free(after);
    free(text);
    /* Where it cannot be written the host is new each time. */
    use_known_hosts("/proc/nowhere/known_hosts");
    expect_login();
    expect_login();
}

/* --- several methods --- */

TEST(test_partial_success)
{
    struct test_sshd two;
    test_sshd_start(&two, "AuthenticationMethods publickey,publickey\n");
    sl_target_conf_unref(target);
    target = rig_target(&two);
    /* One key is not enough, ever; and that is said. */
    expect_failure(SL_E_AUTH_FAILED, "it takes publickey");
    char second[128], pub[160];
    test_path(&two, "id_second", second, sizeof second);
    const char *const make[] = {"/usr/bin/ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", second, NULL};
    assert_int_equal(test_run(make), 0);
    snprintf(pub, sizeof pub, "%s.pub", second);
    char *text = test_read_file(pub);
    test_append_file(two.authorized_keys, text);
    free(text);
    rig_add_identity(target, second);
    expect_login();
    test_sshd_stop(&two);
}

static void set_password(const char *text)
{
    assert_int_equal(setenv("TEST_PASSWORD", text, 1), 0);
    if (target->password.name == NULL) {
        target->password.kind = SL_SECRET_ENV;
        target->password.name = strdup("TEST_PASSWORD");
    }
}

/* Needs an account whose password we may set. */
TEST(test_password)
{
    if (geteuid() != 0)
        skip();
    static const char account[] = "sshlease-test-pw";
    const char *const add[] = {"/usr/sbin/useradd", "-M", "-d", "/", "-s", "/bin/sh", account, NULL};
    /* crypt(3) of "correct horse", SHA-512. */
    static const char hash[] =
        "$6$sshlease$ytlW3cMmsaVmiwBLr4LhNooV26hMIzPzc6AAZdKj33avZwLBqr6hTo5Fknsn6L1/.CbwhZBNtbjMlZHhJKRaD0";
    const char *const set[] = {"/usr/sbin/usermod", "-p", hash, account, NULL};
    (void)test_run(add);
    assert_int_equal(test_run(set), 0);
    struct test_sshd pw;
    test_sshd_start(&pw, "PasswordAuthentication yes\n");
    sl_target_conf_unref(target);
    target = rig_target(&pw);
    rig_clear_identities(target);
    free(target->user);
    target->user = strdup(account);
    expect_failure(SL_E_CREDENTIALS, "no credentials of sshlease-test-pw can be used (the server takes publickey,");
    set_password("wrong");
    expect_failure(SL_E_AUTH_FAILED, "(tried password; it takes publickey,password)");
    set_password("correct horse");
    expect_login();
    test_sshd_stop(&pw);
    /* The same password at a prompt. */
    if (access("/etc/pam.d/sshd", R_OK) == 0) {
        test_sshd_start(
            &pw, "UsePAM yes\nKbdInteractiveAuthentication yes\nAuthenticationMethods keyboard-interactive\n");
        target->port = pw.port;
        use_known_hosts(pw.known_hosts);
        expect_login();
        set_password("wrong");
        expect_failure(SL_E_AUTH_FAILED, "(tried keyboard-interactive; it takes keyboard-interactive)");
        test_sshd_stop(&pw);
    }
    unsetenv("TEST_PASSWORD");
    const char *const remove[] = {"/usr/sbin/userdel", account, NULL};
    (void)test_run(remove);
}

int main(void)
{
    if (!test_sshd_available()) {
        printf("no sshd here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_key_types, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_encrypted_keys, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_certificates, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_unusable_keys, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_wrong_key, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_agent, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_host_key_by_type, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_host_key_refusals, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_accept_new, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_partial_success, stage_setup, stage_teardown),
        cmocka_unit_test_setup_teardown(test_password, stage_setup, stage_teardown),
    };
    return cmocka_run_group_tests(tests, stage_open, stage_close);
}
