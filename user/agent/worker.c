/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Queue and threads. The loop's thread and the workers share one lock, which
 * nobody holds while a job runs. worker_cancel takes no lock: it sets the flags of
 * the slot's two cells and signals the thread that says it is in that slot. A
 * thread says so before it looks at the flag, so one of the two sees the other.
 *
 * Two cells, because a cancelled job may need a moment to let go while the next
 * one of that slot waits already.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/worker_internal.h"
#include "lib/clock.h"
#include "lib/util.h"

#define NO_SLOT      UINT32_MAX
#define CELLS        2u
#define KINDS        (WORKER_RECLAIM + 1u)
#define RECLAIM_NICE 5      /* above the agent's own: requests come first */
#define WAKE_SIGNAL  SIGURG /* ignored by default, so a stray one does nothing */

TAILQ_HEAD(jobs, job);

struct cell {
	struct job *job; /* queued or running; under the lock */
	_Atomic bool cancel;
};

struct thread {
	struct worker *w;
	pthread_t id;
	_Atomic pid_t tid;
	_Atomic uint32_t slot; /* of the job it runs */
	struct job *job;       /* under the lock */
	int base_nice;
	bool low; /* at the priority of a reclaim */
};

struct worker {
	struct worker_options o;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct jobs queues[KINDS], finished;
	struct cell (*slots)[CELLS];
	struct thread threads[WORKER_MAX_THREADS];
	unsigned int n_threads, reclaims; /* running */
	bool stopping;
	uv_async_t async;
};

/* ---- jobs */

int worker_job(struct worker *w, enum worker_kind kind, const struct job_ops *ops, uint32_t slot,
	       uint32_t gen, int dirfd, uint64_t cgid, struct job **out)
{
	struct job *job;

	if (slot >= w->o.slots)
		return -EINVAL;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->ops = ops;
	job->result.kind = kind;
	job->result.slot = slot;
	job->result.gen = gen;
	job->result.cgid = cgid;
	job->result.queued_ns = now_ns();
	job->dirfd = dirfd < 0 ? -1 : fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	if (dirfd >= 0 && job->dirfd < 0) {
		int rc = -errno;

		free(job);
		return rc;
	}
	*out = job;
	return 0;
}

void worker_drop(struct job *job)
{
	if (job->ops->release)
		job->ops->release(job);
	if (job->dirfd >= 0)
		close(job->dirfd);
	free(job);
}

static struct cell *cell_of(struct worker *w, const struct job *job)
{
	return &w->slots[job->result.slot][job->cell];
}

/* Under the lock: the job leaves its cell and waits for the loop. */
static void finish(struct worker *w, struct job *job)
{
	cell_of(w, job)->job = NULL;
	TAILQ_INSERT_TAIL(&w->finished, job, link);
	uv_async_send(&w->async);
}

/* Under the lock: a cancelled job that nobody runs need not wait for a thread. */
static void finish_cancelled(struct worker *w, struct job *job)
{
	TAILQ_REMOVE(&w->queues[job->result.kind], job, link);
	job->result.cancelled = true;
	finish(w, job);
}

static int place(struct worker *w, struct job *job)
{
	struct cell *cells = w->slots[job->result.slot];
	unsigned int i;

	for (i = 0; i < CELLS; i++)
		if (cells[i].job && !atomic_load(&cells[i].cancel))
			return -EBUSY;
	for (i = 0; i < CELLS; i++)
		if (cells[i].job && !cells[i].job->running)
			finish_cancelled(w, cells[i].job);
	/* Only one job of a slot runs, so one cell is free. */
	job->cell = cells[0].job ? 1 : 0;
	job->cancel = &cells[job->cell].cancel;
	atomic_store(&cells[job->cell].cancel, false);
	cells[job->cell].job = job;
	TAILQ_INSERT_TAIL(&w->queues[job->result.kind], job, link);
	pthread_cond_broadcast(&w->work);
	return 0;
}

int worker_submit(struct worker *w, struct job *job)
{
	int rc;

	pthread_mutex_lock(&w->lock);
	rc = place(w, job);
	pthread_mutex_unlock(&w->lock);
	if (rc < 0)
		worker_drop(job);
	return rc;
}

void worker_invite(struct worker *w, struct job *job)
{
	pthread_mutex_lock(&w->lock);
	job->helpable = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
}

bool worker_busy(struct worker *w, uint32_t slot)
{
	bool busy = false;

	pthread_mutex_lock(&w->lock);
	for (unsigned int i = 0; i < CELLS; i++)
		busy |= w->slots[slot][i].job && !atomic_load(&w->slots[slot][i].cancel);
	pthread_mutex_unlock(&w->lock);
	return busy;
}

/* ---- cancel */

static void interrupt(struct thread *t)
{
	/* not pthread_kill: that takes a lock */
	syscall(SYS_tgkill, getpid(), atomic_load(&t->tid), WAKE_SIGNAL);
}

void worker_cancel(struct worker *w, uint32_t slot)
{
	if (slot >= w->o.slots)
		return;
	for (unsigned int i = 0; i < CELLS; i++)
		atomic_store(&w->slots[slot][i].cancel, true);
	for (unsigned int i = 0; i < w->n_threads; i++)
		if (atomic_load(&w->threads[i].slot) == slot)
			interrupt(&w->threads[i]);
}

/* ---- threads */

/* Best effort: without the right to, everything runs at the agent's priority. */
static void set_low(struct thread *t, bool low)
{
	const struct sched_param none = {};

	if (t->low == low)
		return;
	t->low = low;
	sched_setscheduler(0, low ? SCHED_BATCH : SCHED_OTHER, &none);
	setpriority(PRIO_PROCESS, 0, t->base_nice + (low ? RECLAIM_NICE : 0));
}

static bool may_start(const struct worker *w, const struct job *job)
{
	const struct cell *cells = w->slots[job->result.slot];

	if (job->result.kind == WORKER_RECLAIM && w->reclaims)
		return false; /* one at a time: a thread stays free for what is urgent */
	return !cells[CELLS - 1 - job->cell].job || !cells[CELLS - 1 - job->cell].job->running;
}

static struct job *first_of(struct worker *w, enum worker_kind kind)
{
	struct job *job;

	TAILQ_FOREACH(job, &w->queues[kind], link)
	if (may_start(w, job))
		return job;
	return NULL;
}

static struct job *one_to_help(struct worker *w)
{
	for (unsigned int i = 0; i < w->n_threads; i++)
		if (w->threads[i].job && w->threads[i].job->helpable)
			return w->threads[i].job;
	return NULL;
}

/* Under the lock. *helper: it runs already, on another thread. */
static struct job *pick(struct worker *w, bool *helper)
{
	struct job *job = first_of(w, WORKER_PREFAULT);

	*helper = false;
	if (!job) {
		job = one_to_help(w);
		*helper = job;
	}
	if (!job)
		job = first_of(w, WORKER_RECORD);
	if (!job)
		job = first_of(w, WORKER_RECLAIM);
	if (job && !*helper)
		TAILQ_REMOVE(&w->queues[job->result.kind], job, link);
	return job;
}

static void add_part(struct worker_result *whole, const struct worker_result *part)
{
	whole->cancelled |= part->cancelled;
	if (!whole->error)
		whole->error = part->error;
	switch (whole->kind) {
	case WORKER_PREFAULT:
		whole->prefault.bytes += part->prefault.bytes;
		whole->prefault.cpu_ns += part->prefault.cpu_ns;
		whole->prefault.took_ns = MAX(whole->prefault.took_ns, part->prefault.took_ns);
		whole->prefault.cancelled |= part->prefault.cancelled;
		if (!whole->prefault.error)
			whole->prefault.error = part->prefault.error;
		break;
	case WORKER_RECORD:
		whole->set = part->set;
		break;
	case WORKER_RECLAIM:
		whole->reclaim = part->reclaim;
		break;
	}
}

/* The lock is held on entry and on return, not while the job runs. */
static void run(struct thread *t, struct job *job, bool helper)
{
	struct worker_result part = {.kind = job->result.kind};
	struct worker *w = t->w;
	bool reclaim = job->result.kind == WORKER_RECLAIM;
	uint64_t start = now_ns(), took = 0;

	t->job = job;
	job->running++;
	job->helpable = false;
	w->reclaims += reclaim;
	atomic_store(&t->slot, job->result.slot); /* before the flag is looked at */
	pthread_mutex_unlock(&w->lock);
	if (atomic_load(job->cancel)) {
		part.cancelled = true;
	} else {
		set_low(t, reclaim);
		job->ops->run(w, job, helper, &part);
		took = now_ns() - start;
	}
	pthread_mutex_lock(&w->lock);
	atomic_store(&t->slot, NO_SLOT);
	t->job = NULL;
	w->reclaims -= reclaim;
	job->helpable = false;
	add_part(&job->result, &part);
	job->result.took_ns = MAX(job->result.took_ns, took);
	if (--job->running == 0)
		finish(w, job);
	pthread_cond_broadcast(&w->work);
}

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct worker *w = t->w;
	struct job *job;
	bool helper;

	pthread_setname_np(pthread_self(), "hearth-worker");
	t->base_nice = getpriority(PRIO_PROCESS, 0);
	atomic_store(&t->tid, (pid_t)syscall(SYS_gettid));
	pthread_mutex_lock(&w->lock);
	while (!w->stopping) {
		job = pick(w, &helper);
		if (job)
			run(t, job, helper);
		else
			pthread_cond_wait(&w->work, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- results */

static void deliver(uv_async_t *async)
{
	struct worker *w = async->data;
	struct jobs list = TAILQ_HEAD_INITIALIZER(list);
	struct job *job;

	pthread_mutex_lock(&w->lock);
	TAILQ_CONCAT(&list, &w->finished, link);
	pthread_mutex_unlock(&w->lock);
	while ((job = TAILQ_FIRST(&list))) {
		TAILQ_REMOVE(&list, job, link);
		w->o.done(&job->result, w->o.arg);
		worker_drop(job);
	}
}

/* ---- life */

static void on_signal(int sig)
{
	(void)sig; /* only to interrupt a system call */
}

/* The workers take their own signal and what tells of a bug; the rest is the loop's. */
static int start_threads(struct worker *w)
{
	static const int TAKEN[] = {WAKE_SIGNAL, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	struct sigaction act = {.sa_handler = on_signal}; /* no SA_RESTART */
	sigset_t others, before;
	int rc = 0;

	sigaction(WAKE_SIGNAL, &act, NULL);
	sigfillset(&others);
	for (size_t i = 0; i < ARRAY_SIZE(TAKEN); i++)
		sigdelset(&others, TAKEN[i]);
	pthread_sigmask(SIG_SETMASK, &others, &before);
	pthread_mutex_lock(&w->lock);
	while (rc == 0 && w->n_threads < w->o.threads) {
		struct thread *t = &w->threads[w->n_threads];

		t->w = w;
		atomic_init(&t->slot, NO_SLOT);
		rc = -pthread_create(&t->id, NULL, thread_main, t);
		w->n_threads += rc == 0;
	}
	pthread_mutex_unlock(&w->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static void free_closed(uv_handle_t *async)
{
	free(async->data);
}

static void drop_all(struct jobs *jobs)
{
	struct job *job;

	while ((job = TAILQ_FIRST(jobs))) {
		TAILQ_REMOVE(jobs, job, link);
		if (job->result.kind == WORKER_RECORD)
			workset_free(job->result.set);
		worker_drop(job);
	}
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	for (uint32_t slot = 0; slot < w->o.slots; slot++)
		worker_cancel(w, slot);
	for (unsigned int i = 0; i < w->n_threads; i++)
		pthread_join(w->threads[i].id, NULL);
	for (unsigned int kind = 0; kind < KINDS; kind++)
		drop_all(&w->queues[kind]);
	drop_all(&w->finished);
	free(w->slots);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	uv_close((uv_handle_t *)&w->async, free_closed);
}

int worker_new(const struct worker_options *o, struct worker **out)
{
	struct worker *w;
	int rc;

	if (!o->threads || o->threads > WORKER_MAX_THREADS)
		return -EINVAL;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->o = *o;
	w->slots = calloc(o->slots, sizeof(w->slots[0]));
	rc = w->slots ? uv_async_init(o->loop, &w->async, deliver) : -ENOMEM;
	if (rc < 0) {
		free(w->slots);
		free(w);
		return rc;
	}
	w->async.data = w;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->work, NULL);
	for (unsigned int kind = 0; kind < KINDS; kind++)
		TAILQ_INIT(&w->queues[kind]);
	TAILQ_INIT(&w->finished);
	rc = start_threads(w);
	if (rc < 0) {
		worker_free(w);
		return rc;
	}
	*out = w;
	return 0;
}
