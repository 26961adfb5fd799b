/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The image manager: one thread owns all of this; what blocks runs on libuv's
 * workers, which see nothing but their own job. It parents every image and every
 * instance, so it alone knows how they ended, and a restart of hearthd loses nothing.
 *
 * cgroups, below the configured one: UID/image/NAME, UID/image/NAME/spare-N and UID/fn/FUNCTION/N,
 * where UID's cgroup.procs belongs to the owner: its images may fork into its functions.
 */
#ifndef HEARTH_IMAGES_MANAGER_H
#define HEARTH_IMAGES_MANAGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <uv.h>

#include <hearth/policy.h>
#include <hearth/zygote.h>

#include "images/settings.h"
#include "images/turns.h"
#include "images/usage.h"

enum image_state { IMAGE_NONE, IMAGE_BUILDING, IMAGE_RESIDENT, IMAGE_FROZEN, IMAGE_STATES };

struct manager;
struct conn;
struct instance;
struct image_job;
struct spare;
struct usage_job;
struct saved;

struct image {
	struct manager *manager;
	struct image_settings *settings; /* its own */
	enum image_state state;
	bool retired, left; /* to be ended once it has no children; about to be freed */
	char *socket;
	char *log;                            /* what it and its modules print */
	char *cgroup;                         /* path below the cgroup2 root */
	int cgroup_fd;                        /* while there is a process; else -1 */
	pid_t pid;                            /* 0: there is no process */
	bool ending;                          /* killed by us: its end is no failure */
	bool requested;                       /* built because somebody said so */
	bool limited;                         /* by RLIMIT_AS, while it is built */
	uint64_t begun_ns;                    /* the build */
	char error[HEARTH_ZYGOTE_ERROR + 64]; /* why the last build failed or it ended; "" */
	uint64_t retry_ns;                    /* no build by use before */
	uint64_t backoff_ns;
	struct image_job *job; /* on a worker: a build's wait, or freeze and reclaim */
	uv_timer_t timer;      /* the next step */
	/* use */
	unsigned int busy;     /* instances that live or are being started, from it or cold */
	unsigned int children; /* of these, forked or being forked from it */
	unsigned int asking;   /* of these, being forked: it must not be frozen */
	uint64_t uses, forks, cold;
	uint64_t used_ns; /* last fork */
	double rate;      /* uses per second, older ones fading */
	uint64_t rate_ns; /* as of then */
	uint64_t build_took_ns, fork_took_ns;
	uint64_t resident_bytes, swap_bytes; /* as of the last build or page-out */
	struct usage usage;
	/* spares (image_spares.c) */
	struct spare *spares;
	uint64_t spares_after_ns; /* none is made before; UINT64_MAX: before the next use */
	uint64_t spares_backoff_ns;
	bool lent;       /* there is memory to take: built, or forked from, since that was done */
	uint64_t hot_ns; /* last use, or the build */
	uint64_t claims, claim_took_ns;
	uint64_t measured_ns;
	/* keep-alive */
	struct hearth_policy *policy;
	void *policy_state;
	struct hearth_hist_buf hist;
	struct hearth_decision decision;
	uint64_t idle_since_ns; /* valid while busy is 0 */
	uint64_t arrival_ns;    /* 0: none yet */
	struct image *prev, *next;
};

struct manager {
	uv_loop_t loop;
	struct settings *settings;
	int root_fd;          /* of cgroup2 */
	_Atomic bool unbound; /* there is no pids.max, as has been told */
	struct rlimit files;  /* RLIMIT_NOFILE before it was raised, for whom it starts */
	struct image *images;
	uint64_t image_serial;
	struct instance *instances;
	unsigned int in_flight; /* being started: a child may exist that is in no list yet */
	uint64_t serial;        /* of instances */
	uv_signal_t child_signal, term_signal, int_signal, reload_signal;
	uv_timer_t logs_timer;
	uv_poll_t listener;
	uv_timer_t rest_timer; /* of the listener, without a descriptor for who comes */
	bool short_of_fds;
	int listen_fd;
	struct conn *conns;
	uint64_t conn_serial;
	struct turn *turns_running, *turns_waiting;
	struct usage_job *usage_job; /* on a worker */
	uint64_t measure_after_ns;
	struct saved *saved;
	_Atomic bool ending;
};

/* Every child that ended is told to whom it belongs. */
void manager_reap(struct manager *m);

/* The image that new instances of that name are forked from, or NULL. */
struct image *manager_find(struct manager *m, const char *name);

#endif
