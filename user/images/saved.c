/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "images/api.h"
#include "images/declare.h"
#include "images/roster.h"
#include "images/saved.h"
#include "lib/log.h"
#include "lib/util.h"

#define VERSION   1
#define MODE      0600
#define MAX_BYTES (64u << 20) /* no list of images is that long: something else lies there */

struct saved {
	uv_work_t work;
	struct manager *manager;
	bool busy;      /* a worker writes */
	json_t *hidden; /* declared, but the configuration has one of that name */
	uint64_t asked; /* number of the newest save */
	uint64_t writing;
	char *text; /* of that one */
	int err;
};

/* ---- write */

static char *encode(const struct manager *m)
{
	json_t *list = json_array(),
	       *all = json_pack("{s:i s:o}", "version", VERSION, "images", list);
	struct image *image;
	char *text;

	DL_FOREACH (m->images, image) {
		if (image->settings->request && !image->retired)
			json_array_append_new(list, json_loads(image->settings->request, 0, NULL));
	}
	json_array_extend(list, m->saved->hidden);
	text = all ? json_dumps(all, JSON_INDENT(1)) : NULL;
	json_decref(all);
	return text;
}

static void make_folder(const char *path)
{
	_cleanup_free_ char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (slash && slash > folder) {
		*slash = '\0';
		mkdir(folder, 0700); /* else the write says why not */
	}
}

static void on_worker(uv_work_t *work)
{
	struct saved *s = container_of(work, struct saved, work);
	const char *path = s->manager->settings->state;

	make_folder(path);
	s->err = s->text ? write_atomic(path, s->text, strlen(s->text), MODE) : -ENOMEM;
}

static void on_done(uv_work_t *work, int status);

static void begin_write(struct saved *s)
{
	s->text = encode(s->manager);
	s->writing = s->asked;
	s->busy = uv_queue_work(&s->manager->loop, &s->work, on_worker, on_done) == 0;
}

static void on_done(uv_work_t *work, int status)
{
	struct saved *s = container_of(work, struct saved, work);
	struct manager *m = s->manager;
	uint64_t written = s->writing;
	int err = status ? status : s->err;

	free(s->text);
	s->text = NULL;
	s->busy = false;
	if (err)
		log_error("%s: what is declared is not kept: %s", m->settings->state,
			  strerror(-err));
	if (s->asked > written)
		begin_write(s);
	api_saved(m, written, err);
}

uint64_t saved_write(struct manager *m)
{
	struct saved *s = m->saved;

	s->asked++;
	if (!s->busy)
		begin_write(s);
	return s->asked;
}

bool saved_pending(const struct manager *m)
{
	return m->saved->busy;
}

/* ---- read */

/* The lists of images; NULL with what is wrong, "" if there is no file. */
static json_t *read_list(const char *path, char *wrong)
{
	json_error_t why;
	struct stat st;
	json_t *all, *list = NULL;
	int version;

	*wrong = '\0';
	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			snprintf(wrong, SETTINGS_ERROR, "%s", strerror(errno));
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_BYTES) {
		snprintf(wrong, SETTINGS_ERROR, "not a file of at most %u bytes", MAX_BYTES);
		return NULL;
	}
	all = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
	if (!all)
		snprintf(wrong, SETTINGS_ERROR, "line %d: %s", why.line, why.text);
	else if (json_unpack(all, "{s:i s:O}", "version", &version, "images", &list) ||
		 version != VERSION || !json_is_array(list))
		snprintf(wrong, SETTINGS_ERROR, "not a list of images of version %d", VERSION);
	json_decref(all);
	if (!*wrong)
		return list;
	json_decref(list);
	return NULL;
}

void saved_hide(struct manager *m, const char *name, uid_t owner, json_t *request)
{
	log_warn("image %s: uid %u had declared it; now %s does, and that counts", name, owner,
		 m->settings->file);
	json_array_append_new(m->saved->hidden, request);
}

static int add(struct manager *m, const json_t *request, char *wrong)
{
	struct image_settings *settings;
	struct image *image;
	int err = declare_parse(request, &settings, wrong);

	if (err)
		return err;
	declare_bound(m, settings);
	if (manager_find(m, settings->name)) {
		saved_hide(m, settings->name, settings->uid, json_incref((json_t *)request));
		image_settings_free(settings);
		return 0;
	}
	roster_warn_same(m, settings);
	err = roster_add(m, settings, &image);
	if (err)
		image_settings_free(settings);
	return err;
}

static int set_aside(struct manager *m, const char *wrong, const char *rest)
{
	char aside[4096];
	int err = file_set_aside(m->settings->state, aside, sizeof(aside));

	if (err)
		log_error("%s: %s; cannot set it aside: %s", m->settings->state, wrong,
			  strerror(-err));
	else
		log_warn("%s: %s; kept as %s, %s", m->settings->state, wrong, aside, rest);
	return err;
}

static int read_images(struct manager *m)
{
	char wrong[SETTINGS_ERROR], first[SETTINGS_ERROR + 32] = "";
	json_t *list = read_list(m->settings->state, wrong), *request;
	size_t i;
	int err = 0;

	if (!list)
		return *wrong ? set_aside(m, wrong, "no image is declared through the API now") : 0;
	json_array_foreach (list, i, request) {
		if (add(m, request, wrong) && !*first)
			snprintf(first, sizeof(first), "image %zu: %s", i + 1, wrong);
	}
	json_decref(list);
	if (*first)
		err = set_aside(m, first, "the images that are good are declared");
	if (*first && !err)
		saved_write(m);
	return err;
}

void saved_show(struct manager *m)
{
	json_t *hidden = m->saved->hidden;
	char wrong[SETTINGS_ERROR];

	for (size_t i = json_array_size(hidden); i-- > 0;) {
		const json_t *request = json_array_get(hidden, i);
		const char *name = json_string_value(json_object_get(request, "image"));

		if (manager_find(m, name))
			continue;
		if (add(m, request, wrong)) {
			log_error("image %s: %s", name, wrong);
			continue;
		}
		log_info("image %s: as it was declared through the API", name);
		json_array_remove(hidden, i);
	}
}

int saved_begin(struct manager *m)
{
	m->saved = calloc(1, sizeof(*m->saved));
	if (!m->saved)
		return -ENOMEM;
	m->saved->manager = m;
	m->saved->hidden = json_array();
	return read_images(m);
}

void saved_end(struct manager *m)
{
	json_decref(m->saved->hidden);
	free(m->saved);
}
