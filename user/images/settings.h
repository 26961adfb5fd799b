/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What images there are: an INI file with one [manager] section and an
 * [image NAME] each, plain data once loaded; an image asked for through the API has
 * the same keys. Unknown sections and keys are errors, and so are two images in the
 * file of the same owner with the same dependencies.
 */
#ifndef HEARTH_IMAGES_SETTINGS_H
#define HEARTH_IMAGES_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define IMAGE_NAME_MAX 40  /* libinih cuts a section at 49 */
#define SETTINGS_ERROR 512 /* bytes of a text that says what is wrong */

struct runtime;

struct image_settings {
	char name[IMAGE_NAME_MAX + 1];
	unsigned int given; /* bit per key of the table in settings_image.c */
	char *owner;        /* as written; uid and gid are what it means */
	uid_t uid;
	gid_t gid;
	const struct runtime *runtime;
	char *interpreter;
	char *modules; /* as written, may come in several lines; module[] sorted, without doubles,
			  ends with NULL */
	char **module;
	char *lock; /* as pip_lock_parse() makes it, "" for none */
	char *path; /* where the runtime looks for modules, "" for its own places alone */
	char *policy;
	uint64_t build_timeout_ns;
	uint64_t memory_bytes; /* while it is built, and of the image's cgroup */
	uint64_t freeze_after_ns;
	uint64_t spares;        /* kept ready; 1 or more where that is all there is */
	uint64_t spares_for_ns; /* after a use */
	bool at_start;          /* built with the manager's start, not by use */
	char *key;              /* owner, runtime and dependencies: what two images never share */
	char *request;          /* through the API, as JSON; NULL: it is in the file */
};

struct settings {
	char *file;
	char *socket;
	char *cgroup; /* path below the cgroup2 root */
	char *run_dir;
	char *bootstrap, *node_bootstrap;
	char *library;
	char *state;              /* file of the images that were declared through the API */
	uint64_t budget_bytes;    /* of memory for all images; 0: no limit */
	uint64_t owner_processes; /* of all that is started for one owner; 0: no limit */
	/* of images that are declared through the API */
	uint64_t declare_max; /* of one owner */
	uint64_t declare_memory_bytes;
	uint64_t declare_timeout_ns;
	uint64_t declare_spares; /* of one image */
	struct image_settings **images;
	size_t n_images;
};

/* 0, or -errno with "FILE:LINE: what is wrong; accepted: ..." in err. */
int settings_load(const char *file, struct settings **out, char *err, size_t err_size);
void settings_free(struct settings *s);

/* Do all keys of [manager] that name a place say the same? */
bool settings_same_places(const struct settings *a, const struct settings *b);
/* Those that are numbers, from another. */
void settings_take_limits(struct settings *s, const struct settings *from);

/* One with the defaults; NULL without memory. */
struct image_settings *image_settings_new(const char *name);
void image_settings_free(struct image_settings *image);

/* What is written for a key. 0, or -errno with what is wrong in err. */
int image_settings_set(struct image_settings *image, const char *key, const char *value, char *err);
/* The lock as a text; the key `lock` names a file. */
int image_settings_lock(struct image_settings *image, const char *text, char *err);
/* Nothing more comes: is all there that must be? The key is made. */
int image_settings_finish(struct image_settings *image, char *err);
/* Is there nothing to change? Both are finished. */
bool image_settings_same(const struct image_settings *a, const struct image_settings *b);

/* May it be the name of an image, a function, and so of a cgroup? */
bool settings_good_name(const char *name);
#define SETTINGS_NAME_ACCEPTED "1 to 40 letters, digits, '.', '_', '-', not a '.' in front"

#endif
