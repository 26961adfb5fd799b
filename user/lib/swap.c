/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * /proc/swaps has one line a swap: name type size used priority, sizes in kB;
 * the name escapes blanks. A zram swap is one whose block device has mm_stat.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "lib/swap.h"
#include "lib/util.h"

#define KB UINT64_C(1024)

/* Below this the pools' own pages, not the data, make the ratio. */
#define ENOUGH_BYTES (UINT64_C(8) << 20)

struct reader {
	const char *procroot;
	const char *sysroot;
	struct swap_use use;
	int best; /* priority of the best swap with room */
	bool any_best;
	bool unlimited; /* a zram without a limit */
};

static ssize_t read_below(const char *root, const char *path, char *buf, size_t size)
{
	char full[PATH_MAX];

	if ((size_t)snprintf(full, sizeof(full), "%s/%s", root, path) >= sizeof(full))
		return -ENAMETOOLONG;
	return read_file_at(AT_FDCWD, full, buf, size);
}

/* True if it is a zram, with what it stores added. */
static bool add_zram(struct reader *r, const char *device)
{
	uint64_t orig, compressed, ram, limit;
	const char *slash = strrchr(device, '/');
	char path[128], text[256];

	if (!slash || strncmp(slash, "/zram", 5) != 0)
		return false;
	snprintf(path, sizeof(path), "block/%.64s/mm_stat", slash + 1);
	if (read_below(r->sysroot, path, text, sizeof(text)) < 0 ||
	    sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &orig, &compressed, &ram,
		   &limit) != 4)
		return false;
	r->use.zrams++;
	r->use.zram_orig_bytes += orig;
	r->use.zram_compressed_bytes += compressed;
	r->use.zram_ram_bytes += ram;
	r->use.zram_limit_bytes += limit;
	r->unlimited |= limit == 0;
	return true;
}

static void add_swap(struct reader *r, const char *line)
{
	char name[PATH_MAX];
	uint64_t size, used;
	int priority;
	bool zram;

	_Static_assert(PATH_MAX == 4096, "the width below");
	if (sscanf(line, "%4095s %*s %" SCNu64 " %" SCNu64 " %d", name, &size, &used, &priority) !=
	    4)
		return;
	zram = add_zram(r, name);
	r->use.total_bytes += size * KB;
	r->use.free_bytes += (size - MIN(size, used)) * KB;
	if (!zram) {
		r->use.disk_bytes += size * KB;
		r->use.disk_used_bytes += used * KB;
	}
	if (used >= size || (r->any_best && priority <= r->best))
		return;
	r->any_best = true;
	r->best = priority;
	r->use.next_is_disk = !zram;
}

static int read_swaps(struct reader *r)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char path[PATH_MAX];
	size_t cap = 0;

	if ((size_t)snprintf(path, sizeof(path), "%s/swaps", r->procroot) >= sizeof(path))
		return -ENAMETOOLONG;
	f = fopen(path, "re");
	if (!f)
		return errno == ENOENT ? 0 : -errno; /* a kernel without swap */
	while (getline(&line, &cap, f) > 0)
		add_swap(r, line); /* the heading has no numbers */
	return ferror(f) ? -EIO : 0;
}

static uint64_t meminfo_kb(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	uint64_t kb = 0;

	return at && sscanf(at + strlen(name), "%" SCNu64, &kb) == 1 ? kb : 0;
}

static void read_zswap(struct reader *r)
{
	char text[8192] = "", on[8] = "";

	read_below(r->sysroot, "module/zswap/parameters/enabled", on, sizeof(on));
	r->use.zswap = *on == 'Y';
	if (read_below(r->procroot, "meminfo", text, sizeof(text)) < 0)
		return;
	r->use.zswap_ram_bytes = meminfo_kb(text, "\nZswap:") * KB;
	r->use.zswap_orig_bytes = meminfo_kb(text, "\nZswapped:") * KB;
}

int swap_read(const char *procroot, const char *sysroot, struct swap_use *out)
{
	struct reader r = {.procroot = procroot, .sysroot = sysroot};
	int rc = read_swaps(&r);

	if (rc < 0)
		return rc;
	read_zswap(&r);
	if (r.unlimited)
		r.use.zram_limit_bytes = 0;
	*out = r.use;
	return 0;
}

static double measured(uint64_t ram, uint64_t orig)
{
	return orig < ENOUGH_BYTES ? SWAP_RATIO_UNMEASURED : MIN((double)ram / (double)orig, 1.0);
}

double swap_ratio(const struct swap_use *s, bool below_zswap)
{
	if (s->zswap && !below_zswap)
		return measured(s->zswap_ram_bytes, s->zswap_orig_bytes);
	if (s->next_is_disk || !s->zrams)
		return 0;
	return measured(s->zram_ram_bytes, s->zram_orig_bytes);
}
