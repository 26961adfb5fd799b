/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "lib/util.h"
#include "sim/parallel.h"

#define THREADS_MAX 64

struct work {
	atomic_size_t next;
	size_t n;
	void (*f)(void *arg, size_t i);
	void *arg;
};

static void *work_thread(void *arg)
{
	struct work *w = arg;
	size_t i;

	while ((i = atomic_fetch_add(&w->next, 1)) < w->n)
		w->f(w->arg, i);
	return NULL;
}

void parallel(size_t n, unsigned int threads, void (*f)(void *arg, size_t i), void *arg)
{
	struct work w = {.n = n, .f = f, .arg = arg};
	pthread_t id[THREADS_MAX];
	size_t started = 0, want = threads;

	if (!want)
		want = MAX(1L, sysconf(_SC_NPROCESSORS_ONLN));
	want = MIN(MIN(want, n), (size_t)THREADS_MAX);
	while (started + 1 < want && !pthread_create(&id[started], NULL, work_thread, &w))
		started++;
	work_thread(&w);
	while (started)
		pthread_join(id[--started], NULL);
}
