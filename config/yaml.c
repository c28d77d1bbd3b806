/* SPDX-License-Identifier: MIT */
/* From a file to a checked configuration: its sections, what they inherit, and the checks across settings. */
#include "config/yaml.h"

#include "config/build.h"
#include "config/read.h"
#include "config/value.h"
#include "proto/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two numbers of which the first may not be the larger. */
static const struct {
    const char *small, *large;
} orders[] = {
    {"min_idle", "max_connections"},
    {"sharing", "streams"},
    {"retry_min", "retry_max"},
    {"lease_timeout", "max_lease"},
};

static const struct sl_seen *seen_of(const struct sl_seen *seen, const struct sl_setting *s)
{
    return &seen[s - sl_section_target.setting];
}

/* Whether one of the two was given in this mapping and none is wrong already: what was inherited whole has been checked
 * where it stands. The place is that of the first one given. */
static bool concerns(const struct sl_seen *a, const struct sl_seen *b, struct sl_mark *ret_mark)
{
    if (a->given == SL_GIVEN_BAD || b->given == SL_GIVEN_BAD || (a->given == SL_GIVEN_NOT && b->given == SL_GIVEN_NOT))
        return false;
    *ret_mark = a->given == SL_GIVEN_GOOD ? a->mark : b->mark;
    return true;
}

static void check_orders(struct sl_conf_reader *r, const struct sl_target_conf *t, const struct sl_seen *seen)
{
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        const struct sl_setting *small = sl_section_find(&sl_section_target, orders[i].small);
        const struct sl_setting *large = sl_section_find(&sl_section_target, orders[i].large);
        uint64_t a = sl_setting_get(small, t), b = sl_setting_get(large, t);
        struct sl_mark mark;
        char text_a[SL_SETTING_VALUE_SIZE], text_b[SL_SETTING_VALUE_SIZE];
        if (a > b && concerns(seen_of(seen, small), seen_of(seen, large), &mark))
            sl_problem_add(r->problems, mark, "%s (%s) is more than %s (%s); lower the one or raise the other",
                small->key, sl_setting_format(small, a, text_a), large->key, sl_setting_format(large, b, text_b));
    }
}

/* New keys need a file of the user's to go to. */
static void check_accept_new(struct sl_conf_reader *r, const struct sl_target_conf *t, const struct sl_seen *seen)
{
    const struct sl_setting *checking = sl_section_find(&sl_section_target, "strict_host_key_checking");
    const struct sl_setting *files = sl_section_find(&sl_section_target, "user_known_hosts_file");
    struct sl_mark mark;
    if (t->host_key_checking == SL_HOST_KEY_ACCEPT_NEW && t->user_known_hosts_count == 0 &&
        concerns(seen_of(seen, checking), seen_of(seen, files), &mark))
        sl_problem_add(
            r->problems, mark, "accept-new has no user_known_hosts_file to keep new keys in; name one, or give yes");
}

/* Gives the certificates, in their order, to the identities of the same mapping. */
static void join_certificates(struct sl_conf_reader *r, struct sl_target_conf *t, const struct sl_seen *seen)
{
    const struct sl_seen *files = seen_of(seen, sl_section_find(&sl_section_target, "identity_file"));
    const struct sl_seen *certificates = seen_of(seen, sl_section_find(&sl_section_target, "certificate_file"));
    if (certificates->given == SL_GIVEN_GOOD && files->given != SL_GIVEN_BAD && r->certificates.count != 0) {
        if (files->given == SL_GIVEN_NOT) {
            sl_problem_add(r->problems, certificates->mark,
                "certificate_file without identity_file beside it; give the key of each certificate, in the same "
                "order");
        } else if (r->certificates.count != t->identity_count) {
            sl_problem_add(r->problems, certificates->mark,
                "%zu certificates for %zu keys in identity_file; give one for each, in the same order",
                r->certificates.count, t->identity_count);
        } else {
            for (size_t i = 0; i < t->identity_count; i++) {
                t->identity[i].certificate_file = r->certificates.item[i];
                r->certificates.item[i] = NULL;
            }
        }
    }
    sl_strv_fini(&r->certificates);
}

/* Reads one mapping of target settings, `defaults` or a target, over what `t` has. */
static void read_target(struct sl_conf_reader *r, const char *where, const char *right, int map,
    struct sl_target_conf *t, struct sl_seen seen[SL_SECTION_SETTINGS_MAX])
{
    sl_read_section(r, &sl_section_target, where, right, map, t, seen);
    if (seen_of(seen, sl_section_find(&sl_section_target, "acquire_timeout"))->given == SL_GIVEN_GOOD)
        t->acquire_timeout_set = true;
    join_certificates(r, t, seen);
    check_orders(r, t, seen);
    check_accept_new(r, t, seen);
}

static void read_defaults(struct sl_conf_reader *r, struct sl_conf *conf, int map)
{
    struct sl_seen seen[SL_SECTION_SETTINGS_MAX];
    read_target(r, "defaults", sl_section_find(&sl_section_top, "defaults")->right, map, conf->defaults, seen);
    r->allowed_by_default = seen_of(seen, sl_section_find(&sl_section_target, "allow"))->given != SL_GIVEN_NOT;
    for (size_t i = 0; i < sl_section_target.count; i++) {
        const struct sl_setting *s = &sl_section_target.setting[i];
        if (seen[i].given != SL_GIVEN_NOT && sl_setting_target_only(s))
            sl_problem_add(r->problems, seen[i].mark, "%s in defaults; give it in a target", s->key);
    }
}

/* What every target needs, from itself or from defaults. */
static void check_complete(struct sl_conf_reader *r, const struct sl_conf *conf, const struct sl_target_conf *t,
    int name, const struct sl_seen *seen)
{
    const struct sl_seen *user = seen_of(seen, sl_section_find(&sl_section_target, "user"));
    if (t->user == NULL && user->given == SL_GIVEN_NOT)
        sl_problem_add(r->problems, sl_node_mark(r->doc, name), "target %s has no user; give user there or in defaults",
            SL_SHOW(t->name));

    const struct sl_setting *allow = sl_section_find(&sl_section_target, "allow");
    if (!conf->one_user && !r->allowed_by_default && seen_of(seen, allow)->given == SL_GIVEN_NOT)
        sl_problem_note(r->problems, sl_node_mark(r->doc, name),
            "target %s has no allow, so that nobody but root and the daemon's own user may lease it; %s",
            SL_SHOW(t->name), allow->right);

    static const char *const ways[] = {"identity_file", "identity_agent", "password"};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        if (seen_of(seen, sl_section_find(&sl_section_target, ways[i]))->given == SL_GIVEN_BAD)
            return;
    /* The one-user mode's keys and agent may still come; a service's are named or it has none. */
    if (!conf->one_user && t->identity_count == 0 && !t->identity_agent_set && t->password.kind == SL_SECRET_NONE)
        sl_problem_add(r->problems, sl_node_mark(r->doc, name),
            "target %s has no credentials; give identity_file, identity_agent or password", SL_SHOW(t->name));
}

static int read_one_target(struct sl_conf_reader *r, struct sl_conf *conf, int name, int map)
{
    const char *text = sl_node_text(r->doc, name);
    enum sl_node_type type = sl_node_type(r->doc, name);
    if (type != SL_NODE_PLAIN && type != SL_NODE_QUOTED)
        return 0; /* told already */
    const char *wrong = sl_value_target_name_wrong(text);
    if (wrong != NULL)
        sl_problem_add(r->problems, sl_node_mark(r->doc, name),
            "target name %s %s; give up to 255 letters, digits, dots, _ and -, no - first", SL_SHOW(text), wrong);

    struct sl_target_conf *t;
    int status = sl_target_conf_copy(conf->defaults, &t);
    if (status != 0)
        return status;
    conf->target[conf->target_count++] = t;
    t->name = strdup(text);
    if (t->name == NULL)
        return SL_E_NOMEM;

    char where[SL_SHOW_SIZE + 8];
    snprintf(where, sizeof where, "target %s", SL_SHOW(text));
    struct sl_seen seen[SL_SECTION_SETTINGS_MAX];
    read_target(r, where, "give a mapping of settings to values", map, t, seen);
    if (t->host == NULL) {
        t->host = strdup(text);
        if (t->host == NULL)
            return SL_E_NOMEM;
    }
    check_complete(r, conf, t, name, seen);
    return 0;
}

static int compare_targets(const void *left, const void *right)
{
    const struct sl_target_conf *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static int read_targets(struct sl_conf_reader *r, struct sl_conf *conf, int map)
{
    enum sl_node_type type = sl_node_type(r->doc, map);
    if (type == SL_NODE_NULL)
        return 0;
    if (type != SL_NODE_MAP) {
        sl_problem_add(r->problems, sl_node_mark(r->doc, map), "targets %s; %s", sl_node_is(r->doc, map),
            sl_section_find(&sl_section_top, "targets")->right);
        return 0;
    }
    size_t count = 0;
    int name, settings;
    while (sl_node_entry(r->doc, map, count, &name, &settings))
        count++;
    if (count > conf->limits.targets) {
        sl_problem_add(r->problems, sl_node_mark(r->doc, map),
            "%zu targets, and limits.targets is %u; raise that or leave some out", count, conf->limits.targets);
        return 0;
    }
    conf->target = calloc(count + 1, sizeof(struct sl_target_conf *));
    if (conf->target == NULL)
        return SL_E_NOMEM;
    sl_node_check_keys(r->doc, map, "target");
    for (size_t i = 0; i < count; i++) {
        sl_node_entry(r->doc, map, i, &name, &settings);
        int status = read_one_target(r, conf, name, settings);
        if (status != 0)
            return status;
    }
    qsort(conf->target, conf->target_count, sizeof(struct sl_target_conf *), compare_targets);
    return 0;
}

/* min_idle is a promise; those of all targets together must be possible to keep. */
static void check_min_idle(struct sl_conf_reader *r, const struct sl_conf *conf, int targets)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < conf->target_count; i++)
        sum += conf->target[i]->policy.min_idle;
    if (sum > conf->limits.connections)
        sl_problem_add(r->problems, sl_node_mark(r->doc, targets),
            "the targets' min_idle add up to %llu, and limits.connections is %u; lower them or raise that",
            (unsigned long long)sum, conf->limits.connections);
}

/* Every target has a socket of its name in mux.directory. */
static void check_mux(struct sl_conf_reader *r, const struct sl_conf *conf, const struct sl_seen *directory)
{
    if (directory->given != SL_GIVEN_GOOD)
        return;
    for (size_t i = 0; i < conf->target_count; i++) {
        const char *name = conf->target[i]->name;
        size_t length = strlen(conf->mux.directory) + 1 + strlen(name);
        if (name[0] == '.')
            sl_problem_add(r->problems, directory->mark,
                "directory cannot have a socket for target %s; give the target a name without a dot first",
                SL_SHOW(name));
        else if (length > SL_SOCKET_PATH_MAX)
            sl_problem_add(r->problems, directory->mark,
                "directory makes the path of target %s's socket %zu bytes long, and a socket's path can have %zu; give "
                "a shorter directory or name",
                SL_SHOW(name), length, SL_SOCKET_PATH_MAX);
    }
}

static int read_sections(struct sl_conf_reader *r, struct sl_conf *conf)
{
    int root = sl_doc_root(r->doc);
    if (sl_node_type(r->doc, root) == SL_NODE_NULL) {
        /* More likely a file cut short than somebody's wish to have no targets any more. */
        sl_problem_add(r->problems, sl_node_mark(r->doc, root), "the configuration is empty; give at least targets");
        return 0;
    }
    struct sl_conf_top top = {0};
    struct sl_seen seen[SL_SECTION_SETTINGS_MAX];
    sl_read_section(r, &sl_section_top, sl_section_top.name, "give a mapping with targets in it", root, &top, seen);
    sl_read_section(r, &sl_section_listen, "listen", sl_section_find(&sl_section_top, "listen")->right, top.listen,
        &conf->listen, seen);
    struct sl_seen mux_seen[SL_SECTION_SETTINGS_MAX];
    sl_read_section(
        r, &sl_section_mux, "mux", sl_section_find(&sl_section_top, "mux")->right, top.mux, &conf->mux, mux_seen);
    sl_read_section(r, &sl_section_limits, "limits", sl_section_find(&sl_section_top, "limits")->right, top.limits,
        &conf->limits, seen);
    struct sl_conf_access admin;
    if (top.admin != 0 &&
        sl_read_access(r, "admin", sl_section_find(&sl_section_top, "admin")->right, top.admin, &admin)) {
        conf->admins_set = true;
        conf->admin_uid = admin.uid;
        conf->admin_uid_count = admin.uid_count;
        conf->admin_gid = admin.gid;
        conf->admin_gid_count = admin.gid_count;
    }
    read_defaults(r, conf, top.defaults); /* before the targets, wherever it stands: they start as copies of it */
    int status = read_targets(r, conf, top.targets);
    if (status == 0) {
        check_min_idle(r, conf, top.targets);
        check_mux(r, conf, &mux_seen[0]);
    }
    return status;
}

int sl_conf_parse_in(const struct sl_conf_world *world, const char *file, const void *text, size_t len, bool one_user,
    struct sl_conf **ret_conf, struct sl_conf_errors *errors)
{
    struct sl_problems problems;
    sl_problems_init(&problems, file);
    struct sl_conf_reader r = {.problems = &problems, .world = world};
    struct sl_conf *conf = NULL;
    int status = sl_conf_new_default_in(world, one_user, &conf);
    if (status == SL_E_CONFIG)
        sl_problem_add(&problems, (struct sl_mark){0, 0},
            "this user has no home for the one-user mode to find keys and known_hosts in; set HOME");
    if (status == 0 && (conf->file = strdup(file)) == NULL)
        status = SL_E_NOMEM;
    if (status == 0)
        status = sl_doc_open(text, len, &problems, &r.doc);
    if (status == 0)
        status = read_sections(&r, conf);
    sl_doc_close(r.doc);
    sl_strv_fini(&r.certificates);

    if (status != SL_E_NOMEM)
        status = sl_problems_finish(&problems, errors);
    sl_problems_fini(&problems);
    if (status != 0) {
        sl_conf_free(conf);
        return status;
    }
    *ret_conf = conf;
    return 0;
}

int sl_conf_parse(const char *file, const void *text, size_t len, bool one_user, const struct sl_algorithms *algorithms,
    struct sl_conf **ret_conf, struct sl_conf_errors *errors)
{
    struct sl_conf_world *world;
    int status = sl_conf_world_new(&world);
    if (status != 0)
        return status;
    world->algorithms = algorithms;
    status = sl_conf_parse_in(world, file, text, len, one_user, ret_conf, errors);
    sl_conf_world_free(world);
    return status;
}

/* The whole file, or as much as is enough to see that it is too large. 0, or an errno. */
static int read_file(const char *file, char **ret_text, size_t *ret_len)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno;
    size_t capacity = SL_DOC_BYTES_MAX + 1, len = 0;
    char *text = malloc(capacity);
    int error = text == NULL ? ENOMEM : 0;
    while (error == 0 && len < capacity) {
        ssize_t n = read(fd, text + len, capacity - len);
        if (n == 0)
            break;
        if (n > 0)
            len += (size_t)n;
        else if (errno != EINTR)
            error = errno;
    }
    close(fd);
    if (error != 0) {
        free(text);
        return error;
    }
    *ret_text = text;
    *ret_len = len;
    return 0;
}

int sl_conf_load(const char *file, bool one_user, const struct sl_algorithms *algorithms, struct sl_conf **ret_conf,
    struct sl_conf_errors *errors)
{
    char *text = NULL;
    size_t len = 0;
    int error = read_file(file, &text, &len);
    if (error == ENOMEM)
        return SL_E_NOMEM;
    if (error != 0) {
        struct sl_problems problems;
        sl_problems_init(&problems, file);
        sl_problem_add(&problems, (struct sl_mark){0, 0}, "cannot be read (%s); give a file that this user can read",
            strerrordesc_np(error));
        int status = sl_problems_finish(&problems, errors);
        sl_problems_fini(&problems);
        return status;
    }
    int status = sl_conf_parse(file, text, len, one_user, algorithms, ret_conf, errors);
    free(text);
    return status;
}

void sl_conf_errors_fini(struct sl_conf_errors *errors)
{
    sl_strv_fini(&errors->lines);
    sl_strv_fini(&errors->notes);
    errors->left_out = 0;
}
