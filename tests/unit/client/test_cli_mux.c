/* SPDX-License-Identifier: MIT */
/* `sshlease ssh-config` and `sshlease mux-ensure`. That ssh understands what is printed is tested with ssh itself, in
 * tests/system. */
#include "fake_daemon.h"
#include "run_cli.h"
#include "tests/support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS(targets) "{\"targets\":[" targets "],\"leases\":[]}"

/* What the daemon is asked for in turn, and what it answers: a path, or an error. */
static const struct step {
    const char *target, *path;
} * steps;
static const char *status_json;

static void answers(struct fake *f)
{
    fake_greet(f);
    if (status_json != NULL)
        fake_send(f,
            &(struct sl_msg){.type = SL_MSG_STATUS_REPLY,
                .status_reply = {.rid = fake_take(f, SL_MSG_STATUS)->request.rid, .json = sl_bytes_of(status_json)}});
    for (const struct step *step = steps; step != NULL && step->target != NULL; step++) {
        const struct sl_msg_mux *mux = &fake_take(f, SL_MSG_MUX)->mux;
        if (mux->target.len != strlen(step->target) || memcmp(mux->target.data, step->target, mux->target.len) != 0)
            fake_fail(f, "MUX of %.*s", (int)mux->target.len, (const char *)mux->target.data);
        if (step->path == NULL)
            fake_send_error(f, mux->rid, SSHLEASE_E_NO_TARGET, true, "no such target: it");
        else
            fake_send(f, &(struct sl_msg){
                             .type = SL_MSG_MUX_PATH, .mux_path = {.rid = mux->rid, .path = sl_bytes_of(step->path)}});
    }
    fake_take_end(f);
}

static void start(struct fake *f, const char *status, const struct step *plan)
{
    *f = (struct fake){0};
    status_json = status;
    steps = plan;
    setenv("SSHLEASE_SOCKET", "/default.sock", 1);
    fake_start(f, answers);
}

static void expect_output(const char *text)
{
    ran.stdout_text[ran.stdout_len] = '\0';
    assert_string_equal(ran.stdout_text, text);
}

static void skip_head(void)
{
    char *end = ran.stdout_text;
    while (*end == '#')
        end = strchr(end, '\n') + 1;
    assert_true(end > ran.stdout_text);
    memmove(ran.stdout_text, end, strlen(end) + 1);
    ran.stdout_len = strlen(ran.stdout_text);
}

TEST(ensures)
{
    static const struct {
        const char *name, *asked;
    } names[] = {
        {"web1", "web1"},
        {"you@host", "you@host"},
        {"you@host:2222", "you@host:2222"},
        {"you@::1:22", "you@[::1]:22"},
        {"you@[fe80::1%eth0]:22", "you@[fe80::1%eth0]:22"},
        {"a@realm@fe80::1:22", "a@realm@[fe80::1]:22"},
    };
    struct fake f;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct step plan[] = {{names[i].asked, "/run/mux/x"}, {0}};
        start(&f, NULL, plan);
        RUN("mux-ensure", "--socket", f.path, names[i].name);
        expect_exit(0);
        assert_int_equal(ran.stdout_len + ran.stderr_len, 0);
        fake_stop(&f);
    }
    static const struct step plan[] = {{"web1", "/run/mux/web1"}, {0}}, refused[] = {{"it", NULL}, {0}};
    start(&f, NULL, plan);
    RUN("mux-ensure", "--socket", f.path, "-p", "web1");
    expect_exit(0);
    expect_output("/run/mux/web1\n");
    fake_stop(&f);
    start(&f, NULL, refused);
    RUN("mux-ensure", "--socket", f.path, "--print", "it");
    expect_exit(255);
    expect_line("sshlease: no such target: it\n");
    assert_int_equal(ran.stdout_len, 0);
    fake_stop(&f);
    RUN("mux-ensure", "--socket", "/nonexistent/s", "web1");
    expect_exit(255);
    expect_line("no sshleased is listening at /nonexistent/s");
    RUN("mux-ensure");
    expect_exit(255);
    expect_line("(see sshlease mux-ensure --help)");
    RUN("mux-ensure", "a", "b");
    expect_exit(255);
}

#define PAST "this ssh went past it: by -S, -M or a ControlPath of its own"

/* The guard where the socket can be asked, in words that need no quotes. */
#define GUARD(probe, where)                                                                                            \
    "  ProxyCommand sh -c \"" probe " && echo sshlease: sshleased answers at " where ", " PAST " >&2 || "              \
    "echo sshlease: no sshleased answers at " where " >&2; exit 1\"\n"
#define ASKED(path) GUARD("ssh -F none -S " path " -O check x 2>/dev/null", path)

TEST(configured_targets)
{
    static const struct step plan[] = {
        {"web1", "/run/mux/ci@web1"}, {"db", "/run/with space/100%/a\"b\\c#/DOM\\me@db"}, {"old", "/run/mux/old"}, {0}};
    struct fake f;
    start(&f, STATUS("{\"name\":\"web1\"},{\"name\":\"me@somewhere\"},{\"name\":\"db\"},{\"name\":\"old\"}"), plan);
    RUN("ssh-config", "--socket", f.path);
    expect_exit(0);
    assert_int_equal(ran.stderr_len, 0);
    assert_non_null(strstr(ran.stdout_text, f.path));
    skip_head();
    expect_output(
        "\nHost web1\n"
        "  User ci\n"
        "  ControlMaster no\n"
        "  ControlPath /run/mux/%r@web1\n"
        "  ForwardAgent no\n"
        "  ForwardX11 no\n"
        "Match originalhost web1 !user ci\n"
        "  ProxyCommand sh -c \"echo sshlease: web1 logs in as ci, not as the user that was asked for >&2; exit "
        "1\"\n"
        "Match originalhost web1\n" ASKED(
            "/run/mux/ci@web1") "\nHost db\n"
                                "  User \"DOM\\\\me\"\n"
                                "  ControlMaster no\n"
                                "  ControlPath \"/run/with space/100%%/a\\\"b\\\\c#/%r@db\"\n"
                                "  ForwardAgent no\n"
                                "  ForwardX11 no\n"
                                "  ProxyCommand sh -c \"echo sshlease: no sshleased answers at "
                                "/run/with_space/100_/a_b_c_/DOM_me@db, or " PAST " >&2; exit 1\"\n"
                                "\nHost old\n"
                                "  ControlMaster no\n"
                                "  ControlPath /run/mux/old\n"
                                "  ForwardAgent no\n"
                                "  ForwardX11 no\n" ASKED("/run/mux/old"));
    fake_stop(&f);
    static const struct step one[] = {{"web1", "/run/mux/web1"}, {0}};
    start(&f, NULL, one);
    RUN("ssh-config", "--socket", f.path, "web1");
    expect_exit(0);
    assert_non_null(strstr(ran.stdout_text, "\nHost web1\n"));
    fake_stop(&f);
}

TEST(destinations_of_one_s_own)
{
    static const struct step plan[] = {{"DOM\\you@host:2222", "/run/u/mux/DOM\\you@host:2222"},
        {"host", "/run/u/mux/me@host:22"}, {"[::1]", "/run/u/mux/me@::1:22"}, {0}};
    char expected[4096];
    struct fake f;
    start(&f, NULL, plan);
    RUN("ssh-config", "--socket", f.path, "DOM\\you@host:2222", "host", "[::1]");
    expect_exit(0);
    skip_head();
#define OPTIONS                                                                                                        \
    "  ControlMaster no\n"                                                                                             \
    "  ControlPath /run/u/mux/%%r@%%h:%%p\n"                                                                           \
    "  ForwardAgent no\n"                                                                                              \
    "  ForwardX11 no\n" GUARD("%1$s status --socket %2$s >/dev/null 2>&1", "/run/u/mux/")
#define EXEC "exec \"%1$s mux-ensure --socket '%2$s' '%%r@%%h:%%p'\"\n"
    snprintf(expected, sizeof expected,
        "\nHost host\n"
        "  User \"DOM\\\\you\"\n"
        "  Port 2222\n"
        "Match originalhost host " EXEC "Match originalhost host\n" OPTIONS "\nMatch originalhost host " EXEC
        "Match originalhost host\n" OPTIONS "\nMatch originalhost ::1 " EXEC "Match originalhost ::1\n" OPTIONS,
        SSHLEASE_CLI, f.path);
    expect_output(expected);
    fake_stop(&f);
}

TEST(for_ansible)
{
    static const struct step odd[] = {{"web1", "/run/100%/ci@web1"}, {"db", "/run/100%/db"}, {0}};
    static const struct step plan[] = {{"web1", "/run/mux/ci@web1"}, {"db", "/run/mux/root@db"}, {0}};
    static const struct step adhoc[] = {{"web1", "/run/mux/web1"}, {"me@host", "/run/mux/me@host:22"}, {0}};
    struct fake f;
#define NOT_FOR                                                                                                        \
    "but not for this host and user, which have to be a target and the user that it logs in as: see ansible.cfg >&2"
    start(&f, STATUS("{\"name\":\"web1\"},{\"name\":\"db\"}"), odd);
    RUN("ssh-config", "--ansible", "--socket", f.path);
    expect_exit(0);
    assert_non_null(strstr(ran.stdout_text, "# Targets: web1 (ci) db\n"));
    skip_head();
    expect_output("[ssh_connection]\n"
                  "ssh_args = -o ControlMaster=no -o ControlPersist=no -o ForwardAgent=no -o 'ProxyCommand=sh -c "
                  "\"echo sshlease: no sshleased answers at /run/100_/, or " NOT_FOR "; exit 1\"'\n"
                  "control_path = /run/100%%%%/%%n\n");
    fake_stop(&f);
    start(&f, STATUS("{\"name\":\"web1\"},{\"name\":\"db\"}"), plan);
    RUN("ssh-config", "--ansible", "--socket", f.path);
    expect_exit(0);
    assert_non_null(strstr(ran.stdout_text, "# Targets: web1 (ci) db (root)\n"));
    skip_head();
    expect_output("[ssh_connection]\n"
                  "ssh_args = -o ControlMaster=no -o ControlPersist=no -o ForwardAgent=no -o 'ProxyCommand=sh -c "
                  "\"ssh -F none -S /run/mux/ci@web1 -O check x 2>/dev/null && echo sshlease: sshleased answers at "
                  "/run/mux/, " NOT_FOR " || echo sshlease: no sshleased answers at /run/mux/ >&2; exit 1\"'\n"
                  "control_path = /run/mux/%%r@%%n\n");
    fake_stop(&f);
    start(&f, NULL, adhoc);
    RUN("ssh-config", "--ansible", "--socket", f.path, "web1", "me@host");
    expect_exit(1);
    expect_line("not for me@host");
    assert_int_equal(ran.stdout_len, 0);
    fake_stop(&f);
}

/* Nothing is printed then: half a file would be taken for all of it. */
TEST(what_cannot_be_printed)
{
    static const struct step unknown[] = {{"web1", "/run/mux/web1"}, {"it", NULL}, {0}};
    static const struct step variable[] = {{"web1", "/run/${USER}/web1"}, {0}};
    static const struct {
        const char *status;
        const struct step *plan;
        const char *names[2], *line;
    } cases[] = {
        {NULL, unknown, {"web1", "it"}, "sshlease: no such target: it\n"},
        {NULL, variable, {"web1"}, "cannot name /run/${USER}/web1"},
        {STATUS(""), NULL, {NULL}, "no targets for you"},
        {"[]", NULL, {NULL}, "cannot be read"},
    };
    struct fake f;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(&f, cases[i].status, cases[i].plan);
        RUN("ssh-config", "--socket", f.path, cases[i].names[0], cases[i].names[1]);
        expect_exit(1);
        expect_line(cases[i].line);
        assert_int_equal(ran.stdout_len, 0);
        fake_stop(&f);
    }
    RUN("ssh-config", "--socket", "/nonexistent/s");
    expect_exit(1);
    RUN("ssh-config", "--nonsense");
    expect_exit(2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ensures),
        cmocka_unit_test(configured_targets),
        cmocka_unit_test(destinations_of_one_s_own),
        cmocka_unit_test(for_ansible),
        cmocka_unit_test(what_cannot_be_printed),
    };
    return cmocka_run_group_tests_name("client.cli_mux", tests, NULL, NULL);
}
