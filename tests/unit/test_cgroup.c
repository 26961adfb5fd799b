/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Cgroup and process files. Parsing is tested on folders made here; ids,
 * freezing and what happens to removed cgroups on real cgroups below one of the
 * test's own (needs root and a cgroup2 mount, and says so when it skips).
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
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/proc.h"
#include "lib/util.h"

#include "folder_fixture.h"

#define DEADLINE_NS (20 * NSEC_PER_SEC)

/* ---- folders */

static int open_base(const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", base, name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* Mounts as mountinfo has them, with %s for the folder of the test. */
static void put_mounts(const char *format)
{
	char text[4096];

	snprintf(text, sizeof(text), format, base, base);
	put("proc/self/mountinfo", text);
}

static int find_root(char *path, size_t size, int *fd)
{
	char proc[128];

	snprintf(proc, sizeof(proc), "%s/proc", base);
	return cgroup_root_open(proc, fd, path, size);
}

static void the_cgroup2_mount_is_found_beside_v1_mounts(void **state)
{
	char path[PATH_MAX], expected[PATH_MAX];
	int fd = -1;

	(void)state;
	put("unified/x", NULL);
	put_mounts("31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
		   "36 31 0:33 / %s rw,relatime shared:9 - cgroup cgroup rw,freezer\n"
		   "41 31 0:38 / %s/unified rw,relatime shared:1 master:2 - cgroup2 cgroup2 rw\n");
	assert_int_equal(find_root(path, sizeof(path), &fd), 0);
	snprintf(expected, sizeof(expected), "%s/unified", base);
	assert_string_equal(path, expected);
	assert_true(fd >= 0);
	assert_int_equal(faccessat(fd, "x", F_OK, 0), -1); /* no such file in it, but a folder */
	close(fd);
}

static void a_mount_of_the_whole_hierarchy_is_preferred(void **state)
{
	char path[PATH_MAX], expected[PATH_MAX];
	int fd = -1;

	(void)state;
	put("part/x", NULL);
	put("whole/x", NULL);
	put_mounts("40 31 0:38 /docker/ab %s/part rw - cgroup2 cgroup2 rw\n"
		   "41 31 0:38 / %s/whole rw - cgroup2 cgroup2 rw\n");
	assert_int_equal(find_root(path, sizeof(path), &fd), 0);
	snprintf(expected, sizeof(expected), "%s/whole", base);
	assert_string_equal(path, expected);
	close(fd);
}

static void escaped_mount_points_are_read(void **state)
{
	char path[PATH_MAX];
	int fd = -1;

	(void)state;
	put("a b\\c/x", NULL);
	put_mounts("41 31 0:38 / %s/a\\040b\\134c rw - cgroup2 none rw\n");
	assert_int_equal(find_root(path, sizeof(path), &fd), 0);
	assert_non_null(strstr(path, "/a b\\c"));
	close(fd);
}

static void without_a_cgroup2_mount_there_is_a_clear_error(void **state)
{
	char path[PATH_MAX], tiny[4];
	int fd = -1;

	(void)state;
	put_mounts("36 31 0:33 / %s rw - cgroup cgroup rw,freezer\n");
	assert_int_equal(find_root(path, sizeof(path), &fd), -ENOENT);
	put_mounts("41 31 0:38 / %s rw - cgroup2 cgroup2 rw\n");
	assert_int_equal(find_root(tiny, sizeof(tiny), &fd), -ENAMETOOLONG);
	put_mounts("41 31 0:38\n - cgroup2 \n41 - cgroup2 x\n");
	assert_int_equal(find_root(path, sizeof(path), &fd), -ENOENT);
	assert_int_equal(fd, -1);
}

struct visits {
	char paths[16][64];
	size_t n;
	const char *skip; /* do not go below this one */
	const char *stop;
};

static int visit(int fd, uint64_t id, const char *path, void *arg)
{
	struct visits *v = arg;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_ino, id);
	assert_true(v->n < ARRAY_SIZE(v->paths));
	snprintf(v->paths[v->n++], sizeof(v->paths[0]), "%s", path);
	if (v->stop && strcmp(path, v->stop) == 0)
		return -ECANCELED;
	return v->skip && strcmp(path, v->skip) == 0;
}

static size_t visited(const struct visits *v, const char *path)
{
	for (size_t i = 0; i < v->n; i++) {
		if (strcmp(v->paths[i], path) == 0)
			return i;
	}
	return SIZE_MAX;
}

static void a_walk_visits_parents_first_and_only_folders(void **state)
{
	struct visits v = {.n = 0};
	int fd;

	(void)state;
	put("t/a/b/c/cgroup.procs", "");
	put("t/d/cgroup.procs", "");
	put("t/cgroup.procs", "");
	fd = open_base("t");
	assert_int_equal(cgroup_walk(fd, "", visit, &v), 0);
	assert_int_equal(v.n, 5);
	assert_string_equal(v.paths[0], "");
	assert_true(visited(&v, "a") < visited(&v, "a/b"));
	assert_true(visited(&v, "a/b") < visited(&v, "a/b/c"));
	assert_true(visited(&v, "d") != SIZE_MAX);

	v = (struct visits){.n = 0};
	assert_int_equal(cgroup_walk(fd, "a/b", visit, &v), 0);
	assert_int_equal(v.n, 2);
	assert_string_equal(v.paths[0], "a/b");
	assert_string_equal(v.paths[1], "a/b/c");
	assert_int_equal(cgroup_walk(fd, "nowhere", visit, &v), -ENOENT);
	close(fd);
}

static void a_walk_can_leave_out_children_or_stop(void **state)
{
	struct visits skip = {.skip = "a"}, stop = {.stop = "a"};
	int fd;

	(void)state;
	put("t/a/b/c/x", "");
	fd = open_base("t");
	assert_int_equal(cgroup_walk(fd, "", visit, &skip), 0);
	assert_int_equal(skip.n, 2);
	assert_int_equal(cgroup_walk(fd, "", visit, &stop), -ECANCELED);
	assert_int_equal(stop.n, 2);
	close(fd);
}

static void counters_are_read_by_key_not_by_place(void **state)
{
	uint64_t usec = 42;
	int fd;

	(void)state;
	put("c/cgroup.events", "populated 1\nfrozen 0\n");
	put("c/cpu.stat", "nr_periods 3\nusage_usec_x 7\nusage_usec 123456789012\nuser_usec 5\n");
	put("c/cgroup.freeze", "1\n");
	fd = open_base("c");
	assert_int_equal(cgroup_read_populated(fd), 1);
	assert_int_equal(cgroup_read_frozen(fd), 0);
	assert_int_equal(cgroup_read_freeze(fd), 1);
	assert_int_equal(cgroup_cpu_usec(fd, &usec), 0);
	assert_int_equal(usec, 123456789012);

	put("c/cgroup.events", "frozen 1\npopulated 0\n");
	assert_int_equal(cgroup_read_populated(fd), 0);
	assert_int_equal(cgroup_read_frozen(fd), 1);

	put("c/cgroup.events", "populated 1\n");
	assert_int_equal(cgroup_read_frozen(fd), -EPROTO);
	put("c/cpu.stat", "");
	usec = 42;
	assert_int_equal(cgroup_cpu_usec(fd, &usec), -EPROTO);
	assert_int_equal(usec, 42);
	assert_int_equal(cgroup_freeze_write(fd, false), 0);
	assert_int_equal(cgroup_read_freeze(fd), 0);
	close(fd);
}

/* ---- processes */

static void a_command_name_cannot_forge_the_state(void **state)
{
	char proc[128], path[PATH_MAX], c = '?';
	uint64_t ticks = 0;

	(void)state;
	snprintf(proc, sizeof(proc), "%s/proc", base);
	put("proc/77/stat", "77 (a) R 1 (b) T 1 77 77 0 -1 4194560 95 0 0 0 0 0 0 0 20 0 1 0 "
			    "987654 2600960 200\n");
	put("proc/77/cgroup", "4:memory:/x\n1:name=systemd:/y\n0::/a/0::/b\n");
	put("proc/78/stat", "78 (cut");
	put("proc/78/cgroup", "4:memory:/x\n");
	put("proc/79/cgroup", "0::/\n");
	assert_int_equal(proc_state(proc, 77, &c), 0);
	assert_int_equal(c, 'T');
	assert_int_equal(proc_start_time(proc, 77, &ticks), 0);
	assert_int_equal(ticks, 987654);
	assert_int_equal(proc_cgroup_v2_path(proc, 77, path, sizeof(path)), 0);
	assert_string_equal(path, "a/0::/b");
	assert_int_equal(proc_cgroup_v2_path(proc, 77, path, 7), -ENAMETOOLONG);
	assert_int_equal(proc_state(proc, 78, &c), -EPROTO);
	assert_int_equal(proc_cgroup_v2_path(proc, 78, path, sizeof(path)), -ENODATA);
	assert_int_equal(proc_cgroup_v2_path(proc, 79, path, sizeof(path)), 0);
	assert_string_equal(path, "");
	assert_int_equal(proc_state(proc, 80, &c), -ESRCH);
	assert_int_equal(proc_cgroup_v2_path(proc, 80, path, sizeof(path)), -ESRCH);
}

static void a_real_process_is_described(void **state)
{
	uint64_t first = 0, again = 1;
	char c = '?';
	int fd = proc_pidfd_open(getpid());
	pid_t child;

	(void)state;
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_int_equal(proc_state("/proc", getpid(), &c), 0);
	assert_int_equal(c, 'R');
	assert_int_equal(proc_start_time("/proc", getpid(), &first), 0);
	assert_int_equal(proc_start_time("/proc", getpid(), &again), 0);
	assert_int_equal(first, again);

	child = fork();
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(proc_state("/proc", child, &c), -ESRCH);
	assert_int_equal(proc_pidfd_open(child), -ESRCH);
}

/* ---- real cgroups */

static struct {
	int root;
	int fd; /* the test's own cgroup, -1: none to be had */
	char path[64];
	pid_t child;
} r;

static int make_real(void **state)
{
	char mount[PATH_MAX];

	(void)state;
	r.fd = r.root = r.child = -1;
	snprintf(r.path, sizeof(r.path), "hearth-test-cgroup-%d", getpid());
	if (cgroup_root_open("/proc", &r.root, mount, sizeof(mount)) == 0 &&
	    mkdirat(r.root, r.path, 0755) == 0)
		r.fd = cgroup_open(r.root, r.path);
	return 0;
}

static void end_child(void)
{
	if (r.child > 0) {
		kill(r.child, SIGKILL);
		waitpid(r.child, NULL, 0);
	}
	r.child = -1;
}

static int drop_real(void **state)
{
	(void)state;
	end_child();
	if (r.fd >= 0) {
		unlinkat(r.fd, "inner", AT_REMOVEDIR);
		unlinkat(r.root, r.path, AT_REMOVEDIR);
		close(r.fd);
	}
	if (r.root >= 0)
		close(r.root);
	return 0;
}

/* One sleeping process in the cgroup, and a cgroup in it. */
static void need_real(void)
{
	char pid[16];

	if (r.fd < 0) {
		print_message("skipped: needs a cgroup2 mount and the right to make cgroups\n");
		skip();
	}
	assert_int_equal(mkdirat(r.fd, "inner", 0755), 0);
	r.child = fork();
	if (r.child == 0) {
		for (;;)
			pause();
	}
	snprintf(pid, sizeof(pid), "%d", r.child);
	assert_int_equal(write_file_at(r.fd, "cgroup.procs", pid), 0);
}

static bool becomes(int (*read_it)(int fd), int fd, int wanted)
{
	for (uint64_t end = now_ns() + DEADLINE_NS; now_ns() < end; usleep(1000)) {
		if (read_it(fd) == wanted)
			return true;
	}
	return false;
}

static int count_pid(pid_t pid, void *arg)
{
	int *pids = arg;

	pids[0]++;
	pids[1] = pid;
	return 0;
}

static int stop_at_once(pid_t pid, void *arg)
{
	(void)pid;
	(void)arg;
	return 7;
}

static void a_cgroup_is_found_by_its_id(void **state)
{
	uint64_t id = 0, same = 1;
	char path[PATH_MAX];
	int fd;

	(void)state;
	need_real();
	assert_int_equal(cgroup_id_of_fd(r.fd, &id), 0);
	fd = cgroup_open_by_id(r.root, id);
	assert_true(fd >= 0);
	assert_int_equal(cgroup_id_of_fd(fd, &same), 0);
	assert_int_equal(id, same);
	assert_int_equal(cgroup_path_of_fd(r.root, fd, path, sizeof(path)), 0);
	assert_string_equal(path, r.path);
	assert_int_equal(cgroup_path_of_fd(r.root, r.root, path, sizeof(path)), 0);
	assert_string_equal(path, "");
	assert_int_equal(cgroup_path_of_fd(r.fd, r.root, path, sizeof(path)), -EXDEV);
	assert_int_equal(cgroup_path_of_fd(r.root, fd, path, 3), -ENAMETOOLONG);
	close(fd);
}

static void a_cgroup_freezes_and_thaws_with_its_process(void **state)
{
	char path[PATH_MAX];
	uint64_t usec = 0;
	int pids[2] = {0};

	(void)state;
	need_real();
	assert_int_equal(cgroup_read_populated(r.fd), 1);
	assert_int_equal(cgroup_procs(r.fd, count_pid, pids), 0);
	assert_int_equal(pids[0], 1);
	assert_int_equal(pids[1], r.child);
	assert_int_equal(cgroup_procs(r.fd, stop_at_once, NULL), 7);
	assert_int_equal(proc_cgroup_v2_path("/proc", r.child, path, sizeof(path)), 0);
	assert_non_null(strstr(path, r.path));
	assert_int_equal(cgroup_cpu_usec(r.fd, &usec), 0);

	assert_int_equal(cgroup_freeze_write(r.fd, true), 0);
	assert_int_equal(cgroup_read_freeze(r.fd), 1);
	assert_true(becomes(cgroup_read_frozen, r.fd, 1));
	assert_int_equal(cgroup_freeze_write(r.fd, false), 0);
	assert_true(becomes(cgroup_read_frozen, r.fd, 0));
	end_child();
	assert_true(becomes(cgroup_read_populated, r.fd, 0));
}

static void kill_ends_what_is_frozen(void **state)
{
	int status = 0;

	(void)state;
	need_real();
	assert_int_equal(cgroup_freeze_write(r.fd, true), 0);
	assert_true(becomes(cgroup_read_frozen, r.fd, 1));
	assert_int_equal(cgroup_kill(r.fd), 0);
	assert_int_equal(waitpid(r.child, &status, 0), r.child);
	r.child = -1;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_true(becomes(cgroup_read_populated, r.fd, 0));
}

static void a_removed_cgroup_is_not_there_for_every_function(void **state)
{
	struct visits v = {.n = 0};
	char path[PATH_MAX];
	uint64_t id = 0, usec;
	int pids[2] = {0};

	(void)state;
	need_real();
	assert_int_equal(cgroup_id_of_fd(r.fd, &id), 0);
	end_child();
	assert_true(becomes(cgroup_read_populated, r.fd, 0));
	assert_int_equal(unlinkat(r.fd, "inner", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(r.root, r.path, AT_REMOVEDIR), 0);
	assert_int_equal(cgroup_open(r.root, r.path), -ENOENT);
	assert_int_equal(cgroup_open_by_id(r.root, id), -ENOENT);
	assert_int_equal(cgroup_path_of_fd(r.root, r.fd, path, sizeof(path)), -ENOENT);
	assert_int_equal(cgroup_walk(r.root, r.path, visit, &v), -ENOENT);
	assert_int_equal(cgroup_freeze_write(r.fd, true), -ENOENT);
	assert_int_equal(cgroup_read_freeze(r.fd), -ENOENT);
	assert_int_equal(cgroup_read_frozen(r.fd), -ENOENT);
	assert_int_equal(cgroup_read_populated(r.fd), -ENOENT);
	assert_int_equal(cgroup_cpu_usec(r.fd, &usec), -ENOENT);
	assert_int_equal(cgroup_kill(r.fd), -ENOENT);
	assert_int_equal(cgroup_procs(r.fd, count_pid, pids), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_cgroup2_mount_is_found_beside_v1_mounts,
					    folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(a_mount_of_the_whole_hierarchy_is_preferred,
					    folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(escaped_mount_points_are_read, folder_make,
					    folder_remove),
	    cmocka_unit_test_setup_teardown(without_a_cgroup2_mount_there_is_a_clear_error,
					    folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(a_walk_visits_parents_first_and_only_folders,
					    folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(a_walk_can_leave_out_children_or_stop, folder_make,
					    folder_remove),
	    cmocka_unit_test_setup_teardown(counters_are_read_by_key_not_by_place, folder_make,
					    folder_remove),
	    cmocka_unit_test_setup_teardown(a_command_name_cannot_forge_the_state, folder_make,
					    folder_remove),
	    cmocka_unit_test(a_real_process_is_described),
	    cmocka_unit_test_setup_teardown(a_cgroup_is_found_by_its_id, make_real, drop_real),
	    cmocka_unit_test_setup_teardown(a_cgroup_freezes_and_thaws_with_its_process, make_real,
					    drop_real),
	    cmocka_unit_test_setup_teardown(kill_ends_what_is_frozen, make_real, drop_real),
	    cmocka_unit_test_setup_teardown(a_removed_cgroup_is_not_there_for_every_function,
					    make_real, drop_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
