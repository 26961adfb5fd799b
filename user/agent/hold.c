/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Never harm active work: everything that forbids a freeze, cheapest first, each
 * with a sentence for people and the time to look again. A freeze by hand skips
 * what is only caution (grace, proof, CPU), never signs of work.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "agent/agent.h"
#include "agent/psi.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/util.h"

#define RECHECK_NS    (250 * NSEC_PER_MSEC) /* least time between two looks at a busy instance */
#define SOCKET_MIN_NS (2 * NSEC_PER_SEC)    /* first pause after a socket held it, then doubling */
#define SOCKET_MAX_NS (60 * NSEC_PER_SEC)

static struct hold free_to_go(void)
{
	return (struct hold){};
}

__attribute__((format(printf, 2, 3))) static struct hold held(uint64_t until_ns, const char *fmt,
							      ...)
{
	struct hold h = {.until_ns = until_ns};
	va_list args;

	va_start(args, fmt);
	vsnprintf(h.text, sizeof(h.text), fmt, args);
	va_end(args);
	return h;
}

/* ---- sockets */

struct socket_scan {
	const struct instance *inst;
	uint32_t sources;
	char why[160];
};

static void remote_text(const struct hearth_socket *s, char *out, size_t size)
{
	char ip[INET6_ADDRSTRLEN] = "?";
	static const uint8_t V4[12] = {[10] = 0xff, [11] = 0xff};

	if (!memcmp(s->remote, V4, sizeof(V4)))
		inet_ntop(AF_INET, s->remote + 12, ip, sizeof(ip));
	else
		inet_ntop(AF_INET6, s->remote, ip, sizeof(ip));
	snprintf(out, size, strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, s->remote_port);
}

static void judge_tcp(const struct hearth_socket *s, struct socket_scan *scan)
{
	const struct fn_settings *set = &scan->inst->fn->settings;
	char remote[80];

	if (s->flags & HEARTH_SOCK_SERVER) {
		if (s->state == TCP_LISTEN && s->backlog)
			snprintf(scan->why, sizeof(scan->why), "a connection waits to be accepted");
		else if (!(s->flags & HEARTH_SOCK_ATTRIBUTED) && set->unattributed != HOLD_IGNORE)
			snprintf(scan->why, sizeof(scan->why),
				 "its server socket on port %u could not be attributed "
				 "(unattributed = ignore allows it)",
				 s->local_port);
		else if (!(s->flags & HEARTH_SOCK_IN_SCOPE) && set->unattributed != HOLD_IGNORE)
			snprintf(scan->why, sizeof(scan->why),
				 "its server socket on port %u was made where no hook sees it "
				 "(attach = / does; unattributed = ignore allows it)",
				 s->local_port);
		return;
	}
	if ((s->state != TCP_ESTABLISHED && s->state != TCP_SYN_SENT) ||
	    set->outbound == HOLD_IGNORE)
		return;
	remote_text(s, remote, sizeof(remote));
	snprintf(scan->why, sizeof(scan->why),
		 "it has a connection open to %s (outbound = ignore allows it)", remote);
}

static int judge_socket(const struct hearth_socket *s, void *arg)
{
	struct socket_scan *scan = arg;
	const struct fn_settings *set = &scan->inst->fn->settings;

	if (s->family == AF_UNIX) {
		if (s->state == TCP_LISTEN && s->backlog)
			snprintf(scan->why, sizeof(scan->why), "a connection waits to be accepted");
		else if (s->type == SOCK_STREAM && (s->flags & HEARTH_SOCK_SERVER) &&
			 !(scan->sources & HEARTH_SRC_UNIX) && set->unattributed != HOLD_IGNORE)
			snprintf(scan->why, sizeof(scan->why),
				 "it serves an AF_UNIX socket that is not watched (source = unix)");
	} else if ((s->family == AF_INET || s->family == AF_INET6) && s->protocol == IPPROTO_TCP) {
		judge_tcp(s, scan);
	} else if (s->family == AF_INET || s->family == AF_INET6) {
		if (set->udp != HOLD_IGNORE && s->local_port)
			snprintf(scan->why, sizeof(scan->why),
				 "it holds a datagram socket on port %u (udp = ignore allows it)",
				 s->local_port);
	} else if (s->family == AF_VSOCK || s->family == AF_PACKET) {
		if (set->unattributed != HOLD_IGNORE)
			snprintf(scan->why, sizeof(scan->why),
				 "it holds a socket of family %u (unattributed = ignore allows it)",
				 s->family);
	}
	return scan->why[0] ? 1 : 0;
}

struct process_scan {
	struct kernel *kernel;
	struct socket_scan *sockets;
};

static int scan_process(pid_t pid, void *arg)
{
	struct process_scan *p = arg;

	int err = kernel_sockets(p->kernel, pid, judge_socket, p->sockets);

	if (p->sockets->why[0])
		return 1;
	return err == -ESRCH || err == -ENOENT ? 0 : err;
}

static int scan_cgroup(int fd, uint64_t id, const char *path, void *arg)
{
	struct process_scan *p = arg;
	int err;

	(void)id;
	(void)path;
	err = cgroup_procs(fd, scan_process, arg);
	if (p->sockets->why[0])
		return 1;
	/* A threaded cgroup: its processes are listed by the domain above. */
	return err == -ENOENT || err == -EOPNOTSUPP ? 0 : MIN(err, 0);
}

static struct hold hold_sockets(struct agent *a, struct instance *inst, uint64_t now)
{
	struct socket_scan scan = {.inst = inst, .sources = a->maps->controls[inst->slot].sources};
	struct process_scan p = {.kernel = a->kernel, .sockets = &scan};
	uint64_t pause = SOCKET_MIN_NS << MIN(inst->refusals, 5u);
	int err;

	err = cgroup_walk(a->cgroot_fd, inst->path, scan_cgroup, &p);
	if (!scan.why[0] && err < 0 && err != -ENOENT)
		snprintf(scan.why, sizeof(scan.why), "its sockets could not be looked at: %s",
			 strerror(-err));
	if (!scan.why[0]) {
		inst->refusals = 0;
		return free_to_go();
	}
	inst->refusals++;
	return held(now + MIN(pause, SOCKET_MAX_NS), "%s", scan.why);
}

/* ---- CPU: two looks at cpu.stat, both since it was last active */

#define STARVED 0.9 /* of the time between them: what it would have done cannot be told */

/* How long any of its tasks has waited for a CPU; 0 where the kernel keeps no account of it. */
static uint64_t cpu_wait_us(const struct instance *inst)
{
	struct psi_use use;
	char buf[256];

	if (read_file_at(inst->fd, "cpu.pressure", buf, sizeof(buf)) < 0 || psi_parse(buf, &use))
		return 0;
	return use.some.total_us;
}

static struct hold hold_cpu(struct instance *inst, uint64_t idle_since_ns, uint64_t now)
{
	const struct fn_settings *set = &inst->fn->settings;
	uint64_t span = MAX(MIN(set->debounce_ns / 2, NSEC_PER_SEC), RECHECK_NS), usec;
	int err = cgroup_cpu_usec(inst->fd, &usec);
	uint64_t wait_us = cpu_wait_us(inst);
	double used, waited, took;

	if (err == -ENOENT)
		return free_to_go(); /* vanished: the freeze will tell */
	if (err)
		return held(now + NSEC_PER_SEC, "its CPU use could not be read: %s",
			    strerror(-err));
	if (!inst->cpu_at_ns || inst->cpu_at_ns < idle_since_ns) {
		inst->cpu_usec = usec;
		inst->cpu_wait_us = wait_us;
		inst->cpu_at_ns = now;
		return held(now + span, "looking whether it still uses the CPU");
	}
	if (now < inst->cpu_at_ns + span)
		return held(inst->cpu_at_ns + span, "looking whether it still uses the CPU");
	took = (double)(now - inst->cpu_at_ns) / 1000;
	used = (double)(usec - inst->cpu_usec);
	waited = (double)(wait_us - inst->cpu_wait_us);
	inst->cpu_usec = usec;
	inst->cpu_wait_us = wait_us;
	inst->cpu_at_ns = now;
	if (waited > STARVED * took)
		return held(now + MAX(span, NSEC_PER_SEC), "it waits for a CPU");
	/* On a busy machine it works as much as it is let. */
	used /= took - waited;
	if (used <= set->cpu_threshold)
		return free_to_go();
	return held(now + MAX(span, NSEC_PER_SEC), "it uses %.0f%% of a CPU (cpu_threshold %.0f%%)",
		    used * 100, set->cpu_threshold * 100);
}

/* ---- the list */

/* Signs of work, from the slot alone. */
static struct hold hold_work(struct agent *a, struct instance *inst, uint64_t now)
{
	const struct hearth_instance *slot = &a->maps->instances[inst->slot];
	const struct fn_settings *set = &inst->fn->settings;
	const char *why = act_holds_now(a->act, inst->slot, now);

	if (why)
		return held(now + MAX(set->debounce_ns, RECHECK_NS), "%s", why);
	if (slot->last_loose_ns && now < slot->last_loose_ns + set->idle_grace_ns)
		return held(
		    slot->last_loose_ns + set->idle_grace_ns,
		    "bytes moved within idle_grace on a connection whose ends cannot be parsed");
	return free_to_go();
}

static struct hold hold_caution(struct agent *a, struct instance *inst, uint64_t now)
{
	const struct hearth_instance *slot = &a->maps->instances[inst->slot];
	const struct fn_settings *set = &inst->fn->settings;

	if (plan_rank(a, inst) < set->min_warm)
		return held(now + 5 * NSEC_PER_SEC, "min_warm = %u keeps it warm", set->min_warm);
	if (now < inst->started_ns + set->startup_grace_ns)
		return held(inst->started_ns + set->startup_grace_ns, "within startup_grace");
	if (!set->unproven && slot->ends <= inst->base_ends)
		return held(now + MAX(set->debounce_ns, RECHECK_NS),
			    "no completed invocation has proved yet that its source is seen");
	return free_to_go();
}

static struct hold hold_host(struct agent *a, struct instance *inst, uint64_t now)
{
	const struct fn_settings *set = &inst->fn->settings;

	if (set->exclude)
		return held(UINT64_MAX, "excluded by the config");
	if (set->pin || inst->fn->pinned)
		return held(UINT64_MAX, "pinned");
	if (!inst->populated)
		return held(UINT64_MAX, "it has no processes");
	if (inst->stopped) /* by what we were told; a record may have been lost */
		inst->stopped = cgroup_read_frozen(inst->fd) == 1;
	if (inst->stopped)
		return held(now + 5 * NSEC_PER_SEC,
			    "an ancestor cgroup is frozen by somebody else");
	if (inst->nested)
		return held(now + 5 * NSEC_PER_SEC, "another instance lives inside its cgroup");
	if (guard_alive(a->guard, a->guard_pid, a->guard_pidfd) != GUARD_WATCHING)
		return held(now + RECHECK_NS, "the guard is not watching");
	return free_to_go();
}

struct hold hold_of(struct agent *a, struct instance *inst, uint64_t now, bool by_hand)
{
	const struct hearth_instance *slot = &a->maps->instances[inst->slot];
	struct hold h = hold_host(a, inst, now);

	if (!h.text[0])
		h = hold_work(a, inst, now);
	if (!h.text[0] && !by_hand)
		h = hold_caution(a, inst, now);
	if (!h.text[0] && !by_hand)
		h = hold_cpu(inst, MAX(slot->last_end_ns, inst->thawed_ns), now);
	if (!h.text[0])
		h = hold_sockets(a, inst, now);
	return h;
}
