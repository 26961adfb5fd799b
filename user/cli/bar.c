/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/bar.h"
#include "lib/clock.h"

#define CELLS        30
#define EVERY_NS     100000000u
#define FORECAST_MIN 0.05 /* of a stage, before its end can be guessed */

struct bar {
	FILE *out;
	const struct progress *progress;
	const char *stage; /* the one drawn last */
	uint64_t began_ns; /* it */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop;
	bool stopped;
};

/* One line, over the one before it. */
static void draw(struct bar *b)
{
	static const char full[] = "##############################";
	const char *stage = atomic_load(&b->progress->stage);
	double share = progress_share(b->progress), passed_s;
	int cells = CELLS * share;

	if (stage != b->stage)
		b->began_ns = now_ns();
	b->stage = stage;
	passed_s = ns_to_s(now_ns() - b->began_ns);
	fprintf(b->out, "\r\033[K%-10s [%.*s%*s] %3.0f%%", stage ? stage : "", cells, full,
		CELLS - cells, "", 100 * share);
	if (share >= FORECAST_MIN)
		fprintf(b->out, "  %.0f s left", passed_s * (1 - share) / share);
	fflush(b->out);
}

static void *redraw(void *arg)
{
	struct bar *b = arg;
	struct timespec due;

	pthread_mutex_lock(&b->lock);
	while (!b->stopped) {
		draw(b);
		clock_gettime(CLOCK_MONOTONIC, &due);
		due.tv_nsec += EVERY_NS;
		due.tv_sec += due.tv_nsec / 1000000000;
		due.tv_nsec %= 1000000000;
		while (!b->stopped && pthread_cond_timedwait(&b->stop, &b->lock, &due) != ETIMEDOUT)
			;
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

static int init(struct bar *b)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&b->stop, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&b->lock, NULL);
	draw(b);
	return pthread_create(&b->thread, NULL, redraw, b);
}

static void done(struct bar *b)
{
	fputs("\r\033[K", b->out);
	fflush(b->out);
	pthread_cond_destroy(&b->stop);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

struct bar *bar_start(struct cli *cli, const struct progress *p)
{
	const char *term = getenv("TERM");
	int fd = fileno(cli->err);
	struct bar *b;

	if (fd < 0 || !isatty(fd) || (term && !strcmp(term, "dumb")))
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->out = cli->err;
	b->progress = p;
	if (!init(b))
		return b;
	done(b);
	return NULL;
}

void bar_stop(struct bar *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->stopped = true;
	pthread_cond_signal(&b->stop);
	pthread_mutex_unlock(&b->lock);
	pthread_join(b->thread, NULL);
	done(b);
}
