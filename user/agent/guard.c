/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The guard process and hearthd's side of it. The guard polls hearthd five times
 * a second and sleeps otherwise; what it needs at a fire is opened and locked in
 * memory before it reports for duty. It measures its own lateness: on a machine
 * so starved that the guard itself is late, silence of hearthd proves nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/guard.h"
#include "lib/cgroup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/proc.h"
#include "lib/util.h"

#define POLL_NS        (200 * NSEC_PER_MSEC)
#define LATE_NS        (50 * NSEC_PER_MSEC) /* a poll later than this proves nothing */
#define LOCK_POLL_NS   (20 * NSEC_PER_MSEC) /* while a predecessor's guard finishes */
#define SILENT_POLLS   3            /* a beat may be 0.4 s late, and a hang is undone within 1 s */
#define STUCK_NS       NSEC_PER_SEC /* a guard that has not polled for so long is not on watch */
#define LAST_EFFORT_NS (30 * NSEC_PER_SEC)  /* how long to retry after hearthd's death ... */
#define RETRY_NS       (50 * NSEC_PER_MSEC) /* ... and how often */
#define CGROUP_NAME    64

extern char **environ;

/* ---- hearthd's side */

static int spawn_detached(char *const argv[], pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	posix_spawn_file_actions_init(&files);
	rc = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY,
						      0);
	if (rc == 0)
		rc = posix_spawn(pid, "/proc/self/exe", &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -rc;
}

int guard_spawn(const struct guard_options *o, pid_t *pid, int *pidfd)
{
	char run_dir[PATH_MAX], agent[32], priority[16];
	char *argv[] = {"hearth-guard", "--guard",    "--run-dir", run_dir, "--agent",
			agent,          "--priority", priority,    NULL};
	pid_t child;
	int fd, rc;

	if (!realpath(o->run_dir, run_dir))
		return -errno;
	snprintf(agent, sizeof(agent), "%llu", (unsigned long long)guard_process_id(getpid()));
	snprintf(priority, sizeof(priority), "%d", o->priority);
	rc = spawn_detached(argv, &child);
	if (rc < 0)
		return rc;
	fd = proc_pidfd_open(child);
	if (fd < 0) { /* not to be supervised, so not to be relied on */
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		return fd;
	}
	*pid = child;
	*pidfd = fd;
	return 0;
}

enum guard_health guard_alive(const struct guard_table *t, pid_t pid, int pidfd)
{
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
	siginfo_t info;

	if (poll(&pfd, 1, 0) != 0) {
		waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
		return GUARD_DEAD;
	}
	/* Silence is told from a first beat on. */
	if (guard_process_pid(guard_table_guard(t)) != pid ||
	    now_ns() - guard_table_seen_ns(t) > STUCK_NS || !guard_table_heartbeat(t))
		return GUARD_STARTING;
	return GUARD_WATCHING;
}

/* ---- the guard's cgroup: outside hearthd's, so that killing the unit leaves it alive */

static void cgroup_name(const char *run_dir, char *name)
{
	uint32_t h = UINT32_C(2166136261); /* FNV-1a of the folder: one guard cgroup each */

	for (const char *p = run_dir; *p; p++)
		h = (h ^ (unsigned char)*p) * UINT32_C(16777619);
	snprintf(name, CGROUP_NAME, "hearth-guard-%08x", h);
}

static int enter_cgroup(int cgroot_fd, const char *name)
{
	char procs[CGROUP_NAME + 16];
	int rc = -ENOENT;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", name);
	/* A predecessor's guard may remove the folder between the two steps. */
	for (int i = 0; i < 3 && (rc == -ENOENT || rc == -ENODEV); i++) {
		if (mkdirat(cgroot_fd, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		rc = write_file_at(cgroot_fd, procs, "0");
	}
	return rc;
}

static void leave_cgroup(int cgroot_fd, const char *name)
{
	write_file_at(cgroot_fd, "cgroup.procs", "0");
	unlinkat(cgroot_fd, name, AT_REMOVEDIR);
}

int guard_thaw_leftovers(const char *run_dir)
{
	char real[PATH_MAX], mount[PATH_MAX], name[CGROUP_NAME];
	_cleanup_close_ int cgroot_fd = -1;
	int rc;

	if (!realpath(run_dir, real))
		return errno == ENOENT ? 0 : -errno;
	rc = cgroup_root_open("/proc", &cgroot_fd, mount, sizeof(mount));
	if (rc < 0)
		return rc;
	rc = guard_table_undo(real, cgroot_fd);
	cgroup_name(real, name);
	unlinkat(cgroot_fd, name, AT_REMOVEDIR); /* stays while a guard is in it */
	return rc;
}

/* ---- the guard process */

struct watch {
	char run_dir[PATH_MAX];
	char cgroup[CGROUP_NAME];
	int priority;
	uint64_t agent; /* whom to watch */
	uint64_t self;
	struct guard_table *table;
	int cgroot_fd;
	int lock_fd;
	int pidfd; /* of hearthd; -1: gone before we looked */
	bool on_duty;
	uint64_t last_beat;
	int silent; /* on-time polls since the last beat */
	const char *trouble;
};

static int parse_args(int argc, char **argv, struct watch *w)
{
	static const struct option options[] = {{"guard", no_argument, NULL, 'g'},
						{"run-dir", required_argument, NULL, 'r'},
						{"agent", required_argument, NULL, 'a'},
						{"priority", required_argument, NULL, 'p'},
						{NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'r')
			snprintf(w->run_dir, sizeof(w->run_dir), "%s", optarg);
		else if (opt == 'a')
			w->agent = strtoull(optarg, NULL, 10);
		else if (opt == 'p')
			w->priority = atoi(optarg);
		else if (opt != 'g')
			return -EINVAL;
	}
	if (!*w->run_dir || !w->agent) {
		log_error("guard: --run-dir and --agent are needed; hearthd starts its guard "
			  "itself");
		return -EINVAL;
	}
	return 0;
}

/* Only hearthd's end ends the guard; SIGKILL cannot be helped and hearthd respawns. */
static void ignore_signals(void)
{
	static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE,
				      SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
}

/* Each of these makes the guard harder to starve or kill; none is indispensable. */
static void harden(const struct watch *w)
{
	struct sched_param fifo = {.sched_priority = w->priority};
	int rc;

	rc = enter_cgroup(w->cgroot_fd, w->cgroup);
	if (rc < 0)
		log_warn("guard: stays in hearthd's cgroup: %s: %s", w->cgroup, strerror(-rc));
	rc = write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "-1000");
	if (rc < 0)
		log_info("guard: not exempt from the OOM killer: %s", strerror(-rc));
	if (w->priority > 0 && sched_setscheduler(0, SCHED_FIFO, &fifo) < 0)
		log_info("guard: runs without real-time priority: %s", strerror(errno));
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		log_info("guard: memory is not locked: %s", strerror(errno));
}

static int open_all(struct watch *w)
{
	char path[PATH_MAX], mount[PATH_MAX];
	int rc;

	rc = cgroup_root_open("/proc", &w->cgroot_fd, mount, sizeof(mount));
	if (rc < 0) {
		log_error("guard: no cgroup2 mount: %s", strerror(-rc));
		return rc;
	}
	rc = guard_table_attach(w->run_dir, &w->table);
	if (rc < 0) {
		log_error("guard: table in %s: %s", w->run_dir, strerror(-rc));
		return rc;
	}
	if ((size_t)snprintf(path, sizeof(path), "%s/" GUARD_LOCK_NAME, w->run_dir) >= sizeof(path))
		return -ENAMETOOLONG;
	w->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (w->lock_fd < 0) {
		rc = -errno;
		log_error("guard: %s: %s", path, strerror(-rc));
		return rc;
	}
	/* The pid may name another process by now: the start time tells. */
	w->pidfd = proc_pidfd_open(guard_process_pid(w->agent));
	if (w->pidfd >= 0 && guard_process_id(guard_process_pid(w->agent)) != w->agent) {
		close(w->pidfd);
		w->pidfd = -1;
	}
	return 0;
}

/* A full or dead stderr must not hold the guard up. */
static bool can_log(void)
{
	struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&pfd, 1, 0) == 1;
}

static void report(const struct watch *w, const char *why, const struct guard_thaw *r)
{
	char what[96];

	if (!can_log())
		return;
	snprintf(what, sizeof(what), "guard: hearthd (pid %d) %s", (int)guard_process_pid(w->agent),
		 why);
	guard_thaw_log(what, r);
}

/* Why hearthd cannot be trusted to wake anybody now, or NULL. */
static const char *find_trouble(struct watch *w, bool on_time)
{
	uint64_t beat = guard_table_heartbeat(w->table);
	char state = '?';

	if (beat == 0 || beat != w->last_beat)
		w->silent = 0;
	else
		w->silent += on_time;
	w->last_beat = beat;
	proc_state("/proc", guard_process_pid(w->agent), &state);
	if (state == 'T')
		return "is stopped";
	if (state == 't' && w->silent > 0) /* strace stops it for moments only */
		return "is held by a debugger";
	return w->silent >= SILENT_POLLS ? "gives no sign of life" : NULL;
}

static void look(struct watch *w, bool on_time)
{
	const char *trouble = find_trouble(w, on_time);
	struct guard_thaw result;

	if (trouble) {
		guard_thaw_all(w->table, w->cgroot_fd, false, &result);
		if (!w->trouble || result.thawed)
			report(w, trouble, &result);
	} else if (w->trouble && can_log()) {
		log_info("guard: hearthd (pid %d) runs again", (int)guard_process_pid(w->agent));
	}
	w->trouble = trouble;
	guard_table_watch(w->table, w->self, now_ns());
}

/* True when hearthd is gone. */
static bool sleep_until(const struct watch *w, uint64_t due_ns)
{
	struct pollfd pfd = {.fd = w->pidfd, .events = POLLIN};

	for (;;) {
		uint64_t now = now_ns(), left = due_ns > now ? due_ns - now : 0;
		struct timespec ts = {.tv_sec = (time_t)(left / NSEC_PER_SEC),
				      .tv_nsec = (long)(left % NSEC_PER_SEC)};

		if (w->pidfd < 0 || ppoll(&pfd, 1, &ts, NULL) > 0)
			return true;
		if (now_ns() >= due_ns)
			return false;
	}
}

static void keep_watch(struct watch *w)
{
	uint64_t due = now_ns();

	while (!sleep_until(w, due)) {
		uint64_t now = now_ns();

		if (!w->on_duty)
			w->on_duty = flock(w->lock_fd, LOCK_EX | LOCK_NB) == 0;
		if (w->on_duty)
			look(w, now - due <= LATE_NS);
		due = now_ns() + (w->on_duty ? POLL_NS : LOCK_POLL_NS);
	}
}

/* A new hearthd that owns the table by now has thawed all this already. */
static void last_effort(struct watch *w)
{
	uint64_t deadline = now_ns() + LAST_EFFORT_NS;
	const struct timespec nap = {.tv_nsec = RETRY_NS};
	struct guard_thaw result;
	bool first = true;

	while (guard_table_agent(w->table) == w->agent && guard_table_count(w->table) > 0) {
		guard_thaw_all(w->table, w->cgroot_fd, true, &result);
		if (first || result.thawed)
			report(w, "is gone", &result);
		first = false;
		if (now_ns() > deadline)
			break;
		if (guard_table_count(w->table) > 0)
			nanosleep(&nap, NULL);
	}
}

int guard_main(int argc, char **argv)
{
	struct watch w = {.cgroot_fd = -1, .lock_fd = -1, .pidfd = -1};

	ignore_signals();
	prctl(PR_SET_NAME, "hearth-guard");
	umask(077);
	if (parse_args(argc, argv, &w) < 0)
		return 2;
	close_range(STDERR_FILENO + 1, ~0U, 0);
	w.self = guard_process_id(getpid());
	cgroup_name(w.run_dir, w.cgroup);
	if (open_all(&w) < 0)
		return 1;
	harden(&w);
	keep_watch(&w);
	last_effort(&w);
	leave_cgroup(w.cgroot_fd, w.cgroup);
	return 0; /* memory and fds go with the process */
}
