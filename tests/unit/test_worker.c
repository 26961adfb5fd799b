/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The queue: order, one job per slot, cancels from any thread, delivery on the
 * loop. The jobs here wait in a system call until they are told to go on; what
 * the real ones do is tested with their modules.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/worker_internal.h"
#include "lib/clock.h"
#include "lib/util.h"

#define DEADLINE_NS (20 * NSEC_PER_SEC)
#define SLOTS       16u
#define MAX_SEEN    64u

static uv_loop_t loop;
static struct worker *worker;
static int gate[2]; /* one byte lets one job go on */
static struct worker_result seen[MAX_SEEN];
static unsigned int n_seen;
static _Atomic unsigned int n_begun;
static _Atomic uint32_t order[MAX_SEEN]; /* slots, as they began */
static _Atomic int priority_seen;

static void on_done(const struct worker_result *result, void *arg)
{
	assert_ptr_equal(arg, &loop);
	assert_true(n_seen < MAX_SEEN);
	seen[n_seen++] = *result;
}

static void start(unsigned int threads)
{
	struct worker_options o = {
	    .loop = &loop, .slots = SLOTS, .threads = threads, .done = on_done, .arg = &loop};

	n_seen = 0;
	atomic_store(&n_begun, 0);
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(worker_new(&o, &worker), 0);
}

static void stop(void)
{
	worker_free(worker);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	close(gate[0]);
	close(gate[1]);
}

/* Waits in read(2) for the gate; a signal makes it look at its flag. */
static void run_gated(struct worker *w, struct job *job, bool helper, struct worker_result *part)
{
	char byte;

	(void)w;
	(void)helper;
	atomic_store(&order[atomic_load(&n_begun)], job->result.slot);
	atomic_store(&priority_seen, getpriority(PRIO_PROCESS, 0));
	atomic_fetch_add(&n_begun, 1);
	while (!part->cancelled && read(gate[0], &byte, 1) != 1)
		part->cancelled = atomic_load(job->cancel);
}

static int queue(enum worker_kind kind, uint32_t slot, uint32_t gen)
{
	static const struct job_ops OPS = {.run = run_gated};
	struct job *job;
	int rc = worker_job(worker, kind, &OPS, slot, gen, -1, 1000 + slot, &job);

	return rc < 0 ? rc : worker_submit(worker, job);
}

static void open_gate(unsigned int n)
{
	while (n--)
		assert_int_equal(write(gate[1], "x", 1), 1);
}

static void await_begun(unsigned int n)
{
	uint64_t deadline = now_ns() + DEADLINE_NS;

	while (atomic_load(&n_begun) < n) {
		assert_true(now_ns() < deadline);
		usleep(200);
	}
}

static void await_seen(unsigned int n)
{
	uint64_t deadline = now_ns() + DEADLINE_NS;

	while (n_seen < n) {
		assert_true(now_ns() < deadline);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
}

static void a_result_says_whose_it_is(void **state)
{
	(void)state;
	start(1);
	assert_int_equal(queue(WORKER_RECLAIM, 3, 7), 0);
	assert_true(worker_busy(worker, 3));
	assert_false(worker_busy(worker, 4));
	open_gate(1);
	await_seen(1);
	assert_int_equal(seen[0].kind, WORKER_RECLAIM);
	assert_int_equal(seen[0].slot, 3);
	assert_int_equal(seen[0].gen, 7);
	assert_int_equal(seen[0].cgid, 1003);
	assert_false(seen[0].cancelled);
	assert_true(seen[0].took_ns > 0);
	assert_false(worker_busy(worker, 3));
	stop();
}

static void a_slot_takes_one_job_at_a_time(void **state)
{
	(void)state;
	start(2);
	assert_int_equal(queue(WORKER_RECLAIM, 1, 1), 0);
	assert_int_equal(queue(WORKER_PREFAULT, 1, 1), -EBUSY);
	assert_int_equal(queue(WORKER_RECORD, SLOTS, 1), -EINVAL);
	open_gate(1);
	await_seen(1);
	assert_int_equal(queue(WORKER_PREFAULT, 1, 1), 0);
	open_gate(1);
	await_seen(2);
	stop();
}

static void prefaults_go_before_recordings_and_those_before_reclaims(void **state)
{
	static const uint32_t ORDER[] = {0, 4, 5, 3, 1, 2};

	(void)state;
	start(1);
	assert_int_equal(queue(WORKER_RECLAIM, 0, 1), 0);
	await_begun(1);
	assert_int_equal(queue(WORKER_RECLAIM, 1, 1), 0);
	assert_int_equal(queue(WORKER_RECLAIM, 2, 1), 0);
	assert_int_equal(queue(WORKER_RECORD, 3, 1), 0);
	assert_int_equal(queue(WORKER_PREFAULT, 4, 1), 0);
	assert_int_equal(queue(WORKER_PREFAULT, 5, 1), 0);
	open_gate(6);
	await_seen(6);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(seen[i].slot, ORDER[i]);
		assert_int_equal(atomic_load(&order[i]), ORDER[i]);
	}
	stop();
}

static void one_reclaim_runs_and_leaves_a_thread_for_what_is_urgent(void **state)
{
	(void)state;
	start(2);
	assert_int_equal(queue(WORKER_RECLAIM, 0, 1), 0);
	assert_int_equal(queue(WORKER_RECLAIM, 1, 1), 0);
	await_begun(1);
	assert_int_equal(queue(WORKER_PREFAULT, 2, 1), 0);
	await_begun(2);
	assert_int_equal(atomic_load(&order[1]), 2);
	open_gate(3);
	await_seen(3);
	stop();
}

static void a_cancel_interrupts_the_system_call(void **state)
{
	(void)state;
	start(1);
	assert_int_equal(queue(WORKER_RECLAIM, 2, 1), 0);
	await_begun(1);
	/* The job may be between its flag and read(2): again, as a second event would. */
	while (n_seen == 0) {
		worker_cancel(worker, 2);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	assert_true(seen[0].cancelled);
	assert_int_equal(seen[0].error, 0);
	stop();
}

static void a_job_cancelled_in_the_queue_never_begins(void **state)
{
	(void)state;
	start(1);
	assert_int_equal(queue(WORKER_RECLAIM, 0, 1), 0);
	await_begun(1);
	assert_int_equal(queue(WORKER_RECLAIM, 1, 1), 0);
	worker_cancel(worker, 1);
	assert_false(worker_busy(worker, 1));
	open_gate(1);
	await_seen(2);
	assert_int_equal(seen[1].slot, 1);
	assert_true(seen[1].cancelled);
	assert_int_equal(seen[1].took_ns, 0);
	assert_int_equal(atomic_load(&n_begun), 1);
	stop();
}

static void a_job_may_follow_a_cancelled_one_at_once(void **state)
{
	(void)state;
	start(2);
	assert_int_equal(queue(WORKER_RECLAIM, 0, 1), 0); /* keeps the place of the one reclaim */
	await_begun(1);
	assert_int_equal(queue(WORKER_RECLAIM, 1, 1), 0);
	worker_cancel(worker, 1);
	assert_int_equal(queue(WORKER_RECLAIM, 1, 2), 0);
	worker_cancel(worker, 1);
	assert_int_equal(queue(WORKER_PREFAULT, 1, 3), 0);
	await_begun(2);
	assert_int_equal(queue(WORKER_PREFAULT, 1, 4), -EBUSY);
	open_gate(2);
	await_seen(4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(seen[i].cancelled, seen[i].slot == 1 && seen[i].gen != 3);
	stop();
}

/* The cancelled one holds on: the next of its slot waits, though a thread is free. */
static void run_stubborn(struct worker *w, struct job *job, bool helper, struct worker_result *part)
{
	char byte;

	(void)w;
	(void)helper;
	atomic_fetch_add(&n_begun, 1);
	while (read(gate[0], &byte, 1) != 1)
		;
	part->cancelled = atomic_load(job->cancel);
}

static void two_jobs_of_a_slot_never_run_at_once(void **state)
{
	static const struct job_ops OPS = {.run = run_stubborn};
	struct job *job;

	(void)state;
	start(2);
	assert_int_equal(worker_job(worker, WORKER_RECORD, &OPS, 1, 1, -1, 1, &job), 0);
	assert_int_equal(worker_submit(worker, job), 0);
	await_begun(1);
	worker_cancel(worker, 1);
	assert_int_equal(queue(WORKER_PREFAULT, 1, 2), 0);
	assert_int_equal(queue(WORKER_PREFAULT, 2, 1), 0); /* the free thread takes this one */
	await_begun(2);
	assert_int_equal(atomic_load(&order[1]), 2);
	open_gate(3);
	await_seen(3);
	assert_true(worker_busy(worker, 1) == false);
	stop();
}

static void a_cancel_of_one_slot_leaves_the_others(void **state)
{
	(void)state;
	start(2);
	assert_int_equal(queue(WORKER_RECLAIM, 0, 1), 0);
	assert_int_equal(queue(WORKER_PREFAULT, 1, 1), 0);
	await_begun(2);
	worker_cancel(worker, 5);
	worker_cancel(worker, SLOTS + 3);
	assert_true(worker_busy(worker, 0) && worker_busy(worker, 1));
	open_gate(2);
	await_seen(2);
	assert_false(seen[0].cancelled || seen[1].cancelled);
	stop();
}

static void only_reclaims_run_at_a_lower_priority(void **state)
{
	int base = getpriority(PRIO_PROCESS, 0);

	(void)state;
	start(1);
	open_gate(2);
	assert_int_equal(queue(WORKER_RECLAIM, 0, 1), 0);
	await_seen(1);
	assert_int_equal(atomic_load(&priority_seen), MIN(base + 5, 19));
	assert_int_equal(queue(WORKER_PREFAULT, 0, 1), 0);
	await_seen(2);
	if (geteuid() == 0)
		assert_int_equal(atomic_load(&priority_seen), base);
	stop();
}

/* ---- a helper */

static _Atomic unsigned int n_helpers;

static void run_shared(struct worker *w, struct job *job, bool helper, struct worker_result *part)
{
	if (!helper)
		worker_invite(w, job);
	else
		atomic_fetch_add(&n_helpers, 1);
	run_gated(w, job, helper, part);
	part->prefault.bytes = helper ? 1 : 10;
	part->prefault.took_ns = helper ? 5 : 3;
}

static void an_idle_thread_helps_and_the_result_is_one(void **state)
{
	static const struct job_ops OPS = {.run = run_shared};
	struct job *job;

	(void)state;
	start(2);
	atomic_store(&n_helpers, 0);
	assert_int_equal(worker_job(worker, WORKER_PREFAULT, &OPS, 1, 1, -1, 1, &job), 0);
	assert_int_equal(worker_submit(worker, job), 0);
	await_begun(2);
	open_gate(2);
	await_seen(1);
	assert_int_equal(atomic_load(&n_helpers), 1);
	assert_int_equal(seen[0].prefault.bytes, 11);
	assert_int_equal(seen[0].prefault.took_ns, 5);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(n_seen, 1);
	stop();
}

/* ---- the real jobs on a cgroup that is not one */

static void a_directory_that_is_no_cgroup_is_gone(void **state)
{
	struct prefault_options prefault = {};
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	start(2);
	assert_int_equal(worker_record(worker, 1, 1, fd, 12345), 0);
	assert_int_equal(worker_prefault(worker, 2, 1, fd, 12345, NULL, &prefault), 0);
	close(fd); /* the jobs have their own */
	await_seen(2);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(seen[i].error, -ENOENT);
		assert_false(seen[i].cancelled);
		assert_null(seen[i].set);
	}
	stop();
}

/* ---- many at once */

static _Atomic bool storm_over;

static void *storm(void *arg)
{
	unsigned int seed = 1;

	(void)arg;
	while (!atomic_load(&storm_over))
		worker_cancel(worker, (uint32_t)rand_r(&seed) % SLOTS);
	return NULL;
}

static void run_short(struct worker *w, struct job *job, bool helper, struct worker_result *part)
{
	if (!helper && job->result.kind == WORKER_PREFAULT)
		worker_invite(w, job);
	for (unsigned int i = 0; i < 50 && !part->cancelled; i++)
		part->cancelled = atomic_load(job->cancel);
}

/* Every job that was taken gives one result, whatever is cancelled when. */
static void every_job_gives_one_result_under_a_storm_of_cancels(void **state)
{
	static const struct job_ops OPS = {.run = run_short};
	unsigned int taken = 0, delivered = 0, seed = 2;
	pthread_t thread;

	(void)state;
	start(2);
	atomic_store(&storm_over, false);
	assert_int_equal(pthread_create(&thread, NULL, storm, NULL), 0);
	for (unsigned int i = 0; i < 20000; i++) {
		uint32_t slot = (uint32_t)rand_r(&seed) % SLOTS;
		struct job *job;

		assert_int_equal(
		    worker_job(worker, i % (WORKER_RECLAIM + 1), &OPS, slot, i, -1, 1, &job), 0);
		taken += worker_submit(worker, job) == 0;
		uv_run(&loop, UV_RUN_NOWAIT);
		delivered += n_seen;
		n_seen = 0;
	}
	atomic_store(&storm_over, true);
	pthread_join(thread, NULL);
	while (delivered < taken) {
		await_seen(1);
		delivered += n_seen;
		n_seen = 0;
	}
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(delivered + n_seen, taken);
	stop();
}

static void an_end_in_the_middle_cancels_and_frees_everything(void **state)
{
	(void)state;
	start(2);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		assert_int_equal(queue(slot % 2 ? WORKER_RECLAIM : WORKER_PREFAULT, slot, 1), 0);
	await_begun(2);
	close(gate[1]); /* a read that missed the signal ends too */
	gate[1] = dup(gate[0]);
	stop();
	assert_int_equal(n_seen, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_result_says_whose_it_is),
	    cmocka_unit_test(a_slot_takes_one_job_at_a_time),
	    cmocka_unit_test(prefaults_go_before_recordings_and_those_before_reclaims),
	    cmocka_unit_test(one_reclaim_runs_and_leaves_a_thread_for_what_is_urgent),
	    cmocka_unit_test(a_cancel_interrupts_the_system_call),
	    cmocka_unit_test(a_job_cancelled_in_the_queue_never_begins),
	    cmocka_unit_test(a_job_may_follow_a_cancelled_one_at_once),
	    cmocka_unit_test(two_jobs_of_a_slot_never_run_at_once),
	    cmocka_unit_test(a_cancel_of_one_slot_leaves_the_others),
	    cmocka_unit_test(only_reclaims_run_at_a_lower_priority),
	    cmocka_unit_test(an_idle_thread_helps_and_the_result_is_one),
	    cmocka_unit_test(a_directory_that_is_no_cgroup_is_gone),
	    cmocka_unit_test(every_job_gives_one_result_under_a_storm_of_cancels),
	    cmocka_unit_test(an_end_in_the_middle_cancels_and_frees_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
