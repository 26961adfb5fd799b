/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What hearthd itself spends at a given rate of invocations, each of them an
 * idle-to-busy edge of one of the functions. Its hooks run in the servers' and
 * clients' time and are measured elsewhere (hooks.c).
 *
 *	load CGROUP FUNCTIONS PID RATE...	servers in CGROUP/fnN/1
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <time.h>

#include "common.h"
#include "lib/clock.h"

#define MAX_FUNCTIONS 256
#define SECONDS       10
#define SETTLE_NS     NSEC_PER_SEC /* for hearthd to register new instances */

static int connections[MAX_FUNCTIONS];
static int n_functions;

/* CPU time of all threads, in ns; ticks of 10 ms would be too coarse. */
static double cpu_ns(const char *pid)
{
	char path[PATH_MAX], text[128];
	_cleanup_closedir_ DIR *tasks = NULL;
	const struct dirent *e;
	double sum = 0;

	snprintf(path, sizeof(path), "/proc/%s/task", pid);
	tasks = opendir(path);
	if (!tasks)
		die("no process %s", pid);
	while ((e = readdir(tasks))) {
		uint64_t ns;

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/schedstat", e->d_name);
		if (read_file_at(dirfd(tasks), path, text, sizeof(text)) > 0 &&
		    sscanf(text, "%" SCNu64, &ns) == 1)
			sum += (double)ns;
	}
	return sum;
}

static void sleep_until(uint64_t due_ns)
{
	const struct timespec ts = {.tv_sec = (time_t)(due_ns / NSEC_PER_SEC),
				    .tv_nsec = (long)(due_ns % NSEC_PER_SEC)};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Requests at their due times, one function after the other; late ones at once. */
static uint64_t send_at(unsigned int rate, uint64_t end_ns)
{
	uint64_t start = now_ns(), sent = 0;

	while (rate > 0) {
		uint64_t due = start + sent * NSEC_PER_SEC / rate;

		if (due >= end_ns)
			break;
		if (due > now_ns())
			sleep_until(due);
		if (now_ns() >= end_ns)
			break;
		request(connections[sent++ % (uint64_t)n_functions]);
	}
	sleep_until(end_ns);
	return sent;
}

static uint64_t measure(const char *pid, unsigned int rate)
{
	uint64_t start = now_ns(), sent, wall;
	double cpu = cpu_ns(pid);
	char name[32];

	sent = send_at(rate, start + SECONDS * NSEC_PER_SEC);
	wall = now_ns() - start;
	cpu = cpu_ns(pid) - cpu;
	snprintf(name, sizeof(name), "%u", rate);
	emit("load", name,
	     (struct figure[]){{"rate", (double)sent * 1e9 / (double)wall},
			       {"cpu_percent", 100 * cpu / (double)wall},
			       {"cpu_us_per_invocation", sent ? cpu / (double)sent / 1e3 : 0}},
	     3);
	return sent;
}

/* hearthd learns of all the instances before the first of them runs anything. */
static void start_functions(void)
{
	static struct bench_cgroup function, instances[MAX_FUNCTIONS];
	char path[32];
	uint16_t port;

	for (int i = 0; i < n_functions; i++) {
		snprintf(path, sizeof(path), "fn%d", i);
		cgroup_make(path, &function);
		snprintf(path, sizeof(path), "fn%d/1", i);
		cgroup_make(path, &instances[i]);
	}
	sleep_until(now_ns() + SETTLE_NS);
	for (int i = 0; i < n_functions; i++) {
		start_servers(&instances[i], &port, 1);
		connections[i] = connect_local(port);
	}
}

int main(int argc, char **argv)
{
	uint64_t sent;

	n_functions = argc > 4 ? atoi(argv[2]) : 0;
	if (n_functions < 1 || n_functions > MAX_FUNCTIONS)
		die("usage: load CGROUP FUNCTIONS PID RATE... (at most %d functions)",
		    MAX_FUNCTIONS);
	cgroups_begin(argv[1]);
	start_functions();
	sent = 0;
	for (int i = 4; i < argc; i++)
		sent += measure(argv[3], (unsigned int)atoi(argv[i]));
	emit("load_sent", "all", &(struct figure){"requests", (double)sent}, 1);
	getchar(); /* hold the instances until the reader has compared the counts */
	return 0;
}
