/* SPDX-License-Identifier: MIT */
/* Every class of error, with its place and its whole text. */
#include "tests/support/test.h"
#include "tests/unit/config/parse.h"

/* The tail of the messages about durations and whole numbers. */
#define DURATION(min, max) "give a duration in ms, s, m, h or d from " min " to " max ", such as 30s or 1h30m"
#define FILES              "give a path or a list of paths, absolute or beginning with ~/, or none\n"
#define READABLE           "give a file that the daemon's user can read\n"
#define SECRET             "give {file: PATH}, {env: NAME} or {credential: NAME}\n"
#define ACCESS             "give {users: [NAME, ...], groups: [NAME, ...]} or one of the two\n"
#define USERS              "give the name or number of a user of this system, or a list of them\n"
#define GROUPS             "give the name or number of a group of this system, or a list of them\n"
#define MODE               "give quoted octal digits from \"0600\" to \"0777\", such as \"0660\"\n"

/* One target that is right but for `setting`, in the one-user mode, where nothing else is needed. */
static void target_bad(const char *setting, const char *expected)
{
    char text[1024], line[1024];
    snprintf(text, sizeof text, "targets:\n  a:\n    %s\n", setting);
    snprintf(line, sizeof line, "f:3:%s", expected);
    parse_bad_bytes(&world, true, text, strlen(text), line);
}

TEST(the_whole_file)
{
    parse_bad("", "f:1:1: the configuration is empty; give at least targets\n");
    parse_bad("# nothing\n---\n", "f:3:1: the configuration is empty; give at least targets\n");
    parse_bad("- a\n", "f:1:1: the configuration is a list; give a mapping with targets in it\n");
    parse_bad("web1\n", "f:1:1: the configuration is a text; give a mapping with targets in it\n");
    parse_bad("target: {}\n", "f:1:1: unknown key \"target\" in the configuration; did you mean targets?\n");
    parse_bad("pools: {}\n",
        "f:1:1: unknown key \"pools\" in the configuration; give listen, mux, limits, defaults, targets or admin\n");
    parse_bad(
        "targets: {}\ntargets: {}\n", "f:2:1: duplicate key \"targets\", first given on line 1; keep one of them\n");
    parse_bad("? [a]\n: 1\n? {b: c}\n: 2\n", "f:1:3: a key that is a list; give a name\n"
                                             "f:3:3: a key that is a mapping; give a name\n");
    parse_bad("~: 1\n", "f:1:1: a key that has no value; give a name\n");
}

TEST(what_is_not_yaml)
{
    parse_bad("targets:\n  a: [1\nb: 2\n",
        "f:3:2: not valid YAML: did not find expected ',' or ']', while parsing a flow sequence that begins on line 2; "
        "check indentation, colons and quotes there\n");
    static const char *const tabs[] = {"\ttargets: {}\n", "\n\ttargets: {}\n"};
    parse_bad(tabs[0], "f:1:1: a tab in the indentation; indent by spaces, as YAML wants it\n");
    parse_bad(tabs[1], "f:2:1: a tab in the indentation; indent by spaces, as YAML wants it\n");
    parse_bad("targets:\n\ta: 1\n", "f:2:1: a tab in the indentation; indent by spaces, as YAML wants it\n");
    parse_bad("targets:\n  a:\n    host: b\n  \tuser: c\n",
        "f:4:3: a tab in the indentation; indent by spaces, as YAML wants it\n");
    parse_bad(
        "targets: {a: {user: c}}\n\x09- [1\n", "f:2:1: a tab in the indentation; indent by spaces, as YAML wants it\n");
    /* Between brackets it is none. */
    parse_bad("targets: {a: {user: c,\n\t]\n", "f:2:2: not valid YAML: did not find expected node content, while "
                                               "parsing a flow node that begins on line 2; check "
                                               "indentation, colons and quotes there\n");
    parse_bad("a: 1\nb\n",
        "f:3:1: not valid YAML: could not find expected ':', while scanning a simple key that begins on line 2; check "
        "indentation, colons and quotes there\n");
    parse_bad("targets: {}\n# h\xc3\xb6st \xff\n",
        "f:2:8: not a text in UTF-8: invalid leading UTF-8 octet; save the file as plain UTF-8\n");
    parse_bad("targets: \x01\n", "f:1:10: not a text in UTF-8: control characters are not allowed; save the file as "
                                 "plain UTF-8\n");
}

TEST(yaml_that_is_not_taken)
{
    parse_bad("targets: {}\n---\ntargets: {}\n", "f:2:1: a second document begins here; put everything into one\n");
    parse_bad("targets:\n  a: &x {user: u}\n  b: *x\n  c: {<<: *x}\n",
        "f:3:6: an alias; write the value out, or put what targets share into defaults\n"
        "f:4:11: an alias; write the value out, or put what targets share into defaults\n");
    parse_bad("targets: !!map {a: !mine {port: !!int 22}}\n", "f:1:10: a tag; leave it out, types go by the setting\n"
                                                              "f:1:20: a tag; leave it out, types go by the setting\n"
                                                              "f:1:33: a tag; leave it out, types go by the setting\n");
    parse_bad("a: [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]\n", "f:1:19: nested more than 16 deep; no setting is\n");
    parse_bad("listen: {path: \"/run/a\\nb\"}\n",
        "f:1:16: a text with a line break or control character in it; give one line of printable characters\n");
    parse_bad("listen: {path: \"/run/a\\0b\"}\n",
        "f:1:16: a text with a line break or control character in it; give one line of printable characters\n");
    parse_bad("listen: {path: \"/run/a\\x9bb\"}\n",
        "f:1:16: a text with a line break or control character in it; give one line of printable characters\n");
    parse_bad("listen: {path: \"/run/a\\u202eb\"}\n",
        "f:1:16: a text with a line break or control character in it; give one line of printable characters\n");
    /* Doubling lists: refused at the first alias, not unfolded. */
    parse_bad("a: &a [x, x]\nb: &b [*a, *a]\n",
        "f:2:8: an alias; write the value out, or put what targets share into defaults\n"
        "f:2:12: an alias; write the value out, or put what targets share into defaults\n");
}

TEST(sections_of_the_wrong_type)
{
    parse_bad("listen: /run/x.sock\nlimits: [1]\ndefaults: 5\ntargets: [web1]\nadmin: ci\n",
        "f:1:9: listen is a text; give {path: PATH, mode: \"0660\", group: NAME}\n"
        "f:2:9: limits is a list; give a mapping of limits to numbers\n"
        "f:3:11: defaults is a text; give a mapping of settings to values\n"
        "f:4:10: targets is a list; give a mapping of names to the settings of each target\n"
        "f:5:8: admin is a text; " ACCESS);
    parse_bad("targets:\n  a: web1\n",
        "f:2:3: target \"a\" has no user; give user there or in defaults\n"
        "f:2:3: target \"a\" has no credentials; give identity_file, identity_agent or password\n"
        "f:2:6: target \"a\" is a text; give a mapping of settings to values\n");
}

TEST(unknown_keys)
{
    target_bad(
        "max_conections: 3", "5: unknown key \"max_conections\" in target \"a\"; did you mean max_connections?\n");
    target_bad("IdentityFile: x", "5: unknown key \"IdentityFile\" in target \"a\"; did you mean identity_file?\n");
    target_bad("proxy_jump: x",
        "5: unknown key \"proxy_jump\" in target \"a\"; see sshleased.yaml(5) for what is known there\n");
    /* What was meant is not missing as well. */
    parse_bad("targets:\n  a: {User: u, identityfile: /keys/a}\n",
        "f:2:7: unknown key \"User\" in target \"a\"; did you mean user?\n"
        "f:2:16: unknown key \"identityfile\" in target \"a\"; did you mean identity_file?\n");
    target_bad("allow: {users: ci, roles: x}", "24: unknown key \"roles\" in allow; give users or groups\n");
}

TEST(keys_twice)
{
    const char text[] = "targets: {a: {port: 22, user: u, port: 23}}";
    parse_bad_bytes(&world, true, text, sizeof text - 1,
        "f:1:34: duplicate key \"port\", first given on line 1; keep one of them\n");
}

TEST(numbers)
{
#define PORT "give a whole number from 1 to 65535\n"
    target_bad("port: ssh", "11: port \"ssh\" is not a whole number; " PORT);
    target_bad("port: 0", "11: port 0 is out of range; " PORT);
    target_bad("port: 65536", "11: port 65536 is out of range; " PORT);
    target_bad("port: -1", "11: port \"-1\" is out of range; " PORT);
    target_bad("port: 0x16", "11: port \"0x16\" is not a whole number; " PORT);
    target_bad("port: 99999999999999999999", "11: port \"99999999999999999999\" is out of range; " PORT);
    target_bad("port: \"22\"", "11: port \"22\" is in quotes; " PORT);
    target_bad("port: [22]", "11: port is a list; " PORT);
    target_bad("port: {a: 1}", "11: port is a mapping; " PORT);
    target_bad("port:", "10: port has no value; " PORT);
    target_bad("streams: 65", "14: streams 65 is out of range; give a whole number from 1 to 64\n");
    target_bad(
        "max_connections: 1001", "22: max_connections 1001 is out of range; give a whole number from 1 to 1000\n");
}

TEST(durations)
{
    target_bad("idle_timeout: 300", "19: idle_timeout 300 has no unit; " DURATION("10ms", "168h") ", or 0 for never\n");
    target_bad("lease_timeout: 0", "20: lease_timeout 0 is out of range; " DURATION("10ms", "720h") "\n");
    target_bad("kill_grace: 2h", "17: kill_grace 2h is out of range; " DURATION("10ms", "1m") "\n");
    target_bad("kill_grace: -2s", "17: kill_grace \"-2s\" is out of range; " DURATION("10ms", "1m") "\n");
    target_bad("connect_timeout: 5 minutes",
        "22: connect_timeout \"5 minutes\" is not a duration; " DURATION("10ms", "10m") "\n");
    target_bad("retry_max: [1s]", "16: retry_max is a list; " DURATION("10ms", "24h") "\n");
    target_bad(
        "max_lifetime: 1ms", "19: max_lifetime 1ms is out of range; " DURATION("10ms", "720h") ", or 0 for no limit\n");
}

TEST(words)
{
    target_bad("owners: all", "13: owners \"all\" is not one of its values; give user or shared\n");
    target_bad(
        "remote_cleanup: kill", "21: remote_cleanup \"kill\" is not one of its values; give sweep, signal or off\n");
    target_bad("strict_host_key_checking: no", "31: strict_host_key_checking \"no\" is refused: host keys are always "
                                               "checked; give yes or accept-new\n");
    target_bad("strict_host_key_checking: \"off\"", "31: strict_host_key_checking \"off\" is refused: host keys are "
                                                    "always checked; give yes or accept-new\n");
    target_bad("strict_host_key_checking: ask",
        "31: strict_host_key_checking \"ask\" is not one of its values; give yes or accept-new\n");
}

TEST(names)
{
    target_bad("host: web 1", "11: host \"web 1\" has a space in it; give a host name or an address\n");
    target_bad(
        "host: -oProxyCommand=x", "11: host \"-oProxyCommand=x\" begins with -; give a host name or an address\n");
    target_bad("host: ci@web1",
        "11: host \"ci@web1\" has a character in it that does not belong there; give a host name or an address\n");
    target_bad("host: web1:22", "11: host \"web1:22\" has a port in it, which is a setting of its own (port); give a "
                                "host name or an address\n");
    target_bad("user: \"\"", "11: user \"\" is empty; give the name of a user there\n");
    target_bad("send_env: [LANG, A=B, [C]]",
        "22: send_env \"A=B\" has a character in it that does not belong there; give a variable's name or a list of "
        "them, * and ? allowed\n"
        "f:3:27: send_env is a list; give a variable's name or a list of them, * and ? allowed\n");
    target_bad("permit_remote_open: [web1, w@b:80, \"[::1]:*\"]",
        "26: permit_remote_open \"web1\" has no port; give any, none, HOST:PORT or a list of them, * and ? allowed\n"
        "f:3:32: permit_remote_open \"w@b:80\" has a character in it that does not belong there; give any, none, "
        "HOST:PORT or a list of them, * and ? allowed\n");
    target_bad("host_key_alias: \"a b\"",
        "21: host_key_alias \"a b\" has a space in it; give the name that known_hosts has the host under\n");
}

TEST(target_names)
{
    const char text[] = "targets:\n"
                        "  web1:\n"
                        "  ci@web1:\n"
                        "  -x:\n"
                        "  web1:\n"
                        "  ? [a]\n"
                        "  :\n";
    parse_bad_bytes(&world, true, text, sizeof text - 1,
        "f:3:3: target name \"ci@web1\" has a character in it that does not belong there; give up to 255 letters, "
        "digits, dots, _ and -, no - first\n"
        "f:4:3: target name \"-x\" begins with -; give up to 255 letters, digits, dots, _ and -, no - first\n"
        "f:5:3: duplicate target \"web1\", first given on line 2; keep one of them\n"
        "f:6:5: a target that is a list; give a name\n");
}

TEST(files)
{
    target_bad(
        "identity_file: /none", "20: identity_file \"/none\" cannot be read (No such file or directory); " READABLE);
    target_bad("identity_file: [/keys/a, /secret/b]",
        "30: identity_file \"/secret/b\" cannot be read (Permission denied); " READABLE);
    target_bad("identity_file: /keys/a.pub", "20: identity_file \"/keys/a.pub\" is a public key; give the private key, "
                                             "whose file has no .pub behind its name\n");
    target_bad("identity_file: [/keys/a, /keys/open]",
        "30: identity_file \"/keys/open\" is an UNPROTECTED PRIVATE KEY FILE: its mode is 0644; give it 0600\n");
    target_bad("identity_file: /dir", "20: identity_file \"/dir\" is not a regular file; give a file\n");
    target_bad("identity_file: id", "20: identity_file \"id\" is a relative path; " FILES);
    target_bad("identity_file: ~bob/id",
        "20: identity_file \"~bob/id\" is in the home of another user, which is not looked up; " FILES);
    target_bad("identity_file: \"\"", "20: identity_file is empty; " FILES);
    target_bad("identity_file:", "19: identity_file has no value; " FILES);
    target_bad("identity_file: [[/keys/a]]", "21: identity_file is a list; " FILES);
    target_bad("user_known_hosts_file: /secret/k",
        "28: user_known_hosts_file \"/secret/k\" cannot be read (Permission denied); " READABLE);
    target_bad("global_known_hosts_file: [none]", "31: global_known_hosts_file \"none\" is a relative path; " FILES);
    target_bad("certificate_file: /keys/c",
        "23: certificate_file without identity_file beside it; give the key of each "
        "certificate, in the same order\n");
    target_bad("{identity_file: [/keys/a, /keys/b], certificate_file: /keys/c}",
        "59: 1 certificates for 2 keys in identity_file; give one for each, in the same order\n");
    target_bad("identity_agent: agent.sock",
        "21: identity_agent \"agent.sock\" is a relative path; give a socket's path, SSH_AUTH_SOCK or none\n");

    struct sl_conf_world bare = world;
    bare.home = NULL;
    bare.env = world_no_env;
    const char text[] = "targets: {a: {user: u, identity_file: ~/id, identity_agent: SSH_AUTH_SOCK}}\n";
    parse_bad_bytes(&bare, false, text, sizeof text - 1,
        "f:1:39: identity_file \"~/id\" is in a home, and this user has none; " FILES
        "f:1:61: identity_agent is SSH_AUTH_SOCK, which the daemon's environment does not have as a path; start the "
        "daemon where an agent is, or give the socket's path\n");
    parse_bad_bytes(&bare, true, text, sizeof text - 1,
        "f: this user has no home for the one-user mode to find keys and known_hosts in; set HOME\n");
}

TEST(secrets)
{
    target_bad("password: hunter2", "15: password is in the file itself, where no secret may be; " SECRET);
    target_bad("passphrase: \"hunter2\"", "17: passphrase is in the file itself, where no secret may be; " SECRET);
    target_bad("password: {hunter2}", "16: password has an unknown key; " SECRET);
    target_bad("password: [hunter2]", "15: password is a list; " SECRET);
    target_bad("password: {}", "15: password is an empty mapping; " SECRET);
    target_bad("password:", "14: password has no value; " SECRET);
    target_bad("password: {file: /keys/a, env: X}", "36: password comes from more than one place; " SECRET);
    target_bad("password: {file: hunter2}",
        "22: file (not shown) is a relative path; give the path of a file that holds "
        "the secret, absolute or beginning with ~/\n");
    target_bad(
        "password: {file: /secret/hunter2}", "22: file (not shown) cannot be read (Permission denied); " READABLE);
    target_bad("password: {env: hunter-2}",
        "21: env (not shown) has a character in it that does not belong there; give "
        "the name of an environment variable that holds the secret\n");
    target_bad("password: {env: HUNTER2}", "21: env names a variable that the daemon's environment does not have; give "
                                           "the name of an environment variable that holds the secret\n");
    target_bad("password: {credential: a/b}",
        "28: credential (not shown) is a path; give the name of a credential that "
        "systemd loads for the daemon (LoadCredential=)\n");
    target_bad("password: {credential: other}",
        "28: credential names none that can be read in CREDENTIALS_DIRECTORY (No such file or directory); give the "
        "name "
        "of a credential that systemd loads for the daemon (LoadCredential=)\n");

    struct sl_conf_world bare = world;
    bare.env = world_no_env;
    const char text[] = "targets: {a: {user: u, password: {credential: db}}}\n";
    parse_bad_bytes(&bare, false, text, sizeof text - 1,
        "f:1:47: credential cannot be looked up: CREDENTIALS_DIRECTORY is not set; give the service "
        "LoadCredential= and restart it; for --check-config, set it to where the credentials are\n");
}

TEST(users_and_groups)
{
    target_bad("allow: {users: [ci, bob], groups: [staff]}",
        "25: users has the unknown user \"bob\"; " USERS "f:3:40: groups has the unknown group \"staff\"; " GROUPS);
    target_bad("allow: {users: stuck}",
        "20: users has the user \"stuck\", which cannot be looked up (Input/output error); " USERS);
    target_bad("allow: {users: [4294967295, -1]}",
        "21: users has \"4294967295\", which is not the number of a user; " USERS
        "f:3:33: users has \"-1\", which is not the number of a user; " USERS);
    target_bad("allow: {users: [\"\"]}", "21: users has the unknown user \"\"; " USERS);
    target_bad("allow: {users: }", "20: users has no value; " USERS);
    target_bad("allow: {}", "12: allow names nobody; " ACCESS);
    target_bad("allow:", "11: allow names nobody; " ACCESS);
    target_bad("allow: [ci]", "12: allow is a list; " ACCESS);
    parse_bad("admin: {users: bob}\n", "f:1:16: users has the unknown user \"bob\"; " USERS);
    parse_bad("listen: {group: staff}\n",
        "f:1:17: group has the unknown group \"staff\"; give the name or number of a group of this system\n");
}

TEST(the_mux_directory)
{
#define DIRECTORY "give a directory, absolute or beginning with ~/, with room for the targets' names in 107 bytes\n"
    parse_bad("mux: /run/x\n", "f:1:6: mux is a text; give {directory: PATH}\n");
    parse_bad("mux: {directory: x}\n", "f:1:18: directory \"x\" is a relative path; " DIRECTORY);
    parse_bad("mux: {path: /run/x}\n", "f:1:7: unknown key \"path\" in mux; give directory\n");
    parse_bad("mux: {directory: /run/x}\ntargets: {.a: {user: u, password: {file: /keys/p}}}\n",
        "f:1:18: directory cannot have a socket for target \".a\"; give the target a name without a dot first\n");
    char text[512];
    snprintf(
        text, sizeof text, "mux: {directory: /%0*d}\ntargets: {web1: {user: u, password: {file: /keys/p}}}\n", 101, 0);
    sl_conf_free(parse_good(false, text));
    snprintf(
        text, sizeof text, "mux: {directory: /%0*d}\ntargets: {web1: {user: u, password: {file: /keys/p}}}\n", 102, 0);
    parse_bad(text, "f:1:18: directory makes the path of target \"web1\"'s socket 108 bytes long, and a socket's path "
                    "can have 107; give a shorter directory or name\n");
}

TEST(the_socket)
{
#define SOCKET "give an absolute path of at most 107 bytes, or one that begins with ~/\n"
    parse_bad("listen: {path: x.sock}\n", "f:1:16: path \"x.sock\" is a relative path; " SOCKET);
    parse_bad("listen: {path: /run/}\n", "f:1:16: path \"/run/\" is a directory; " SOCKET);
    char text[256];
    snprintf(text, sizeof text, "listen: {path: /%0*d}\n", 106, 0);
    sl_conf_free(parse_good(false, text));
    snprintf(text, sizeof text, "listen: {path: /%0*d}\n", 107, 0);
    parse_bad(text, "f:1:16: path is 108 bytes long, and a socket's path can have 107; " SOCKET);
    parse_bad("listen: {mode: 0660}\n", "f:1:16: mode is not in quotes; " MODE);
    parse_bad("listen: {mode: \"0888\"}\n", "f:1:16: mode \"0888\" is not octal; " MODE);
    parse_bad("listen: {mode: \"4755\"}\n", "f:1:16: mode \"4755\" is out of range; " MODE);
    parse_bad("listen: {mode: \"0060\"}\n", "f:1:16: mode \"0060\" shuts out the daemon's own user; " MODE);
}

TEST(limits)
{
    parse_bad("limits: {clients: 0, shutdown_drain: 2h}\n",
        "f:1:19: clients 0 is out of range; give a whole number from 1 to 65536\n"
        "f:1:38: shutdown_drain 2h is out of range; " DURATION("10ms", "1h") ", or 0 for no wait\n");
    parse_bad("limits: {targets: 1}\ntargets: {a: , b: }\n",
        "f:2:10: 2 targets, and limits.targets is 1; raise that or leave some out\n");
    const char text[] = "limits: {connections: 5}\ntargets: {a: {min_idle: 3}, b: {min_idle: 3}}\n";
    parse_bad_bytes(&world, true, text, sizeof text - 1,
        "f:2:10: the targets' min_idle add up to 6, and limits.connections is 5; lower them or raise that\n");
}

TEST(across_settings)
{
    target_bad("min_idle: 5", "15: min_idle (5) is more than max_connections (4); lower the one or raise the other\n");
    target_bad("sharing: 9", "14: sharing (9) is more than streams (8); lower the one or raise the other\n");
    target_bad("retry_min: 2m", "16: retry_min (2m) is more than retry_max (1m); lower the one or raise the other\n");
    target_bad(
        "max_lease: 10m", "16: lease_timeout (15m) is more than max_lease (10m); lower the one or raise the other\n");
    target_bad("{strict_host_key_checking: accept-new, user_known_hosts_file: none}",
        "32: accept-new has no user_known_hosts_file to keep new keys in; name one, or give yes\n");
    /* Told once, where it stands, not for each target that inherits it; and not when one of the two is wrong already.
     */
    const char text[] = "defaults: {min_idle: 5}\n"
                        "targets:\n"
                        "  a:\n"
                        "  b: {max_connections: many}\n"
                        "  c: {max_connections: 2}\n";
    parse_bad_bytes(&world, true, text, sizeof text - 1,
        "f:1:22: min_idle (5) is more than max_connections (4); lower the one or raise the other\n"
        "f:4:24: max_connections \"many\" is not a whole number; give a whole number from 1 to 1000\n"
        "f:5:24: min_idle (5) is more than max_connections (2); lower the one or raise the other\n");
    parse_bad("defaults: {host: web1, host_key_alias: x}\n",
        "f:1:18: host in defaults; give it in a target\n"
        "f:1:40: host_key_alias in defaults; give it in a target\n");
}

TEST(what_a_service_s_target_needs)
{
    parse_bad("targets:\n  a: {identity_file: none}\n  b: {user: u, identity_file: nope}\n",
        "f:2:3: target \"a\" has no user; give user there or in defaults\n"
        "f:2:3: target \"a\" has no credentials; give identity_file, identity_agent or password\n"
        "f:3:31: identity_file \"nope\" is a relative path; " FILES);
}

TEST(all_at_once_and_in_order)
{
    parse_bad("targets:\n"
              "  a: {user: u, port: 0, identity_file: x}\n"
              "listen: {mode: 1}\n"
              "defaults: {streams: 0, nonsense: 1}\n",
        "f:2:22: port 0 is out of range; give a whole number from 1 to 65535\n"
        "f:2:40: identity_file \"x\" is a relative path; " FILES "f:3:16: mode is not in quotes; " MODE
        "f:4:21: streams 0 is out of range; give a whole number from 1 to 64\n"
        "f:4:24: unknown key \"nonsense\" in defaults; see sshleased.yaml(5) for what is known there\n");
}

TEST(so_many_are_kept)
{
    char text[4096];
    size_t at = 0;
    for (int i = 0; i < 60; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "zz%d: 1\n", i);
    struct sl_conf *conf = NULL;
    struct sl_conf_errors errors = {0};
    assert_int_equal(sl_conf_parse_in(&world, "f", text, at, false, &conf, &errors), SL_E_CONFIG);
    assert_int_equal(errors.lines.count, SL_CONF_ERRORS_MAX);
    assert_int_equal(errors.left_out, 60 - SL_CONF_ERRORS_MAX);
    sl_conf_errors_fini(&errors);
    assert_int_equal(errors.lines.count, 0);
}

TEST(values_are_shown_cut_and_escaped)
{
    target_bad("owners: 'say \"x\" \\ 0123456789012345678901234567890123456789012345678901234567890123456789'",
        "13: owners \"say \\\"x\\\" \\\\ 0123456789012345678901234567890123456789012345678901234567...\" is not one of "
        "its values; give user or shared\n");
    /* Not in the middle of a character. */
    target_bad("owners: xäääääääääääääääääääääääääääääääääääääääääääääää",
        "13: owners \"xäääääääääääääääääääääääääääääääääää...\" is not one of its values; give user or shared\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_file),
        cmocka_unit_test(what_is_not_yaml),
        cmocka_unit_test(yaml_that_is_not_taken),
        cmocka_unit_test(sections_of_the_wrong_type),
        cmocka_unit_test(unknown_keys),
        cmocka_unit_test(keys_twice),
        cmocka_unit_test(numbers),
        cmocka_unit_test(durations),
        cmocka_unit_test(words),
        cmocka_unit_test(names),
        cmocka_unit_test(target_names),
        cmocka_unit_test(files),
        cmocka_unit_test(secrets),
        cmocka_unit_test(users_and_groups),
        cmocka_unit_test(the_mux_directory),
        cmocka_unit_test(the_socket),
        cmocka_unit_test(limits),
        cmocka_unit_test(across_settings),
        cmocka_unit_test(what_a_service_s_target_needs),
        cmocka_unit_test(all_at_once_and_in_order),
        cmocka_unit_test(so_many_are_kept),
        cmocka_unit_test(values_are_shown_cut_and_escaped),
    };
    return cmocka_run_group_tests_name("config.errors", tests, NULL, NULL);
}
