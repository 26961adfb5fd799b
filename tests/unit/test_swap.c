/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The swap of hosts that are not this one: made-up /proc and /sys folders. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/swap.h"
#include "lib/util.h"

#include "folder_fixture.h"

#define MB      (UINT64_C(1) << 20)
#define HEADING "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

static char procroot[80], sysroot[80];

static int make_host(void **state)
{
	if (folder_make(state))
		return -1;
	snprintf(procroot, sizeof(procroot), "%s/proc", base);
	snprintf(sysroot, sizeof(sysroot), "%s/sys", base);
	return 0;
}

static struct swap_use host(void)
{
	struct swap_use s;

	memset(&s, 0xff, sizeof(s));
	assert_int_equal(swap_read(procroot, sysroot, &s), 0);
	return s;
}

static void assert_ratio(double is, double wanted)
{
	assert_true(is > wanted - 1e-6 && is < wanted + 1e-6);
}

static void a_kernel_or_a_host_without_swap_has_none(void **state)
{
	struct swap_use s;

	(void)state;
	s = host();
	assert_int_equal(s.total_bytes, 0);
	put("proc/swaps", HEADING);
	put("proc/meminfo", "MemTotal:       24684096 kB\n");
	s = host();
	assert_int_equal(s.total_bytes, 0);
	assert_int_equal(s.zrams, 0);
	assert_false(s.zswap);
	assert_false(s.next_is_disk);
	assert_ratio(swap_ratio(&s, false), 0);
}

static void a_disk_keeps_no_memory(void **state)
{
	struct swap_use s;

	(void)state;
	put("proc/swaps", HEADING "/my\\040swap\\040(deleted)               file\t\t1048572\t\t1024"
				  "\t\t-2\n/dev/dm-1 partition\t1024\t0\t-3\n");
	s = host();
	assert_int_equal(s.total_bytes, (1048572 + 1024) * UINT64_C(1024));
	assert_int_equal(s.free_bytes, 1048572 * UINT64_C(1024));
	assert_int_equal(s.disk_bytes, s.total_bytes);
	assert_int_equal(s.disk_used_bytes, MB);
	assert_true(s.next_is_disk);
	assert_ratio(swap_ratio(&s, false), 0);
}

static void several_zrams_add_up_and_give_the_ratio(void **state)
{
	struct swap_use s;

	(void)state;
	put("proc/swaps", HEADING "/dev/zram0 partition 1048576 20480 100\n"
				  "/dev/zram11 partition 1048576 20480 100\n");
	put("sys/block/zram0/mm_stat", " 20971520 4000000 5242880 104857600 5242880 1 0 0 0\n");
	put("sys/block/zram11/mm_stat", "20971520 5000000 10485760 0 10485760 1 0 0 0\n");
	s = host();
	assert_int_equal(s.zrams, 2);
	assert_int_equal(s.disk_bytes, 0);
	assert_int_equal(s.zram_orig_bytes, 40 * MB);
	assert_int_equal(s.zram_compressed_bytes, 9000000);
	assert_int_equal(s.zram_ram_bytes, 15 * MB);
	assert_int_equal(s.zram_limit_bytes, 0); /* one has none */
	assert_ratio(swap_ratio(&s, false), 15.0 / 40);

	put("sys/block/zram11/mm_stat", "20971520 5000000 10485760 1048576 10485760 1 0 0 0\n");
	s = host();
	assert_int_equal(s.zram_limit_bytes, 101 * MB);
}

static void a_hardly_used_zram_does_not_tell_its_ratio(void **state)
{
	struct swap_use s;

	(void)state;
	put("proc/swaps", HEADING "/dev/zram0 partition 1048576 4 100\n");
	put("sys/block/zram0/mm_stat", "4096 74 524288 0 524288 0 0 0 0\n");
	s = host();
	assert_ratio(swap_ratio(&s, false), SWAP_RATIO_UNMEASURED);
	put("sys/block/zram0/mm_stat", "20971520 20971520 30000000 0 30000000 0 0 0 0\n");
	s = host();
	assert_ratio(swap_ratio(&s, false), 1);
}

static void the_next_byte_goes_to_the_highest_priority_with_room(void **state)
{
	struct swap_use s;

	(void)state;
	put("sys/block/zram0/mm_stat", "20971520 4000000 5242880 0 5242880 1 0 0 0\n");
	put("proc/swaps", HEADING "/dev/sda2 partition 1048576 0 -2\n"
				  "/dev/zram0 partition 1048576 20480 100\n");
	s = host();
	assert_false(s.next_is_disk);
	assert_ratio(swap_ratio(&s, false), 0.25);
	put("proc/swaps", HEADING "/dev/zram0 partition 20480 20480 100\n"
				  "/dev/sda2 partition 1048576 0 -2\n");
	s = host();
	assert_true(s.next_is_disk);
	assert_ratio(swap_ratio(&s, false), 0);
}

static void a_file_named_zram_is_a_disk(void **state)
{
	struct swap_use s;

	(void)state;
	put("proc/swaps", HEADING "/srv/zram0 file 1024 0 -2\n");
	s = host();
	assert_int_equal(s.zrams, 0);
	assert_int_equal(s.disk_bytes, MB);
}

static void zswap_keeps_memory_in_front_of_a_disk(void **state)
{
	struct swap_use s;

	(void)state;
	put("proc/swaps", HEADING "/dev/sda2 partition 1048576 40960 -2\n");
	put("sys/module/zswap/parameters/enabled", "Y\n");
	put("proc/meminfo",
	    "SwapFree: 1 kB\nZswap:             8192 kB\nZswapped:         32768 kB\n");
	s = host();
	assert_true(s.zswap);
	assert_int_equal(s.zswap_ram_bytes, 8 * MB);
	assert_int_equal(s.zswap_orig_bytes, 32 * MB);
	assert_int_equal(s.disk_used_bytes, 40 * MB);
	assert_ratio(swap_ratio(&s, false), 0.25);
	assert_ratio(swap_ratio(&s, true), 0);
	put("sys/module/zswap/parameters/enabled", "N\n");
	s = host();
	assert_ratio(swap_ratio(&s, false), 0);
}

#define ON_A_HOST(test) cmocka_unit_test_setup_teardown(test, make_host, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ON_A_HOST(a_kernel_or_a_host_without_swap_has_none),
	    ON_A_HOST(a_disk_keeps_no_memory),
	    ON_A_HOST(several_zrams_add_up_and_give_the_ratio),
	    ON_A_HOST(a_hardly_used_zram_does_not_tell_its_ratio),
	    ON_A_HOST(the_next_byte_goes_to_the_highest_priority_with_room),
	    ON_A_HOST(a_file_named_zram_is_a_disk),
	    ON_A_HOST(zswap_keeps_memory_in_front_of_a_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
