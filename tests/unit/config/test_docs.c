/* SPDX-License-Identifier: MIT */
/* The man page and the example against the table of settings. */
#include "config/setting.h"
#include "tests/support/test.h"
#include "tests/unit/config/parse.h"

/* The whole file, from malloc(). */
static char *slurp(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, CONFIG_DIRECTORY "/%s", name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    const size_t size = 131072;
    char *text = calloc(1, size);
    assert_non_null(text);
    size_t length = fread(text, 1, size - 1, f);
    assert_true(length > 0 && feof(f));
    fclose(f);
    return text;
}

/* A world where everything is there, so that the example can be read as it stands. */
static int any_file(void *arg, const char *path, enum sl_world_use use)
{
    (void)arg;
    (void)use;
    (void)path;
    return 0;
}

static int any_id(void *arg, const char *name, uint32_t *ret_id)
{
    (void)arg;
    *ret_id = (uint32_t)strlen(name);
    return 0;
}

static const char *any_env(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return "/set";
}

static const struct sl_conf_world anything = {
    .uid = 1000,
    .user = "sshlease",
    .home = "/var/lib/sshlease",
    .algorithms = &some_algorithms,
    .env = any_env,
    .try_read = any_file,
    .find_user = any_id,
    .find_group = any_id,
};

static struct sl_conf *parse_anything(const char *text)
{
    struct sl_conf *conf = NULL;
    struct sl_conf_errors errors = {0};
    int status = sl_conf_parse_in(&anything, "example", text, strlen(text), false, &conf, &errors);
    for (size_t i = 0; i < errors.lines.count; i++)
        print_error("%s\n", errors.lines.item[i]);
    sl_conf_errors_fini(&errors);
    assert_int_equal(status, 0);
    return conf;
}

/* Takes away each # that no space follows. */
static void uncomment(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        bool begins = from == text || from[-1] == '\n' || from[-1] == ' ';
        if (*from == '#' && begins && from[1] != ' ' && from[1] != '\n')
            continue;
        *to++ = *from;
    }
    *to = '\0';
}

/* The service's sandbox lets it write to its StateDirectory= only. */
static void check_written_files(const struct sl_conf *conf)
{
    bool any = false;
    for (size_t i = 0; i < conf->target_count; i++) {
        const struct sl_target_conf *t = conf->target[i];
        if (t->host_key_checking != SL_HOST_KEY_ACCEPT_NEW)
            continue;
        any = true;
        if (strncmp(t->known_hosts.item[0], "/var/lib/sshleased/", 19) != 0)
            fail_msg("%s cannot write to %s", t->name, t->known_hosts.item[0]);
    }
    assert_true(any);
}

TEST(the_example_is_right)
{
    char *text = slurp("sshleased.example.yaml");
    struct sl_conf *conf = parse_anything(text);
    assert_int_equal(conf->target_count, 4);
    assert_non_null(sl_conf_find(conf, "web1"));
    check_written_files(conf);
    sl_conf_free(conf);
    free(text);
}

TEST(the_page_s_example_is_right)
{
    char *page = slurp("sshleased.yaml.5");
    char *begin = strstr(page, "\n.Sh EXAMPLES\n.Bd -literal\n"), *end = strstr(page, "\n.Ed\n");
    assert_true(begin != NULL && end != NULL && begin < end);
    end[1] = '\0';
    struct sl_conf *conf = parse_anything(begin + strlen("\n.Sh EXAMPLES\n.Bd -literal\n"));
    assert_int_equal(conf->target_count, 2);
    check_written_files(conf);
    sl_conf_free(conf);
    free(page);
}

TEST(the_example_is_right_with_every_setting_and_its_default)
{
    char *text = slurp("sshleased.example.yaml");
    struct sl_conf *plain = parse_anything(text);
    uncomment(text);
    struct sl_conf *conf = parse_anything(text);
    const struct {
        const struct sl_section *section;
        const void *base, *plain;
    } rows[] = {
        {&sl_section_target, conf->defaults, plain->defaults},
        {&sl_section_limits, &conf->limits, &plain->limits},
        {&sl_section_listen, &conf->listen, &plain->listen},
        {&sl_section_mux, &conf->mux, &plain->mux},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t k = 0; k < rows[i].section->count; k++) {
            const struct sl_setting *s = &rows[i].section->setting[k];
            char with_colon[64];
            snprintf(with_colon, sizeof with_colon, " %s:", s->key);
            if (strstr(text, with_colon) == NULL)
                fail_msg("the example lacks %s", s->key);
            if (sl_setting_is_number(s) && sl_setting_get(s, rows[i].base) != sl_setting_get(s, rows[i].plain))
                fail_msg("the example has another default for %s", s->key);
        }
    }
    sl_conf_free(conf);
    sl_conf_free(plain);
    free(text);
}

/* The part of the page under that heading, from malloc(). */
static char *under_heading(const char *page, const char *heading)
{
    char line[64];
    snprintf(line, sizeof line, "\n.Sh %s\n", heading);
    const char *begin = strstr(page, line);
    assert_non_null(begin);
    begin += strlen(line) - 1;
    const char *end = strstr(begin, "\n.Sh ");
    return end == NULL ? strdup(begin) : strndup(begin, (size_t)(end - begin) + 1);
}

/* What the page says on that setting, from malloc(); or NULL. */
static char *entry_of(const char *part, const char *key)
{
    char line[64];
    snprintf(line, sizeof line, "\n.It Ic %s\n", key);
    const char *begin = strstr(part, line);
    if (begin == NULL)
        return NULL;
    begin += strlen(line) - 1;
    const char *next = strstr(begin, "\n.It "), *end = strstr(begin, "\n.El");
    if (next != NULL && (end == NULL || next < end))
        end = next;
    return strndup(begin, (size_t)(end - begin) + 1);
}

static const struct {
    const struct sl_section *section;
    const char *heading;
} parts[] = {
    {&sl_section_top, "SECTIONS"},
    {&sl_section_listen, "LISTEN"},
    {&sl_section_mux, "MUX"},
    {&sl_section_limits, "LIMITS"},
    {&sl_section_target, "TARGETS"},
    {&sl_section_access, "ACCESS"},
    {&sl_section_secret, "SECRETS"},
};

TEST(the_page_has_every_setting_with_default_and_range)
{
    char *page = slurp("sshleased.yaml.5");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char *part = under_heading(page, parts[i].heading);
        for (size_t k = 0; k < parts[i].section->count; k++) {
            const struct sl_setting *s = &parts[i].section->setting[k];
            char *entry = entry_of(part, s->key);
            if (entry == NULL)
                fail_msg("%s lacks %s", parts[i].heading, s->key);
            if (entry != NULL && sl_setting_is_number(s)) {
                char value[SL_SETTING_VALUE_SIZE], range[SL_SETTING_RIGHT_SIZE], line[256];
                snprintf(line, sizeof line, "\nDefault: %s", sl_setting_format(s, s->fallback, value));
                const char *found = strstr(entry, line);
                if (found == NULL || (found[strlen(line)] != '.' && found[strlen(line)] != ','))
                    fail_msg("%s has another default for %s", parts[i].heading, s->key);
                snprintf(line, sizeof line, "\nRange: %s.\n", sl_setting_range(s, range));
                if (strstr(entry, line) == NULL)
                    fail_msg("%s has another range for %s", parts[i].heading, s->key);
            }
            free(entry);
        }
        free(part);
    }
    free(page);
}

TEST(the_page_has_no_other_settings)
{
    char *page = slurp("sshleased.yaml.5");
    size_t entries = 0, settings = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        settings += parts[i].section->count;
        char *part = under_heading(page, parts[i].heading);
        for (const char *at = part; (at = strstr(at, "\n.It Ic ")) != NULL; entries++) {
            at += strlen("\n.It Ic ");
            char key[64] = "";
            sscanf(at, "%63s", key);
            if (sl_section_find(parts[i].section, key) == NULL)
                fail_msg("%s has %s, which is no setting", parts[i].heading, key);
        }
        free(part);
    }
    assert_int_equal(entries, settings);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_right),
        cmocka_unit_test(the_page_s_example_is_right),
        cmocka_unit_test(the_example_is_right_with_every_setting_and_its_default),
        cmocka_unit_test(the_page_has_every_setting_with_default_and_range),
        cmocka_unit_test(the_page_has_no_other_settings),
    };
    return cmocka_run_group_tests_name("config.docs", tests, NULL, NULL);
}
