/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Recording and prefault of real memory: a process in a cgroup of the test's own
 * is paged out to swap and touches known pages. Also what happens when it dies,
 * runs another program or moves away in the middle. Needs root, a cgroup2 mount
 * and swap, or a zram device nobody uses.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "agent/worker.h"
#include "agent/workset_internal.h"
#include "lib/cgroup.h"
#include "lib/proc.h"
#include "swap_fixture.h"

#define PAGE        UINT64_C(4096)
#define DEADLINE_NS (60 * NSEC_PER_SEC)

/* ---- a process in a cgroup of our own */

#define MIB          (UINT64_C(1) << 20)
#define MEMORY       (96 * MIB) /* of the process */
#define MAX_PROGRAMS 4

struct program {
	pid_t pid;
	int pidfd, sock;
	uint64_t base, bytes;
};

struct touch {
	uint64_t from, to, step; /* bytes from the base */
};

static int cgroot = -1, cgdir = -1;
static char cgname[64];
static uint64_t cgid;
static struct program programs[MAX_PROGRAMS];
static unsigned int n_programs;

static int make_cgroup(void **state)
{
	char mount[PATH_MAX];

	(void)state;
	n_programs = 0;
	if (no_swap)
		return 0;
	assert_int_equal(cgroup_root_open("/proc", &cgroot, mount, sizeof(mount)), 0);
	snprintf(cgname, sizeof(cgname), "hearth-test-workset-%d", (int)getpid());
	assert_int_equal(mkdirat(cgroot, cgname, 0755), 0);
	cgdir = cgroup_open(cgroot, cgname);
	assert_true(cgdir >= 0);
	assert_int_equal(cgroup_id_of_fd(cgdir, &cgid), 0);
	assert_int_equal(mkdirat(cgdir, "inner", 0755), 0);
	return 0;
}

static void end_program(struct program *p)
{
	if (p->pid <= 0)
		return;
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	close(p->pidfd);
	close(p->sock);
	p->pid = 0;
}

static int remove_cgroup(void **state)
{
	(void)state;
	if (no_swap)
		return 0;
	cgroup_freeze_write(cgdir, false);
	for (unsigned int i = 0; i < n_programs; i++)
		end_program(&programs[i]);
	unlinkat(cgdir, "inner", AT_REMOVEDIR);
	close(cgdir);
	if (unlinkat(cgroot, cgname, AT_REMOVEDIR) < 0)
		print_message("%s: %s\n", cgname, strerror(errno));
	close(cgroot);
	return 0;
}

/* Half of each page is noise: it compresses like real memory, not to nothing. */
static void fill(unsigned char *base, uint64_t bytes)
{
	uint64_t x = 88172645463325252u;

	for (uint64_t at = 0; at < bytes; at += PAGE)
		for (uint64_t i = 0; i < PAGE / 2; i += 8) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			memcpy(base + at + i, &x, 8);
		}
}

__attribute__((no_sanitize("address"))) static uint64_t touch_pages(const unsigned char *base,
								    struct touch t)
{
	uint64_t start = now_ns();
	unsigned int sum = 0;

	for (uint64_t at = t.from; at < t.to; at += t.step)
		sum += ((const volatile unsigned char *)base)[at];
	return now_ns() - start + (sum == 1);
}

/* The program: memory of its own, and orders to touch it or to become another program. */
static void live(int sock, uint64_t bytes)
{
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t answer = (uint64_t)(uintptr_t)base;
	struct touch t;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	madvise(base, bytes, MADV_NOHUGEPAGE);
	fill(base, bytes);
	for (;;) {
		if (write(sock, &answer, sizeof(answer)) != sizeof(answer) ||
		    read(sock, &t, sizeof(t)) != sizeof(t))
			_exit(1);
		if (!t.step)
			execl("/bin/sleep", "sleep", "1000", NULL);
		answer = touch_pages(base, t);
	}
}

static uint64_t answer_of(const struct program *p)
{
	uint64_t answer;

	assert_int_equal(read(p->sock, &answer, sizeof(answer)), sizeof(answer));
	return answer;
}

static struct program *start_program(uint64_t bytes, const char *where)
{
	struct program *p = &programs[n_programs];
	char text[32];
	int socks[2], dir;

	assert_true(n_programs < MAX_PROGRAMS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0)
		live(socks[1], bytes);
	n_programs++;
	close(socks[1]);
	p->sock = socks[0];
	p->pidfd = proc_pidfd_open(p->pid);
	p->bytes = bytes;
	dir = cgroup_open(cgdir, where);
	snprintf(text, sizeof(text), "%d", (int)p->pid);
	assert_int_equal(write_file_at(dir, "cgroup.procs", text), 0);
	close(dir);
	p->base = answer_of(p);
	return p;
}

static uint64_t touch(const struct program *p, uint64_t from, uint64_t to)
{
	struct touch t = {from, to, PAGE};

	assert_int_equal(write(p->sock, &t, sizeof(t)), sizeof(t));
	return answer_of(p);
}

static void freeze(bool on)
{
	uint64_t deadline = now_ns() + DEADLINE_NS;

	assert_int_equal(cgroup_freeze_write(cgdir, on), 0);
	while (cgroup_read_frozen(cgdir) != on)
		assert_true(now_ns() < deadline);
}

static uint64_t bytes_of(const struct program *p, enum page_kind kind)
{
	struct region regions[64];
	uint64_t at = p->base, end = p->base + p->bytes, sum = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)p->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	while (at < end) {
		int n = pages_scan(fd, kind, at, end, regions, ARRAY_SIZE(regions), &at);

		assert_true(n >= 0);
		for (int i = 0; i < n; i++)
			sum += regions[i].end - regions[i].start;
	}
	close(fd);
	return sum;
}

/*
 * All of the program's memory to swap. A few pages wait in a list of the CPU that
 * faulted them in, which only a call on that CPU empties: so one call on each.
 */
static void page_out(const struct program *p)
{
	struct iovec whole = {(void *)(uintptr_t)p->base, p->bytes};
	uint64_t deadline = now_ns() + DEADLINE_NS;
	int cpus = (int)sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t all;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	for (int cpu = 0; bytes_of(p, PAGE_PRESENT); cpu = (cpu + 1) % cpus) {
		cpu_set_t one;

		assert_true(now_ns() < deadline);
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
		syscall(SYS_process_madvise, p->pidfd, &whole, 1, MADV_PAGEOUT, 0);
	}
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(bytes_of(p, PAGE_SWAPPED), p->bytes);
}

/* What the set says about the program's own memory; the rest is its stack and libraries. */
static uint64_t bytes_within(const struct workset *set, const struct program *p, uint64_t from,
			     uint64_t to)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < set->n_processes; i++) {
		const struct ws_process *proc = &set->processes[i];

		for (uint32_t k = 0; proc->pid == p->pid && k < proc->n; k++) {
			const struct ws_range *r = &set->ranges[proc->first + k];
			uint64_t a = MAX(r->start, p->base + from), b = MIN(r->end, p->base + to);

			sum += b > a ? b - a : 0;
		}
	}
	return sum;
}

static struct workset *recorded(void)
{
	struct workset *set;

	assert_int_equal(workset_record(cgdir, cgid, NULL, &set), 0);
	return set;
}

static struct prefault_result prefault(const struct workset *set, struct prefault_options o)
{
	struct prefault_result r;
	int rc = workset_prefault(set, cgdir, cgid, &o, &r);

	assert_int_equal(rc, r.error);
	return r;
}

static void skip_for(const char *reason)
{
	if (!reason)
		return;
	print_message("skipped: %s\n", reason);
	skip();
}

#define NEEDS_SWAP                                                                                 \
	do {                                                                                       \
		(void)state;                                                                       \
		skip_for(no_swap);                                                                 \
	} while (0)

static void a_recording_is_what_a_request_touched(void **state)
{
	struct program *p;
	struct workset *set;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	freeze(true);
	page_out(p);
	freeze(false);
	touch(p, 8 * MIB, 12 * MIB);
	touch(p, 40 * MIB, 41 * MIB);
	touch(p, 50 * MIB + 3 * PAGE, 50 * MIB + 4 * PAGE);
	freeze(true);
	set = recorded();
	assert_int_equal(bytes_within(set, p, 8 * MIB, 12 * MIB), 4 * MIB);
	assert_int_equal(bytes_within(set, p, 40 * MIB, 41 * MIB), MIB);
	assert_int_equal(bytes_within(set, p, 0, MEMORY), 5 * MIB + PAGE);
	print_message("stack, libraries and the like: %llu kB\n",
		      (unsigned long long)(workset_bytes(set) - 5 * MIB - PAGE) / 1024);
	workset_free(set);
}

static void both_ways_to_scan_agree(void **state)
{
	static const enum page_kind KINDS[] = {PAGE_PRESENT, PAGE_SWAPPED};
	struct program *p;
	char path[64];
	int fd;

	NEEDS_SWAP;
	p = start_program(8 * MIB, ".");
	page_out(p);
	for (uint64_t at = 0; at < 8 * MIB; at += 37 * PAGE)
		touch(p, at, at + PAGE);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)p->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (size_t k = 0; k < ARRAY_SIZE(KINDS); k++) {
		struct region a[16], b[16];
		uint64_t at = p->base, next_a, next_b, end = p->base + p->bytes;

		while (at < end) {
			int n = pages_scan_ioctl(fd, KINDS[k], at, end, a, 16, &next_a);

			if (n == -ENOTTY) {
				close(fd);
				skip_for("this kernel has no PAGEMAP_SCAN to compare with");
			}
			assert_int_equal(pages_scan_words(fd, KINDS[k], at, end, b, 16, &next_b),
					 n);
			assert_memory_equal(a, b, (size_t)n * sizeof(a[0]));
			at = n ? a[n - 1].end : end;
		}
	}
	close(fd);
}

static void a_prefault_brings_back_the_recorded_pages_and_no_others(void **state)
{
	struct prefault_result r;
	struct program *p;
	struct workset *set;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	page_out(p);
	touch(p, 0, 32 * MIB);
	freeze(true);
	set = recorded();
	page_out(p);
	r = prefault(set, (struct prefault_options){});
	assert_int_equal(r.error, 0);
	assert_false(r.cancelled);
	assert_int_equal(r.bytes, 32 * MIB);
	assert_int_equal(bytes_of(p, PAGE_PRESENT), 32 * MIB);
	assert_int_equal(bytes_of(p, PAGE_SWAPPED), MEMORY - 32 * MIB);
	assert_int_equal(prefault(set, (struct prefault_options){}).bytes, 0);
	assert_int_equal(cgroup_read_frozen(cgdir), 1);
	workset_free(set);
}

static void everything_in_swap_comes_back_from_either_end(void **state)
{
	static const struct prefault_options OPTIONS[] = {
	    {.backwards = false},
	    {.backwards = true},
	    {.disk = true},
	    {.disk = true, .backwards = true},
	};
	struct program *p;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	freeze(true);
	for (size_t i = 0; i < ARRAY_SIZE(OPTIONS); i++) {
		struct prefault_result r;
		struct workset *set;

		page_out(p);
		assert_int_equal(workset_swapped(cgdir, cgid, NULL, &set), 0);
		assert_int_equal(bytes_within(set, p, 0, MEMORY), MEMORY);
		r = prefault(set, OPTIONS[i]);
		assert_true(r.bytes >= MEMORY);
		assert_int_equal(bytes_of(p, PAGE_PRESENT), MEMORY);
		workset_free(set);
	}
}

/* Not to whoever asked for them. */
static void what_comes_back_is_charged_to_the_instance(void **state)
{
	char text[32];
	struct program *p;
	struct workset *set;
	long long before;

	NEEDS_SWAP;
	if (read_file_at(cgdir, "memory.current", text, sizeof(text)) < 0)
		skip_for("needs the memory controller in cgroup2");
	p = start_program(MEMORY, ".");
	set = recorded();
	freeze(true);
	page_out(p);
	assert_true(read_file_at(cgdir, "memory.current", text, sizeof(text)) > 0);
	before = atoll(text);
	prefault(set, (struct prefault_options){});
	assert_true(read_file_at(cgdir, "memory.current", text, sizeof(text)) > 0);
	assert_true(atoll(text) - before > (long long)(MEMORY - MEMORY / 8));
	workset_free(set);
}

static void processes_of_nested_cgroups_belong_to_it(void **state)
{
	struct program *outer, *inner;
	struct workset *set;

	NEEDS_SWAP;
	outer = start_program(4 * MIB, ".");
	inner = start_program(8 * MIB, "inner");
	freeze(true);
	set = recorded();
	assert_int_equal(workset_processes(set), 2);
	assert_int_equal(workset_left_out(set), 0);
	page_out(outer);
	page_out(inner);
	prefault(set, (struct prefault_options){});
	assert_int_equal(bytes_of(outer, PAGE_PRESENT), 4 * MIB);
	assert_int_equal(bytes_of(inner, PAGE_PRESENT), 8 * MIB);
	workset_free(set);
}

/* Warm, paged out and on demand, prefaulted: the middle one must be far off. */
static void a_prefaulted_process_is_nearly_as_fast_as_a_warm_one(void **state)
{
	uint64_t warm = UINT64_MAX, demand = UINT64_MAX, ready = UINT64_MAX;
	struct program *p;
	struct workset *set;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	set = recorded();
	for (int i = 0; i < 3; i++) {
		warm = MIN(warm, touch(p, 0, MEMORY));
		page_out(p);
		demand = MIN(demand, touch(p, 0, MEMORY));
		freeze(true);
		page_out(p);
		assert_true(prefault(set, (struct prefault_options){}).bytes >= MEMORY);
		freeze(false);
		ready = MIN(ready, touch(p, 0, MEMORY));
	}
	print_message("96 MB, touched: warm %.2f ms, on demand %.2f, prefaulted %.2f; "
		      "prefaulted/warm %.2f, on demand/prefaulted %.0f\n",
		      warm / 1e6, demand / 1e6, ready / 1e6, (double)ready / (double)warm,
		      (double)demand / (double)ready);
	assert_true(ready < demand / 4);
	workset_free(set);
}

/* ---- what happens in the middle of a prefault */

struct prefaulting {
	pthread_t thread;
	const struct workset *set;
	struct prefault_options o;
	struct prefault_result r;
	_Atomic bool cancel;
	uint64_t ended_ns;
};

static void *prefault_thread(void *arg)
{
	struct prefaulting *f = arg;

	workset_prefault(f->set, cgdir, cgid, &f->o, &f->r);
	f->ended_ns = now_ns();
	return NULL;
}

/* Returns when `started` bytes are there. */
static void start_prefault(struct prefaulting *f, const struct program *p,
			   const struct workset *set, uint64_t rate, uint64_t started)
{
	uint64_t deadline = now_ns() + DEADLINE_NS;

	*f = (struct prefaulting){.set = set, .o = {.rate_bytes_s = rate}};
	f->o.cancel = &f->cancel;
	assert_int_equal(pthread_create(&f->thread, NULL, prefault_thread, f), 0);
	while (bytes_of(p, PAGE_PRESENT) < started)
		assert_true(now_ns() < deadline);
}

static struct workset *paged_out(const struct program *p)
{
	struct workset *set = recorded();

	freeze(true);
	page_out(p);
	return set;
}

static void a_cancel_ends_it_within_a_few_batches(void **state)
{
	struct prefaulting f;
	struct program *p;
	struct workset *set;
	uint64_t before, whole;

	NEEDS_SWAP;
	p = start_program(2 * MEMORY, ".");
	set = paged_out(p);
	whole = prefault(set, (struct prefault_options){}).took_ns;
	page_out(p);
	start_prefault(&f, p, set, 0, MIB);
	before = now_ns();
	atomic_store(&f.cancel, true);
	pthread_join(f.thread, NULL);
	assert_true(f.r.cancelled);
	assert_int_equal(f.r.error, 0);
	assert_true(f.r.bytes < MEMORY);
	print_message("whole prefault %.1f ms; after a cancel it ended in %.2f ms\n", whole / 1e6,
		      (f.ended_ns - before) / 1e6);
	workset_free(set);
}

static void a_cancel_ends_one_that_paces_itself(void **state)
{
	struct prefaulting f;
	struct program *p;
	struct workset *set;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	set = paged_out(p);
	start_prefault(&f, p, set, 1, PAGE); /* its second batch would come in 12 days */
	atomic_store(&f.cancel, true);
	pthread_join(f.thread, NULL);
	assert_true(f.r.cancelled);
	assert_true(f.r.bytes <= 2 * MIB);
	workset_free(set);
}

static void the_rate_is_kept(void **state)
{
	struct prefault_result r;
	struct program *p;
	struct workset *set;

	NEEDS_SWAP;
	p = start_program(16 * MIB, ".");
	set = paged_out(p);
	r = prefault(set, (struct prefault_options){.rate_bytes_s = 64 * MIB});
	assert_true(r.bytes >= 16 * MIB);
	assert_true(r.took_ns >= NSEC_PER_SEC / 4);
	assert_true(r.cpu_ns < r.took_ns);
	page_out(p);
	r = prefault(set, (struct prefault_options){.cpu_share = 0.1});
	assert_true(r.bytes >= 16 * MIB);
	assert_true(r.cpu_ns <= r.took_ns / 5);
	workset_free(set);
}

static void a_process_that_is_killed_ends_it(void **state)
{
	struct prefaulting f;
	struct program *p;
	struct workset *set;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	set = paged_out(p);
	start_prefault(&f, p, set, 20 * MIB, MIB);
	end_program(p);
	pthread_join(f.thread, NULL);
	assert_false(f.r.cancelled);
	assert_int_equal(f.r.error, 0);
	assert_true(f.r.bytes < MEMORY / 2);
	assert_int_equal(prefault(set, (struct prefault_options){}).bytes, 0);
	workset_free(set);
}

static void a_process_that_left_the_cgroup_is_left_alone(void **state)
{
	struct prefaulting f;
	uint64_t present;
	struct program *p;
	struct workset *set;
	char text[32];

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	set = paged_out(p);
	start_prefault(&f, p, set, 20 * MIB, MIB);
	snprintf(text, sizeof(text), "%d", (int)p->pid);
	assert_int_equal(write_file_at(cgroot, "cgroup.procs", text), 0);
	pthread_join(f.thread, NULL);
	present = bytes_of(p, PAGE_PRESENT);
	assert_true(present < MEMORY / 2);
	assert_int_equal(prefault(set, (struct prefault_options){}).bytes, 0);
	assert_int_equal(bytes_of(p, PAGE_PRESENT), present);
	workset_free(set);
}

static void another_program_in_the_same_process_is_not_read(void **state)
{
	struct touch exec = {};
	struct prefaulting f;
	struct program *p;
	struct workset *set;
	char end;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	set = paged_out(p);
	freeze(false);
	start_prefault(&f, p, set, 20 * MIB, MIB);
	assert_int_equal(write(p->sock, &exec, sizeof(exec)), sizeof(exec));
	assert_int_equal(read(p->sock, &end, 1), 0); /* its end of the socket went with exec */
	pthread_join(f.thread, NULL);
	assert_int_equal(f.r.error, 0);
	assert_true(f.r.bytes < MEMORY / 2);
	workset_free(set);
}

static void a_reused_pid_is_not_read(void **state)
{
	struct program *p;
	struct workset *set;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	set = paged_out(p);
	set->processes[0].start_ticks--;
	assert_int_equal(prefault(set, (struct prefault_options){}).bytes, 0);
	assert_int_equal(bytes_of(p, PAGE_PRESENT), 0);
	workset_free(set);
}

static void a_cgroup_that_is_gone_is_said_so(void **state)
{
	struct prefault_options o = {};
	struct prefault_result r;
	struct program *p;
	struct workset *set, *other;

	NEEDS_SWAP;
	p = start_program(4 * MIB, ".");
	set = recorded();
	assert_int_equal(workset_record(cgdir, cgid + 1, NULL, &other), -ENOENT);
	assert_int_equal(workset_prefault(set, cgdir, cgid + 1, &o, &r), -ENOENT);
	end_program(p);
	assert_int_equal(unlinkat(cgdir, "inner", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(cgroot, cgname, AT_REMOVEDIR), 0);
	assert_int_equal(workset_record(cgdir, cgid, NULL, &other), -ENOENT);
	assert_int_equal(workset_prefault(set, cgdir, cgid, &o, &r), -ENOENT);
	assert_int_equal(mkdirat(cgroot, cgname, 0755), 0); /* another one of that name */
	assert_int_equal(workset_prefault(set, cgdir, cgid, &o, &r), -ENOENT);
	workset_free(set);
}

/* ---- by the worker */

static struct worker_result result;
static unsigned int n_results;

static void on_result(const struct worker_result *r, void *arg)
{
	(void)arg;
	result = *r;
	n_results++;
}

static void await_result(uv_loop_t *loop, unsigned int n)
{
	uint64_t deadline = now_ns() + DEADLINE_NS;

	while (n_results < n) {
		assert_true(now_ns() < deadline);
		uv_run(loop, UV_RUN_NOWAIT);
		usleep(1000); /* the worker may be on this processor */
	}
}

static void start_worker(uv_loop_t *loop, unsigned int threads, struct worker **worker)
{
	struct worker_options o = {.loop = loop, .slots = 4, .threads = threads, .done = on_result};

	n_results = 0;
	assert_int_equal(uv_loop_init(loop), 0);
	assert_int_equal(worker_new(&o, worker), 0);
}

static void stop_worker(uv_loop_t *loop, struct worker *worker)
{
	worker_free(worker);
	uv_run(loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(loop), 0);
}

static void the_worker_records_and_prefaults_with_one_thread_or_two(void **state)
{
	struct prefault_options o = {};
	struct program *p;

	NEEDS_SWAP;
	p = start_program(2 * MEMORY, ".");
	for (unsigned int threads = 1; threads <= 2; threads++) {
		struct worker *worker;
		struct workset *set;
		uv_loop_t loop;

		start_worker(&loop, threads, &worker);
		assert_int_equal(worker_record(worker, 1, 7, cgdir, cgid), 0);
		await_result(&loop, 1);
		set = result.set;
		assert_int_equal(result.error, 0);
		assert_true(bytes_within(set, p, 0, p->bytes) == p->bytes);
		freeze(true);
		page_out(p);
		assert_int_equal(worker_prefault(worker, 1, 7, cgdir, cgid, set, &o), 0);
		workset_free(set); /* the job has its own */
		await_result(&loop, 2);
		assert_int_equal(result.error, 0);
		assert_false(result.cancelled);
		assert_int_equal(bytes_of(p, PAGE_PRESENT), p->bytes);
		print_message("192 MB, %u thread%s: %.1f ms, %.1f ms of CPU\n", threads,
			      threads > 1 ? "s" : "", result.took_ns / 1e6,
			      result.prefault.cpu_ns / 1e6);
		freeze(false);
		stop_worker(&loop, worker);
	}
}

static void the_worker_reclaims_and_brings_everything_back(void **state)
{
	struct reclaim_options reclaim = {.want_bytes = RECLAIM_ALL, .swap = true};
	struct prefault_options o = {};
	struct worker *worker;
	struct program *p;
	uv_loop_t loop;

	NEEDS_SWAP;
	p = start_program(MEMORY, ".");
	freeze(true);
	start_worker(&loop, 2, &worker);
	assert_int_equal(worker_reclaim(worker, 1, 7, cgdir, cgid, &reclaim), 0);
	await_result(&loop, 1);
	assert_int_equal(result.error, 0);
	assert_true(bytes_of(p, PAGE_SWAPPED) >= MEMORY / 2);
	assert_int_equal(worker_prefault(worker, 1, 7, cgdir, cgid, NULL, &o), 0);
	await_result(&loop, 2);
	assert_int_equal(bytes_of(p, PAGE_SWAPPED), 0);
	assert_int_equal(bytes_of(p, PAGE_PRESENT), MEMORY);
	stop_worker(&loop, worker);
}

static void a_wake_ends_the_reclaim_that_runs(void **state)
{
	struct reclaim_options o = {.want_bytes = RECLAIM_ALL, .swap = true};
	uint64_t deadline = now_ns() + DEADLINE_NS;
	struct worker *worker;
	struct program *p;
	uv_loop_t loop;

	NEEDS_SWAP;
	p = start_program(2 * MEMORY, ".");
	freeze(true);
	start_worker(&loop, 2, &worker);
	assert_int_equal(worker_reclaim(worker, 1, 7, cgdir, cgid, &o), 0);
	while (!bytes_of(p, PAGE_SWAPPED))
		assert_true(now_ns() < deadline);
	worker_cancel(worker, 1);
	await_result(&loop, 1);
	assert_true(result.cancelled);
	assert_int_equal(result.error, 0);
	assert_true(bytes_of(p, PAGE_PRESENT) > MEMORY / 2);
	stop_worker(&loop, worker);
}

#define real_test(t) cmocka_unit_test_setup_teardown(t, make_cgroup, remove_cgroup)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    real_test(a_recording_is_what_a_request_touched),
	    real_test(both_ways_to_scan_agree),
	    real_test(a_prefault_brings_back_the_recorded_pages_and_no_others),
	    real_test(everything_in_swap_comes_back_from_either_end),
	    real_test(what_comes_back_is_charged_to_the_instance),
	    real_test(processes_of_nested_cgroups_belong_to_it),
	    real_test(a_prefaulted_process_is_nearly_as_fast_as_a_warm_one),
	    real_test(a_cancel_ends_it_within_a_few_batches),
	    real_test(a_cancel_ends_one_that_paces_itself),
	    real_test(the_rate_is_kept),
	    real_test(a_process_that_is_killed_ends_it),
	    real_test(a_process_that_left_the_cgroup_is_left_alone),
	    real_test(another_program_in_the_same_process_is_not_read),
	    real_test(a_reused_pid_is_not_read),
	    real_test(a_cgroup_that_is_gone_is_said_so),
	    real_test(the_worker_records_and_prefaults_with_one_thread_or_two),
	    real_test(the_worker_reclaims_and_brings_everything_back),
	    real_test(a_wake_ends_the_reclaim_that_runs),
	};

	return cmocka_run_group_tests(tests, open_swap, close_swap);
}
