/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What doctor says of hosts that are not this one: made-up /proc and /sys folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "cli/doctor.h"
#include "lib/util.h"

struct host {
	char folder[64];
	char procroot[80];
	char sysroot[80];
	struct doctor doctor;
};

static int set_up(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	strcpy(h->folder, "/tmp/hearth-doctor-XXXXXX");
	assert_non_null(mkdtemp(h->folder));
	snprintf(h->procroot, sizeof(h->procroot), "%s/proc", h->folder);
	snprintf(h->sysroot, sizeof(h->sysroot), "%s/sys", h->folder);
	h->doctor.procroot = h->procroot;
	h->doctor.sysroot = h->sysroot;
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct host *h = *state;
	_cleanup_free_ char *command = NULL;

	assert_true(asprintf(&command, "rm -r '%s'", h->folder) > 0);
	assert_int_equal(system(command), 0);
	free(h);
	return 0;
}

/* A file below the folder, with its folders. */
static void put(struct host *h, const char *path, const char *text)
{
	_cleanup_free_ char *full = NULL;
	FILE *f;

	assert_true(asprintf(&full, "%s/%s", h->folder, path) > 0);
	for (char *slash = full + strlen(h->folder) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The finding of that name must be there, with this verdict and text, and advice unless ok. */
static void expect(const struct host *h, const char *name, enum verdict verdict, const char *text)
{
	for (size_t i = 0; i < h->doctor.n; i++) {
		const struct finding *f = &h->doctor.findings[i];

		if (strcmp(f->name, name) || !strstr(f->text, text))
			continue;
		assert_int_equal(f->verdict, verdict);
		assert_int_equal(!*f->todo, verdict == VERDICT_OK);
		return;
	}
	fail_msg("no finding '%s' with '%s'", name, text);
}

static void a_locked_down_kernel_fails(void **state)
{
	struct host *h = *state;

	put(h, "sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
	put(h, "proc/sys/net/core/bpf_jit_enable", "0\n");
	doctor_kernel(&h->doctor);
	expect(h, "lockdown", VERDICT_FAIL, "confidentiality");
	expect(h, "bpf jit", VERDICT_WARN, "off");
}

static void a_kernel_without_btf_fails(void **state)
{
	struct host *h = *state;

	doctor_hooks(&h->doctor);
	expect(h, "btf", VERDICT_FAIL, "/sys/kernel/btf/vmlinux");
}

static void a_host_without_cgroup2_fails(void **state)
{
	struct host *h = *state;

	put(h, "proc/self/mountinfo", "25 1 0:22 / /proc rw - proc proc rw\n");
	doctor_cgroups(&h->doctor);
	expect(h, "cgroup2", VERDICT_FAIL, "no cgroup2 mount");
}

static void a_bare_cgroup2_mount_lacks_the_memory_controller(void **state)
{
	struct host *h = *state;
	char line[256];

	put(h, "cg/cgroup.controllers", "cpu hugetlb memory_other\n");
	put(h, "cg/child/cgroup.freeze", "0\n");
	snprintf(line, sizeof(line), "30 1 0:26 / %s/cg rw - cgroup2 none rw\n", h->folder);
	put(h, "proc/self/mountinfo", line);
	doctor_cgroups(&h->doctor);
	expect(h, "cgroup2", VERDICT_OK, "/cg");
	expect(h, "controllers", VERDICT_WARN, "no memory controller");
	expect(h, "freezer", VERDICT_OK, "cgroup.kill is missing");
}

static void missing_bpffs_fails_and_no_real_time_warns(void **state)
{
	struct host *h = *state;

	put(h, "sys/fs/bpf/file", "");
	put(h, "proc/sys/kernel/sched_rt_runtime_us", "0\n");
	doctor_privileges(&h->doctor);
	expect(h, "bpffs", VERDICT_FAIL, "not mounted");
	expect(h, "real-time", VERDICT_WARN, "SCHED_FIFO is off");
}

#define SWAPS "Filename Type Size Used Priority\n"

static bool found(const struct host *h, const char *name)
{
	for (size_t i = 0; i < h->doctor.n; i++)
		if (!strcmp(h->doctor.findings[i].name, name))
			return true;
	return false;
}

static void no_swap_and_no_pressure_warn(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS);
	doctor_memory(&h->doctor);
	expect(h, "swap", VERDICT_WARN, "none");
	expect(h, "pressure", VERDICT_WARN, "no pressure stall information");
}

static void zram_and_pressure_are_fine(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS "/dev/zram0 partition 4194304 40960 5\n");
	put(h, "proc/meminfo", "MemTotal:       16777216 kB\n");
	put(h, "proc/sys/vm/swappiness", "100\n");
	put(h, "sys/block/zram0/mm_stat", "41943040 10000000 10485760 0 10485760 0 0 0 0\n");
	put(h, "sys/module/zswap/parameters/enabled", "N\n");
	put(h, "proc/17/comm", "sshd\n");
	put(h, "proc/pressure/memory", "some avg10=0.00\n");
	doctor_memory(&h->doctor);
	expect(h, "swap", VERDICT_OK, "4.0G on zram");
	expect(h, "zram", VERDICT_OK, "keeps 25% of a swapped byte");
	expect(h, "swappiness", VERDICT_OK, "100");
	expect(h, "pressure", VERDICT_OK, "is there");
	assert_false(found(h, "zswap"));
	assert_false(found(h, "oom killer"));
}

static void a_zram_that_can_take_most_of_the_memory_warns(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS "/dev/zram0 partition 12582912 0 5\n");
	put(h, "proc/meminfo", "MemTotal:       16777216 kB\n");
	put(h, "sys/block/zram0/mm_stat", "4096 74 4096 0 4096 0 0 0 0\n");
	doctor_memory(&h->doctor);
	expect(h, "zram", VERDICT_WARN, "12.0G without a limit");

	h->doctor.n = 0;
	put(h, "sys/block/zram0/mm_stat", "4096 74 4096 4294967296 4096 0 0 0 0\n");
	doctor_memory(&h->doctor);
	expect(h, "zram", VERDICT_OK, "keeps");
}

static void swap_on_disk_alone_warns_unless_zswap_is_in_front(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS "/dev/sda2 partition 4194304 0 -2\n");
	doctor_memory(&h->doctor);
	expect(h, "swap", VERDICT_OK, "4.0G on disk");
	expect(h, "swap disk", VERDICT_WARN, "disk alone");

	h->doctor.n = 0;
	put(h, "sys/module/zswap/parameters/enabled", "Y\n");
	put(h, "proc/meminfo",
	    "MemTotal: 16777216 kB\nZswap:            8192 kB\nZswapped:        32768 kB\n");
	doctor_memory(&h->doctor);
	assert_false(found(h, "swap disk"));
	expect(h, "zswap", VERDICT_OK, "holds 32.0M, keeps 25%");
}

static void zswap_in_front_of_zram_warns(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS "/dev/zram0 partition 4194304 0 5\n");
	put(h, "sys/block/zram0/mm_stat", "4096 74 4096 0 4096 0 0 0 0\n");
	put(h, "sys/module/zswap/parameters/enabled", "Y\n");
	doctor_memory(&h->doctor);
	expect(h, "zswap", VERDICT_WARN, "compressed twice");
}

static void nearly_full_swap_warns(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS "/dev/sda2 partition 1048576 943718 -2\n");
	doctor_memory(&h->doctor);
	expect(h, "swap", VERDICT_WARN, "of 1.0G is free: nearly full");
}

static void a_swappiness_of_0_warns(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS "/dev/sda2 partition 1048576 0 -2\n");
	put(h, "proc/sys/vm/swappiness", "0\n");
	doctor_memory(&h->doctor);
	expect(h, "swappiness", VERDICT_WARN, "anonymous memory");
}

static void who_kills_when_swap_fills_up_is_named(void **state)
{
	struct host *h = *state;

	put(h, "proc/swaps", SWAPS "/dev/sda2 partition 1048576 0 -2\n");
	put(h, "proc/612/comm", "systemd-oomd\n");
	put(h, "proc/701/comm", "systemd-oomd2\n");
	doctor_memory(&h->doctor);
	expect(h, "oom killer", VERDICT_WARN, "systemd-oomd watches");
}

#define ON_A_HOST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ON_A_HOST(a_locked_down_kernel_fails),
	    ON_A_HOST(a_kernel_without_btf_fails),
	    ON_A_HOST(a_host_without_cgroup2_fails),
	    ON_A_HOST(a_bare_cgroup2_mount_lacks_the_memory_controller),
	    ON_A_HOST(missing_bpffs_fails_and_no_real_time_warns),
	    ON_A_HOST(no_swap_and_no_pressure_warn),
	    ON_A_HOST(zram_and_pressure_are_fine),
	    ON_A_HOST(a_zram_that_can_take_most_of_the_memory_warns),
	    ON_A_HOST(swap_on_disk_alone_warns_unless_zswap_is_in_front),
	    ON_A_HOST(zswap_in_front_of_zram_warns),
	    ON_A_HOST(nearly_full_swap_warns),
	    ON_A_HOST(a_swappiness_of_0_warns),
	    ON_A_HOST(who_kills_when_swap_fills_up_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
