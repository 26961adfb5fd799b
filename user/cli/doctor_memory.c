/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where reclaimed memory can go, and who else has an eye on it. */
#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "cli/format.h"
#include "lib/swap.h"
#include "lib/util.h"

#define FREE_MIN 0.2 /* default of [memory] swap_free_min; systemd-oomd kills at half of it */

static uint64_t ram_bytes(const struct doctor *d)
{
	char text[8192];
	uint64_t kb;

	if (doctor_read(d->procroot, "meminfo", text, sizeof(text)) < 0 ||
	    sscanf(text, "MemTotal: %" SCNu64, &kb) != 1)
		return 0;
	return kb * 1024;
}

static const char *kind_of(const struct swap_use *s)
{
	if (!s->disk_bytes)
		return "zram";
	return s->zrams ? "zram and disk" : "disk";
}

static void check_space(struct doctor *d, const struct swap_use *s)
{
	double total = (double)s->total_bytes, available = (double)s->free_bytes;
	char size[FORMAT_TEXT], left[FORMAT_TEXT];

	format_bytes(total, size);
	format_bytes(available, left);
	if (available < FREE_MIN * total)
		doctor_add(d, "swap", VERDICT_WARN,
			   "add some; until then only file pages are reclaimed ([memory] "
			   "swap_free_min)",
			   "%s of %s is free: nearly full", left, size);
	else
		doctor_add(d, "swap", VERDICT_OK, NULL, "%s on %s, %s free", size, kind_of(s),
			   left);
}

/* Memory behind a wake: a disk reads back hundreds of times slower than RAM. */
static void check_disk(struct doctor *d, const struct swap_use *s)
{
	if (s->disk_bytes && !s->zrams && !s->zswap)
		doctor_add(d, "swap disk", VERDICT_WARN,
			   "put RAM in front: zram (Debian: apt install zram-tools), or echo Y > "
			   "/sys/module/zswap/parameters/enabled",
			   "swap is on disk alone: a wake waits for its reads");
}

static void check_zram(struct doctor *d, const struct swap_use *s, uint64_t ram)
{
	char ratio[FORMAT_TEXT], size[FORMAT_TEXT];

	if (!s->zrams)
		return;
	format_bytes((double)(s->total_bytes - s->disk_bytes), size);
	if (!s->zram_limit_bytes && ram && s->total_bytes - s->disk_bytes > ram / 2)
		doctor_add(d, "zram", VERDICT_WARN,
			   "limit it to what may be lost: echo 25% of RAM in bytes > "
			   "/sys/block/zram0/mem_limit",
			   "%s without a limit: data that does not compress takes as much RAM",
			   size);
	else
		doctor_add(d, "zram", VERDICT_OK, NULL, "keeps %s of a swapped byte in RAM",
			   format_share(swap_ratio(s, true), ratio));
}

static void check_zswap(struct doctor *d, const struct swap_use *s)
{
	char ratio[FORMAT_TEXT], held[FORMAT_TEXT];

	if (!s->zswap)
		return;
	if (s->zrams)
		doctor_add(d, "zswap", VERDICT_WARN,
			   "choose one: echo N > /sys/module/zswap/parameters/enabled",
			   "zswap in front of zram: pages are compressed twice");
	else
		doctor_add(d, "zswap", VERDICT_OK, NULL,
			   "on, holds %s, keeps %s of a swapped byte in RAM",
			   format_bytes((double)s->zswap_orig_bytes, held),
			   format_share(swap_ratio(s, false), ratio));
}

static void check_swappiness(struct doctor *d)
{
	char text[16];

	if (doctor_read(d->procroot, "sys/vm/swappiness", text, sizeof(text)) < 0)
		return;
	if (atoi(text) == 0)
		doctor_add(d, "swappiness", VERDICT_WARN,
			   "sysctl vm.swappiness=60, or 100 and more with zram",
			   "0: reclaim leaves anonymous memory where it is");
	else
		doctor_add(d, "swappiness", VERDICT_OK, NULL, "%d", atoi(text));
}

static void check_swap(struct doctor *d)
{
	struct swap_use s;

	if (swap_read(d->procroot, d->sysroot, &s) < 0)
		return;
	if (!s.total_bytes) {
		doctor_add(d, "swap", VERDICT_WARN,
			   "add zram (Debian: apt install zram-tools) or a swap file",
			   "none: of frozen functions' memory only file pages can be reclaimed");
		return;
	}
	check_space(d, &s);
	check_disk(d, &s);
	check_zram(d, &s, ram_bytes(d));
	check_zswap(d, &s);
	check_swappiness(d);
}

/* Daemons that kill when swap fills up, whoever filled it. */
static const struct {
	const char *name;
	const char *todo;
} killers[] = {
    {"systemd-oomd", "keep [memory] swap_budget below its SwapUsedLimit=, see oomd.conf(5)"},
    {"earlyoom", "keep [memory] swap_budget below what its option -s leaves free"},
};

static void check_killer(struct doctor *d, const char *pid)
{
	char path[300], name[32];

	snprintf(path, sizeof(path), "%s/comm", pid);
	if (doctor_read(d->procroot, path, name, sizeof(name)) < 0)
		return;
	name[strcspn(name, "\n")] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(killers); i++)
		if (!strcmp(name, killers[i].name))
			doctor_add(d, "oom killer", VERDICT_WARN, killers[i].todo,
				   "%s watches: it kills when swap is nearly full",
				   killers[i].name);
}

static void check_killers(struct doctor *d)
{
	_cleanup_closedir_ DIR *dir = opendir(d->procroot);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (isdigit((unsigned char)e->d_name[0]))
			check_killer(d, e->d_name);
}

static void check_pressure(struct doctor *d)
{
	char text[512];

	if (doctor_read(d->procroot, "pressure/memory", text, sizeof(text)) < 0)
		doctor_add(d, "pressure", VERDICT_WARN, "boot with psi=1",
			   "no pressure stall information: memory shortage is not seen early");
	else
		doctor_add(d, "pressure", VERDICT_OK, NULL, "pressure stall information is there");
}

void doctor_memory(struct doctor *d)
{
	check_swap(d);
	check_killers(d);
	check_pressure(d);
}
