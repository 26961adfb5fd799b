/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/util.h"
#include "sim/images.h"
#include "trace/draw.h"
#include "trace/lines.h"
#include "trace/units.h"

#define COST_MAX  1e9
#define LEAST     1e-3 /* of what is divided by, here and in rankers */
#define WORTH_MAX 1000 /* as long as that is for ever in a trace */

/*
 * A scikit-learn service in Python on kernel 6.18: ten functions take 900 MB each for
 * itself, 124 MB with a resident image, 40 MB with one that is paged out. Forks take
 * 0.3 to 3 ms and 6 to 12 ms from a paged-out image; loading takes 119 times the former.
 */
const struct image_costs images_costs = {.alone_mb = 90,
					 .private_mb = 3.4,
					 .image_mb = 90,
					 .paged_mb = 6,
					 .cold_s = 0.357,
					 .fork_s = 0.003,
					 .paged_fork_s = 0.009,
					 .page_after_s = 60,
					 .seed = 1};

static const struct cost_key {
	const char *name;
	size_t at;
	double unit;
	double least;
} cost_keys[] = {
    {"alone", offsetof(struct image_costs, alone_mb), 1, LEAST},
    {"private", offsetof(struct image_costs, private_mb), 1, LEAST},
    {"image", offsetof(struct image_costs, image_mb), 1, LEAST},
    {"paged", offsetof(struct image_costs, paged_mb), 1, LEAST},
    {"cold", offsetof(struct image_costs, cold_s), 1e-3},
    {"fork", offsetof(struct image_costs, fork_s), 1e-3},
    {"paged-fork", offsetof(struct image_costs, paged_fork_s), 1e-3},
    {"page-after", offsetof(struct image_costs, page_after_s), 1},
    {"seed", offsetof(struct image_costs, seed), 1},
};

static const struct cost_key *cost_key(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(cost_keys); i++)
		if (strlen(cost_keys[i].name) == len && !memcmp(cost_keys[i].name, name, len))
			return &cost_keys[i];
	return NULL;
}

int images_costs_parse(const char *text, struct image_costs *costs, char *err, size_t err_size)
{
	const char *p = text;

	for (;;) {
		size_t len = strcspn(p, "=,");
		const struct cost_key *key = cost_key(p, len);
		const char *number = p + len + 1;
		char *end = NULL;
		double v = 0;

		if (key && p[len] == '=')
			v = strtod(number, &end);
		if (!end || end == number || (*end && *end != ',') ||
		    !(v >= key->least && v <= COST_MAX)) {
			snprintf(
			    err, err_size,
			    "\"%s\"; accepted: alone, private, image, paged (MB, above 0), cold, "
			    "fork, paged-fork (ms), page-after (s), seed, each =NUMBER, with "
			    "commas between",
			    text);
			return -EINVAL;
		}
		*(double *)((char *)costs + key->at) = v * key->unit;
		if (!*end)
			return 0;
		p = end + 1;
	}
}

double images_worth_s(const struct image_costs *c, double cold_cost_s, bool image)
{
	double mem_mb = image ? c->paged_mb : c->private_mb;
	double saved_s = image ? c->cold_s - c->paged_fork_s : c->paged_fork_s;

	double factor = c->alone_mb / mem_mb * saved_s / fmax(c->cold_s, LEAST);

	return cold_cost_s * fmax(LEAST, fmin(factor, WORTH_MAX));
}

struct images {
	size_t n;
	/* At random: */
	uint64_t seed;
	double weights; /* sum */
	/* From a file: */
	struct names *functions, *images;
	uint32_t *of; /* by function */
};

struct images *images_draw(size_t n, uint64_t seed)
{
	struct images *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->n = n;
	m->seed = seed;
	for (size_t k = 1; k <= n; k++)
		m->weights += 1.0 / k;
	return m;
}

void images_free(struct images *m)
{
	if (!m)
		return;
	names_free(m->functions);
	names_free(m->images);
	free(m->of);
	free(m);
}

size_t images_count(const struct images *m)
{
	return m->n;
}

static long drawn(const struct images *m, const char *function)
{
	struct draw d = {.state = m->seed};
	double left;
	size_t k = 1;

	for (const char *c = function; *c; c++) {
		d.state ^= (unsigned char)*c;
		draw_bits(&d);
		d.state *= 0x100000001b3; /* FNV */
	}
	left = draw_unit(&d) * m->weights;
	while (k < m->n && (left -= 1.0 / k) > 0)
		k++;
	return k - 1;
}

long images_of(const struct images *m, const char *function)
{
	int64_t f;

	if (!m->functions)
		return drawn(m, function);
	f = names_find(m->functions, function, strlen(function), NULL, 0);
	return f < 0 ? -1 : (long)m->of[f];
}

static int read_row(struct images *m, struct lines *l, struct cursor *row)
{
	struct field f, image;
	uint32_t known = names_count(m->functions);
	int64_t i, k;
	uint32_t *grown;

	if (!cursor_next(row, &f) || !cursor_next(row, &image) || !f.len || !image.len ||
	    cursor_next(row, &(struct field){0}))
		return lines_error(l, 1, "accepted: FUNCTION,IMAGE");
	i = names_add(m->functions, f.s, f.len, NULL, 0);
	k = names_add(m->images, image.s, image.len, NULL, 0);
	if (i < 0 || k < 0)
		return lines_error(l, 1, "%s", strerror(i < 0 ? -i : -k));
	if (i < known)
		return lines_error(l, f.col, "%.*s is there already: a function has one image",
				   lines_show(&f), f.s);
	grown = realloc(m->of, (i + 1) * sizeof(*grown));
	if (!grown)
		return lines_error(l, 1, "out of memory");
	m->of = grown;
	m->of[i] = k;
	return 0;
}

static int read_rows(struct images *m, struct lines *l)
{
	struct field a = {0}, b = {0};
	struct cursor row;
	int rc = lines_next(l, &row);

	if (rc < 0)
		return rc;
	if (!rc || !cursor_next(&row, &a) || !cursor_next(&row, &b) || !lines_is(&a, "function") ||
	    !lines_is(&b, "image"))
		return lines_error(l, 1, "accepted: a first line function,image");
	while ((rc = lines_next(l, &row)) > 0) {
		rc = read_row(m, l, &row);
		if (rc)
			return rc;
	}
	return rc;
}

int images_read(const char *path, struct images **out, char *err, size_t err_size)
{
	struct images *m = calloc(1, sizeof(*m));
	struct lines *l = NULL;
	int rc = -ENOMEM;

	if (m) {
		m->functions = names_new();
		m->images = names_new();
	}
	if (!m || !m->functions || !m->images)
		snprintf(err, err_size, "out of memory");
	else
		rc = lines_open(path, &l, err, err_size);
	if (!rc) {
		rc = read_rows(m, l);
		lines_close(l);
	}
	if (rc) {
		images_free(m);
		return rc;
	}
	m->n = names_count(m->images);
	*out = m;
	return 0;
}
