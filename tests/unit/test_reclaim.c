/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory taken from a frozen instance. The control of batches is arithmetic; what
 * is asked of the controller's files is seen in made-up ones; paging out is done
 * to real processes, with a zram of the test's own for swap (needs root, a
 * cgroup2 mount and zram, and says so when it skips).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "agent/reclaim.h"
#include "agent/reclaim_internal.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/memory_high.h"
#include "lib/swap.h"
#include "lib/util.h"

#include "folder_fixture.h"
#include "swap_fixture.h"

#define MB          (UINT64_C(1) << 20)
#define DEADLINE_NS (60 * NSEC_PER_SEC)

/* ---- pace */

static struct pace paced(uint64_t asked, uint64_t returned, uint64_t took_ns)
{
	struct pace p;

	pace_init(&p, RECLAIM_ALL, 2 * MB, 0, 0);
	pace_done(&p, &(struct pace_batch){asked, returned, 0, took_ns});
	return p;
}

static void batches_aim_at_the_target_time(void **state)
{
	struct pace p;

	(void)state;
	p = paced(2 * MB, 2 * MB, PACE_TARGET_NS);
	assert_int_equal(pace_next(&p), 2 * MB);
	p = paced(2 * MB, 2 * MB, PACE_TARGET_NS * 4 / 3);
	assert_in_range(pace_next(&p), MB * 3 / 2 - 4096, MB * 3 / 2 + 4096);
	p = paced(2 * MB, 2 * MB, 100 * PACE_TARGET_NS);
	assert_int_equal(pace_next(&p), MB);
	p = paced(2 * MB, 2 * MB, 0);
	assert_int_equal(pace_next(&p), 2 * MB * 5 / 4);
}

static void a_small_last_batch_is_no_reason_for_larger_ones(void **state)
{
	struct pace p = paced(MB, MB, PACE_TARGET_NS / 10);

	(void)state;
	assert_int_equal(pace_next(&p), 2 * MB);
	p = paced(MB, MB, 2 * PACE_TARGET_NS);
	assert_int_equal(pace_next(&p), MB / 2);
}

static void batches_stay_within_bounds(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, RECLAIM_ALL, 1, 0, 0);
	assert_int_equal(pace_next(&p), PACE_MIN);
	for (int i = 0; i < 20; i++)
		pace_done(&p, &(struct pace_batch){p.batch_bytes, p.batch_bytes, 0, 1});
	assert_int_equal(pace_next(&p), PACE_MAX);
	for (int i = 0; i < 20; i++)
		pace_done(&p, &(struct pace_batch){p.batch_bytes, p.batch_bytes, 0, NSEC_PER_SEC});
	assert_int_equal(pace_next(&p), PACE_MIN);
}

static void no_more_is_asked_than_is_wanted(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, 3 * MB + 1, 2 * MB, 0, 0);
	assert_int_equal(pace_next(&p), 2 * MB);
	pace_done(&p, &(struct pace_batch){2 * MB, 2 * MB, 0, PACE_TARGET_NS});
	assert_int_equal(pace_next(&p), MB + 4096);
	pace_done(&p, &(struct pace_batch){MB + 4096, 5 * MB, 0, PACE_TARGET_NS}); /* overshoots */
	assert_int_equal(pace_next(&p), 0);
}

static void two_batches_in_a_row_with_nothing_are_the_end(void **state)
{
	const struct pace_batch nothing = {2 * MB, MB / 8, 0, PACE_TARGET_NS};
	struct pace p = paced(2 * MB, 0, PACE_TARGET_NS);

	(void)state;
	assert_false(pace_exhausted(&p));
	pace_done(&p, &(struct pace_batch){2 * MB, MB / 2, 0, PACE_TARGET_NS});
	pace_done(&p, &nothing);
	assert_false(pace_exhausted(&p));
	pace_done(&p, &nothing);
	assert_true(pace_exhausted(&p));
}

static void the_rate_cap_counts_swapped_bytes_alone(void **state)
{
	struct pace p;

	(void)state;
	pace_init(&p, RECLAIM_ALL, MB, 10 * MB, NSEC_PER_SEC);
	pace_done(&p, &(struct pace_batch){MB, 100 * MB, 5 * MB, 1});
	assert_int_equal(pace_wait_ns(&p, NSEC_PER_SEC), NSEC_PER_SEC / 2);
	assert_int_equal(pace_wait_ns(&p, 2 * NSEC_PER_SEC), 0);
	pace_init(&p, RECLAIM_ALL, MB, 0, 0);
	pace_done(&p, &(struct pace_batch){MB, MB, 100 * MB, 1});
	assert_int_equal(pace_wait_ns(&p, 0), 0);
}

/* ---- a made-up cgroup */

/* Frozen, with a controller that never finds anything to reclaim. */
static int make_cgroup(void **state)
{
	if (folder_make(state))
		return -1;
	put("cgroup.procs", "");
	put("cgroup.events", "populated 1\nfrozen 1\n");
	put("memory.current", "104857600\n");
	put("memory.swap.current", "0\n");
	put("memory.stat", "anon 80000000\nfile 20000000\n");
	put("memory.high", "max\n");
	put("memory.reclaim", "");
	return 0;
}

static void assert_content(const char *name, const char *text)
{
	char buf[256];

	assert_true(read_file_at(dir, name, buf, sizeof(buf)) >= 0);
	assert_string_equal(buf, text);
}

static uint64_t id_of(int fd)
{
	uint64_t id = 0;

	assert_int_equal(cgroup_id_of_fd(fd, &id), 0);
	return id;
}

static void what_is_not_frozen_is_left_alone(void **state)
{
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL, .swap = true};
	struct reclaim_result r;

	(void)state;
	put("cgroup.events", "populated 1\nfrozen 0\n");
	assert_int_equal(reclaim_run(dir, id_of(dir), &o, &r), -EBUSY);
	assert_content("memory.reclaim", "");
}

static void another_cgroup_than_was_meant_is_left_alone(void **state)
{
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL, .swap = true};
	struct reclaim_result r;

	(void)state;
	assert_int_equal(reclaim_run(dir, id_of(dir) + 1, &o, &r), -ENOENT);
	assert_content("memory.reclaim", "");
}

static void a_cancelled_reclaim_does_nothing(void **state)
{
	_Atomic bool cancel = true;
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL, .swap = true, .cancel = &cancel};
	struct reclaim_result r;

	(void)state;
	assert_int_equal(reclaim_run(dir, id_of(dir), &o, &r), 0);
	assert_true(r.cancelled);
	assert_int_equal(r.batches, 0);
	assert_content("memory.reclaim", "");
}

static void a_kernel_that_finds_no_more_ends_it_partially(void **state)
{
	struct reclaim_options o = {.want_bytes = MB, .swap = true};
	struct reclaim_result r;

	(void)state;
	assert_int_equal(reclaim_run(dir, id_of(dir), &o, &r), 0);
	assert_int_equal(r.method, RECLAIM_CGROUP);
	assert_true(r.partial);
	assert_false(r.cancelled);
	assert_int_equal(r.batches, PACE_IDLE_MAX);
	assert_int_equal(r.returned_bytes, 0);
	assert_int_equal(r.before.anon_bytes, 80000000);
	assert_content("memory.reclaim", "1048576");
}

static void without_swap_only_file_pages_are_asked_for(void **state)
{
	struct reclaim_options o = {.want_bytes = MB};
	struct reclaim_result r;

	(void)state;
	assert_int_equal(reclaim_run(dir, id_of(dir), &o, &r), 0);
	assert_int_equal(r.method, RECLAIM_CGROUP);
	assert_content("memory.reclaim", "1048576 swappiness=0");
}

static void a_squeeze_puts_the_limit_back(void **state)
{
	struct reclaim_options o = {.want_bytes = MB, .swap = true};
	struct reclaim_job job = {.dirfd = dir, .options = &o};
	char note[16];

	(void)state;
	put("memory.high", "1000000000\n");
	pace_init(&job.pace, o.want_bytes, 0, 0, now_ns());
	assert_int_equal(reclaim_by_squeeze(&job), 0);
	assert_int_equal(job.pace.batches, PACE_IDLE_MAX);
	assert_content("memory.high", "1000000000\n");
	assert_int_equal(fgetxattr(dir, "trusted.hearth.memory.high", note, sizeof(note)), -1);
	o.swap = false;
	assert_int_equal(reclaim_by_squeeze(&job), -EOPNOTSUPP);
}

static void a_limit_that_a_crash_left_low_is_put_back(void **state)
{
	(void)state;
	put("memory.high", "4096\n");
	assert_int_equal(memory_high_recover(dir), 0);
	assert_content("memory.high", "4096\n");
	assert_int_equal(fsetxattr(dir, "trusted.hearth.memory.high", "max\n", 4, 0), 0);
	assert_int_equal(memory_high_recover(dir), 1);
	assert_content("memory.high", "max\n\n"); /* a made-up file is not truncated */
	assert_int_equal(memory_high_recover(dir), 0);
}

/* ---- real processes and a real zram */

#define ANON_BYTES (48 * MB)
#define FILE_BYTES (16 * MB)

/* Shared with the process in the cgroup. */
struct talk {
	_Atomic bool inside, ready, sum_asked, sum_told;
	_Atomic uint64_t sum;
};

static struct {
	int root, fd, inner;
	char path[64];
	pid_t child;
	struct talk *talk;
	uint64_t sum;
} r;

static uint64_t sum_of(const uint64_t *words, uint64_t bytes)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < bytes / sizeof(*words); i++)
		sum = sum * 31 + words[i];
	return sum;
}

/* A quarter noise, else zeros: compresses, but not to nothing. */
static void fill(uint64_t *words, uint64_t bytes)
{
	uint64_t x = 88172645463325252;

	for (uint64_t i = 0; i < bytes / sizeof(*words); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		words[i] = i % 4 ? 0 : x;
	}
}

/*
 * A file of our own, so that no other process maps its pages. Where /var/tmp is
 * in memory, HEARTH_TEST_FILE names one that is not.
 */
static int open_file(void)
{
	char name[] = "/var/tmp/hearth-reclaim-XXXXXX", *p;
	const char *given = getenv("HEARTH_TEST_FILE");
	int fd = given ? open(given, O_RDONLY | O_CLOEXEC) : mkstemp(name);

	if (given || fd < 0)
		return fd;
	unlink(name);
	if (ftruncate(fd, FILE_BYTES) < 0)
		return -1;
	p = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memset(p, 1, FILE_BYTES);
	munmap(p, FILE_BYTES);
	fsync(fd);
	return fd;
}

static char *map_file(void)
{
	int fd = open_file();

	if (fd < 0 || lseek(fd, 0, SEEK_END) < (off_t)FILE_BYTES)
		_exit(1);
	return mmap(NULL, FILE_BYTES, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
}

static bool comes_true(_Atomic bool *what)
{
	for (uint64_t end = now_ns() + DEADLINE_NS; now_ns() < end; usleep(1000))
		if (atomic_load(what))
			return true;
	return false;
}

static bool zswap_is_on(void)
{
	struct swap_use swap;

	assert_int_equal(swap_read("/proc", "/sys", &swap), 0);
	return swap.zswap;
}

/* Touches its memory only inside its cgroup: what it touched before is not charged to that. */
static void function(struct talk *talk)
{
	uint64_t *words =
	    mmap(NULL, ANON_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *file;

	if (!comes_true(&talk->inside))
		_exit(1);
	if (zswap_is_on())
		madvise(words, ANON_BYTES, MADV_NOHUGEPAGE); /* up to 6.12 it refuses large ones */
	file = map_file();
	fill(words, ANON_BYTES);
	atomic_store(&talk->sum, sum_of(words, ANON_BYTES) + (uint64_t)file[FILE_BYTES - 1]);
	atomic_store(&talk->ready, true);
	for (;;) {
		usleep(1000);
		if (!atomic_load(&talk->sum_asked) || atomic_load(&talk->sum_told))
			continue;
		atomic_store(&talk->sum,
			     sum_of(words, ANON_BYTES) + (uint64_t)file[FILE_BYTES - 1]);
		atomic_store(&talk->sum_told, true);
	}
}

static bool becomes_frozen(int fd, int wanted)
{
	for (uint64_t end = now_ns() + DEADLINE_NS; now_ns() < end; usleep(1000))
		if (cgroup_read_frozen(fd) == wanted)
			return true;
	return false;
}

static int make_real(void **state)
{
	char mount[PATH_MAX];

	(void)state;
	r.root = r.fd = r.inner = -1;
	r.child = -1;
	snprintf(r.path, sizeof(r.path), "hearth-test-reclaim-%d", getpid());
	if (cgroup_root_open("/proc", &r.root, mount, sizeof(mount)) == 0 &&
	    mkdirat(r.root, r.path, 0755) == 0)
		r.fd = cgroup_open(r.root, r.path);
	if (r.fd >= 0 && mkdirat(r.fd, "inner", 0755) == 0)
		r.inner = cgroup_open(r.fd, "inner");
	return 0;
}

static int drop_real(void **state)
{
	(void)state;
	if (r.child > 0) {
		kill(r.child, SIGKILL);
		waitpid(r.child, NULL, 0);
	}
	if (r.talk)
		munmap(r.talk, sizeof(*r.talk));
	r.talk = NULL;
	if (r.inner >= 0) {
		close(r.inner);
		unlinkat(r.fd, "inner", AT_REMOVEDIR);
	}
	if (r.fd >= 0) {
		unlinkat(r.root, r.path, AT_REMOVEDIR);
		close(r.fd);
	}
	if (r.root >= 0)
		close(r.root);
	return 0;
}

/* A frozen cgroup with a function in a cgroup nested in it. */
static void need_frozen_function(void)
{
	char pid[16];

	if (r.inner < 0 || no_swap) {
		print_message("skipped: needs %s\n",
			      r.inner < 0 ? "a cgroup2 mount and root" : no_swap);
		skip();
	}
	r.talk =
	    mmap(NULL, sizeof(*r.talk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r.child = fork();
	if (r.child == 0)
		function(r.talk);
	snprintf(pid, sizeof(pid), "%d", r.child);
	assert_int_equal(write_file_at(r.inner, "cgroup.procs", pid), 0);
	atomic_store(&r.talk->inside, true);
	assert_true(comes_true(&r.talk->ready));
	r.sum = atomic_load(&r.talk->sum);
	assert_int_equal(cgroup_freeze_write(r.fd, true), 0);
	assert_true(becomes_frozen(r.fd, 1));
}

static void assert_intact_after_thaw(void)
{
	assert_int_equal(cgroup_freeze_write(r.fd, false), 0);
	assert_true(becomes_frozen(r.fd, 0));
	atomic_store(&r.talk->sum_asked, true);
	assert_true(comes_true(&r.talk->sum_told));
	assert_int_equal(atomic_load(&r.talk->sum), r.sum);
}

static void a_frozen_function_is_paged_out_and_comes_back(void **state)
{
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL, .swap = true};
	struct reclaim_result got;

	(void)state;
	need_frozen_function();
	assert_int_equal(reclaim_run(r.fd, id_of(r.fd), &o, &got), 0);
	print_message("%s: %" PRIu64 " kB returned, %" PRIu64 " kB kept, %u batches, %" PRIu64
		      " us\n",
		      reclaim_method_name(got.method), got.returned_bytes >> 10,
		      got.kept_bytes >> 10, got.batches, got.took_ns / 1000);
	assert_int_equal(got.error, 0);
	assert_false(got.cancelled);
	assert_false(got.partial);
	assert_true(got.before.anon_bytes >= ANON_BYTES);
	assert_true(got.before.anon_bytes - got.after.anon_bytes >= ANON_BYTES * 9 / 10);
	assert_true(got.before.file_bytes - got.after.file_bytes >= FILE_BYTES * 9 / 10);
	assert_true(got.after.swap_bytes - got.before.swap_bytes >= ANON_BYTES * 9 / 10);
	assert_in_range(got.kept_bytes, ANON_BYTES / 5, ANON_BYTES * 9 / 10);
	assert_int_equal(got.after.zswapped_bytes > 0, got.after.accounted && zswap_is_on());
	assert_true(got.batches > 2);
	assert_intact_after_thaw();
}

static void without_swap_anonymous_memory_stays(void **state)
{
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL};
	struct reclaim_result got;

	(void)state;
	need_frozen_function();
	assert_int_equal(reclaim_run(r.fd, id_of(r.fd), &o, &got), 0);
	assert_int_equal(got.after.swap_bytes, got.before.swap_bytes);
	assert_true(got.after.anon_bytes >= ANON_BYTES);
	assert_true(got.before.file_bytes - got.after.file_bytes >= FILE_BYTES * 9 / 10);
	assert_int_equal(got.kept_bytes, 0);
	assert_intact_after_thaw();
}

static void no_more_is_returned_than_wanted_but_for_a_batch(void **state)
{
	struct reclaim_options o = {.want_bytes = 10 * MB, .swap = true, .batch_bytes = MB};
	struct reclaim_result got;

	(void)state;
	need_frozen_function();
	assert_int_equal(reclaim_run(r.fd, id_of(r.fd), &o, &got), 0);
	assert_false(got.partial);
	assert_in_range(got.returned_bytes, 9 * MB, 32 * MB);
	assert_true(got.after.anon_bytes + got.after.file_bytes >= 32 * MB);
}

/* Runs beside a reclaim that the rate cap makes last for minutes. */
struct meddler {
	_Atomic bool cancel;
	pthread_t reclaimer;
	bool thaws; /* else it cancels */
	bool began;
};

static void *meddle(void *arg)
{
	struct meddler *m = arg;
	struct memory_use use;

	for (uint64_t end = now_ns() + DEADLINE_NS; now_ns() < end && !m->began; usleep(1000))
		m->began = memory_of_processes(r.fd, &use) == 0 && use.swap_bytes > 0;
	if (m->thaws) {
		cgroup_freeze_write(r.fd, false);
	} else {
		atomic_store(&m->cancel, true);
		pthread_kill(m->reclaimer, SIGUSR1);
	}
	return NULL;
}

static void on_signal(int number)
{
	(void)number;
}

static void meddled(bool thaws)
{
	struct sigaction interrupt = {.sa_handler = on_signal};
	struct meddler m = {.thaws = thaws, .reclaimer = pthread_self()};
	struct reclaim_options o = {
	    .want_bytes = RECLAIM_ALL,
	    .swap = true,
	    .batch_bytes = MB,
	    .swap_bytes_per_s = MB,
	    .cancel = &m.cancel,
	};
	struct reclaim_result got;
	pthread_t thread;

	need_frozen_function();
	sigaction(SIGUSR1, &interrupt, NULL);
	assert_int_equal(pthread_create(&thread, NULL, meddle, &m), 0);
	assert_int_equal(reclaim_run(r.fd, id_of(r.fd), &o, &got), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(m.began);
	assert_true(got.cancelled);
	assert_false(got.partial);
	assert_true(got.batches > 0);
	assert_true(got.returned_bytes < ANON_BYTES / 2);
	assert_intact_after_thaw();
}

static void a_cancel_ends_it_before_the_next_batch(void **state)
{
	(void)state;
	meddled(false);
}

static void a_thaw_ends_it_before_the_next_batch(void **state)
{
	(void)state;
	meddled(true);
}

static void a_running_function_is_not_touched(void **state)
{
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL, .swap = true};
	struct reclaim_result got;
	struct memory_use use;

	(void)state;
	need_frozen_function();
	assert_int_equal(cgroup_freeze_write(r.fd, false), 0);
	assert_true(becomes_frozen(r.fd, 0));
	assert_int_equal(reclaim_run(r.fd, id_of(r.fd), &o, &got), -EBUSY);
	assert_int_equal(memory_of_processes(r.fd, &use), 0);
	assert_true(use.anon_bytes >= ANON_BYTES);
}

static void a_squeeze_takes_from_a_frozen_function(void **state)
{
	struct reclaim_options o = {.want_bytes = 16 * MB, .swap = true};
	struct reclaim_job job = {.options = &o};
	uint64_t before, after;
	char high[32];

	(void)state;
	need_frozen_function();
	if (memory_current(r.fd, &before) < 0) {
		print_message("skipped: needs the memory controller in cgroup2\n");
		skip();
	}
	job.dirfd = r.fd;
	pace_init(&job.pace, o.want_bytes, 0, 0, now_ns());
	assert_int_equal(reclaim_by_squeeze(&job), 0);
	assert_int_equal(memory_current(r.fd, &after), 0);
	assert_true(before - after >= 12 * MB);
	assert_true(read_file_at(r.fd, "memory.high", high, sizeof(high)) > 0);
	assert_string_equal(high, "max\n");
	assert_intact_after_thaw();
}

#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_cgroup, folder_remove)
#define IN_A_CGROUP(test) cmocka_unit_test_setup_teardown(test, make_real, drop_real)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(batches_aim_at_the_target_time),
	    cmocka_unit_test(a_small_last_batch_is_no_reason_for_larger_ones),
	    cmocka_unit_test(batches_stay_within_bounds),
	    cmocka_unit_test(no_more_is_asked_than_is_wanted),
	    cmocka_unit_test(two_batches_in_a_row_with_nothing_are_the_end),
	    cmocka_unit_test(the_rate_cap_counts_swapped_bytes_alone),
	    IN_A_FOLDER(what_is_not_frozen_is_left_alone),
	    IN_A_FOLDER(another_cgroup_than_was_meant_is_left_alone),
	    IN_A_FOLDER(a_cancelled_reclaim_does_nothing),
	    IN_A_FOLDER(a_kernel_that_finds_no_more_ends_it_partially),
	    IN_A_FOLDER(without_swap_only_file_pages_are_asked_for),
	    IN_A_FOLDER(a_squeeze_puts_the_limit_back),
	    IN_A_FOLDER(a_limit_that_a_crash_left_low_is_put_back),
	    IN_A_CGROUP(a_frozen_function_is_paged_out_and_comes_back),
	    IN_A_CGROUP(without_swap_anonymous_memory_stays),
	    IN_A_CGROUP(no_more_is_returned_than_wanted_but_for_a_batch),
	    IN_A_CGROUP(a_cancel_ends_it_before_the_next_batch),
	    IN_A_CGROUP(a_thaw_ends_it_before_the_next_batch),
	    IN_A_CGROUP(a_running_function_is_not_touched),
	    IN_A_CGROUP(a_squeeze_takes_from_a_frozen_function),
	};

	return cmocka_run_group_tests(tests, open_swap, close_swap);
}
