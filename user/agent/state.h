/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What survives a restart: per function the idle-time histogram, counters, the
 * policy's own memory and what was set through the API. Plain data and one
 * file, replaced atomically. The invariant: a load gives exactly what a save
 * wrote, or nothing; a damaged file is set aside, never believed.
 */
#ifndef HEARTH_STATE_H
#define HEARTH_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/measure.h"
#include "hearth/population.h"

#define STATE_VERSION 1
#define STATE_FILE    "state.json"
#define STATE_NAME    128          /* as in struct naming_result */
#define STATE_BLOB    (64u * 1024) /* most bytes a policy may keep for one function */

struct state_function {
	char name[STATE_NAME];
	/* histogram; bins == NULL: none */
	uint64_t bin_ns;
	uint32_t nbins;
	uint32_t *bins;
	uint64_t s1, s2; /* always those of the bins: state_add and a load work them out */
	uint64_t oob;
	uint64_t unbinned;
	/* counters */
	uint64_t invocations, busy_spans, cold_starts, lukewarm_starts, freezes, wakes;
	double frozen_s;     /* instance-seconds frozen */
	double instance_s;   /* instance-seconds lived */
	double first_seen_s; /* Unix time */
	double last_seen_s;
	/* set through the API */
	char *policy; /* spec that overrides the config; NULL: none */
	bool pinned;
	struct hearth_gaps gaps; /* the minutes are kept; last_s becomes last_seen_s */
	struct measures measures;
	/* memory of the policy whose canonical spec is blob_spec; NULL: none */
	char *blob_spec;
	uint8_t *blob;
	uint32_t blob_bytes;
};

struct state {
	struct state_function *functions;
	size_t n;
	size_t room;
};

void state_function_done(struct state_function *f);
void state_done(struct state *s);

/* Append a deep copy. 0, -EINVAL (name, bins or blob beyond the limits) or -ENOMEM. */
int state_add(struct state *s, const struct state_function *f);

/* Move the function called name out of s. False if it is not there. */
bool state_take(struct state *s, const char *name, struct state_function *out);

/* Forget the functions unseen for longest until at most max are left; how many went. */
size_t state_trim(struct state *s, size_t max);

/* The file's text. 0 or -ENOMEM; the caller frees. */
int state_encode(const struct state *s, char **text, size_t *len);

/* 0, -ENOMEM or -EBADMSG with what is wrong in err. */
int state_decode(const char *text, size_t len, struct state *out, char *err, size_t err_size);

/*
 * Read path. 0 also when there is no file (out is empty then). -EBADMSG: the
 * file was damaged or of another version and is now PATH.damaged-TIME; other
 * -errno: it cannot be read. err then has one line to log, out is empty.
 */
int state_load(const char *path, struct state *out, char *err, size_t err_size);

struct state_writer;

typedef void (*state_saved_fn)(int rc, void *arg);

/* One writer per path. fn, on the main loop, hears of every save that ended. */
struct state_writer *state_writer_new(uv_loop_t *loop, const char *path, state_saved_fn fn,
				      void *arg);

/*
 * Encode and write on a worker thread; takes what is in s, and leaves it empty.
 * -EBUSY, with s untouched, while the last save is still running.
 */
int state_writer_save(struct state_writer *w, struct state *s);

/* Write before returning, for the way out: after a save that still runs. */
int state_writer_save_now(struct state_writer *w, const struct state *s);

/* When the loop has no more work of w: after its last run. */
void state_writer_free(struct state_writer *w);

#endif
