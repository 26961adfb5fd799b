/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * /metrics and /healthz over TCP: read-only, from the snapshot alone, on the main
 * loop. Nothing that is asked here can change or block anything; an answer
 * is made at most once a second, however many ask.
 */
#ifndef HEARTH_METRICS_H
#define HEARTH_METRICS_H

#include <stddef.h>
#include <uv.h>

#include "agent/api.h"
#include "agent/config.h"

struct metrics;

/* Serve at an address. One line in err on failure. */
int metrics_open(uv_loop_t *loop, const struct config_endpoint *at, const struct api_ops *ops,
		 void *ctx, struct metrics **out, char *err, size_t err_size);

/* The loop must still run once more. NULL is fine. */
void metrics_close(struct metrics *m);

#endif
