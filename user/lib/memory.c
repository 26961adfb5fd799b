/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Readers of "name number" lines: memory.stat counts bytes, smaps_rollup kB.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "lib/cgroup.h"
#include "lib/memory.h"
#include "lib/util.h"

#define KB UINT64_C(1024)

/* Add the numbers of the lines named here to a structure of uint64_t. */
struct line {
	const char *name;
	size_t offset;
};

#define LINE(text, member)                                                                         \
	{                                                                                          \
		text, offsetof(struct memory_use, member)                                          \
	}

static void add_lines(const char *text, const struct line *lines, size_t n, uint64_t unit,
		      void *out)
{
	for (const char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		for (size_t i = 0; i < n; i++) {
			size_t len = strlen(lines[i].name);
			uint64_t number;

			if (strncmp(at, lines[i].name, len) == 0 &&
			    sscanf(at + len, " %" SCNu64, &number) == 1)
				*(uint64_t *)((char *)out + lines[i].offset) += number * unit;
		}
	}
}

/* ---- with the controller */

/* A missing file means another thing than a missing cgroup. */
static int why_missing(int dirfd)
{
	return faccessat(dirfd, "cgroup.procs", F_OK, 0) ? -ENOENT : -EOPNOTSUPP;
}

static int read_number(int dirfd, const char *file, uint64_t *value)
{
	char buf[32];
	ssize_t n = read_file_at(dirfd, file, buf, sizeof(buf));

	if (n == -ENOENT || n == -ENODEV)
		return why_missing(dirfd);
	if (n < 0)
		return (int)n;
	return sscanf(buf, "%" SCNu64, value) == 1 ? 0 : -EPROTO;
}

int memory_current(int dirfd, uint64_t *bytes)
{
	return read_number(dirfd, "memory.current", bytes);
}

int memory_swapped(int dirfd, uint64_t *bytes)
{
	int rc = read_number(dirfd, "memory.swap.current", bytes);
	uint64_t unused;

	if (rc != -EOPNOTSUPP)
		return rc;
	rc = memory_current(dirfd, &unused);
	if (rc == 0)
		*bytes = 0;
	return rc;
}

int memory_of_cgroup(int dirfd, struct memory_use *out)
{
	static const struct line lines[] = {
	    LINE("anon ", anon_bytes),         LINE("file ", file_bytes),
	    LINE("kernel ", kernel_bytes),     LINE("zswap ", zswap_bytes),
	    LINE("zswapped ", zswapped_bytes),
	};
	struct memory_use use = {.accounted = true};
	char text[16384];
	ssize_t n;
	int rc = memory_current(dirfd, &use.current_bytes);

	if (rc == 0)
		rc = memory_swapped(dirfd, &use.swap_bytes);
	if (rc < 0)
		return rc;
	n = read_file_at(dirfd, "memory.stat", text, sizeof(text));
	if (n < 0)
		return n == -ENODEV ? -ENOENT : (int)n;
	add_lines(text, lines, ARRAY_SIZE(lines), 1, &use);
	*out = use;
	return 0;
}

/* ---- without it */

static int add_process(pid_t pid, void *arg)
{
	static const struct line lines[] = {
	    LINE("Pss_Anon:", anon_bytes),
	    LINE("Pss_File:", file_bytes),
	    LINE("Pss_Shmem:", file_bytes),
	    LINE("SwapPss:", swap_bytes),
	};
	char path[64], text[4096];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	if (read_file_at(AT_FDCWD, path, text, sizeof(text)) >= 0)
		add_lines(text, lines, ARRAY_SIZE(lines), KB, arg);
	return 0;
}

static int add_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	int rc = cgroup_procs(fd, add_process, arg);

	(void)id;
	if (rc == -ENOENT)
		return *path ? 0 : rc;
	return rc == -EOPNOTSUPP ? 0 : rc; /* threaded: its domain lists the processes */
}

int memory_of_processes(int dirfd, struct memory_use *out)
{
	struct memory_use use = {0};
	int rc = cgroup_walk(dirfd, "", add_cgroup, &use);

	if (rc < 0)
		return rc;
	use.current_bytes = memory_resident(&use);
	*out = use;
	return 0;
}

int memory_shared_by_fork(pid_t pid, uint64_t *bytes)
{
	struct shared {
		uint64_t anon, anon_part, swap, swap_part;
	} found = {0};
	static const struct line lines[] = {
	    {"Anonymous:", offsetof(struct shared, anon)},
	    {"Pss_Anon:", offsetof(struct shared, anon_part)},
	    {"Swap:", offsetof(struct shared, swap)},
	    {"SwapPss:", offsetof(struct shared, swap_part)},
	};
	char path[64], text[4096];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	n = read_file_at(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	add_lines(text, lines, ARRAY_SIZE(lines), KB, &found);
	*bytes = found.anon - MIN(found.anon, found.anon_part) + found.swap -
		 MIN(found.swap, found.swap_part);
	return 0;
}

struct glance {
	uint64_t resident_kb, swap_kb;
};

static int glance_at_process(pid_t pid, void *arg)
{
	static const struct {
		const char *name;
		size_t offset;
	} lines[] = {{"VmRSS:", offsetof(struct glance, resident_kb)},
		     {"VmSwap:", offsetof(struct glance, swap_kb)}};
	char path[64], text[4096];
	uint64_t kb;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (read_file_at(AT_FDCWD, path, text, sizeof(text)) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const char *at = strstr(text, lines[i].name);

		if (at && sscanf(at + strlen(lines[i].name), " %" SCNu64, &kb) == 1)
			*(uint64_t *)((char *)arg + lines[i].offset) += kb;
	}
	return 0;
}

static int glance_at_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	int rc = cgroup_procs(fd, glance_at_process, arg);

	(void)id;
	if (rc == -ENOENT)
		return *path ? 0 : rc;
	return rc == -EOPNOTSUPP ? 0 : rc;
}

int memory_glance(int dirfd, uint64_t *resident_bytes, uint64_t *swap_bytes)
{
	struct glance g = {0};
	uint64_t current, swapped;
	int rc = memory_current(dirfd, &current);

	if (rc == 0)
		rc = memory_swapped(dirfd, &swapped);
	if (rc == -EOPNOTSUPP) {
		rc = cgroup_walk(dirfd, "", glance_at_cgroup, &g);
		current = g.resident_kb * KB;
		swapped = g.swap_kb * KB;
	}
	if (rc < 0)
		return rc;
	*resident_bytes = current;
	*swap_bytes = swapped;
	return 0;
}

int memory_read(int dirfd, struct memory_use *out)
{
	int rc = memory_of_cgroup(dirfd, out);

	return rc == -EOPNOTSUPP ? memory_of_processes(dirfd, out) : rc;
}

uint64_t memory_total(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t memory_kept(const struct memory_use *m, const struct swap_use *swap)
{
	uint64_t rest = m->swap_bytes - MIN(m->swap_bytes, m->zswapped_bytes);

	return m->zswap_bytes + (uint64_t)((double)rest * swap_ratio(swap, m->accounted));
}

uint64_t memory_cost(const struct memory_use *m, const struct swap_use *swap)
{
	return m->current_bytes - MIN(m->current_bytes, m->zswap_bytes) + memory_kept(m, swap);
}
