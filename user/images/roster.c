/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "images/declare.h"
#include "images/image.h"
#include "images/place.h"
#include "images/roster.h"
#include "images/saved.h"
#include "lib/log.h"
#include "lib/util.h"

struct image *roster_with_key(struct manager *m, const char *key)
{
	struct image *image;

	DL_FOREACH (m->images, image) {
		if (!image->retired && !strcmp(image->settings->key, key))
			break;
	}
	return image;
}

void roster_warn_same(struct manager *m, const struct image_settings *settings)
{
	const struct image *same = roster_with_key(m, settings->key);

	if (same)
		log_warn("image %s: the same as image %s, and one is of the API: one is enough",
			 settings->name, same->settings->name);
}

int roster_add(struct manager *m, struct image_settings *settings, struct image **out)
{
	int err = image_new(m, settings, out);

	if (!err && settings->at_start)
		image_build(*out, true);
	return err;
}

/* What has been learned of it so far stays that of its name. */
static void carry_over(struct image *old, struct image *image)
{
	image->uses = old->uses;
	image->forks = old->forks;
	image->claims = old->claims;
	image->cold = old->cold;
	image->usage = old->usage;
	old->usage = (struct usage){0};
}

int roster_replace(struct image *old, struct image_settings *settings, struct image **out)
{
	bool built = old->state != IMAGE_NONE || settings->at_start;
	struct image *image;
	int err = image_new(old->manager, settings, &image);

	if (err)
		return err;
	carry_over(old, image);
	image_retire(old);
	if (built)
		image_build(image, true);
	*out = image;
	return 0;
}

/* ---- the file */

int roster_begin(struct manager *m)
{
	struct settings *s = m->settings;
	struct image *image;
	int err = 0;

	for (size_t i = 0; i < s->n_images && !err; i++) {
		err = roster_add(m, s->images[i], &image);
		if (!err)
			s->images[i] = NULL;
	}
	return err;
}

struct changes {
	unsigned int added, changed, removed;
	bool declared; /* what is declared through the API is no longer as it was saved */
};

static struct image_settings **find_settings(struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->n_images; i++)
		if (s->images[i] && !strcmp(s->images[i]->name, name))
			return &s->images[i];
	return NULL;
}

/* What the file now says of an image that is there. */
static void update(struct image *image, struct settings *s, struct changes *changes)
{
	struct image_settings **settings = find_settings(s, image->settings->name);
	json_t *request;
	uid_t owner;
	int err;

	if (!settings) {
		if (image->settings->request)
			return;
		log_info("image %s: no longer in %s", image->settings->name, s->file);
		image_retire(image);
		changes->removed++;
		return;
	}
	changes->declared |= image->settings->request != NULL;
	request = image->settings->request ? json_loads(image->settings->request, 0, NULL) : NULL;
	owner = image->settings->uid;
	if (!request && image_settings_same(image->settings, *settings))
		goto done;
	err = roster_replace(image, *settings, &image);
	if (err) {
		log_error("image %s: stays as it is: %s", image->settings->name, strerror(-err));
		json_decref(request);
		goto done;
	}
	if (request)
		saved_hide(image->manager, image->settings->name, owner, request);
	changes->changed++;
	*settings = NULL;
	return;
done:
	image_settings_free(*settings);
	*settings = NULL;
}

static void add_new(struct manager *m, struct settings *s, struct changes *changes)
{
	struct image *image;

	for (size_t i = 0; i < s->n_images; i++) {
		int err;

		if (!s->images[i])
			continue;
		roster_warn_same(m, s->images[i]);
		err = roster_add(m, s->images[i], &image);
		if (err) {
			log_error("image %s: %s", s->images[i]->name, strerror(-err));
			continue;
		}
		s->images[i] = NULL;
		changes->added++;
	}
}

/* Sockets and cgroups are in use where they are. */
static void update_manager(struct manager *m, const struct settings *s)
{
	struct settings *now = m->settings;
	struct image *image;

	if (!settings_same_places(now, s))
		log_warn(
		    "%s: [manager] socket, cgroup, run_dir, bootstrap, library and state take a "
		    "restart; the others count from now on",
		    s->file);
	settings_take_limits(now, s);
	place_bound(m);
	DL_FOREACH (m->images, image) {
		if (image->settings->request)
			declare_bound(m, image->settings);
	}
}

void roster_reload(struct manager *m)
{
	struct changes changes = {0};
	struct image *image, *next, *last;
	struct settings *s;
	char err[SETTINGS_ERROR];

	if (settings_load(m->settings->file, &s, err, sizeof(err))) {
		log_error("%s; the images stay as they were", err);
		return;
	}
	update_manager(m, s);
	last = m->images ? m->images->prev : NULL; /* what is added on the way is new enough */
	DL_FOREACH_SAFE(m->images, image, next)
	{
		bool end = image == last;

		if (!image->retired)
			update(image, s, &changes);
		if (end)
			break;
	}
	add_new(m, s, &changes);
	saved_show(m);
	log_info("%s: read again: %u images added, %u changed, %u removed", s->file, changes.added,
		 changes.changed, changes.removed);
	settings_free(s);
	if (changes.declared)
		saved_write(m);
}
