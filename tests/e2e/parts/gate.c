/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The gate that tests hold handlers with. Permits are counted, so a release
 * that comes before the handler arrives is not lost.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

#include "gate.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static int permits;

void gate_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	flockfile(stdout);
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
	funlockfile(stdout);
	va_end(ap);
}

void gate_wait(const char *label)
{
	gate_say("held %s", label);
	pthread_mutex_lock(&lock);
	while (permits == 0)
		pthread_cond_wait(&opened, &lock);
	permits--;
	pthread_mutex_unlock(&lock);
}

void gate_release(int n)
{
	pthread_mutex_lock(&lock);
	permits += n;
	pthread_cond_broadcast(&opened);
	pthread_mutex_unlock(&lock);
}
