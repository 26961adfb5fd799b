/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The API (docs/api.md): HTTP and JSON on a Unix socket, driven by the main
 * loop. It knows nothing of the engine but struct api_ops. Nothing here blocks:
 * no thread, no wait, bounded connections, bodies and streams.
 */
#ifndef HEARTH_API_H
#define HEARTH_API_H

#include <stddef.h>
#include <sys/types.h>
#include <uv.h>

#include "agent/journal.h"
#include "agent/snapshot.h"
#include "agent/spans.h"

/* Who asked for a change, as the kernel says. */
struct api_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

enum api_change {
	API_FREEZE,
	API_THAW,
	API_RECLAIM,
	API_EVICT,
	API_PREWARM,
	API_PIN,
	API_UNPIN,
	API_POLICY,
};

/* What an operation says to its caller: one sentence, no full stop. */
struct api_answer {
	char message[256]; /* what was done, or why not */
	char hint[160];    /* what to do next; "" = nothing to add */
};

typedef void (*api_function_fn)(const struct snapshot_function *f, void *arg);
typedef void (*api_status_fn)(const struct snapshot_status *s, void *arg);
typedef void (*api_images_fn)(const struct snapshot_images *s, void *arg);

/* What the API needs of the agent. All are called from the main loop. */
struct api_ops {
	/* Visit the function called name, or all if NULL, in order of their names; -ENOENT. */
	int (*functions)(void *ctx, const char *name, api_function_fn visit, void *arg);
	void (*status)(void *ctx, api_status_fn visit, void *arg);
	void (*images)(void *ctx, api_images_fn visit, void *arg);
	/*
	 * Do it now or refuse; spec belongs to API_POLICY, NULL = the configured
	 * policy. 0; -ENOENT no such function; -EINVAL bad spec; -EBUSY not now;
	 * other -errno: the host refused. The API journals who asked and the outcome.
	 */
	int (*change)(void *ctx, enum api_change change, const char *name, const char *spec,
		      const struct api_peer *peer, struct api_answer *answer);
};

struct api_params {
	const char *socket;
	const char *group; /* may use the socket besides root; no such group: root alone */
	const struct api_ops *ops;
	void *ctx;
	struct journal *journal; /* the API becomes the subscriber of both */
	struct spans *spans;
};

struct api;

/*
 * Listen on the socket and serve from loop. A stale socket file is replaced;
 * -EADDRINUSE if somebody answers on it. One line in err on failure.
 */
int api_open(uv_loop_t *loop, const struct api_params *params, struct api **out, char *err,
	     size_t err_size);

/* End streams, close connections, remove the socket. The loop must still run once more. */
void api_close(struct api *api);

#endif
