/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pressure: what the kernel writes is read, damaged text is not, and a trigger
 * tells. CPU pressure stands in for memory's: it is the same mechanism, and two
 * busy processes on one CPU are pressure for certain, on any host.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/psi.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/util.h"

#define PSI_CPU     "/proc/pressure/cpu"
#define DEADLINE_MS 20000

static void both_lines_are_read(void **state)
{
	static const char text[] = "some avg10=12.50 avg60=1.00 avg300=0.10 total=123456789012\n"
				   "full avg10=100.00 avg60=0.00 avg300=0.00 total=7\n";
	struct psi_use use;

	(void)state;
	assert_int_equal(psi_parse(text, &use), 0);
	assert_float_equal(use.some.avg10, 0.125, 1e-12);
	assert_float_equal(use.some.avg60, 0.01, 1e-12);
	assert_float_equal(use.some.avg300, 0.001, 1e-12);
	assert_true(use.some.total_us == 123456789012);
	assert_float_equal(use.full.avg10, 1, 1e-12);
	assert_true(use.full.total_us == 7);
	assert_int_equal(psi_parse("some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n", &use), 0);
	assert_true(use.full.total_us == 0);
}

static void what_is_no_pressure_is_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "some\n",
	    "some avg10=1.00 avg60=0.00 avg300=0.00\n",
	    "some avg10=101.00 avg60=0.00 avg300=0.00 total=1\n",
	    "some avg10=-1.00 avg60=0.00 avg300=0.00 total=1\n",
	    "some avg10=nan avg60=0.00 avg300=0.00 total=1\n",
	    "full avg10=1.00 avg60=0.00 avg300=0.00 total=1\n",
	    "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\nfull avg10=x\n",
	};
	struct psi_use use = {.some.total_us = 5};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(psi_parse(bad[i], &use), -EBADMSG);
	assert_true(use.some.total_us == 5);
	assert_int_equal(psi_read("/nowhere/memory.pressure", &use), -EOPNOTSUPP);
}

static void the_host_is_read(void **state)
{
	struct psi_use use;
	int rc = psi_read(PSI_MEMORY, &use);

	(void)state;
	if (rc == -EOPNOTSUPP) {
		print_message("skipped: this kernel has no pressure information\n");
		skip();
	}
	assert_int_equal(rc, 0);
	assert_true(use.full.total_us <= use.some.total_us);
}

/* ---- triggers */

struct watch {
	uv_loop_t loop;
	uv_timer_t deadline;
	unsigned int events;
};

static void on_event(void *arg)
{
	struct watch *w = arg;

	w->events++;
}

static void on_deadline(uv_timer_t *t)
{
	(void)t;
	fail_msg("no pressure was told of");
}

static void begin(struct watch *w)
{
	memset(w, 0, sizeof(*w));
	uv_loop_init(&w->loop);
	uv_timer_init(&w->loop, &w->deadline);
	uv_timer_start(&w->deadline, on_deadline, DEADLINE_MS, 0);
}

static void finish(struct watch *w, struct psi *p)
{
	psi_free(p);
	uv_close((uv_handle_t *)&w->deadline, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
}

static int listen_to(struct watch *w, const char *path, double share, uint64_t window_ns,
		     struct psi **p, char why[200])
{
	struct psi_options o = {&w->loop, path, share, window_ns, on_event, w};

	why[0] = '\0';
	return psi_new(&o, p, why, 200);
}

static void a_trigger_that_cannot_be_has_a_reason(void **state)
{
	struct psi *p = NULL;
	struct watch w;
	char why[200];

	(void)state;
	begin(&w);
	assert_int_equal(listen_to(&w, PSI_CPU, 0, NSEC_PER_SEC, &p, why), -EINVAL);
	assert_int_equal(listen_to(&w, PSI_CPU, 1.1, NSEC_PER_SEC, &p, why), -EINVAL);
	assert_int_equal(listen_to(&w, PSI_CPU, 0.1, NSEC_PER_MSEC, &p, why), -EINVAL);
	assert_non_null(strstr(why, "500 ms"));
	assert_int_equal(listen_to(&w, "/nowhere/pressure", 0.1, NSEC_PER_SEC, &p, why),
			 -EOPNOTSUPP);
	assert_non_null(strstr(why, "/nowhere/pressure: the kernel keeps no pressure"));
	assert_null(p);
	finish(&w, NULL);
}

static pid_t spin_on(int cpu)
{
	pid_t parent = getpid(), pid = fork();
	cpu_set_t set;

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	alarm(DEADLINE_MS / 1000);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (;;)
		__asm__ volatile("");
}

/* Skips where the kernel or our rights do not allow a trigger. */
static struct psi *real_trigger(struct watch *w, const char *path)
{
	struct psi *p = NULL;
	char why[200];
	int rc;

	begin(w);
	rc = listen_to(w, path, 0.1, 500 * NSEC_PER_MSEC, &p, why);
	if (rc) {
		finish(w, NULL);
		assert_true(rc == -EOPNOTSUPP || rc == -EPERM || rc == -EACCES);
		print_message("skipped: %s\n", why);
		skip();
	}
	return p;
}

static void a_trigger_tells_of_pressure(void **state)
{
	struct psi *p;
	struct watch w;
	pid_t spin[2];
	int cpu;

	(void)state;
	p = real_trigger(&w, PSI_CPU);
	cpu = sched_getcpu();
	for (int i = 0; i < 2; i++)
		spin[i] = spin_on(cpu);
	while (w.events < 2) /* the first event was taken back, or there were no second */
		uv_run(&w.loop, UV_RUN_ONCE);
	for (int i = 0; i < 2; i++) {
		kill(spin[i], SIGKILL);
		waitpid(spin[i], NULL, 0);
	}
	assert_true(psi_window_ns(p) == 500 * NSEC_PER_MSEC ||
		    psi_window_ns(p) == 2 * NSEC_PER_SEC);
	finish(&w, p);
}

static void memory_has_a_trigger_too(void **state)
{
	struct watch w;

	(void)state;
	finish(&w, real_trigger(&w, PSI_MEMORY));
}

/* ---- memory, where cgroup2 has the controller */

#define HOG_BYTES (UINT64_C(64) << 20)

static char cgroup[PATH_MAX];

static int make_cgroup(void **state)
{
	char root[PATH_MAX - 32];
	int fd;

	(void)state;
	if (cgroup_root_open("/proc", &fd, root, sizeof(root)) < 0)
		return 0;
	close(fd);
	snprintf(cgroup, sizeof(cgroup), "%s/hearth-test-psi-%d", root, getpid());
	if (mkdir(cgroup, 0755) < 0)
		cgroup[0] = '\0';
	return 0;
}

static int remove_cgroup(void **state)
{
	(void)state;
	return *cgroup ? rmdir(cgroup) : 0;
}

/* Writes over more memory than its cgroup may have, again and again. */
static pid_t hog_in(int dirfd)
{
	pid_t parent = getpid(), pid = fork();
	char *p;

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || write_file_at(dirfd, "cgroup.procs", "0") < 0)
		_exit(1);
	alarm(DEADLINE_MS / 1000);
	p = mmap(NULL, HOG_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (uint64_t i = 0;; i = (i + 4096) % HOG_BYTES)
		p[i]++;
}

static void a_memory_hog_is_told_of(void **state)
{
	_cleanup_close_ int dirfd = *cgroup ? open(cgroup, O_DIRECTORY | O_CLOEXEC) : -1;
	char path[PATH_MAX + 32];
	struct psi *p;
	struct watch w;
	pid_t hog;

	(void)state;
	if (dirfd < 0 || write_file_at(dirfd, "memory.high", "8M") < 0) {
		print_message("skipped: needs the memory controller in cgroup2\n");
		skip();
	}
	snprintf(path, sizeof(path), "%s/memory.pressure", cgroup);
	p = real_trigger(&w, path);
	hog = hog_in(dirfd);
	while (w.events < 2)
		uv_run(&w.loop, UV_RUN_ONCE);
	kill(hog, SIGKILL);
	waitpid(hog, NULL, 0);
	finish(&w, p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_lines_are_read),
	    cmocka_unit_test(what_is_no_pressure_is_refused),
	    cmocka_unit_test(the_host_is_read),
	    cmocka_unit_test(a_trigger_that_cannot_be_has_a_reason),
	    cmocka_unit_test(a_trigger_tells_of_pressure),
	    cmocka_unit_test(memory_has_a_trigger_too),
	    cmocka_unit_test_setup_teardown(a_memory_hog_is_told_of, make_cgroup, remove_cgroup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
