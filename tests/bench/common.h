/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the benchmarks share: order statistics, cgroups below one of the
 * benchmark's own, and a small blocking HTTP/1.1 server and client. A benchmark
 * that cannot do its work says why and exits; it never reports a figure it did
 * not measure.
 */
#ifndef HEARTH_BENCH_COMMON_H
#define HEARTH_BENCH_COMMON_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lib/util.h"

/* Print and exit with status 1, after removing the cgroups. */
void die(const char *fmt, ...) _printf_(1, 2) __attribute__((noreturn));

/* q in percent of n sorted-in-place values; 50 is the median. */
double quantile(double *values, size_t n, double q);

void pin_to_cpu(int cpu);

/* The benchmark's own folder of cgroups, removed at exit with all that runs in it. */
struct bench_cgroup {
	char path[128]; /* below the cgroup2 mount */
	int fd;
	uint64_t id;
};
int cgroups_begin(const char *path); /* made if missing; fd of the cgroup2 root */
void cgroups_base(struct bench_cgroup *out);
void cgroup_make(const char *path, struct bench_cgroup *out); /* path below the base */

/* Run fn(arg) in a new process inside the cgroup; it is killed at exit. */
pid_t run_in(const struct bench_cgroup *cg, void (*fn)(void *), void *arg);

void freeze_and_wait(const struct bench_cgroup *cg);
void thaw(const struct bench_cgroup *cg);

/*
 * Start n servers in the cgroup, each taking one connection after the other on
 * a loopback port. They make their listeners themselves (a socket belongs to
 * the cgroup of its maker) and descend from one process, the instance's entry
 * point. Returns its pid; with n == 1 it is the server.
 */
pid_t start_servers(const struct bench_cgroup *cg, uint16_t *ports, int n);
int listen_local(uint16_t *port);
int connect_local(uint16_t port);
void request(int fd); /* GET, and the whole answer read */

/* {"name":value,...} of doubles; one object per line on stdout. */
struct figure {
	const char *name;
	double value;
};
void emit(const char *bench, const char *variant, const struct figure *figures, size_t n);

#endif
