/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "images/api_internal.h"
#include "images/closing.h"
#include "images/declare.h"
#include "images/image.h"
#include "images/instance.h"
#include "images/saved.h"
#include "lib/util.h"

#define LIST_BYTES (128u << 10) /* of images in one answer to ls: well within a message */

/* ---- requests */

/* The answer is about memory: it waits while that is being measured. */
static bool postpone(struct request *r)
{
	if (usage_measure(r->m))
		r->conn->later = json_incref(r->body);
	return r->conn->later;
}

/* One message holds so many; more: the list goes on. */
static json_t *list_images(const struct request *r, bool retired, json_int_t skip, bool *more)
{
	json_t *list = json_array();
	struct image *image;
	size_t bytes = 0;

	*more = false;
	DL_FOREACH (r->m->images, image) {
		if ((r->conn->uid && image->settings->uid != r->conn->uid) ||
		    image->retired != retired || skip-- > 0)
			continue;
		json_t *next = image_json(image);

		bytes += json_dumpb(next, NULL, 0, JSON_COMPACT);
		*more = bytes > LIST_BYTES && json_array_size(list);
		if (*more) {
			json_decref(next);
			break;
		}
		json_array_append_new(list, next);
	}
	return list;
}

static int do_ls(struct request *r, char *error)
{
	const json_t *skip = json_object_get(r->body, "skip");
	bool retired = json_is_true(json_object_get(r->body, "retired"));
	json_t *list;
	bool more;

	if (skip && (!json_is_integer(skip) || json_integer_value(skip) < 0)) {
		snprintf(error, HEARTH_ZYGOTE_ERROR, "skip: accepted: a number of images");
		return -EINVAL;
	}
	if (postpone(r))
		return 0;
	list = list_images(r, retired, json_integer_value(skip), &more);
	api_answer(r->m, r->conn->id, json_pack("{s:o s:b}", "images", list, "more", more), -1,
		   true);
	return 0;
}

static int do_show(struct request *r, char *error)
{
	(void)error;
	if (!postpone(r))
		api_answer(r->m, r->conn->id, image_json(r->image), -1, true);
	return 0;
}

static void tell_built(struct request *r)
{
	if (r->image->state == IMAGE_RESIDENT || r->image->state == IMAGE_FROZEN)
		api_answer(r->m, r->conn->id, image_json(r->image), -1, true);
	else
		r->conn->built = r->image;
}

static int do_build(struct request *r, char *error)
{
	int err = image_build(r->image, true);

	if (!err)
		tell_built(r);
	else
		snprintf(error, HEARTH_ZYGOTE_ERROR, "%.250s",
			 err == -EAGAIN ? "the last one is about to end" : r->image->error);
	return err;
}

void image_built(struct image *image)
{
	struct manager *m = image->manager;
	struct conn *c, *next;

	DL_FOREACH_SAFE(m->conns, c, next)
	{
		if (c->built != image)
			continue;
		if (image->state == IMAGE_RESIDENT)
			api_answer(m, c->id, image_json(image), -1, true);
		else
			api_fail(m, c->id, -ECHILD,
				 *image->error ? image->error : "evicted while it was built");
	}
}

static int do_evict(struct request *r, char *error)
{
	int err = image_evict(r->image);

	if (err == -EBUSY)
		snprintf(error, HEARTH_ZYGOTE_ERROR,
			 "%u instances that it forked still run: their memory is shared with it",
			 r->image->children);
	else if (err == -ENOENT)
		snprintf(error, HEARTH_ZYGOTE_ERROR, "it is not built");
	else
		api_answer(r->m, r->conn->id, image_json(r->image), -1, true);
	return err;
}

/* Once it outlives this manager. */
static void answer_saved(struct request *r, const struct image *image)
{
	r->conn->saved = image_json(image);
	r->conn->save = saved_write(r->m);
}

static int do_declare(struct request *r, char *error)
{
	struct image *image;
	bool changed;
	int err = declare_image(r->m, r->conn->uid, r->body, &image, &changed, error);

	if (!err && changed)
		answer_saved(r, image);
	else if (!err)
		api_answer(r->m, r->conn->id, image_json(image), -1, true);
	return err;
}

static int do_forget(struct request *r, char *error)
{
	int err = declare_forget(r->image, error);

	if (!err)
		answer_saved(r, r->image);
	return err;
}

void api_saved(struct manager *m, uint64_t number, int err)
{
	struct conn *c, *next;
	char text[HEARTH_ZYGOTE_ERROR];

	DL_FOREACH_SAFE(m->conns, c, next)
	{
		json_t *saved = c->saved;

		if (!c->save || c->save > number)
			continue;
		c->saved = NULL;
		if (!err) {
			api_answer(m, c->id, saved, -1, true);
			continue;
		}
		json_decref(saved);
		snprintf(text, sizeof(text), "done, but only until this manager ends: %.160s: %s",
			 m->settings->state, strerror(-err));
		api_fail(m, c->id, err, text);
	}
}

static int do_run(struct request *r, char *error)
{
	return instance_start(r->image, r->conn->id, r->body, r->conn->uid, r->fds, error);
}

static const struct {
	const char *name;
	bool image;
	int (*run)(struct request *r, char *error);
} verbs[] = {
    {"ls", false, do_ls},        {"show", true, do_show}, {"build", true, do_build},
    {"evict", true, do_evict},   {"run", true, do_run},   {"declare", false, do_declare},
    {"forget", true, do_forget},
};

static int find_image(struct request *r, char *error)
{
	const char *name = json_string_value(json_object_get(r->body, "image"));

	r->image = name ? manager_find(r->m, name) : NULL;
	if (!r->image) {
		snprintf(error, HEARTH_ZYGOTE_ERROR, "no image '%.64s' is declared",
			 name ? name : "");
		return -ENOENT;
	}
	if (!r->conn->uid || r->conn->uid == r->image->settings->uid)
		return 0;
	snprintf(error, HEARTH_ZYGOTE_ERROR, "image '%s' is uid %u's, not uid %u's", name,
		 r->image->settings->uid, r->conn->uid);
	return -EACCES;
}

static int dispatch(struct request *r, char *error)
{
	const char *what = json_string_value(json_object_get(r->body, "do"));
	int err;

	if (r->m->ending)
		return -ESHUTDOWN;
	for (size_t i = 0; what && i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, what))
			continue;
		err = verbs[i].image ? find_image(r, error) : 0;
		return err ? err : verbs[i].run(r, error);
	}
	snprintf(error, HEARTH_ZYGOTE_ERROR,
		 "do: accepted: ls, show, build, evict, run, declare, forget");
	return -EINVAL;
}

void api_measured(struct manager *m)
{
	struct conn *c, *next;

	DL_FOREACH_SAFE(m->conns, c, next)
	{
		char error[HEARTH_ZYGOTE_ERROR] = "";
		struct request r = {.m = m, .conn = c, .body = c->later};
		uint64_t id = c->id;
		int err;

		if (!r.body)
			continue;
		c->later = NULL;
		err = dispatch(&r, error);
		if (err)
			api_fail(m, id, err, error);
		json_decref(r.body);
	}
}

/* Descriptors come in the order in which `fds` names them. */
static int sort_fds(struct request *r, int *came, int n, char *error)
{
	static const char *const names[API_FDS] = {"cgroup", "stdin", "stdout", "stderr"};
	json_t *list = json_object_get(r->body, "fds"), *word;
	size_t i;

	json_array_foreach (list, i, word) {
		const char *name = json_string_value(word);

		for (int j = 0; name && (int)i < n && j < API_FDS; j++)
			if (!strcmp(names[j], name) && r->fds[j] < 0)
				r->fds[j] = steal_fd(&came[i]);
	}
	if ((size_t)n != json_array_size(list))
		goto wrong;
	for (int j = 0; j < n; j++)
		if (came[j] >= 0)
			goto wrong;
	return 0;
wrong:
	snprintf(error, HEARTH_ZYGOTE_ERROR,
		 "fds: accepted: a name (cgroup, stdin, stdout, stderr) for each descriptor sent");
	return -EINVAL;
}

void api_take(struct conn *c, const char *text, size_t size, int *came, int n)
{
	char error[HEARTH_ZYGOTE_ERROR] = "";
	json_error_t why;
	struct request r = {.m = c->manager, .conn = c, .fds = {-1, -1, -1, -1}};
	struct manager *m = c->manager;
	uint64_t id = c->id;
	uid_t uid = c->uid;
	int err;

	r.body = json_loadb(text, size, 0, &why);
	if (!json_is_object(r.body)) {
		snprintf(error, sizeof(error), "not a JSON object: %.160s", why.text);
		err = -EINVAL;
	} else {
		err = sort_fds(&r, came, n, error);
		if (!err)
			err = dispatch(&r, error);
	}
	closing_fds(m, uid, r.fds, API_FDS);
	json_decref(r.body);
	if (err)
		api_fail(m, id, err, error);
}
