/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a cgroup keeps: the controller's files are made up, the processes are
 * real (needs root and a cgroup2 mount, and says so when it skips).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/cgroup.h"
#include "lib/memory.h"
#include "lib/util.h"

#include "folder_fixture.h"

#define MB (UINT64_C(1) << 20)

/* ---- made-up folders */

static void the_controllers_lines_are_told_apart(void **state)
{
	struct memory_use use;

	(void)state;
	put("cgroup.procs", "");
	put("memory.current", "5000000\n");
	put("memory.swap.current", "700\n");
	put("memory.stat", "anon 1000\nfile 2000\nkernel 300\nkernel_stack 7\nzswap 40\n"
			   "zswapped 500\nfile_mapped 9\nanon_thp 8\nworkingset_refault_anon 6\n");
	assert_int_equal(memory_of_cgroup(dir, &use), 0);
	assert_int_equal(use.anon_bytes, 1000);
	assert_int_equal(use.file_bytes, 2000);
	assert_int_equal(use.kernel_bytes, 300);
	assert_int_equal(use.zswap_bytes, 40);
	assert_int_equal(use.zswapped_bytes, 500);
	assert_int_equal(use.swap_bytes, 700);
	assert_int_equal(use.current_bytes, 5000000);
	assert_int_equal(memory_resident(&use), 3000);
}

static void a_kernel_without_swap_accounting_has_swapped_nothing(void **state)
{
	uint64_t bytes = 1;

	(void)state;
	put("cgroup.procs", "");
	put("memory.current", "4096\n");
	assert_int_equal(memory_swapped(dir, &bytes), 0);
	assert_int_equal(bytes, 0);
}

static void no_controller_and_no_cgroup_are_told_apart(void **state)
{
	struct memory_use use = {.anon_bytes = 7};
	uint64_t bytes;

	(void)state;
	assert_int_equal(memory_of_cgroup(dir, &use), -ENOENT);
	assert_int_equal(memory_current(dir, &bytes), -ENOENT);
	put("cgroup.procs", "");
	assert_int_equal(memory_of_cgroup(dir, &use), -EOPNOTSUPP);
	assert_int_equal(memory_swapped(dir, &bytes), -EOPNOTSUPP);
	assert_int_equal(use.anon_bytes, 7);
}

static void zram_and_zswap_are_counted_once(void **state)
{
	struct swap_use zram = {.zrams = 1, .zram_orig_bytes = 64 * MB, .zram_ram_bytes = 16 * MB};
	struct swap_use both = zram, disk = {.disk_bytes = MB, .next_is_disk = true};
	struct memory_use use = {
	    .current_bytes = 1000,
	    .swap_bytes = 800,
	    .zswapped_bytes = 600,
	    .zswap_bytes = 300,
	    .accounted = true,
	};

	(void)state;
	both.zswap = true;
	both.zswap_orig_bytes = 64 * MB;
	both.zswap_ram_bytes = 32 * MB;
	assert_int_equal(memory_kept(&use, &both), 350);  /* 200 on zram, at a quarter */
	assert_int_equal(memory_cost(&use, &both), 1050); /* zswap's RAM is in current */
	assert_int_equal(memory_cost(&use, &disk), 1000);
	use.zswapped_bytes = 900; /* read a moment later */
	assert_int_equal(memory_cost(&use, &zram), 1000);

	use = (struct memory_use){.current_bytes = 1000, .swap_bytes = 800}; /* no account */
	assert_int_equal(memory_cost(&use, &zram), 1200);
	assert_int_equal(memory_cost(&use, &both), 1400);
	assert_int_equal(memory_cost(&use, &disk), 1000);
}

/* ---- real processes */

static struct {
	int root, fd;
	char path[64];
	pid_t child[2];
} r;

static int make_real(void **state)
{
	char mount[PATH_MAX];

	(void)state;
	r.root = r.fd = -1;
	r.child[0] = r.child[1] = -1;
	snprintf(r.path, sizeof(r.path), "hearth-test-memory-%d", getpid());
	if (cgroup_root_open("/proc", &r.root, mount, sizeof(mount)) == 0 &&
	    mkdirat(r.root, r.path, 0755) == 0)
		r.fd = cgroup_open(r.root, r.path);
	return 0;
}

static int drop_real(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(r.child); i++) {
		if (r.child[i] > 0) {
			kill(r.child[i], SIGKILL);
			waitpid(r.child[i], NULL, 0);
		}
	}
	if (r.fd >= 0) {
		unlinkat(r.fd, "inner", AT_REMOVEDIR);
		unlinkat(r.root, r.path, AT_REMOVEDIR);
		close(r.fd);
	}
	if (r.root >= 0)
		close(r.root);
	return 0;
}

/* A process in a cgroup that has touched so much memory. */
static pid_t start(int fd, size_t bytes)
{
	int ready[2];
	char pid[16], byte;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		char *p =
		    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		memset(p, 1, bytes);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	snprintf(pid, sizeof(pid), "%d", child);
	assert_int_equal(write_file_at(fd, "cgroup.procs", pid), 0);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return child;
}

static void processes_of_nested_cgroups_are_counted(void **state)
{
	struct memory_use one, both, read;
	int inner;

	(void)state;
	if (r.fd < 0) {
		print_message("skipped: needs a cgroup2 mount and the right to make cgroups\n");
		skip();
	}
	assert_int_equal(mkdirat(r.fd, "inner", 0755), 0);
	inner = cgroup_open(r.fd, "inner");
	assert_true(inner >= 0);
	r.child[0] = start(r.fd, 24 * MB);
	assert_int_equal(memory_of_processes(r.fd, &one), 0);
	assert_in_range(one.anon_bytes + one.swap_bytes, 24 * MB, 64 * MB);
	assert_int_equal(one.current_bytes, memory_resident(&one));

	r.child[1] = start(inner, 16 * MB);
	assert_int_equal(memory_of_processes(r.fd, &both), 0);
	assert_true(both.anon_bytes + both.swap_bytes >= 40 * MB);
	assert_int_equal(memory_of_processes(inner, &one), 0);
	assert_in_range(one.anon_bytes + one.swap_bytes, 16 * MB, 39 * MB);
	assert_int_equal(memory_read(inner, &read), 0);
	assert_true(read.anon_bytes + read.swap_bytes >= 16 * MB);
	close(inner);
}

static void an_empty_cgroup_keeps_nothing_and_a_removed_one_is_not_there(void **state)
{
	struct memory_use use;

	(void)state;
	if (r.fd < 0) {
		print_message("skipped: needs a cgroup2 mount and the right to make cgroups\n");
		skip();
	}
	assert_int_equal(memory_of_processes(r.fd, &use), 0);
	assert_int_equal(use.current_bytes, 0);
	assert_int_equal(unlinkat(r.root, r.path, AT_REMOVEDIR), 0);
	assert_int_equal(memory_of_processes(r.fd, &use), -ENOENT);
	assert_int_equal(memory_read(r.fd, &use), -ENOENT);
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)
#define IN_A_CGROUP(test) cmocka_unit_test_setup_teardown(test, make_real, drop_real)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_A_FOLDER(the_controllers_lines_are_told_apart),
	    IN_A_FOLDER(a_kernel_without_swap_accounting_has_swapped_nothing),
	    IN_A_FOLDER(no_controller_and_no_cgroup_are_told_apart),
	    cmocka_unit_test(zram_and_zswap_are_counted_once),
	    IN_A_CGROUP(processes_of_nested_cgroups_are_counted),
	    IN_A_CGROUP(an_empty_cgroup_keeps_nothing_and_a_removed_one_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
