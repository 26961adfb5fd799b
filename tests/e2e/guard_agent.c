/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A hearthd with nothing but the freeze protocol, for attacks on the guard: it
 * makes the table, keeps a guard, beats, and freezes what it is told to on
 * stdin. One command a line, one answer a line.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "agent/guard.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/util.h"

#define SLOTS   1024
#define BEAT_NS (200 * NSEC_PER_MSEC)

static struct {
	struct guard_options options;
	struct guard_table *table;
	int cgroot_fd;
	pid_t guard;
	int pidfd;
	_Atomic bool muted; /* no heartbeat */
	_Atomic bool churn; /* freeze and thaw all slots over and over */
	_Atomic bool delay; /* wait a little at each step of the protocol */
	struct {
		char path[256];
		uint64_t id;
		int fd;
		_Atomic bool frozen; /* what the agent believes */
	} slots[SLOTS];
	uint32_t n;
} agent = {.cgroot_fd = -1};

static void nap(uint64_t ns)
{
	const struct timespec ts = {.tv_nsec = (long)ns};

	nanosleep(&ts, NULL);
}

static void maybe_wait(void)
{
	if (agent.delay)
		nap((uint64_t)(rand() % 2000) * NSEC_PER_USEC);
}

/* The freeze side, exactly as guard_table.h asks for it. */
static const char *freeze_slot(uint32_t slot)
{
	if (guard_alive(agent.table, agent.guard, agent.pidfd) != GUARD_WATCHING)
		return "unguarded";
	if (guard_table_intend(agent.table, slot, agent.slots[slot].id) < 0)
		return "busy";
	maybe_wait();
	if (cgroup_freeze_write(agent.slots[slot].fd, true) < 0) {
		guard_table_clear(agent.table, slot);
		return "gone";
	}
	maybe_wait();
	if (!guard_table_confirm(agent.table, slot, agent.slots[slot].id)) {
		cgroup_freeze_write(agent.slots[slot].fd, false);
		guard_table_clear(agent.table, slot);
		return "rolled-back";
	}
	agent.slots[slot].frozen = true;
	return "frozen";
}

static const char *thaw_slot(uint32_t slot)
{
	cgroup_freeze_write(agent.slots[slot].fd, false);
	maybe_wait();
	guard_table_clear(agent.table, slot);
	agent.slots[slot].frozen = false;
	return "thawed";
}

/* A thaw by somebody else makes all beliefs void. */
static void resync(uint64_t *epoch)
{
	uint64_t now = guard_table_epoch(agent.table);

	if (now == *epoch)
		return;
	*epoch = now;
	for (uint32_t i = 0; i < agent.n; i++)
		if (agent.slots[i].frozen)
			thaw_slot(i);
}

static void *beat_thread(void *arg)
{
	struct sched_param fifo = {.sched_priority = agent.options.priority};

	(void)arg;
	if (fifo.sched_priority > 0)
		sched_setscheduler(0, SCHED_FIFO, &fifo);
	for (;;) {
		if (!agent.muted)
			guard_table_beat(agent.table);
		nap(BEAT_NS);
	}
	return NULL;
}

static void *churn_thread(void *arg)
{
	uint64_t epoch = guard_table_epoch(agent.table);

	(void)arg;
	for (;;) {
		resync(&epoch);
		for (uint32_t i = 0; i < agent.n && agent.churn; i++) {
			if (!agent.slots[i].frozen)
				freeze_slot(i);
			else if (rand() % 2)
				thaw_slot(i);
		}
		nap(NSEC_PER_MSEC);
	}
	return NULL;
}

static int find_slot(const char *path)
{
	uint32_t i;

	for (i = 0; i < agent.n; i++)
		if (strcmp(agent.slots[i].path, path) == 0)
			return (int)i;
	if (agent.n == SLOTS)
		return -ENOSPC;
	agent.slots[i].fd = cgroup_open(agent.cgroot_fd, path);
	if (agent.slots[i].fd < 0)
		return agent.slots[i].fd;
	cgroup_id_of_fd(agent.slots[i].fd, &agent.slots[i].id);
	snprintf(agent.slots[i].path, sizeof(agent.slots[i].path), "%s", path);
	agent.n = i + 1;
	return (int)i;
}

static int spawn(void)
{
	int rc = guard_spawn(&agent.options, &agent.guard, &agent.pidfd);

	if (rc == 0)
		printf("%d\n", (int)agent.guard);
	return rc;
}

static const char *health(void)
{
	static const char *const names[] = {"dead", "starting", "watching"};

	return names[guard_alive(agent.table, agent.guard, agent.pidfd)];
}

static void list_believed(void)
{
	for (uint32_t i = 0; i < agent.n; i++)
		if (agent.slots[i].frozen)
			printf("%s ", agent.slots[i].path);
	printf("\n");
}

/* Commands about one cgroup. */
static const char *on_slot(const char *verb, const char *path)
{
	int slot = find_slot(path);

	if (slot < 0)
		return strerror(-slot);
	if (strcmp(verb, "add") == 0)
		return "added";
	if (strcmp(verb, "freeze") == 0)
		return freeze_slot((uint32_t)slot);
	if (strcmp(verb, "thaw") == 0)
		return thaw_slot((uint32_t)slot);
	if (strcmp(verb, "intend") == 0)
		return guard_table_intend(agent.table, (uint32_t)slot, agent.slots[slot].id)
			   ? "busy"
			   : "ok";
	return "unknown command";
}

static void command(const char *verb, const char *arg)
{
	if (strcmp(verb, "health") == 0)
		puts(health());
	else if (strcmp(verb, "respawn") == 0)
		spawn();
	else if (strcmp(verb, "epoch") == 0)
		printf("%llu\n", (unsigned long long)guard_table_epoch(agent.table));
	else if (strcmp(verb, "believed") == 0)
		list_believed();
	else if (strcmp(verb, "mute") == 0)
		puts((agent.muted = *arg == '1') ? "muted" : "beating");
	else if (strcmp(verb, "delay") == 0)
		puts((agent.delay = *arg == '1') ? "delayed" : "prompt");
	else if (strcmp(verb, "churn") == 0)
		puts((agent.churn = *arg == '1') ? "churning" : "quiet");
	else if (strcmp(verb, "exit") == 0)
		_exit(0);
	else
		puts(on_slot(verb, arg));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char mount[PATH_MAX], verb[16], arg[256], line[300];
	pthread_t thread;
	int rc;

	if (argc > 1 && strcmp(argv[1], "--guard") == 0)
		return guard_main(argc, argv);
	if (argc > 2 && strcmp(argv[1], "--thaw") == 0)
		return guard_thaw_leftovers(argv[2]) < 0;
	if (argc < 3)
		return 2;
	agent.options = (struct guard_options){.run_dir = argv[1], .priority = atoi(argv[2])};
	agent.muted = argc > 3;
	rc = cgroup_root_open("/proc", &agent.cgroot_fd, mount, sizeof(mount));
	if (rc == 0)
		rc = guard_table_create(argv[1], SLOTS, agent.cgroot_fd, &agent.table);
	if (rc < 0) {
		printf("%s\n", strerror(-rc));
		return 1;
	}
	if (spawn() < 0)
		return 1;
	fflush(stdout);
	pthread_create(&thread, NULL, beat_thread, NULL);
	pthread_create(&thread, NULL, churn_thread, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		*arg = '\0';
		if (sscanf(line, "%15s %255s", verb, arg) >= 1)
			command(verb, arg);
	}
	return 0;
}
