/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "lib/util.h"
#include "trace/units.h"

#define NAME_KEY 512 /* longest "app/function" with its end: readers accept 250 bytes each */

struct name {
	UT_hash_handle hh;
	uint32_t id;
	char text[];
};

struct names {
	struct name *hash;
	struct name **by_id;
	size_t n, cap;
};

struct names *names_new(void)
{
	return calloc(1, sizeof(struct names));
}

void names_free(struct names *n)
{
	if (!n)
		return;
	HASH_CLEAR(hh, n->hash);
	for (size_t i = 0; i < n->n; i++)
		free(n->by_id[i]);
	free(n->by_id);
	free(n);
}

uint32_t names_count(const struct names *n)
{
	return n->n;
}

const char *names_get(const struct names *n, uint32_t i)
{
	return n->by_id[i]->text;
}

/* "a/b", or "a" if b is NULL, into key: its length, or -ENAMETOOLONG. */
static int64_t make_key(char key[NAME_KEY], const char *a, size_t a_len, const char *b,
			size_t b_len)
{
	size_t len = a_len + (b ? b_len + 1 : 0);

	if (len >= NAME_KEY)
		return -ENAMETOOLONG;
	memcpy(key, a, a_len);
	if (b) {
		key[a_len] = '/';
		memcpy(key + a_len + 1, b, b_len);
	}
	return len;
}

int64_t names_find(const struct names *n, const char *a, size_t a_len, const char *b, size_t b_len)
{
	char key[NAME_KEY];
	int64_t len = make_key(key, a, a_len, b, b_len);
	struct name *found;

	if (len < 0)
		return len;
	HASH_FIND(hh, n->hash, key, len, found);
	return found ? (int64_t)found->id : -ENOENT;
}

static int64_t name_new(struct names *n, const char *key, size_t len)
{
	struct name *m = calloc(1, sizeof(*m) + len + 1);

	if (m && n->n == n->cap) {
		size_t cap = n->cap * 2 + 64;
		void *grown = realloc(n->by_id, cap * sizeof(*n->by_id));

		if (grown) {
			n->by_id = grown;
			n->cap = cap;
		}
	}
	if (!m || n->n == n->cap) {
		free(m);
		return -ENOMEM;
	}
	memcpy(m->text, key, len);
	m->id = n->n;
	HASH_ADD_KEYPTR(hh, n->hash, m->text, len, m);
	n->by_id[n->n++] = m;
	return m->id;
}

int64_t names_add(struct names *n, const char *a, size_t a_len, const char *b, size_t b_len)
{
	char key[NAME_KEY];
	int64_t len = make_key(key, a, a_len, b, b_len);
	struct name *found;

	if (len < 0)
		return len;
	HASH_FIND(hh, n->hash, key, len, found);
	if (found)
		return found->id;
	return n->n < UNITS_MAX ? name_new(n, key, len) : -E2BIG;
}

/* Room for index i in a zero-filled array of `size`-byte elements. */
static int reserve(void **array, size_t *cap, size_t i, size_t size)
{
	size_t want = i + 1 + i / 2;
	void *grown;

	if (i < *cap)
		return 0;
	grown = realloc(*array, want * size);
	if (!grown)
		return -ENOMEM;
	memset((char *)grown + *cap * size, 0, (want - *cap) * size);
	*array = grown;
	*cap = want;
	return 0;
}

int units_init(struct units *u, enum trace_by by)
{
	*u = (struct units){.by = by, .app_names = names_new(), .function_names = names_new()};
	return u->app_names && u->function_names ? 0 : -ENOMEM;
}

void units_done(struct units *u)
{
	names_free(u->app_names);
	names_free(u->function_names);
	free(u->apps);
	free(u->functions);
	free(u->list);
}

uint32_t units_of(const struct units *u, uint32_t function)
{
	return u->by == TRACE_BY_APP ? u->functions[function].app : function;
}

/* Register a function that names_add just made. */
static int function_new(struct units *u, uint32_t f, uint32_t app)
{
	uint32_t id = u->by == TRACE_BY_APP ? app : f;
	struct trace_unit *unit;
	int rc;

	rc = reserve((void **)&u->functions, &u->functions_cap, f, sizeof(*u->functions));
	if (!rc)
		rc = reserve((void **)&u->apps, &u->apps_cap, app, sizeof(*u->apps));
	if (!rc)
		rc = reserve((void **)&u->list, &u->list_cap, id, sizeof(*u->list));
	if (rc)
		return rc;
	u->functions[f].app = app;
	u->apps[app].functions++;
	unit = &u->list[id];
	if (!unit->functions++) {
		unit->name = u->by == TRACE_BY_APP ? names_get(u->app_names, app)
						   : names_get(u->function_names, f);
		unit->mem_mb = TRACE_MEM_MB;
		u->n = MAX(u->n, (size_t)id + 1);
	}
	return 0;
}

int64_t units_function(struct units *u, const char *app, size_t app_len, const char *function,
		       size_t function_len)
{
	uint32_t known = names_count(u->function_names);
	int64_t a, f;
	int rc;

	f = names_add(u->function_names, app, app_len, function, function_len);
	if (f < known)
		return f;
	a = names_add(u->app_names, app, app_len, NULL, 0);
	if (a < 0)
		return a;
	rc = function_new(u, f, a);
	return rc ? rc : f;
}

void units_settle(struct units *u)
{
	for (uint32_t f = 0; f < names_count(u->function_names); f++) {
		struct unit_function *fn = &u->functions[f];
		struct unit_app *app = &u->apps[fn->app];
		struct trace_unit *unit = &u->list[units_of(u, f)];
		double mem = app->mem_mb;

		if (u->by == TRACE_BY_FUNCTION)
			mem = fn->mem_mb > 0 ? fn->mem_mb : mem / app->functions;
		unit->mem_known = mem > 0;
		unit->mem_mb = mem > 0 ? mem : TRACE_MEM_MB;
	}
}
