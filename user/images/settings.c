/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One table of keys; the file is read line by line so that errors can name the line. */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hearth/policy.h>

#include "images/settings.h"
#include "lib/duration.h"
#include "lib/size.h"
#include "lib/text.h"
#include "lib/util.h"

enum type {
	TYPE_TEXT,
	TYPE_WORDS,
	TYPE_PATH,
	TYPE_OWNER,
	TYPE_DURATION,
	TYPE_SIZE,
	TYPE_POLICY,
	TYPE_BUILD
};

static const struct key {
	const char *name;
	enum type type;
	size_t offset;
	const char *fallback; /* NULL: must be given */
} manager_keys[] =
    {
	{"socket", TYPE_PATH, offsetof(struct settings, socket), "/run/hearth/images.sock"},
	{"cgroup", TYPE_TEXT, offsetof(struct settings, cgroup), "hearth-images"},
	{"run_dir", TYPE_PATH, offsetof(struct settings, run_dir), "/run/hearth/images"},
	{"bootstrap", TYPE_PATH, offsetof(struct settings, bootstrap),
	 "/usr/local/lib/hearth/hearth_zygote.py"},
	{"library", TYPE_TEXT, offsetof(struct settings, library), "libhearth-zygote.so.1"},
	{"budget", TYPE_SIZE, offsetof(struct settings, budget_bytes), "0"},
	{0},
},
  image_keys[] = {
      {"owner", TYPE_OWNER, offsetof(struct image_settings, owner), NULL},
      {"interpreter", TYPE_PATH, offsetof(struct image_settings, interpreter), "/usr/bin/python3"},
      {"modules", TYPE_WORDS, offsetof(struct image_settings, modules), NULL},
      {"path", TYPE_TEXT, offsetof(struct image_settings, path), ""},
      {"policy", TYPE_POLICY, offsetof(struct image_settings, policy), "hybrid"},
      {"build", TYPE_BUILD, offsetof(struct image_settings, at_start), "use"},
      {"build_timeout", TYPE_DURATION, offsetof(struct image_settings, build_timeout_ns), "60s"},
      {"memory", TYPE_SIZE, offsetof(struct image_settings, memory_bytes), "4G"},
      {"freeze_after", TYPE_DURATION, offsetof(struct image_settings, freeze_after_ns), "5s"},
      {0},
};

struct loader {
	FILE *file;
	int line;
	struct settings *settings;
	char section[TEXT_WORD_MAX];
	const struct key *keys; /* of the section; NULL before the first */
	void *target;
	unsigned int given; /* bit per key */
	int rc;
	char *err;
	size_t err_size;
};

static int fail(struct loader *l, const char *fmt, ...) _printf_(2, 3);
static int fail(struct loader *l, const char *fmt, ...)
{
	va_list args;
	int n;

	if (l->rc)
		return l->rc;
	n = snprintf(l->err, l->err_size, "%s:%d: ", l->settings->file, l->line);
	va_start(args, fmt);
	if (n >= 0 && (size_t)n < l->err_size)
		vsnprintf(l->err + n, l->err_size - n, fmt, args);
	va_end(args);
	return l->rc = -EINVAL;
}

bool settings_good_name(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n > IMAGE_NAME_MAX || name[0] == '.')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-", *name))
			return false;
	return true;
}

/* ---- values */

static int replace(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* Lines of a long list add up. */
static int append(char **field, const char *value)
{
	char *longer = NULL;

	if (!*field)
		return replace(field, value);
	if (asprintf(&longer, "%s %s", *field, value) < 0)
		return -ENOMEM;
	free(*field);
	*field = longer;
	return 0;
}

static int take_owner(struct loader *l, const char *value)
{
	struct image_settings *image = l->target;
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
		return fail(l, "owner: no user '%s'; accepted: a user's name or number", value);
	image->uid = user->pw_uid;
	image->gid = user->pw_gid;
	return 0;
}

static int take_policy(struct loader *l, const char *value)
{
	struct hearth_policy *policy;
	char why[256];

	if (hearth_policy_parse(value, 1.0, &policy, why, sizeof(why)))
		return fail(l, "policy: %s", why);
	if (hearth_policy_needs(policy))
		fail(l, "policy: %s needs to be told the future: it is for the simulator", value);
	hearth_policy_free(policy);
	return l->rc;
}

static int take_build(struct loader *l, const char *value, bool *at_start)
{
	if (strcmp(value, "start") && strcmp(value, "use"))
		return fail(l, "build: '%s'; accepted: start, use", value);
	*at_start = !strcmp(value, "start");
	return 0;
}

static int take(struct loader *l, const struct key *key, const char *value)
{
	void *field = (char *)l->target + key->offset;

	switch (key->type) {
	case TYPE_DURATION:
		return duration_parse(value, field) == 0
			   ? 0
			   : fail(l, "%s: '%s'; accepted: " DURATION_ACCEPTED, key->name, value);
	case TYPE_SIZE:
		return size_parse(value, field) == 0
			   ? 0
			   : fail(l, "%s: '%s'; accepted: " SIZE_ACCEPTED, key->name, value);
	case TYPE_BUILD:
		return take_build(l, value, field);
	case TYPE_PATH:
		if (*value != '/')
			return fail(l, "%s: '%s'; accepted: an absolute path", key->name, value);
		break;
	case TYPE_OWNER:
		if (take_owner(l, value))
			return l->rc;
		break;
	case TYPE_POLICY:
		if (take_policy(l, value))
			return l->rc;
		break;
	case TYPE_WORDS:
		return append(field, value) ? fail(l, "no memory") : 0;
	case TYPE_TEXT:
		break;
	}
	return replace(field, value) ? fail(l, "no memory") : 0;
}

static void defaults(struct loader *l, const struct key *keys, void *target)
{
	l->keys = keys;
	l->target = target;
	l->given = 0;
	for (const struct key *k = keys; k->name; k++)
		if (k->fallback)
			take(l, k, k->fallback);
}

/* ---- an image as a whole */

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The list of modules; module[] is one allocation with its text behind it. */
static int split_modules(struct loader *l, struct image_settings *image)
{
	size_t most = strlen(image->modules) / 2 + 2, n = 0, kept = 0;
	char **list = calloc(1, most * sizeof(*list) + strlen(image->modules) + 1), *text, *word;

	if (!list)
		return fail(l, "no memory");
	image->module = list;
	text = strcpy((char *)(list + most), image->modules);
	while ((word = strsep(&text, " \t,"))) {
		if (*word == '-')
			return fail(l, "modules: '%s'; accepted: names of modules", word);
		if (*word)
			list[n++] = word;
	}
	qsort(list, n, sizeof(*list), compare_words);
	for (size_t i = 0; i < n; i++)
		if (!kept || strcmp(list[kept - 1], list[i]))
			list[kept++] = list[i];
	list[kept] = NULL;
	return 0;
}

static int make_key(struct loader *l, struct image_settings *image)
{
	size_t size;
	FILE *out = open_memstream(&image->key, &size);

	if (!out)
		return fail(l, "no memory");
	fprintf(out, "%u\n%s\n%s\n", image->uid, image->interpreter, image->path);
	for (char **m = image->module; *m; m++)
		fprintf(out, "%s\n", *m);
	return fclose(out) ? fail(l, "no memory") : 0;
}

static int end_section(struct loader *l)
{
	struct settings *s = l->settings;
	struct image_settings *image = l->target;

	if (l->rc || l->keys != image_keys)
		return l->rc;
	for (const struct key *k = image_keys; k->name; k++)
		if (!k->fallback && !(l->given & 1u << (k - image_keys)))
			return fail(l, "[image %s] has no %s", image->name, k->name);
	if (split_modules(l, image) || make_key(l, image))
		return l->rc;
	for (struct image_settings *other = s->images; other < image; other++)
		if (!strcmp(other->key, image->key))
			return fail(l, "[image %s] is the same as [image %s]: one is enough",
				    image->name, other->name);
	return 0;
}

static int begin_image(struct loader *l, const char *name)
{
	struct settings *s = l->settings;
	struct image_settings *more;

	if (!settings_good_name(name))
		return fail(l, "image '%s'; accepted: " SETTINGS_NAME_ACCEPTED, name);
	for (size_t i = 0; i < s->n_images; i++)
		if (!strcmp(s->images[i].name, name))
			return fail(l, "[image %s] comes twice", name);
	more = reallocarray(s->images, s->n_images + 1, sizeof(*more));
	if (!more)
		return fail(l, "no memory");
	s->images = more;
	more += s->n_images++;
	memset(more, 0, sizeof(*more));
	strcpy(more->name, name);
	defaults(l, image_keys, more);
	return l->rc;
}

static int begin_section(struct loader *l, const char *section)
{
	snprintf(l->section, sizeof(l->section), "%s", section);
	if (!strncmp(section, "image ", 6))
		return begin_image(l, section + 6);
	if (strcmp(section, "manager"))
		return fail(l, "unknown section [%s]; accepted: [manager], [image NAME]", section);
	l->keys = manager_keys;
	l->target = l->settings;
	l->given = 0;
	return 0;
}

static int on_value(void *arg, const char *section, const char *name, const char *value)
{
	struct loader *l = arg;

	if (strcmp(section, l->section) && (end_section(l) || begin_section(l, section)))
		return 0;
	if (!l->keys)
		return fail(l, "'%s' is in no section; accepted: [manager], [image NAME]", name), 0;
	for (const struct key *k = l->keys; k->name; k++) {
		unsigned int bit = 1u << (k - l->keys);

		if (strcmp(k->name, name))
			continue;
		if (l->given & bit && k->type != TYPE_WORDS)
			return fail(l, "%s comes twice in [%s]", name, section), 0;
		l->given |= bit;
		return take(l, k, value) == 0;
	}
	for (const struct key *k = l->keys; k->name; k++)
		if (text_distance(name, k->name) <= text_tolerance(name))
			return fail(l, "[%s]: unknown key '%s', did you mean %s?", section, name,
				    k->name),
			       0;
	return fail(l, "[%s]: unknown key '%s'", section, name), 0;
}

static char *read_line(char *text, int size, void *arg)
{
	struct loader *l = arg;

	if (l->rc || !fgets(text, size, l->file))
		return NULL;
	l->line++;
	if (!strchr(text, '\n') && !feof(l->file))
		fail(l, "longer than %d bytes; a list of modules may come in several lines",
		     size - 2);
	return l->rc ? NULL : text;
}

int settings_load(const char *file, struct settings **out, char *err, size_t err_size)
{
	struct settings *s = calloc(1, sizeof(*s));
	_cleanup_fclose_ FILE *stream = fopen(file, "re");
	struct loader l = {.file = stream, .settings = s, .err = err, .err_size = err_size};
	int bad;

	if (!s || !(s->file = strdup(file)) || !stream) {
		l.rc = stream ? -ENOMEM : -errno;
		snprintf(err, err_size, "%s: %s", file, strerror(-l.rc));
		settings_free(s);
		return l.rc;
	}
	defaults(&l, manager_keys, s);
	l.keys = NULL;
	bad = ini_parse_stream(read_line, &l, on_value, &l);
	if (bad && !l.rc) {
		l.line = bad;
		fail(&l, "not 'key = value', a [section] or a comment");
	}
	end_section(&l);
	if (!l.rc && (*s->cgroup == '/' || strstr(s->cgroup, "..") || !*s->cgroup))
		fail(&l,
		     "[manager] cgroup: '%s'; accepted: a path below the cgroup2 root, such as "
		     "hearth-images",
		     s->cgroup);
	if (l.rc) {
		settings_free(s);
		return l.rc;
	}
	*out = s;
	return 0;
}

static void free_fields(const struct key *keys, void *target)
{
	for (const struct key *k = keys; k->name; k++)
		if (k->type == TYPE_TEXT || k->type == TYPE_WORDS || k->type == TYPE_PATH ||
		    k->type == TYPE_OWNER || k->type == TYPE_POLICY)
			free(*(char **)((char *)target + k->offset));
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_images; i++) {
		free_fields(image_keys, &s->images[i]);
		free(s->images[i].module);
		free(s->images[i].key);
	}
	free_fields(manager_keys, s);
	free(s->images);
	free(s->file);
	free(s);
}
