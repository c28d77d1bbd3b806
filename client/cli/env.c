/* SPDX-License-Identifier: MIT */
/* Says which variables of -e the daemon keeps back. It does so without a word, so its status is asked. A daemon that does
 * not tell at once is not waited for long: it is a hint. */
#include "client/cli/env.h"

#include "client/cli/cli.h"

#include <fnmatch.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 500

/* The item of the list whose `key` is `value`, or NULL. */
static const json_t *find(const json_t *list, const char *key, const json_t *value)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) if (value != NULL && json_equal(json_object_get(item, key), value)) return item;
    return NULL;
}

/* What the target of our lease has for send_env, in the status; or NULL. */
static const json_t *patterns_of(const json_t *status, uint64_t lease_id)
{
    json_t *id = json_integer((json_int_t)lease_id);
    const json_t *lease = find(json_object_get(status, "leases"), "id", id);
    const json_t *target = find(json_object_get(status, "targets"), "name", json_object_get(lease, "target"));
    json_decref(id);
    return json_object_get(target, "send_env");
}

static bool passes(const json_t *patterns, const char *name)
{
    size_t i;
    const json_t *pattern;
    json_array_foreach(patterns, i,
        pattern) if (json_is_string(pattern) && fnmatch(json_string_value(pattern), name, 0) == 0) return true;
    return false;
}

void cli_env_tell(struct sshlease *lease, const char *target, const struct sshlease_env *env, size_t count)
{
    char *text = NULL;
    if (count == 0 || sshlease_admin_status(lease, ANSWER_MS, &text) != 0)
        return;
    json_t *status = json_loads(text, 0, NULL);
    const json_t *patterns = patterns_of(status, sshlease_id(lease));
    for (size_t i = 0; json_is_array(patterns) && i < count; i++)
        if (!passes(patterns, env[i].name))
            cli_say("%s: %s is not passed: the target's send_env does not have it", target, env[i].name);
    json_decref(status);
    free(text);
}
