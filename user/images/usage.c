/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory saved = the sum, over the image and its living children, of the anonymous
 * memory (in swap too) that each has mapped beyond its proportional part of it. A
 * page that k children share with their image counts k times: without the image
 * each would have had one of its own. Pages of files are left out, cold starts share
 * them as well. Of many children some are measured and stand for the others.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "images/api.h"
#include "images/image.h"
#include "images/instance.h"
#include "images/usage.h"
#include "lib/clock.h"
#include "lib/memory.h"
#include "lib/util.h"

#define SAMPLE          16 /* children measured of an image: milliseconds for 100 MB each */
#define AGE_NS          (2 * NSEC_PER_SEC)
#define REST_PER_EFFORT 50 /* measuring takes 2% of one CPU at most */

struct usage_function {
	char name[IMAGE_NAME_MAX + 1];
	struct usage_function *prev, *next;
};

void usage_done(struct usage *usage)
{
	struct usage_function *f, *next;

	DL_FOREACH_SAFE(usage->functions, f, next)
	{
		free(f);
	}
	usage->functions = NULL;
}

static struct usage_function *take(struct usage *usage, const char *name)
{
	struct usage_function *f;

	DL_FOREACH (usage->functions, f) {
		if (!strcmp(f->name, name))
			break;
	}
	if (!f && usage->n == USAGE_FUNCTIONS)
		f = usage->functions->prev; /* of the first is the last */
	if (f) {
		DL_DELETE(usage->functions, f);
		return f;
	}
	f = calloc(1, sizeof(*f));
	usage->n += f != NULL;
	return f;
}

void usage_note(struct usage *usage, const char *function)
{
	struct usage_function *f = take(usage, function);

	if (!f)
		return;
	strncpy(f->name, function, sizeof(f->name) - 1);
	DL_PREPEND(usage->functions, f);
}

void usage_add_fields(const struct image *image, json_t *object)
{
	const struct usage *usage = &image->usage;
	json_t *names = json_array();
	struct usage_function *f;

	DL_FOREACH (usage->functions, f) {
		if (json_array_size(names) == USAGE_SHOWN)
			break;
		json_array_append_new(names, json_string(f->name));
	}
	json_object_set_new(object, "users", json_integer((json_int_t)usage->n));
	json_object_set_new(object, "functions", names);
	json_object_set_new(object, "hits",
			    json_integer((json_int_t)(image->forks + image->claims)));
	json_object_set_new(object, "bytes_saved",
			    json_integer(image->children ? (json_int_t)usage->saved_bytes : 0));
	json_object_set_new(object, "seconds_saved", json_real(ns_to_s(usage->saved_ns)));
}

/* ---- memory, on a worker */

struct measured_image {
	char name[IMAGE_NAME_MAX + 1];
	pid_t image, child[SAMPLE];
	size_t n_children, n_sampled;
	uint64_t saved_bytes;
};

struct usage_job {
	uv_work_t work;
	struct manager *manager;
	uint64_t begun_ns;
	size_t n;
	struct measured_image images[];
};

static void measure(struct measured_image *x)
{
	uint64_t bytes, children_bytes = 0;
	size_t n = 0;

	for (size_t i = 0; i < x->n_sampled; i++) {
		if (memory_shared_by_fork(x->child[i], &bytes))
			continue;
		children_bytes += bytes;
		n++;
	}
	x->saved_bytes = memory_shared_by_fork(x->image, &bytes) == 0 ? bytes : 0;
	if (n)
		x->saved_bytes += (uint64_t)((double)children_bytes * x->n_children / n);
}

static void on_worker(uv_work_t *work)
{
	struct usage_job *job = container_of(work, struct usage_job, work);

	for (size_t i = 0; i < job->n; i++)
		measure(&job->images[i]);
}

static void on_done(uv_work_t *work, int status)
{
	struct usage_job *job = container_of(work, struct usage_job, work);
	struct manager *m = job->manager;
	uint64_t now = now_ns();

	m->usage_job = NULL;
	m->measure_after_ns = now + MAX(AGE_NS, REST_PER_EFFORT * (now - job->begun_ns));
	for (size_t i = 0; i < job->n && !status; i++) {
		struct image *image = manager_find(m, job->images[i].name);

		if (image)
			image->usage.saved_bytes = job->images[i].saved_bytes;
	}
	free(job);
	api_measured(m);
}

/* ---- on the loop */

static void take_sample(struct measured_image *x, const struct image *image)
{
	strcpy(x->name, image->settings->name);
	x->image = image->pid;
	x->n_children = image->children;
	x->n_sampled = instance_children(image, x->child, SAMPLE);
}

static bool has_children(const struct image *image)
{
	return image->pid && image->children && !image->retired;
}

static struct usage_job *job_for(struct manager *m)
{
	struct usage_job *job;
	struct image *image;
	size_t n = 0;

	DL_FOREACH (m->images, image) {
		n += has_children(image);
	}
	job = n ? calloc(1, sizeof(*job) + n * sizeof(*job->images)) : NULL;
	if (!job)
		return NULL;
	job->manager = m;
	job->begun_ns = now_ns();
	DL_FOREACH (m->images, image) {
		if (has_children(image))
			take_sample(&job->images[job->n++], image);
	}
	return job;
}

bool usage_measure(struct manager *m)
{
	struct usage_job *job;

	if (m->usage_job)
		return true;
	if (now_ns() < m->measure_after_ns || !(job = job_for(m)))
		return false;
	if (uv_queue_work(&m->loop, &job->work, on_worker, on_done)) {
		free(job);
		return false;
	}
	m->usage_job = job;
	return true;
}
