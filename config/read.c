/* SPDX-License-Identifier: MIT */
/* One reader for each kind of setting, and the loop that gives each key of a mapping to its reader. */
#include "config/read.h"

#include "base/duration.h"
#include "config/algorithm.h"
#include "config/parts.h"
#include "config/reader.h"
#include "config/value.h"
#include "proto/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- algorithms --- */

/* The lists of algorithms: what is given there, against what this build's SSH library has. */

/* Where no library was named there is nothing to name. */
static const struct sl_algorithms none;

static enum sl_algorithm_kind kind_of(const struct sl_setting *s)
{
    return (enum sl_algorithm_kind)(
        (s->offset - offsetof(struct sl_target_conf, algorithms)) / sizeof(struct sl_algorithm_choice));
}

/* With everything that there is. */
static bool refuse(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, const struct sl_strv *has, const char *name)
{
    char *all = sl_algorithm_join(has, ", "), *right = NULL;
    if (all == NULL || asprintf(&right, "it has %s", has->count > 0 ? all : "none") < 0) {
        free(all);
        return sl_read_out_of_memory(r);
    }
    free(all);
    sl_read_refuse_with(r, s, node, right, "%s is not one that this build's SSH library has", SL_SHOW(name));
    free(right);
    return false;
}

/* Adds what stands between the commas of `text`. */
static bool read_names(struct sl_conf_reader *r, const struct sl_setting *s, int node, const char *text,
    const struct sl_strv *has, struct sl_strv *patterns)
{
    bool good = true;
    for (bool more = true; more;) {
        size_t len = strcspn(text, ",");
        more = text[len] == ',';
        char *name = strndup(text, len);
        if (name == NULL)
            return sl_read_out_of_memory(r);
        text += len + more;
        if (!sl_algorithm_matches(has, name)) {
            good = refuse(r, s, node, has, name);
            free(name);
        } else if (sl_strv_take(patterns, name) != 0) {
            return sl_read_out_of_memory(r);
        }
    }
    return good;
}

/* Keeps what `change` and `patterns` make of the defaults. */
static bool keep(struct sl_conf_reader *r, const struct sl_setting *s, int node, enum sl_algorithm_change change,
    const struct sl_strv *patterns, const struct sl_algorithms *there, struct sl_algorithm_choice *choice)
{
    enum sl_algorithm_kind kind = kind_of(s);
    struct sl_strv names;
    if (sl_algorithm_resolve(change, patterns, &there->has[kind], &there->by_default[kind], &names) != 0)
        return sl_read_out_of_memory(r);
    if (names.count == 0)
        return sl_read_refuse_with(r, s, node, "leave at least one", "takes away all that are offered");
    char *text = sl_algorithm_join(&names, ",");
    sl_strv_fini(&names);
    if (text == NULL)
        return sl_read_out_of_memory(r);
    free(choice->names);
    choice->names = text;
    choice->in_order = change == SL_ALGORITHM_REPLACE || change == SL_ALGORITHM_PREPEND;
    return true;
}

bool sl_read_algorithms(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const struct sl_algorithms *there = r->world->algorithms != NULL ? r->world->algorithms : &none;
    const struct sl_strv *has = &there->has[kind_of(s)];
    enum sl_algorithm_change change = SL_ALGORITHM_REPLACE;
    struct sl_strv patterns = {0};
    bool good = true, any = false;
    int item;
    for (size_t i = 0; (item = sl_read_nth(r, node, i)) != 0; i++) {
        const char *text = sl_read_text(r, s, item);
        if (text != NULL && i == 0)
            change = sl_algorithm_change_of(text, &text);
        good = text != NULL && read_names(r, s, item, text, has, &patterns) && good;
        any = true;
    }
    if (!any)
        good = sl_read_refuse(r, s, node, "is an empty list");
    good = good && keep(r, s, node, change, &patterns, there, sl_read_member(s, base));
    sl_strv_fini(&patterns);
    return good;
}

/* --- users and groups --- */

/* The number of a user or group by name or number; or a problem. */
static bool read_id(struct sl_conf_reader *r, const struct sl_setting *s, int node, uint32_t *ret_id)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    bool user = s->kind == SL_SETTING_USERS;
    const char *what = user ? "user" : "group";
    uint64_t number;
    switch (sl_value_number(text, &number)) {
    case SL_VALUE_OK:
        if (number < UINT32_MAX) { /* -1 means "none" to the system */
            *ret_id = (uint32_t)number;
            return true;
        }
        __attribute__((fallthrough));
    case SL_VALUE_TOO_LARGE:
        return sl_read_refuse(r, s, node, "has %s, which is not the number of a %s", SL_SHOW(text), what);
    default:
        break;
    }
    _Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "one reader for both");
    int error = text[0] == '\0' ? ENOENT
                : user          ? r->world->find_user(r->world->arg, text, ret_id)
                                : r->world->find_group(r->world->arg, text, ret_id);
    if (error == 0)
        return true;
    if (error == ENOENT)
        return sl_read_refuse(r, s, node, "has the unknown %s %s", what, SL_SHOW(text));
    return sl_read_refuse(
        r, s, node, "has the %s %s, which cannot be looked up (%s)", what, SL_SHOW(text), strerrordesc_np(error));
}

/* A name or a list of names. True, and an array that the caller frees, when all are right. */
static bool read_ids(
    struct sl_conf_reader *r, const struct sl_setting *s, int node, uint32_t **ret_id, size_t *ret_count)
{
    size_t count = 0;
    while (sl_read_nth(r, node, count) != 0)
        count++;
    uint32_t *id = calloc(count + 1, sizeof *id);
    if (id == NULL)
        return sl_read_out_of_memory(r);
    bool good = true;
    for (size_t i = 0; i < count; i++)
        good = read_id(r, s, sl_read_nth(r, node, i), &id[i]) && good;
    if (!good) {
        free(id);
        return false;
    }
    *ret_id = id;
    *ret_count = count;
    return true;
}

bool sl_read_users(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_conf_access *access = base;
    free(access->uid);
    access->uid = NULL;
    return read_ids(r, s, node, &access->uid, &access->uid_count);
}

bool sl_read_groups(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_conf_access *access = base;
    free(access->gid);
    access->gid = NULL;
    return read_ids(r, s, node, &access->gid, &access->gid_count);
}

bool sl_read_group(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_listen_conf *listen = base;
    if (!read_id(r, s, node, &listen->group))
        return false;
    listen->group_set = true;
    return true;
}

/* --- the rest --- */

/* --- numbers and words --- */

static bool in_range(const struct sl_setting *s, uint64_t value)
{
    return (value >= s->min && value <= s->max) || (value == 0 && s->zero != NULL);
}

static bool take_number(struct sl_conf_reader *r, const struct sl_setting *s, int node, uint64_t value, void *base)
{
    if (!in_range(s, value))
        return sl_read_refuse(r, s, node, "%s is out of range", sl_read_text(r, s, node));
    sl_setting_set(s, base, value);
    return true;
}

static bool read_number(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    uint64_t value = 0;
    if (text == NULL)
        return false;
    if (sl_node_type(r->doc, node) == SL_NODE_QUOTED)
        return sl_read_refuse(r, s, node, "%s is in quotes", SL_SHOW(text));
    switch (sl_value_number(text, &value)) {
    case SL_VALUE_OK:
        return take_number(r, s, node, value, base);
    case SL_VALUE_TOO_LARGE:
        return sl_read_refuse(r, s, node, "%s is out of range", SL_SHOW(text));
    default:
        return sl_read_refuse(r, s, node, "%s is not a whole number", SL_SHOW(text));
    }
}

static bool read_duration(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    uint64_t value = 0;
    if (text == NULL)
        return false;
    switch (sl_duration_parse(text, &value)) {
    case SL_DURATION_OK:
        return take_number(r, s, node, value, base);
    case SL_DURATION_TOO_LARGE:
        return sl_read_refuse(r, s, node, "%s is out of range", SL_SHOW(text));
    case SL_DURATION_NO_UNIT:
        return sl_read_refuse(r, s, node, "%.20s has no unit", text);
    default:
        return sl_read_refuse(r, s, node, "%s is not a duration", SL_SHOW(text));
    }
}

static bool read_choice(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    for (size_t i = 0; s->choice[i] != NULL; i++) {
        if (strcmp(s->choice[i], text) == 0) {
            sl_setting_set(s, base, i);
            return true;
        }
    }
    return sl_read_refuse(r, s, node, "%s is not one of its values", SL_SHOW(text));
}

static bool read_host_key_checking(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    static const char *const offs[] = {"no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"};
    static const char *const yeses[] = {"true", "True", "TRUE", "Yes", "YES"};
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    for (size_t i = 0; i < sizeof offs / sizeof offs[0]; i++)
        if (strcmp(text, offs[i]) == 0)
            return sl_read_refuse(r, s, node, "%s is refused: host keys are always checked", SL_SHOW(text));
    /* What YAML 1.1 has for yes. */
    for (size_t i = 0; i < sizeof yeses / sizeof yeses[0]; i++) {
        if (strcmp(text, yeses[i]) == 0) {
            sl_setting_set(s, base, SL_HOST_KEY_STRICT);
            return true;
        }
    }
    return read_choice(r, s, node, base);
}

static bool read_mode(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    if (sl_node_type(r->doc, node) != SL_NODE_QUOTED)
        return sl_read_refuse(r, s, node, "is not in quotes");
    uint64_t mode;
    enum sl_value value = sl_value_mode(text, &mode);
    if (value == SL_VALUE_MALFORMED)
        return sl_read_refuse(r, s, node, "%s is not octal", SL_SHOW(text));
    if (value != SL_VALUE_OK || mode > s->max)
        return sl_read_refuse(r, s, node, "%s is out of range", SL_SHOW(text));
    if ((mode & s->min) != s->min)
        return sl_read_refuse(r, s, node, "%s shuts out the daemon's own user", SL_SHOW(text));
    sl_setting_set(s, base, mode);
    return true;
}

/* --- names --- */

static bool read_name(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    const char *text = sl_read_text(r, s, node);
    if (text == NULL)
        return false;
    const char *wrong = s->kind == SL_SETTING_USER ? sl_value_user_wrong(text) : sl_value_host_wrong(text);
    if (wrong != NULL)
        return sl_read_refuse(r, s, node, "%s %s", SL_SHOW(text), wrong);
    return sl_read_keep_text(r, sl_read_member(s, base), text);
}

static const char *wrong_pattern(const struct sl_setting *s, const char *text)
{
    return s->kind == SL_SETTING_DESTINATIONS ? sl_value_destination_wrong(text) : sl_value_pattern_wrong(text);
}

static bool read_patterns(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_strv list = {0};
    bool good = true;
    int item;
    for (size_t i = 0; (item = sl_read_nth(r, node, i)) != 0; i++) {
        const char *text = sl_read_text(r, s, item);
        const char *wrong = text == NULL ? NULL : wrong_pattern(s, text);
        if (text == NULL)
            good = false;
        else if (wrong != NULL)
            good = sl_read_refuse(r, s, item, "%s %s", SL_SHOW(text), wrong);
        else if (sl_strv_add(&list, text) != 0)
            good = sl_read_out_of_memory(r);
    }
    if (!good) {
        sl_strv_fini(&list);
        return false;
    }
    struct sl_strv *slot = sl_read_member(s, base);
    sl_strv_fini(slot);
    *slot = list;
    return true;
}

/* --- mappings --- */

/* Any kind of setting, by its own reader. */
static bool read_value(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base);

static bool read_node(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    (void)r;
    *(int *)sl_read_member(s, base) = node;
    return true;
}

/* A mapping of one entry, which says where the secret is. Nothing that is given there may show in a message. */
static bool read_secret(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    enum sl_node_type type = sl_node_type(r->doc, node);
    if (type == SL_NODE_PLAIN || type == SL_NODE_QUOTED)
        return sl_read_refuse(r, s, node, "is in the file itself, where no secret may be");
    if (type != SL_NODE_MAP)
        return sl_read_refuse(r, s, node, "%s", sl_node_is(r->doc, node));
    int key, value, another;
    if (!sl_node_entry(r->doc, node, 0, &key, &value))
        return sl_read_refuse(r, s, node, "is an empty mapping");
    if (sl_node_entry(r->doc, node, 1, &another, &another))
        return sl_read_refuse(r, s, another, "comes from more than one place");
    const struct sl_setting *way = sl_section_find(&sl_section_secret, sl_node_text(r->doc, key));
    if (way == NULL)
        return sl_read_refuse(r, s, key, "has an unknown key");
    struct sl_secret secret = {0};
    if (!read_value(r, way, value, &secret)) {
        sl_secret_fini(&secret);
        return false;
    }
    struct sl_secret *slot = sl_read_member(s, base);
    sl_secret_fini(slot);
    *slot = secret;
    return true;
}

static bool read_allow(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    struct sl_target_conf *t = base;
    struct sl_conf_access access;
    if (!sl_read_access(r, s->key, s->right, node, &access))
        return false;
    free(t->allow_uid);
    free(t->allow_gid);
    t->allow_everyone = false;
    t->allow_uid = access.uid;
    t->allow_uid_count = access.uid_count;
    t->allow_gid = access.gid;
    t->allow_gid_count = access.gid_count;
    return true;
}

static bool read_value(struct sl_conf_reader *r, const struct sl_setting *s, int node, void *base)
{
    static const sl_read_fn reader[] = {
        [SL_SETTING_COUNT] = read_number,
        [SL_SETTING_DURATION] = read_duration,
        [SL_SETTING_CHOICE] = read_choice,
        [SL_SETTING_HOST_KEY_CHECKING] = read_host_key_checking,
        [SL_SETTING_MODE] = read_mode,
        [SL_SETTING_HOST] = read_name,
        [SL_SETTING_USER] = read_name,
        [SL_SETTING_SOCKET_PATH] = sl_read_socket_path,
        [SL_SETTING_SOCKET_DIRECTORY] = sl_read_socket_directory,
        [SL_SETTING_AGENT] = sl_read_agent,
        [SL_SETTING_IDENTITIES] = sl_read_identities,
        [SL_SETTING_CERTIFICATES] = sl_read_certificates,
        [SL_SETTING_USER_KNOWN_HOSTS] = sl_read_known_hosts,
        [SL_SETTING_GLOBAL_KNOWN_HOSTS] = sl_read_known_hosts,
        [SL_SETTING_PATTERNS] = read_patterns,
        [SL_SETTING_DESTINATIONS] = read_patterns,
        [SL_SETTING_ALGORITHMS] = sl_read_algorithms,
        [SL_SETTING_SECRET] = read_secret,
        [SL_SETTING_ALLOW] = read_allow,
        [SL_SETTING_USERS] = sl_read_users,
        [SL_SETTING_GROUPS] = sl_read_groups,
        [SL_SETTING_GROUP] = sl_read_group,
        [SL_SETTING_SECRET_FILE] = sl_read_secret_file,
        [SL_SETTING_SECRET_ENV] = sl_read_secret_env,
        [SL_SETTING_SECRET_CREDENTIAL] = sl_read_secret_credential,
        [SL_SETTING_SECTION] = read_node,
    };
    return reader[s->kind](r, s, node, base);
}

/* Which setting was meant counts as given, and wrong: that it is missing need not be said as well. */
static void report_unknown(
    struct sl_conf_reader *r, const struct sl_section *section, const char *where, int key, struct sl_seen *seen)
{
    if (sl_problems_full(r->problems)) {
        r->problems->left_out++;
        return;
    }
    const char *names[SL_SECTION_SETTINGS_MAX];
    char known[160] = "see sshleased.yaml(5) for what is known there";
    int at = 0;
    for (size_t i = 0; i < section->count; i++) {
        names[i] = section->setting[i].key;
        if (section->count <= 8) {
            const char *between = i == 0 ? "give " : i + 1 == section->count ? " or " : ", ";
            at += snprintf(known + at, sizeof known - (size_t)at, "%s%s", between, names[i]);
        }
    }
    const char *text = sl_node_text(r->doc, key);
    const char *nearest = sl_value_nearest(text, names, section->count);
    if (nearest != NULL) {
        struct sl_seen *meant = &seen[sl_section_find(section, nearest) - section->setting];
        if (meant->given == SL_GIVEN_NOT)
            *meant = (struct sl_seen){SL_GIVEN_BAD, sl_node_mark(r->doc, key)};
        sl_problem_add(r->problems, sl_node_mark(r->doc, key), "unknown key %s in %s; did you mean %s?", SL_SHOW(text),
            where, nearest);
    } else {
        sl_problem_add(r->problems, sl_node_mark(r->doc, key), "unknown key %s in %s; %s", SL_SHOW(text), where, known);
    }
}

void sl_read_section(struct sl_conf_reader *r, const struct sl_section *section, const char *where, const char *right,
    int map, void *base, struct sl_seen seen[SL_SECTION_SETTINGS_MAX])
{
    memset(seen, 0, SL_SECTION_SETTINGS_MAX * sizeof *seen);
    enum sl_node_type type = sl_node_type(r->doc, map);
    if (type == SL_NODE_NULL) /* all of it commented out */
        return;
    if (type != SL_NODE_MAP) {
        sl_problem_add(r->problems, sl_node_mark(r->doc, map), "%s %s; %s", where, sl_node_is(r->doc, map), right);
        return;
    }
    sl_node_check_keys(r->doc, map, "key");
    int key, value;
    for (size_t i = 0; sl_node_entry(r->doc, map, i, &key, &value); i++) {
        enum sl_node_type key_type = sl_node_type(r->doc, key);
        if (key_type != SL_NODE_PLAIN && key_type != SL_NODE_QUOTED)
            continue;
        const struct sl_setting *s = sl_section_find(section, sl_node_text(r->doc, key));
        if (s == NULL) {
            report_unknown(r, section, where, key, seen);
            continue;
        }
        bool good = read_value(r, s, value, base);
        seen[s - section->setting] = (struct sl_seen){good ? SL_GIVEN_GOOD : SL_GIVEN_BAD, sl_node_mark(r->doc, value)};
    }
}

bool sl_read_access(
    struct sl_conf_reader *r, const char *where, const char *right, int map, struct sl_conf_access *ret_access)
{
    struct sl_conf_access access = {0};
    struct sl_seen seen[SL_SECTION_SETTINGS_MAX];
    sl_read_section(r, &sl_section_access, where, right, map, &access, seen);
    bool good = true, any = false;
    for (size_t i = 0; i < sl_section_access.count; i++) {
        good = good && seen[i].given != SL_GIVEN_BAD;
        any = any || seen[i].given != SL_GIVEN_NOT;
    }
    /* An unknown key is bad enough, but has been told; so has a wrong type. */
    enum sl_node_type type = sl_node_type(r->doc, map);
    int key, value;
    if (!any && (type == SL_NODE_NULL || (type == SL_NODE_MAP && !sl_node_entry(r->doc, map, 0, &key, &value))))
        sl_problem_add(r->problems, sl_node_mark(r->doc, map), "%s names nobody; %s", where, right);
    if (!good || !any) {
        free(access.uid);
        free(access.gid);
        return false;
    }
    *ret_access = access;
    return true;
}
