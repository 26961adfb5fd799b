/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <utlist.h>

#include "images/declare.h"
#include "images/image.h"
#include "images/roster.h"
#include "images/runtime.h"
#include "lib/duration.h"
#include "lib/size.h"
#include "lib/util.h"

static int fail(char *err, int rc, const char *fmt, ...) _printf_(3, 4);
static int fail(char *err, int rc, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err, SETTINGS_ERROR, fmt, args);
	va_end(args);
	return rc;
}

/* ---- what is asked for */

static bool plain(const char *text)
{
	while (*text && !iscntrl((unsigned char)*text))
		text++;
	return !*text;
}

static int set_text(struct image_settings *s, const char *key, const char *text, char *err)
{
	if (!plain(text))
		return fail(err, -EINVAL, "%s: has control characters", key);
	return image_settings_set(s, key, text, err);
}

/* Lists are of words, as `modules`; each is set by itself. */
static int set_list(struct image_settings *s, const char *key, const json_t *list, char *err)
{
	_cleanup_free_ char *all = NULL;
	const json_t *word;
	size_t i, size;
	FILE *out = open_memstream(&all, &size);

	if (!out)
		return fail(err, -ENOMEM, "no memory");
	json_array_foreach (list, i, word) {
		const char *text = json_string_value(word);

		if (!text || !plain(text) || !*text || strpbrk(text, " ,")) {
			fclose(out);
			return fail(err, -EINVAL, "%s: accepted: a list of words", key);
		}
		fprintf(out, "%s%s", i ? " " : "", text);
	}
	return fclose(out) ? fail(err, -ENOMEM, "no memory") : set_text(s, key, all, err);
}

static int set_key(struct image_settings *s, const char *key, const json_t *value, char *err)
{
	char number[32];

	if (!strcmp(key, "lock") && json_is_string(value))
		return image_settings_lock(s, json_string_value(value), err);
	if (json_is_string(value))
		return set_text(s, key, json_string_value(value), err);
	if (json_is_array(value) && !strcmp(key, "modules"))
		return set_list(s, key, value, err);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return fail(err, -EINVAL, "%s: accepted: a text%s", key,
			    strcmp(key, "modules") ? " or a whole number" : " or a list of words");
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return set_text(s, key, number, err);
}

static bool is_of_message(const char *key)
{
	return !strcmp(key, "do") || !strcmp(key, "image") || !strcmp(key, "fds");
}

/* To be read again by the next manager: the same, with what does not change its meaning. */
static int keep_request(struct image_settings *s, const json_t *request)
{
	json_t *copy = json_copy((json_t *)request);

	json_object_del(copy, "do");
	json_object_del(copy, "fds");
	json_object_set_new(copy, "owner", json_integer(s->uid));
	if (*s->lock)
		json_object_set_new(copy, "lock", json_string(s->lock));
	s->request = copy ? json_dumps(copy, JSON_COMPACT) : NULL;
	json_decref(copy);
	return s->request ? 0 : -ENOMEM;
}

int declare_parse(const json_t *request, struct image_settings **out, char *err)
{
	const char *name = json_string_value(json_object_get(request, "image")), *key;
	struct image_settings *s;
	json_t *value;
	int rc = 0;

	if (!name || !settings_good_name(name))
		return fail(err, -EINVAL, "image: accepted: " SETTINGS_NAME_ACCEPTED);
	s = image_settings_new(name);
	if (!s)
		return fail(err, -ENOMEM, "no memory");
	json_object_foreach ((json_t *)request, key, value) {
		if (!rc && !is_of_message(key))
			rc = set_key(s, key, value, err);
	}
	if (!rc)
		rc = image_settings_finish(s, err);
	if (!rc && keep_request(s, request))
		rc = fail(err, -ENOMEM, "no memory");
	if (rc)
		image_settings_free(s);
	else
		*out = s;
	return rc;
}

/* ---- limits */

void declare_bound(const struct manager *m, struct image_settings *s)
{
	s->memory_bytes = MIN(s->memory_bytes, m->settings->declare_memory_bytes);
	s->build_timeout_ns = MIN(s->build_timeout_ns, m->settings->declare_timeout_ns);
	s->spares =
	    MIN(s->spares, MAX(m->settings->declare_spares, s->runtime->forks ? 0 : UINT64_C(1)));
}

/* What was asked for is not cut in silence; a default is. */
static int check_limits(const struct manager *m, const json_t *request, struct image_settings *s,
			char *err)
{
	const struct settings *all = m->settings;
	char text[SIZE_TEXT];

	if (json_object_get(request, "memory") && s->memory_bytes > all->declare_memory_bytes)
		return fail(err, -ERANGE, "memory: accepted: up to %s (declare_memory in %s)",
			    size_format(all->declare_memory_bytes, text, sizeof(text)), all->file);
	if (json_object_get(request, "build_timeout") &&
	    s->build_timeout_ns > all->declare_timeout_ns)
		return fail(err, -ERANGE,
			    "build_timeout: accepted: up to %" PRIu64 "s (declare_timeout in %s)",
			    all->declare_timeout_ns / UINT64_C(1000000000), all->file);
	if (json_object_get(request, "spares") && s->spares > all->declare_spares)
		return fail(err, -ERANGE,
			    "spares: accepted: up to %" PRIu64 " (declare_spares in %s)",
			    all->declare_spares, all->file);
	declare_bound(m, s);
	return 0;
}

/* Those that are there, or those that are only because their children are. */
static uint64_t count(const struct manager *m, uid_t owner, bool retired)
{
	const struct image *image;
	uint64_t n = 0;

	DL_FOREACH (m->images, image) {
		n += image->settings->request && image->settings->uid == owner &&
		     image->retired == retired && (image->children || !retired);
	}
	return n;
}

/* Each that is replaced or forgotten while it has children makes one more. */
static int check_retired(const struct manager *m, uid_t owner, char *err)
{
	if (count(m, owner, true) <= m->settings->declare_max)
		return 0;
	return fail(err, -EDQUOT,
		    "instances of more than %" PRIu64
		    " images that uid %u had declared still run: wait for them, or end them",
		    m->settings->declare_max, owner);
}

static int check_number(const struct manager *m, uid_t owner, char *err)
{
	uint64_t n = count(m, owner, false);

	if (n < m->settings->declare_max)
		return 0;
	return fail(err, -EDQUOT,
		    "uid %u has declared %" PRIu64 " images, %s allows %" PRIu64
		    " (declare_max): forget one",
		    owner, n, m->settings->file, m->settings->declare_max);
}

/* ---- declare and forget */

static int check_name(const struct manager *m, const struct image *other, uid_t owner, char *err)
{
	if (!other->settings->request)
		return fail(err, -EEXIST, "image '%s' is declared in %s", other->settings->name,
			    m->settings->file);
	if (other->settings->uid != owner)
		return fail(err, -EEXIST, "image '%s' is another owner's: take another name",
			    other->settings->name);
	return 0;
}

static int place(struct manager *m, struct image_settings *s, struct image **out, char *err)
{
	struct image *other = manager_find(m, s->name);
	int rc = other ? check_name(m, other, s->uid, err) : check_number(m, s->uid, err);

	if (!rc)
		rc = check_retired(m, s->uid, err);
	if (rc)
		return rc;
	rc = other ? roster_replace(other, s, out) : roster_add(m, s, out);
	return rc ? fail(err, rc, "%s", strerror(-rc)) : 0;
}

static int declare(struct manager *m, const json_t *request, struct image_settings *s,
		   struct image **out, char *err)
{
	struct image *same = roster_with_key(m, s->key);
	int rc = check_limits(m, request, s, err);

	if (rc)
		return rc;
	if (same && (strcmp(same->settings->name, s->name) || !same->settings->request ||
		     image_settings_same(same->settings, s))) {
		*out = same;
		return 0;
	}
	return place(m, s, out, err);
}

static int parse_for(uid_t asker, const json_t *request, struct image_settings **out, char *err)
{
	json_t *full = json_copy((json_t *)request);
	int rc;

	if (asker && full && !json_object_get(full, "owner"))
		json_object_set_new(full, "owner", json_integer(asker));
	rc = full ? declare_parse(full, out, err) : fail(err, -ENOMEM, "no memory");
	json_decref(full);
	if (rc || !asker || (*out)->uid == asker)
		return rc;
	rc = fail(err, -EACCES, "owner: uid %u may declare images of its own, not of uid %u", asker,
		  (*out)->uid);
	image_settings_free(*out);
	return rc;
}

int declare_image(struct manager *m, uid_t asker, const json_t *request, struct image **out,
		  bool *changed, char *error)
{
	struct image_settings *settings = NULL;
	char err[SETTINGS_ERROR];
	int rc = parse_for(asker, request, &settings, err);

	if (!rc) {
		rc = declare(m, request, settings, out, err);
		*changed = !rc && (*out)->settings == settings;
		if (!*changed)
			image_settings_free(settings);
	}
	if (rc)
		snprintf(error, HEARTH_ZYGOTE_ERROR, "%.250s", err);
	return rc;
}

int declare_forget(struct image *image, char *error)
{
	if (image->settings->request) {
		image_retire(image);
		return 0;
	}
	snprintf(error, HEARTH_ZYGOTE_ERROR, "image '%s' is declared in %.160s: take it out there",
		 image->settings->name, image->manager->settings->file);
	return -EINVAL;
}
