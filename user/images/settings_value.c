/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hearth/policy.h>

#include "images/runtime.h"
#include "images/settings_value.h"
#include "lib/duration.h"
#include "lib/pip_lock.h"
#include "lib/size.h"
#include "lib/text.h"

#define COUNT_MAX 1000000

int value_fail(char *err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err, SETTINGS_ERROR, fmt, args);
	va_end(args);
	return -EINVAL;
}

static int replace(char **field, const char *value, char *err)
{
	char *copy = strdup(value);

	if (!copy)
		return value_fail(err, "no memory");
	free(*field);
	*field = copy;
	return 0;
}

/* Lines of a long list add up. */
static int append(char **field, const char *value, char *err)
{
	char *longer = NULL;

	if (!*field)
		return replace(field, value, err);
	if (asprintf(&longer, "%s %s", *field, value) < 0)
		return value_fail(err, "no memory");
	free(*field);
	*field = longer;
	return 0;
}

static int set_owner(struct image_settings *image, const char *value, char *err)
{
	struct passwd *user;
	char *end;
	unsigned long uid = strtoul(value, &end, 10);

	if (*value && !*end && uid < (uid_t)-1) {
		user = getpwuid((uid_t)uid);
		image->uid = (uid_t)uid;
		image->gid = user ? user->pw_gid : (gid_t)uid;
		return 0;
	}
	user = getpwnam(value);
	if (!user)
		return value_fail(err, "owner: no user '%s'; accepted: a user's name or number",
				  value);
	image->uid = user->pw_uid;
	image->gid = user->pw_gid;
	return 0;
}

static int check_policy(const char *value, char *err)
{
	struct hearth_policy *policy;
	char why[256];
	int rc = 0;

	if (hearth_policy_parse(value, 1.0, &policy, why, sizeof(why)))
		return value_fail(err, "policy: %s", why);
	if (hearth_policy_needs(policy))
		rc = value_fail(
		    err, "policy: %s needs to be told the future: it is for the simulator", value);
	hearth_policy_free(policy);
	return rc;
}

static int set_build(bool *at_start, const char *value, char *err)
{
	if (strcmp(value, "start") && strcmp(value, "use"))
		return value_fail(err, "build: '%s'; accepted: start, use", value);
	*at_start = !strcmp(value, "start");
	return 0;
}

static int set_count(uint64_t *field, const char *key, const char *value, char *err)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (!isdigit((unsigned char)*value) || *end || number > COUNT_MAX)
		return value_fail(err, "%s: '%s'; accepted: a whole number up to %d", key, value,
				  COUNT_MAX);
	*field = number;
	return 0;
}

static int set_lock(char **field, const char *file, char *err)
{
	char why[SETTINGS_ERROR - 16], *lock;

	if (*file == '/' ? pip_lock_read(file, &lock, why, sizeof(why)) : !!*file)
		return *file == '/'
			   ? value_fail(err, "lock: %s", why)
			   : value_fail(err, "lock: '%s'; accepted: an absolute path", file);
	if (!*file)
		return replace(field, file, err);
	free(*field);
	*field = lock;
	return 0;
}

static int set_runtime(const struct runtime **field, const char *value, char *err)
{
	const struct runtime *runtime = runtime_find(value);

	if (!runtime)
		return value_fail(err, "runtime: '%s'; accepted: " RUNTIME_ACCEPTED, value);
	*field = runtime;
	return 0;
}

int value_set(void *target, const struct value_key *key, const char *value, char *err)
{
	void *field = (char *)target + key->offset;
	int rc = 0;

	switch (key->type) {
	case TYPE_DURATION:
		return duration_parse(value, field) == 0
			   ? 0
			   : value_fail(err, "%s: '%s'; accepted: " DURATION_ACCEPTED, key->name,
					value);
	case TYPE_SIZE:
		return size_parse(value, field) == 0
			   ? 0
			   : value_fail(err, "%s: '%s'; accepted: " SIZE_ACCEPTED, key->name,
					value);
	case TYPE_COUNT:
		return set_count(field, key->name, value, err);
	case TYPE_BUILD:
		return set_build(field, value, err);
	case TYPE_RUNTIME:
		return set_runtime(field, value, err);
	case TYPE_WORDS:
		return append(field, value, err);
	case TYPE_PATH:
		if (*value != '/')
			rc = value_fail(err, "%s: '%s'; accepted: an absolute path", key->name,
					value);
		break;
	case TYPE_LOCK:
		return set_lock(field, value, err);
	case TYPE_OWNER:
		rc = set_owner(target, value, err);
		break;
	case TYPE_POLICY:
		rc = check_policy(value, err);
		break;
	case TYPE_TEXT:
		break;
	}
	return rc ? rc : replace(field, value, err);
}

const struct value_key *value_key_find(const struct value_key *keys, const char *name,
				       unsigned int *given, char *err)
{
	const struct value_key *like = NULL;

	for (const struct value_key *k = keys; k->name; k++) {
		unsigned int bit = 1u << (k - keys);

		if (!like && text_distance(name, k->name) <= text_tolerance(name))
			like = k;
		if (strcmp(k->name, name))
			continue;
		if (*given & bit && k->type != TYPE_WORDS)
			return value_fail(err, "%s comes twice", name), NULL;
		*given |= bit;
		return k;
	}
	if (like)
		value_fail(err, "unknown key '%s', did you mean %s?", name, like->name);
	else
		value_fail(err, "unknown key '%s'", name);
	return NULL;
}

int value_defaults(void *target, const struct value_key *keys, char *err)
{
	int rc = 0;

	for (const struct value_key *k = keys; k->name && !rc; k++)
		if (k->fallback)
			rc = value_set(target, k, k->fallback, err);
	return rc;
}

void value_free(void *target, const struct value_key *keys)
{
	for (const struct value_key *k = keys; k->name; k++)
		if (!value_is_number(k) && k->type != TYPE_BUILD && k->type != TYPE_RUNTIME)
			free(*(char **)((char *)target + k->offset));
}
