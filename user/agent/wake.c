/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The wake thread's loop. A record of the ring only says where to look; what is
 * done follows from the slot's own state (act_wake).
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/delays.h"
#include "agent/wake.h"
#include "lib/clock.h"
#include "lib/util.h"

#define SCAN_NS      (200 * NSEC_PER_MSEC) /* heartbeat and scan; the guard counts on it */
#define AGAIN_MS     1                     /* while the freeze side is in the middle of a slot */
#define AGAIN_ALWAYS 16                    /* slots remembered for that; more than that: scan */

struct wake {
	struct wake_options o;
	struct ring_buffer *ring;
	struct wake_ring notes;
	pthread_t thread;
	bool started;
	int stop_fd;
	int epoll_fd;
	int fifo_error;
	uint64_t next_scan_ns;
	uint32_t again[AGAIN_ALWAYS];
	unsigned int n_again;
	bool noted;
};

static void look(struct wake *w, uint32_t slot, uint64_t asked_ns, uint32_t cause)
{
	struct act_wake r;

	if (slot >= act_slots(w->o.act))
		return;
	r = act_wake(w->o.act, slot, now_ns());
	if (r.again) {
		if (w->n_again < AGAIN_ALWAYS)
			w->again[w->n_again++] = slot;
		else
			w->next_scan_ns = 0;
	}
	if (r.thawed)
		w->o.thawed(slot, w->o.arg);
	if (r.thawed || r.error) {
		struct wake_note note = {
		    .asked_ns = asked_ns,
		    .done_ns = now_ns(),
		    .cgid = w->o.maps->controls[slot].cgid,
		    .slot = slot,
		    .gen = w->o.maps->controls[slot].gen,
		    .cause = cause,
		    .error = -r.error,
		};

		wake_ring_push(&w->notes, &note);
		w->noted = true;
	}
}

static int on_wake(void *ctx, void *data, size_t size)
{
	const struct hearth_wake *wake = data;

	if (size >= sizeof(*wake)) {
		delay(DELAY_WAKE_READ);
		look(ctx, wake->slot, wake->ts_ns, wake->cause);
	}
	return 0;
}

static void look_again(struct wake *w)
{
	uint32_t slots[AGAIN_ALWAYS];
	unsigned int n = w->n_again, i;

	memcpy(slots, w->again, sizeof(slots));
	w->n_again = 0;
	for (i = 0; i < n; i++)
		look(w, slots[i], 0, 0);
}

static void scan(struct wake *w, uint64_t now)
{
	uint32_t slot, n = act_slots(w->o.act);

	if (now < w->next_scan_ns)
		return;
	w->next_scan_ns = now + SCAN_NS;
	for (slot = 0; slot < n; slot++)
		if (__atomic_load_n(&w->o.maps->controls[slot].armed, __ATOMIC_RELAXED))
			look(w, slot, 0, 0);
	guard_table_beat(w->o.guard);
}

static int timeout_ms(const struct wake *w)
{
	uint64_t now = now_ns();

	if (w->n_again)
		return AGAIN_MS;
	return now >= w->next_scan_ns ? 0 : (int)((w->next_scan_ns - now) / NSEC_PER_MSEC) + 1;
}

static void *run(void *arg)
{
	struct sched_param param = {};
	struct wake *w = arg;
	struct epoll_event ev;

	pthread_setname_np(pthread_self(), "hearth-wake");
	param.sched_priority = w->o.priority;
	if (w->o.priority && sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		w->fifo_error = -errno;
	for (;;) {
		int n = epoll_wait(w->epoll_fd, &ev, 1, timeout_ms(w));

		if (n > 0 && ev.data.fd == w->stop_fd)
			return NULL;
		ring_buffer__consume(w->ring);
		look_again(w);
		scan(w, now_ns());
		act_round(w->o.act);
		if (w->noted) {
			w->noted = false;
			w->o.notify(w->o.arg);
		}
	}
}

static int add_fd(int epoll_fd, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* Signals are the main loop's business. */
static int spawn(struct wake *w)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->started = !err;
	return err;
}

int wake_start(const struct wake_options *o, struct wake **out)
{
	struct wake *w = calloc(1, sizeof(*w));
	int err = 0;

	if (!w)
		return -ENOMEM;
	w->o = *o;
	wake_ring_init(&w->notes);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	w->ring = ring_buffer__new(o->map_fd, on_wake, w, NULL);
	if (w->epoll_fd < 0 || w->stop_fd < 0 || !w->ring)
		err = errno ? -errno : -ENOMEM;
	if (!err)
		err = add_fd(w->epoll_fd, w->stop_fd);
	if (!err)
		err = add_fd(w->epoll_fd, ring_buffer__epoll_fd(w->ring));
	if (!err)
		err = spawn(w);
	if (err) {
		wake_stop(w);
		return err;
	}
	*out = w;
	return 0;
}

void wake_stop(struct wake *w)
{
	uint64_t one = 1;

	if (!w)
		return;
	if (w->started && write(w->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(w->thread, NULL);
	ring_buffer__free(w->ring);
	if (w->stop_fd >= 0)
		close(w->stop_fd);
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	free(w);
}

bool wake_next_note(struct wake *w, struct wake_note *out)
{
	return wake_ring_pop(&w->notes, out);
}

uint64_t wake_notes_dropped(const struct wake *w)
{
	return wake_ring_dropped(&w->notes);
}

bool wake_is_fifo(const struct wake *w)
{
	return w->o.priority && !w->fifo_error;
}

int wake_fifo_error(const struct wake *w)
{
	return w->fifo_error;
}
