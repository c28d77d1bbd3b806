/* SPDX-License-Identifier: MIT */
/* Writes keys and a configuration, starts sshd, waits until it listens, and ends it. */
#include "tests/support/sshd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SSHD    "/usr/sbin/sshd"
#define ACCOUNT "sshlease-test"

static void fatal(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "sshd fixture: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static pid_t start(const char *const argv[], int out_fd)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(out_fd >= 0 ? out_fd : null, 1);
        dup2(out_fd >= 0 ? out_fd : null, 2);
        /* Nothing of the test's may live on in a daemon. */
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
        /* Nothing of a test that was killed may go on listening. */
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

int test_run(const char *const argv[])
{
    int status;
    pid_t pid = start(argv, -1);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const char *test_path(const struct test_sshd *sshd, const char *name, char *buf, size_t size)
{
    snprintf(buf, size, "%s/%s", sshd->dir, name);
    return buf;
}

static void write_with(const char *path, const char *text, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
        fatal("cannot write %s: %s", path, strerror(errno));
}

void test_write_file(const char *path, const char *text)
{
    write_with(path, text, "w");
}

void test_append_file(const char *path, const char *text)
{
    write_with(path, text, "a");
}

char *test_read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 65536);
    if (file != NULL && text != NULL) {
        size_t n = fread(text, 1, 65535, file);
        text[n] = '\0';
    }
    if (file != NULL)
        fclose(file);
    return text;
}

bool test_sshd_available(void)
{
    return access(SSHD, X_OK) == 0 && access("/usr/bin/ssh-keygen", X_OK) == 0;
}

static void make_key(const char *type, const char *path)
{
    const char *argv[] = {
        "/usr/bin/ssh-keygen", "-q", "-t", type, "-N", "", "-C", "test", "-f", path, NULL, NULL, NULL};
    if (strcmp(type, "rsa") == 0) {
        argv[10] = "-b"; /* small, for they take long to make */
        argv[11] = "2048";
    }
    if (test_run(argv) != 0)
        fatal("ssh-keygen -t %s failed", type);
}

static const char *account(void)
{
    if (geteuid() != 0) {
        const struct passwd *me = getpwuid(geteuid());
        return me != NULL ? strdup(me->pw_name) : "nobody";
    }
    if (getpwnam(ACCOUNT) == NULL) {
        const char *const add[] = {"/usr/sbin/useradd", "-m", "-s", "/bin/sh", ACCOUNT, NULL};
        const char *const unlock[] = {"/usr/sbin/usermod", "-p", "*", ACCOUNT, NULL};
        /* Another test may be making it at the same time. */
        (void)test_run(add);
        for (int i = 0; i < 50 && test_run(unlock) != 0; i++)
            poll(NULL, 0, 100);
        if (getpwnam(ACCOUNT) == NULL)
            fatal("cannot make the account " ACCOUNT);
    }
    return ACCOUNT;
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 || getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        fatal("no free port: %s", strerror(errno));
    close(fd);
    return ntohs(at.sin_port);
}

/* Whether this sshd knows a line of configuration. */
static bool knows(const struct test_sshd *sshd, const char *line)
{
    char key[128];
    const char *const argv[] = {
        SSHD, "-t", "-f", "/dev/null", "-h", test_path(sshd, "host_ed25519", key, sizeof key), "-o", line, NULL};
    return test_run(argv) == 0;
}

static void write_config(const struct test_sshd *sshd, const char *extra)
{
    char text[4096], path[128];
    /* From OpenSSH 9.8 on, who fails often is not let in for a while: tests fail on purpose. */
    const char *lenient = knows(sshd, "PerSourcePenalties no") ? "PerSourcePenalties no\n" : "";
    snprintf(text, sizeof text,
        "%s\n"
        "Port %u\nListenAddress 127.0.0.1\nPidFile none\n"
        "HostKey %s/host_ed25519\nHostKey %s/host_ecdsa\nHostKey %s/host_rsa\n"
        "AuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nAcceptEnv LANG LC_*\n"
        "MaxStartups 100:30:200\nMaxAuthTries 20\nLogLevel VERBOSE\nPrintMotd no\nPrintLastLog no\n"
        /* bash reads no .bashrc below the first level; a machine's own is no part of a test */
        "SetEnv SHLVL=2\n%s",
        extra, (unsigned)sshd->port, sshd->dir, sshd->dir, sshd->dir, sshd->authorized_keys, lenient);
    test_write_file(test_path(sshd, "sshd_config", path, sizeof path), text);
}

static void write_known_hosts(const struct test_sshd *sshd)
{
    static const char *const type[] = {"ed25519", "ecdsa", "rsa"};
    test_write_file(sshd->known_hosts, "");
    for (size_t i = 0; i < 3; i++) {
        char path[128], line[2048];
        snprintf(path, sizeof path, "%s/host_%s.pub", sshd->dir, type[i]);
        char *key = test_read_file(path);
        snprintf(line, sizeof line, "[127.0.0.1]:%u %s", (unsigned)sshd->port, key);
        test_append_file(sshd->known_hosts, line);
        free(key);
    }
}

/* Its own words say when it listens. False when it ended instead (somebody took the port). The log is a file, for a
 * pipe that nobody reads would stop it one day. */
static bool wait_listening(struct test_sshd *sshd)
{
    for (int i = 0; i < 4000; i++) {
        char *text = test_read_file(sshd->log);
        bool listening = strstr(text, "Server listening on") != NULL;
        bool ended = !listening && waitpid(sshd->pid, NULL, WNOHANG) == sshd->pid;
        if (ended)
            fprintf(stderr, "%s", text);
        free(text);
        if (listening || ended)
            return listening;
        poll(NULL, 0, 5);
    }
    fatal("sshd said nothing for 20 s");
}

void test_sshd_start(struct test_sshd *sshd, const char *config)
{
    *sshd = (struct test_sshd){.pid = -1};
    snprintf(sshd->dir, sizeof sshd->dir, "/tmp/sshlease-test.XXXXXX");
    if (mkdtemp(sshd->dir) == NULL || chmod(sshd->dir, 0755) != 0)
        fatal("no directory: %s", strerror(errno));
    if (geteuid() == 0 && mkdir("/run/sshd", 0755) != 0 && errno != EEXIST)
        fatal("cannot make /run/sshd: %s", strerror(errno));
    sshd->user = account();
    static const char *const type[] = {"ed25519", "ecdsa", "rsa"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/host_%s", sshd->dir, type[i]);
        make_key(type[i], path);
    }
    snprintf(sshd->key, sizeof sshd->key, "%s/id_ed25519", sshd->dir);
    make_key("ed25519", sshd->key);
    snprintf(sshd->authorized_keys, sizeof sshd->authorized_keys, "%s/authorized_keys", sshd->dir);
    char path[128];
    char *public_key = test_read_file(test_path(sshd, "id_ed25519.pub", path, sizeof path));
    test_write_file(sshd->authorized_keys, public_key);
    free(public_key);
    snprintf(sshd->known_hosts, sizeof sshd->known_hosts, "%s/known_hosts", sshd->dir);
    snprintf(sshd->log, sizeof sshd->log, "%s/sshd.log", sshd->dir);
    for (int attempt = 0; attempt < 5; attempt++) {
        sshd->port = free_port();
        write_config(sshd, config);
        write_known_hosts(sshd);
        int log = open(sshd->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        if (log < 0)
            fatal("cannot write %s: %s", sshd->log, strerror(errno));
        const char *const argv[] = {SSHD, "-D", "-e", "-f", test_path(sshd, "sshd_config", path, sizeof path), NULL};
        sshd->pid = start(argv, log);
        close(log);
        if (wait_listening(sshd))
            return;
    }
    fatal("sshd does not start");
}

static size_t add_children(pid_t pid, pid_t *list, size_t count, size_t max)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (char *at = text, *end; count < max; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at)
            break;
        list[count++] = (pid_t)child;
        count = add_children((pid_t)child, list, count, max);
    }
    return count;
}

size_t test_sshd_children(const struct test_sshd *sshd, pid_t *ret_pid, size_t max)
{
    return add_children(sshd->pid, ret_pid, 0, max);
}

void test_sshd_signal_children(const struct test_sshd *sshd, int signal)
{
    pid_t pid[256];
    size_t count = test_sshd_children(sshd, pid, 256);
    for (size_t i = 0; i < count; i++)
        kill(pid[i], signal);
}

void test_sshd_stop(struct test_sshd *sshd)
{
    if (sshd->pid > 0) {
        kill(sshd->pid, SIGSTOP); /* no new sessions while the old ones are listed */
        test_sshd_signal_children(sshd, SIGKILL);
        kill(sshd->pid, SIGKILL);
        waitpid(sshd->pid, NULL, 0);
    }
    const char *const remove[] = {"/bin/rm", "-rf", sshd->dir, NULL};
    (void)test_run(remove);
    *sshd = (struct test_sshd){.pid = -1};
}

bool test_wait_gone(pid_t pid, unsigned ms)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (;;) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        char *stat = test_read_file(path);
        const char *state = strrchr(stat, ')');
        bool gone = state == NULL || state[2] == 'Z';
        free(stat);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (gone || (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 > (long)ms)
            return gone;
        poll(NULL, 0, 10);
    }
}

size_t test_count_fds(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    return count;
}
