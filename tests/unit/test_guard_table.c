/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard table: entries and claims, and what becomes of a predecessor's
 * table of any state. Works on real cgroups below one of its own; needs root
 * and a cgroup2 mount, and says so when it skips.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/guard_layout.h"
#include "agent/guard_table.h"
#include "lib/cgroup.h"
#include "lib/log.h"
#include "lib/util.h"

#define NSLOTS 16

struct fixture {
	char run_dir[64];
	char base[64]; /* cgroup of this test */
	int root;      /* cgroup2 root; -1: none usable */
	struct guard_table *t;
};

static struct fixture fx;

static int setup(void **state)
{
	char mount[PATH_MAX];

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	fx = (struct fixture){.root = -1};
	snprintf(fx.run_dir, sizeof(fx.run_dir), "/tmp/hearth-guard-XXXXXX");
	if (!mkdtemp(fx.run_dir))
		return -1;
	snprintf(fx.base, sizeof(fx.base), "hearth-test-guard-%d", (int)getpid());
	if (geteuid() == 0 && cgroup_root_open("/proc", &fx.root, mount, sizeof(mount)) == 0 &&
	    mkdirat(fx.root, fx.base, 0755) < 0) {
		close(fx.root);
		fx.root = -1;
	}
	return guard_table_create(fx.run_dir, NSLOTS, fx.root, &fx.t);
}

static int remove_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	(void)fd;
	(void)id;
	(void)arg;
	/* Parents come first and stay busy; the caller repeats until the base is gone. */
	unlinkat(fx.root, path, AT_REMOVEDIR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	guard_table_close(fx.t);
	guard_table_remove(fx.run_dir);
	rmdir(fx.run_dir);
	for (int i = 0; fx.root >= 0 && i < 8; i++)
		cgroup_walk(fx.root, fx.base, remove_cgroup, NULL);
	if (fx.root >= 0)
		close(fx.root);
	return 0;
}

static void need_cgroups(void)
{
	if (fx.root < 0) {
		print_message("skipped: needs root and a writable cgroup2 mount\n");
		skip();
	}
}

/* A new cgroup below the test's; its fd and id. */
static int make_cgroup(const char *name, uint64_t *id)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", fx.base, name);
	assert_return_code(mkdirat(fx.root, path, 0755), errno);
	fd = cgroup_open(fx.root, path);
	assert_true(fd >= 0);
	assert_int_equal(cgroup_id_of_fd(fd, id), 0);
	return fd;
}

static void remove_by_name(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", fx.base, name);
	assert_return_code(unlinkat(fx.root, path, AT_REMOVEDIR), errno);
}

/* A predecessor: a process that makes the table, freezes by the rules and is gone. */
static void dead_hearthd_froze(uint32_t nslots, uint32_t slot, int fd, uint64_t id)
{
	pid_t pid;
	int status;

	guard_table_close(fx.t);
	fx.t = NULL;
	guard_table_remove(fx.run_dir);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct guard_table *t;

		if (guard_table_create(fx.run_dir, nslots, fx.root, &t) < 0 ||
		    guard_table_intend(t, slot, id) < 0 || cgroup_freeze_write(fd, true) < 0)
			_exit(1);
		_exit(guard_table_confirm(t, slot, id) ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(cgroup_read_freeze(fd), 1);
}

/* Change bytes of the table's file; with `resign` its head is made valid again. */
static void edit_table(size_t offset, const void *data, size_t len, bool resign)
{
	struct guard_head *h;
	char path[PATH_MAX];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/guard.table", fx.run_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	h = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(h != MAP_FAILED);
	memcpy((char *)h + offset, data, len);
	if (resign)
		h->check = guard_digest(h, offsetof(struct guard_head, check));
	munmap(h, (size_t)st.st_size);
	close(fd);
}

static bool set_aside(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/guard.table.damaged", fx.run_dir);
	return access(path, F_OK) == 0;
}

/* ---- entries */

static void test_an_intent_names_one_cgroup_until_cleared(void **state)
{
	(void)state;
	assert_int_equal(guard_table_count(fx.t), 0);
	assert_int_equal(guard_table_intend(fx.t, 3, 77), 0);
	assert_int_equal(guard_table_count(fx.t), 1);
	assert_int_equal(guard_table_intend(fx.t, 3, 78), -EBUSY);
	assert_int_equal(guard_table_intend(fx.t, 3, 77), -EBUSY);
	guard_table_clear(fx.t, 3);
	assert_int_equal(guard_table_count(fx.t), 0);
	assert_int_equal(guard_table_intend(fx.t, 3, 78), 0);
}

static void test_impossible_slots_and_ids_are_refused(void **state)
{
	(void)state;
	assert_int_equal(guard_table_intend(fx.t, NSLOTS, 5), -EINVAL);
	assert_int_equal(guard_table_intend(fx.t, 0, 0), -EINVAL);
	assert_int_equal(guard_table_intend(fx.t, 0, UINT64_C(1) << 48), -EINVAL);
	assert_int_equal(guard_table_intend(fx.t, NSLOTS - 1, (UINT64_C(1) << 48) - 1), 0);
	assert_false(guard_table_confirm(fx.t, NSLOTS, 5));
	guard_table_clear(fx.t, NSLOTS);
	assert_int_equal(guard_table_count(fx.t), 1);
}

static void test_confirm_wants_the_same_unclaimed_intent(void **state)
{
	(void)state;
	assert_false(guard_table_confirm(fx.t, 1, 5));
	assert_int_equal(guard_table_intend(fx.t, 1, 5), 0);
	assert_false(guard_table_confirm(fx.t, 1, 6));
	assert_true(guard_table_confirm(fx.t, 1, 5));
	assert_false(guard_table_confirm(fx.t, 1, 5));
}

static void test_the_heartbeat_counts(void **state)
{
	uint64_t before = guard_table_heartbeat(fx.t);

	(void)state;
	guard_table_beat(fx.t);
	assert_int_equal(guard_table_heartbeat(fx.t), before + 1);
}

static void test_a_process_is_named_by_pid_and_start(void **state)
{
	pid_t pid = fork();
	siginfo_t info;

	(void)state;
	if (pid == 0)
		_exit(0);
	assert_int_equal(guard_process_pid(guard_process_id(getpid())), getpid());
	assert_int_equal(guard_table_agent(fx.t), guard_process_id(getpid()));
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(guard_process_id(pid), 0); /* a zombie is no process any more */
	waitpid(pid, NULL, 0);
}

/* ---- thaw */

static void test_thaw_undoes_what_is_named_and_nothing_else(void **state)
{
	uint64_t ours, theirs, epoch;
	int a, b;

	(void)state;
	need_cgroups();
	a = make_cgroup("ours", &ours);
	b = make_cgroup("theirs", &theirs);
	epoch = guard_table_epoch(fx.t);
	assert_int_equal(guard_thaw_all(fx.t, fx.root, true, NULL), 0);
	assert_int_equal(guard_table_epoch(fx.t), epoch);
	assert_int_equal(guard_table_intend(fx.t, 0, ours), 0);
	assert_int_equal(cgroup_freeze_write(a, true), 0);
	assert_int_equal(cgroup_freeze_write(b, true), 0);
	assert_int_equal(guard_thaw_all(fx.t, fx.root, true, NULL), 1);
	assert_int_equal(cgroup_read_freeze(a), 0);
	assert_int_equal(cgroup_read_frozen(a), 0);
	assert_int_equal(cgroup_read_freeze(b), 1);
	assert_int_equal(guard_table_count(fx.t), 0);
	assert_true(guard_table_epoch(fx.t) != epoch);
	close(a);
	close(b);
}

/* hearthd is stopped before its write of 1, and again before it could look. */
static void test_a_late_write_of_one_does_not_escape(void **state)
{
	uint64_t id;
	int fd;

	(void)state;
	need_cgroups();
	fd = make_cgroup("late", &id);
	assert_int_equal(guard_table_intend(fx.t, 2, id), 0);
	assert_int_equal(guard_thaw_all(fx.t, fx.root, false, NULL), 0);
	assert_int_equal(guard_table_count(fx.t), 1);
	assert_int_equal(cgroup_freeze_write(fd, true), 0);
	assert_int_equal(guard_thaw_all(fx.t, fx.root, false, NULL), 1);
	assert_int_equal(cgroup_read_freeze(fd), 0);
	assert_false(guard_table_confirm(fx.t, 2, id));
	assert_int_equal(guard_table_intend(fx.t, 2, id), -EBUSY);
	guard_table_clear(fx.t, 2);
	assert_int_equal(guard_table_intend(fx.t, 2, id), 0);
	close(fd);
}

static void test_a_confirmed_freeze_is_forgotten_once_thawed(void **state)
{
	uint64_t id;
	int fd;

	(void)state;
	need_cgroups();
	fd = make_cgroup("held", &id);
	assert_int_equal(guard_table_intend(fx.t, 2, id), 0);
	assert_int_equal(cgroup_freeze_write(fd, true), 0);
	assert_false(guard_table_held(fx.t, 2, id));
	assert_true(guard_table_confirm(fx.t, 2, id));
	assert_true(guard_table_held(fx.t, 2, id));
	assert_int_equal(guard_thaw_all(fx.t, fx.root, false, NULL), 1);
	assert_false(guard_table_held(fx.t, 2, id));
	assert_int_equal(guard_table_count(fx.t), 0);
	close(fd);
}

static void test_a_removed_cgroup_is_gone_not_an_error(void **state)
{
	struct guard_thaw r;
	uint64_t id;

	(void)state;
	need_cgroups();
	close(make_cgroup("removed", &id));
	remove_by_name("removed");
	assert_int_equal(guard_table_intend(fx.t, 4, id), 0);
	assert_int_equal(guard_thaw_all(fx.t, fx.root, false, &r), 0);
	assert_int_equal(r.gone, 1);
	assert_int_equal(r.failed, 0);
	assert_int_equal(guard_table_count(fx.t), 0);
}

static void test_an_ancestor_frozen_by_others_is_reported_and_left(void **state)
{
	uint64_t outer_id, inner_id;
	struct guard_thaw r;
	int outer, inner;

	(void)state;
	need_cgroups();
	outer = make_cgroup("outer", &outer_id);
	inner = make_cgroup("outer/inner", &inner_id);
	assert_int_equal(cgroup_freeze_write(outer, true), 0);
	assert_int_equal(guard_table_intend(fx.t, 0, inner_id), 0);
	assert_int_equal(cgroup_freeze_write(inner, true), 0);
	assert_int_equal(guard_thaw_all(fx.t, fx.root, true, &r), 1);
	assert_int_equal(r.blocked, 1);
	assert_int_equal(r.blocked_id, inner_id);
	assert_int_equal(cgroup_read_freeze(inner), 0);
	assert_int_equal(cgroup_read_freeze(outer), 1);
	assert_int_equal(guard_table_count(fx.t), 0);
	close(inner);
	close(outer);
}

static void test_damaged_entries_are_left_alone(void **state)
{
	struct guard_thaw r;
	uint64_t id;
	int fd;

	(void)state;
	need_cgroups();
	fd = make_cgroup("victim", &id);
	assert_int_equal(cgroup_freeze_write(fd, true), 0);
	atomic_store(&fx.t->entries[5], id); /* the id without its seal */
	assert_int_equal(guard_table_count(fx.t), 0);
	assert_int_equal(guard_thaw_all(fx.t, fx.root, true, &r), 0);
	assert_int_equal(r.unreadable, 1);
	assert_int_equal(cgroup_read_freeze(fd), 1);
	close(fd);
}

/* ---- a predecessor's table */

static void test_a_new_hearthd_thaws_what_a_dead_one_froze(void **state)
{
	uint64_t id;
	int fd;

	(void)state;
	need_cgroups();
	fd = make_cgroup("left", &id);
	dead_hearthd_froze(NSLOTS, 7, fd, id);
	assert_int_equal(guard_table_create(fx.run_dir, NSLOTS, fx.root, &fx.t), 0);
	assert_int_equal(cgroup_read_freeze(fd), 0);
	assert_int_equal(guard_table_count(fx.t), 0);
	assert_false(set_aside());
	close(fd);
}

static void test_another_size_is_thawed_then_rebuilt(void **state)
{
	uint64_t id;
	int fd;

	(void)state;
	need_cgroups();
	fd = make_cgroup("left", &id);
	dead_hearthd_froze(4 * NSLOTS, 4 * NSLOTS - 1, fd, id);
	assert_int_equal(guard_table_create(fx.run_dir, NSLOTS, fx.root, &fx.t), 0);
	assert_int_equal(cgroup_read_freeze(fd), 0);
	assert_int_equal(guard_table_intend(fx.t, NSLOTS, id), -EINVAL);
	close(fd);
}

static void test_another_version_is_thawed_then_rebuilt(void **state)
{
	struct guard_table *t;
	uint32_t version = 99;
	uint64_t id;
	int fd;

	(void)state;
	need_cgroups();
	fd = make_cgroup("left", &id);
	dead_hearthd_froze(NSLOTS, 1, fd, id);
	edit_table(offsetof(struct guard_head, version), &version, sizeof(version), true);
	assert_int_equal(guard_table_attach(fx.run_dir, &t), -EPROTO);
	assert_int_equal(guard_table_create(fx.run_dir, NSLOTS, fx.root, &fx.t), 0);
	assert_int_equal(cgroup_read_freeze(fd), 0);
	assert_false(set_aside());
	close(fd);
}

static void test_a_damaged_table_is_set_aside_and_its_good_entries_thawed(void **state)
{
	struct guard_table *t;
	uint64_t good, bad, raw;
	uint32_t nslots = 3;
	int a, b;

	(void)state;
	need_cgroups();
	a = make_cgroup("good", &good);
	b = make_cgroup("bad", &bad);
	dead_hearthd_froze(NSLOTS, 9, a, good);
	assert_int_equal(cgroup_freeze_write(b, true), 0);
	raw = bad;
	edit_table(sizeof(struct guard_head) + 8, &raw, sizeof(raw), false);
	edit_table(offsetof(struct guard_head, nslots), &nslots, sizeof(nslots), false);
	assert_int_equal(guard_table_attach(fx.run_dir, &t), -EBADMSG);
	assert_int_equal(guard_table_create(fx.run_dir, NSLOTS, fx.root, &fx.t), 0);
	assert_int_equal(cgroup_read_freeze(a), 0);
	assert_int_equal(cgroup_read_freeze(b), 1);
	assert_true(set_aside());
	close(a);
	close(b);
}

static void test_a_truncated_or_empty_table_is_replaced(void **state)
{
	static const off_t sizes[] = {0, 17, sizeof(struct guard_head) - 1,
				      sizeof(struct guard_head) + 20};
	char path[PATH_MAX];

	(void)state;
	snprintf(path, sizeof(path), "%s/guard.table", fx.run_dir);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct guard_table *t;

		guard_table_close(fx.t);
		fx.t = NULL;
		assert_return_code(truncate(path, sizes[i]), errno);
		assert_int_equal(guard_table_attach(fx.run_dir, &t), -EBADMSG);
		assert_int_equal(guard_table_create(fx.run_dir, NSLOTS, fx.root, &fx.t), 0);
		assert_true(set_aside());
		assert_int_equal(guard_table_intend(fx.t, NSLOTS - 1, 9), 0);
	}
}

/* Ids name other cgroups after a reboot. */
static void test_a_table_of_another_boot_thaws_nothing(void **state)
{
	uint64_t id, boot = 1;
	int fd;

	(void)state;
	need_cgroups();
	fd = make_cgroup("innocent", &id);
	dead_hearthd_froze(NSLOTS, 1, fd, id);
	edit_table(offsetof(struct guard_head, boot), &boot, sizeof(boot), true);
	assert_int_equal(guard_table_create(fx.run_dir, NSLOTS, fx.root, &fx.t), 0);
	assert_int_equal(cgroup_read_freeze(fd), 1);
	assert_int_equal(guard_table_count(fx.t), 0);
	close(fd);
}

static void test_a_live_owner_keeps_its_table(void **state)
{
	struct guard_table *second = NULL;

	(void)state;
	assert_int_equal(guard_table_intend(fx.t, 1, 5), 0);
	assert_int_equal(guard_table_create(fx.run_dir, NSLOTS, fx.root, &second), -EBUSY);
	assert_null(second);
	assert_int_equal(guard_table_count(fx.t), 1);
	guard_table_clear(fx.t, 1);
}

static void test_undo_without_a_table_is_fine(void **state)
{
	(void)state;
	guard_table_remove(fx.run_dir);
	assert_int_equal(guard_table_undo(fx.run_dir, fx.root), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
	    T(test_an_intent_names_one_cgroup_until_cleared),
	    T(test_impossible_slots_and_ids_are_refused),
	    T(test_confirm_wants_the_same_unclaimed_intent),
	    T(test_the_heartbeat_counts),
	    T(test_a_process_is_named_by_pid_and_start),
	    T(test_thaw_undoes_what_is_named_and_nothing_else),
	    T(test_a_late_write_of_one_does_not_escape),
	    T(test_a_confirmed_freeze_is_forgotten_once_thawed),
	    T(test_a_removed_cgroup_is_gone_not_an_error),
	    T(test_an_ancestor_frozen_by_others_is_reported_and_left),
	    T(test_damaged_entries_are_left_alone),
	    T(test_a_new_hearthd_thaws_what_a_dead_one_froze),
	    T(test_another_size_is_thawed_then_rebuilt),
	    T(test_another_version_is_thawed_then_rebuilt),
	    T(test_a_damaged_table_is_set_aside_and_its_good_entries_thawed),
	    T(test_a_truncated_or_empty_table_is_replaced),
	    T(test_a_table_of_another_boot_thaws_nothing),
	    T(test_a_live_owner_keeps_its_table),
	    T(test_undo_without_a_table_is_fine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
