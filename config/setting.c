/* SPDX-License-Identifier: MIT */
/* The tables of the sections' settings, and what is done with a setting by its table entry alone. */
#include "config/setting.h"

#include "base/duration.h"
#include "config/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

#define AT(type, member)       .offset = offsetof(type, member)
#define SIZED_AT(type, member) AT(type, member), .size = sizeof(((type *)0)->member)

/* The numbers of struct sl_policy, and where each comes from: the man page. */
#define COUNT(name, member_, min_, max_, default_)                                                                     \
    {                                                                                                                  \
        .key = (name), .kind = SL_SETTING_COUNT, SIZED_AT(struct sl_target_conf, member_), .min = (min_),              \
        .max = (max_), .fallback = (default_)                                                                          \
    }
#define DURATION(name, member_, min_, max_, default_, zero_)                                                           \
    {                                                                                                                  \
        .key = (name), .kind = SL_SETTING_DURATION, SIZED_AT(struct sl_target_conf, member_), .min = (min_),           \
        .max = (max_), .fallback = (default_), .zero = (zero_)                                                         \
    }
#define TARGET(name, kind_, member_, right_)                                                                           \
    {                                                                                                                  \
        .key = (name), .kind = (kind_), AT(struct sl_target_conf, member_), .right = (right_)                          \
    }

static const char *const checking_words[] = {"yes", "accept-new", NULL};
static const char *const cleanup_words[] = {"sweep", "signal", "off", NULL};
static const char *const open_ahead_words[] = {"auto", "yes", "no", NULL};
static const char *const owners_words[] = {"user", "shared", NULL};

#define SECRET_RIGHT "give {file: PATH}, {env: NAME} or {credential: NAME}"
#define ACCESS_RIGHT "give {users: [NAME, ...], groups: [NAME, ...]} or one of the two"
#define NAMES_RIGHT  "give names, comma-separated or as a list; + - or ^ before the first changes the defaults"
#define FILES_RIGHT  "give a path or a list of paths, absolute or beginning with ~/, or none"

static const struct sl_setting target_settings[] = {
    TARGET("host", SL_SETTING_HOST, host, "give a host name or an address"),
    COUNT("port", port, 1, 65535, 22),
    TARGET("user", SL_SETTING_USER, user, "give the name of a user there"),
    TARGET("identity_file", SL_SETTING_IDENTITIES, identity, FILES_RIGHT),
    TARGET("certificate_file", SL_SETTING_CERTIFICATES, identity, FILES_RIGHT),
    TARGET("identity_agent", SL_SETTING_AGENT, identity_agent, "give a socket's path, SSH_AUTH_SOCK or none"),
    TARGET("passphrase", SL_SETTING_SECRET, passphrase, SECRET_RIGHT),
    TARGET("password", SL_SETTING_SECRET, password, SECRET_RIGHT),
    TARGET("user_known_hosts_file", SL_SETTING_USER_KNOWN_HOSTS, known_hosts, FILES_RIGHT),
    TARGET("global_known_hosts_file", SL_SETTING_GLOBAL_KNOWN_HOSTS, known_hosts, FILES_RIGHT),
    TARGET("host_key_alias", SL_SETTING_HOST, host_key_alias, "give the name that known_hosts has the host under"),
    {.key = "strict_host_key_checking",
        .kind = SL_SETTING_HOST_KEY_CHECKING,
        SIZED_AT(struct sl_target_conf, host_key_checking),
        .max = 1,
        .fallback = SL_HOST_KEY_STRICT,
        .choice = checking_words},
    TARGET("ciphers", SL_SETTING_ALGORITHMS, algorithms[SL_ALGORITHM_CIPHER], NAMES_RIGHT),
    TARGET("macs", SL_SETTING_ALGORITHMS, algorithms[SL_ALGORITHM_MAC], NAMES_RIGHT),
    TARGET("kex_algorithms", SL_SETTING_ALGORITHMS, algorithms[SL_ALGORITHM_KEX], NAMES_RIGHT),
    TARGET("host_key_algorithms", SL_SETTING_ALGORITHMS, algorithms[SL_ALGORITHM_HOST_KEY], NAMES_RIGHT),
    TARGET("pubkey_accepted_algorithms", SL_SETTING_ALGORITHMS, algorithms[SL_ALGORITHM_PUBKEY], NAMES_RIGHT),
    {.key = "remote_cleanup",
        .kind = SL_SETTING_CHOICE,
        SIZED_AT(struct sl_target_conf, remote_cleanup),
        .max = 2,
        .fallback = SL_CLEANUP_SWEEP,
        .choice = cleanup_words},
    {.key = "owners",
        .kind = SL_SETTING_CHOICE,
        SIZED_AT(struct sl_target_conf, policy.owners_shared),
        .max = 1,
        .fallback = false,
        .choice = owners_words},
    TARGET("send_env", SL_SETTING_PATTERNS, send_env, "give a variable's name or a list of them, * and ? allowed"),
    TARGET("permit_remote_open", SL_SETTING_DESTINATIONS, permit_remote_open,
        "give any, none, HOST:PORT or a list of them, * and ? allowed"),
    TARGET("allow", SL_SETTING_ALLOW, allow_uid, ACCESS_RIGHT),
    COUNT("max_connections", policy.max_connections, 1, 1000, 4),
    COUNT("min_idle", policy.min_idle, 0, 1000, 0),
    COUNT("streams", policy.streams, 1, 64, 8),
    COUNT("sharing", policy.sharing, 1, 64, 1),
    COUNT("max_uses", policy.max_uses, 0, 1000000, 0),
    {.key = "open_ahead",
        .kind = SL_SETTING_CHOICE,
        SIZED_AT(struct sl_target_conf, policy.open_ahead),
        .max = 2,
        .fallback = SL_OPEN_AHEAD_AUTO,
        .choice = open_ahead_words},
    COUNT("handshakes", policy.handshakes, 1, 1000, 4),
    COUNT("waiters", policy.waiters, 0, 10000, 2000),
    DURATION("acquire_timeout", policy.acquire_timeout_ms, 1, DAY, 30 * SECOND, NULL),
    DURATION("acquire_notice", policy.acquire_notice_ms, 1, DAY, 5 * SECOND, NULL),
    DURATION("connect_timeout", policy.connect_timeout_ms, 10, 10 * MINUTE, 10 * SECOND, NULL),
    DURATION("login_timeout", policy.login_timeout_ms, 10, 10 * MINUTE, 30 * SECOND, NULL),
    DURATION("idle_timeout", policy.idle_timeout_ms, 10, 7 * DAY, 300 * SECOND, "never"),
    DURATION("max_lifetime", policy.max_lifetime_ms, 10, 30 * DAY, HOUR, "no limit"),
    DURATION("server_alive_interval", policy.server_alive_interval_ms, 100, HOUR, 30 * SECOND, "no pings"),
    COUNT("server_alive_count_max", policy.server_alive_count_max, 1, 100, 3),
    DURATION("validate_after", policy.validate_after_ms, 10, DAY, 30 * SECOND, NULL),
    DURATION("validate_timeout", policy.validate_timeout_ms, 10, 10 * MINUTE, 5 * SECOND, NULL),
    DURATION("lease_timeout", policy.lease_timeout_ms, 10, 30 * DAY, 15 * MINUTE, NULL),
    DURATION("max_lease", policy.max_lease_ms, 10, 30 * DAY, 4 * HOUR, NULL),
    DURATION("kill_grace", policy.kill_grace_ms, 10, MINUTE, 2 * SECOND, NULL),
    DURATION("retry_min", policy.retry_min_ms, 10, HOUR, SECOND, NULL),
    DURATION("retry_max", policy.retry_max_ms, 10, DAY, 60 * SECOND, NULL),
    DURATION("auth_retry", policy.auth_retry_ms, 10, 7 * DAY, 10 * MINUTE, NULL),
};

#define LIMIT(name, member_, min_, max_, default_)                                                                     \
    {                                                                                                                  \
        .key = (name), .kind = SL_SETTING_COUNT, SIZED_AT(struct sl_limits, member_), .min = (min_), .max = (max_),    \
        .fallback = (default_)                                                                                         \
    }

static const struct sl_setting limits_settings[] = {
    LIMIT("clients", clients, 1, 65536, 2000),
    LIMIT("descriptors", descriptors, 1, 1048576, 11000),
    LIMIT("leases", leases, 1, 65536, 2000),
    LIMIT("streams", streams, 1, 1048576, 16000),
    LIMIT("held_mib", held_mib, 1, 65536, 512),
    LIMIT("user_share", user_share, 1, 100, 50),
    LIMIT("connections", connections, 1, 65536, 1000),
    LIMIT("handshakes", handshakes, 1, 1000, 32),
    LIMIT("targets", targets, 1, 65536, 1000),
    {.key = "shutdown_drain",
        .kind = SL_SETTING_DURATION,
        SIZED_AT(struct sl_limits, shutdown_drain_ms),
        .min = 10,
        .max = HOUR,
        .fallback = 60 * SECOND,
        .zero = "no wait"},
};

static const struct sl_setting listen_settings[] = {
    {.key = "path",
        .kind = SL_SETTING_SOCKET_PATH,
        AT(struct sl_listen_conf, path),
        .right = "give an absolute path of at most 107 bytes, or one that begins with ~/"},
    {.key = "mode",
        .kind = SL_SETTING_MODE,
        SIZED_AT(struct sl_listen_conf, mode),
        .min = 0600,
        .max = 0777,
        .fallback = 0660,
        .right = "give quoted octal digits from \"0600\" to \"0777\", such as \"0660\""},
    {.key = "group",
        .kind = SL_SETTING_GROUP,
        AT(struct sl_listen_conf, group),
        .right = "give the name or number of a group of this system"},
};

static const struct sl_setting mux_settings[] = {
    {.key = "directory",
        .kind = SL_SETTING_SOCKET_DIRECTORY,
        AT(struct sl_mux_conf, directory),
        .right = "give a directory, absolute or beginning with ~/, with room for the targets' names in 107 bytes"},
};

static const struct sl_setting access_settings[] = {
    {.key = "users",
        .kind = SL_SETTING_USERS,
        AT(struct sl_conf_access, uid),
        .right = "give the name or number of a user of this system, or a list of them"},
    {.key = "groups",
        .kind = SL_SETTING_GROUPS,
        AT(struct sl_conf_access, gid),
        .right = "give the name or number of a group of this system, or a list of them"},
};

static const struct sl_setting secret_settings[] = {
    {.key = "file",
        .kind = SL_SETTING_SECRET_FILE,
        AT(struct sl_secret, name),
        .right = "give the path of a file that holds the secret, absolute or beginning with ~/"},
    {.key = "env",
        .kind = SL_SETTING_SECRET_ENV,
        AT(struct sl_secret, name),
        .right = "give the name of an environment variable that holds the secret"},
    {.key = "credential",
        .kind = SL_SETTING_SECRET_CREDENTIAL,
        AT(struct sl_secret, name),
        .right = "give the name of a credential that systemd loads for the daemon (LoadCredential=)"},
};

#define SECTION(name, right_)                                                                                          \
    {                                                                                                                  \
        .key = #name, .kind = SL_SETTING_SECTION, AT(struct sl_conf_top, name), .right = (right_)                      \
    }

static const struct sl_setting top_settings[] = {
    SECTION(listen, "give {path: PATH, mode: \"0660\", group: NAME}"),
    SECTION(mux, "give {directory: PATH}"),
    SECTION(limits, "give a mapping of limits to numbers"),
    SECTION(defaults, "give a mapping of settings to values"),
    SECTION(targets, "give a mapping of names to the settings of each target"),
    SECTION(admin, ACCESS_RIGHT),
};

#define TABLE(table) .setting = (table), .count = sizeof(table) / sizeof((table)[0])

const struct sl_section sl_section_top = {.name = "the configuration", TABLE(top_settings)};
const struct sl_section sl_section_listen = {.name = "listen", TABLE(listen_settings)};
const struct sl_section sl_section_mux = {.name = "mux", TABLE(mux_settings)};
const struct sl_section sl_section_limits = {.name = "limits", TABLE(limits_settings)};
const struct sl_section sl_section_target = {.name = "a target", TABLE(target_settings)};
const struct sl_section sl_section_access = {.name = "who is named", TABLE(access_settings)};
const struct sl_section sl_section_secret = {.name = "a secret", TABLE(secret_settings)};

_Static_assert(sizeof target_settings / sizeof target_settings[0] <= SL_SECTION_SETTINGS_MAX, "raise the maximum");
_Static_assert(sizeof(enum sl_host_key_checking) == 4 && sizeof(enum sl_remote_cleanup) == 4 &&
                   sizeof(enum sl_open_ahead) == 4 && sizeof(bool) == 1,
    "sl_setting_set() stores by size");

const struct sl_setting *sl_section_find(const struct sl_section *section, const char *key)
{
    for (size_t i = 0; i < section->count; i++)
        if (strcmp(section->setting[i].key, key) == 0)
            return &section->setting[i];
    return NULL;
}

bool sl_setting_target_only(const struct sl_setting *setting)
{
    return setting->kind == SL_SETTING_HOST;
}

bool sl_setting_is_number(const struct sl_setting *setting)
{
    switch (setting->kind) {
    case SL_SETTING_COUNT:
    case SL_SETTING_DURATION:
    case SL_SETTING_CHOICE:
    case SL_SETTING_HOST_KEY_CHECKING:
    case SL_SETTING_MODE:
        return true;
    default:
        return false;
    }
}

uint64_t sl_setting_get(const struct sl_setting *setting, const void *base)
{
    const char *at = (const char *)base + setting->offset;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    switch (setting->size) {
    case sizeof u8:
        memcpy(&u8, at, sizeof u8);
        return u8;
    case sizeof u16:
        memcpy(&u16, at, sizeof u16);
        return u16;
    case sizeof u32:
        memcpy(&u32, at, sizeof u32);
        return u32;
    default:
        memcpy(&u64, at, sizeof u64);
        return u64;
    }
}

void sl_setting_set(const struct sl_setting *setting, void *base, uint64_t value)
{
    char *at = (char *)base + setting->offset;
    uint8_t u8 = (uint8_t)value;
    uint16_t u16 = (uint16_t)value;
    uint32_t u32 = (uint32_t)value;
    switch (setting->size) {
    case sizeof u8:
        memcpy(at, &u8, sizeof u8);
        return;
    case sizeof u16:
        memcpy(at, &u16, sizeof u16);
        return;
    case sizeof u32:
        memcpy(at, &u32, sizeof u32);
        return;
    default:
        memcpy(at, &value, sizeof value);
        return;
    }
}

void sl_section_set_defaults(const struct sl_section *section, void *base)
{
    for (size_t i = 0; i < section->count; i++)
        if (sl_setting_is_number(&section->setting[i]))
            sl_setting_set(&section->setting[i], base, section->setting[i].fallback);
}

const char *sl_setting_format(const struct sl_setting *setting, uint64_t value, char buf[SL_SETTING_VALUE_SIZE])
{
    _Static_assert(SL_SETTING_VALUE_SIZE >= SL_DURATION_SIZE, "a duration fits");
    switch (setting->kind) {
    case SL_SETTING_DURATION:
        return sl_duration_write(buf, value);
    case SL_SETTING_CHOICE:
    case SL_SETTING_HOST_KEY_CHECKING:
        snprintf(buf, SL_SETTING_VALUE_SIZE, "%s", setting->choice[value]);
        return buf;
    case SL_SETTING_MODE:
        snprintf(buf, SL_SETTING_VALUE_SIZE, "\"%04" PRIo64 "\"", value);
        return buf;
    default:
        snprintf(buf, SL_SETTING_VALUE_SIZE, "%" PRIu64, value);
        return buf;
    }
}

/* "a", "a or b", "a, b or c" */
static void format_choice(const char *const *choice, char *buf, size_t size)
{
    int at = 0;
    for (size_t i = 0; choice[i] != NULL; i++) {
        const char *between = i == 0 ? "" : choice[i + 1] == NULL ? " or " : ", ";
        at += snprintf(buf + at, size - (size_t)at, "%s%s", between, choice[i]);
    }
}

const char *sl_setting_range(const struct sl_setting *setting, char buf[SL_SETTING_RIGHT_SIZE])
{
    char min[SL_SETTING_VALUE_SIZE], max[SL_SETTING_VALUE_SIZE];
    switch (setting->kind) {
    case SL_SETTING_CHOICE:
    case SL_SETTING_HOST_KEY_CHECKING:
        format_choice(setting->choice, buf, SL_SETTING_RIGHT_SIZE);
        return buf;
    case SL_SETTING_COUNT:
    case SL_SETTING_DURATION:
    case SL_SETTING_MODE:
        snprintf(buf, SL_SETTING_RIGHT_SIZE, "%s to %s%s", sl_setting_format(setting, setting->min, min),
            sl_setting_format(setting, setting->max, max), setting->zero != NULL ? " or 0" : "");
        return buf;
    default:
        buf[0] = '\0';
        return buf;
    }
}

const char *sl_setting_right(const struct sl_setting *setting, char buf[SL_SETTING_RIGHT_SIZE])
{
    char range[SL_SETTING_RIGHT_SIZE], min[SL_SETTING_VALUE_SIZE], max[SL_SETTING_VALUE_SIZE];
    switch (setting->kind) {
    case SL_SETTING_COUNT:
        snprintf(buf, SL_SETTING_RIGHT_SIZE, "give a whole number from %s", sl_setting_range(setting, range));
        return buf;
    case SL_SETTING_DURATION:
        snprintf(buf, SL_SETTING_RIGHT_SIZE,
            "give a duration in ms, s, m, h or d from %s to %s, such as 30s or 1h30m%s%s",
            sl_setting_format(setting, setting->min, min), sl_setting_format(setting, setting->max, max),
            setting->zero != NULL ? ", or 0 for " : "", setting->zero != NULL ? setting->zero : "");
        return buf;
    case SL_SETTING_CHOICE:
    case SL_SETTING_HOST_KEY_CHECKING:
        snprintf(buf, SL_SETTING_RIGHT_SIZE, "give %s", sl_setting_range(setting, range));
        return buf;
    default:
        snprintf(buf, SL_SETTING_RIGHT_SIZE, "%s", setting->right);
        return buf;
    }
}
