/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the hooks cost: HTTP ping-pong and fork+exec with and without them, in
 * interleaved rounds on one CPU, and nanoseconds per program by bpf_stats. The
 * hooks are loaded here, without the agent, so that a round can switch them.
 * Every figure is checked: the hooks must have counted exactly what was done.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common.h"
#include "hearth.skel.h"
#include "lib/host.h"
#include "hearth/event.h"
#include "lib/clock.h"

#define PAIRS       100
#define REQUESTS    4000 /* per round */
#define EXECS       60
#define STAT_ROUNDS 15
#define CONNECTIONS 500
#define MAX_LINKS   32
#define DRAIN_MS    50

struct variant {
	const char *name;
	uint32_t flags;   /* enum hearth_control_flag */
	uint32_t sources; /* enum hearth_source */
};

static const struct variant variants[] = {
    {"direction", HEARTH_CTL_DIRECTION, HEARTH_SRC_REQUEST | HEARTH_SRC_EXEC},
    {"http1", 0, HEARTH_SRC_REQUEST | HEARTH_SRC_EXEC},
    {"http1 + AF_UNIX", 0, HEARTH_SRC_REQUEST | HEARTH_SRC_EXEC | HEARTH_SRC_UNIX},
};

static struct {
	struct hearth_bpf *skel;
	struct bpf_link *links[MAX_LINKS];
	size_t n_links;
	struct bench_cgroup base, instance;
} fx;

/* AF_UNIX sources are opt-in; iterators and other programs run only when asked. */
static bool wanted(const struct bpf_program *prog, const struct variant *v)
{
	static const char *const unix_programs[] = {"hearth_data_ready", "hearth_recv",
						    "hearth_send",       "hearth_data_ready_again",
						    "hearth_recv_again", "hearth_send_again"};

	if (!bpf_program__autoload(prog))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(unix_programs); i++)
		if (strcmp(bpf_program__name(prog), unix_programs[i]) == 0)
			return v->sources & HEARTH_SRC_UNIX;
	switch (bpf_program__type(prog)) {
	case BPF_PROG_TYPE_TRACING:
		return bpf_program__expected_attach_type(prog) == BPF_TRACE_RAW_TP;
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_SOCK_OPS:
		return true;
	default:
		return false;
	}
}

static void set(struct bpf_map *map, const void *key, size_t key_size, const void *value,
		size_t value_size)
{
	if (bpf_map__update_elem(map, key, key_size, value, value_size, BPF_ANY) < 0)
		die("map %s: %s", bpf_map__name(map), strerror(errno));
}

/* Slot 0 is the instance, ready so that its execs count; function 0 has 240 bins of a minute. */
static void register_instance(const struct variant *v)
{
	struct hearth_instance inst = {.gen = 1, .ready = 1};
	struct hearth_control ctl = {
	    .gen = 1, .sources = v->sources, .flags = v->flags, .cgid = fx.instance.id};
	struct hearth_fn_control fctl = {.bin_ns = NSEC_PER_MIN, .nbins = 240};
	struct hearth_node node = {.abi = HEARTH_ABI, .attach_level = 1, .attach_id = fx.base.id};
	struct hearth_ref ref = {.gen = 1};
	struct hearth_function fn = {0};
	uint32_t zero = 0;

	set(fx.skel->maps.instances, &zero, sizeof(zero), &inst, sizeof(inst));
	set(fx.skel->maps.controls, &zero, sizeof(zero), &ctl, sizeof(ctl));
	set(fx.skel->maps.functions, &zero, sizeof(zero), &fn, sizeof(fn));
	set(fx.skel->maps.fn_controls, &zero, sizeof(zero), &fctl, sizeof(fctl));
	set(fx.skel->maps.node, &zero, sizeof(zero), &node, sizeof(node));
	set(fx.skel->maps.cgroups, &fx.instance.id, sizeof(fx.instance.id), &ref, sizeof(ref));
}

static int ignore_event(void *arg, void *data, size_t size)
{
	(void)arg;
	(void)data;
	(void)size;
	return 0;
}

/* Takes the records as the agent does, on the other CPU: a full ring would flatter. */
static void *drain(void *arg)
{
	pin_to_cpu(0);
	for (;;)
		if (ring_buffer__poll(arg, DRAIN_MS) >= 0)
			ring_buffer__consume(arg);
	return NULL;
}

/* The agent has these only where a first one may be kept from its work. */
static bool is_second(const struct bpf_program *prog)
{
	const char *name = bpf_program__name(prog), *end = strstr(name, "_again");

	return end && !end[strlen("_again")];
}

static void load(void)
{
	struct ring_buffer *rings;
	struct bpf_program *prog;
	pthread_t thread;

	fx.skel = hearth_bpf__open();
	if (!fx.skel)
		die("cannot open the hooks: %s", strerror(errno));
	bpf_object__for_each_program(prog, fx.skel->obj)
	    bpf_program__set_autoload(prog, !is_second(prog) || host_preempts_programs());
	if (hearth_bpf__load(fx.skel))
		die("cannot load the hooks: %s", strerror(errno));
	rings = ring_buffer__new(bpf_map__fd(fx.skel->maps.events), ignore_event, NULL, NULL);
	if (!rings || pthread_create(&thread, NULL, drain, rings) != 0)
		die("cannot read the events");
	cgroups_base(&fx.base);
	cgroup_make("instance", &fx.instance);
}

static void attach(const struct variant *v)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, fx.skel->obj)
	{
		bool tracing = bpf_program__type(prog) == BPF_PROG_TYPE_TRACING;
		struct bpf_link *link;

		if (!wanted(prog, v))
			continue;
		link = tracing ? bpf_program__attach(prog)
			       : bpf_program__attach_cgroup(prog, fx.base.fd);
		if (!link || fx.n_links == MAX_LINKS)
			die("cannot attach %s: %s", bpf_program__name(prog), strerror(errno));
		fx.links[fx.n_links++] = link;
	}
}

static void detach(void)
{
	while (fx.n_links > 0)
		bpf_link__destroy(fx.links[--fx.n_links]);
}

static uint64_t counted(void)
{
	struct hearth_function fn;
	uint32_t zero = 0;

	if (bpf_map__lookup_elem(fx.skel->maps.functions, &zero, sizeof(zero), &fn, sizeof(fn), 0) <
	    0)
		die("cannot read the counters");
	return fn.invocations;
}

static void must_have_counted(uint64_t expected, const char *what)
{
	uint64_t n = counted();

	if (n != expected)
		die("%s: the hooks counted %llu, sent were %llu; the figure is void", what,
		    (unsigned long long)n, (unsigned long long)expected);
}

struct usage {
	uint64_t ns, runs;
};

static struct usage usage_of(const struct bpf_program *prog)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	if (!bpf_program__autoload(prog))
		return (struct usage){0};
	if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len) < 0)
		die("no statistics of %s", bpf_program__name(prog));
	return (struct usage){info.run_time_ns, info.run_cnt};
}

/* A look at the clock before and after each run would be measured as a cost of the hooks. */
static void must_be_without_statistics(const char *what)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, fx.skel->obj) if (usage_of(prog).runs > 0)
	    die("%s: the kernel keeps statistics of BPF programs (kernel.bpf_stats_enabled, or "
		"somebody asked for them); the figure is void",
		what);
}

/* ---- what is timed */

struct sample {
	double wall_ns;
	double cpu_ns; /* of both sides: what other load on the machine does not change */
};

static double clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double cpu_of(pid_t pid)
{
	clockid_t id;

	if (clock_getcpuclockid(pid, &id) != 0)
		die("no CPU clock of %d", (int)pid);
	return clock_ns(id);
}

struct work {
	pid_t pid;       /* the process in the instance */
	uint16_t port;   /* of the server */
	int ask, answer; /* pipes to the forker */
};

static struct sample ping_pong(struct work *w)
{
	int fd = connect_local(w->port);
	struct sample s;

	request(fd);
	s.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + cpu_of(w->pid);
	s.wall_ns = (double)now_ns();
	for (int i = 1; i < REQUESTS; i++)
		request(fd);
	s.wall_ns = (double)now_ns() - s.wall_ns;
	s.cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + cpu_of(w->pid) - s.cpu_ns;
	close(fd);
	return s;
}

static double used_ns(const struct rusage *r)
{
	return 1e9 * (double)(r->ru_utime.tv_sec + r->ru_stime.tv_sec) +
	       1e3 * (double)(r->ru_utime.tv_usec + r->ru_stime.tv_usec);
}

static void fork_and_exec(void)
{
	char *argv[] = {"true", NULL};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execv("/bin/true", argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		_exit(1);
}

/* In the instance: a round of fork+exec for each byte asked, answered by a sample. */
static void forker(void *arg)
{
	struct work *w = arg;
	struct rusage self, children;
	struct sample s;
	char go;

	while (read(w->ask, &go, 1) == 1) {
		getrusage(RUSAGE_SELF, &self);
		getrusage(RUSAGE_CHILDREN, &children);
		s.cpu_ns = used_ns(&self) + used_ns(&children);
		s.wall_ns = (double)now_ns();
		for (int i = 0; i < EXECS; i++)
			fork_and_exec();
		s.wall_ns = (double)now_ns() - s.wall_ns;
		getrusage(RUSAGE_SELF, &self);
		getrusage(RUSAGE_CHILDREN, &children);
		s.cpu_ns = used_ns(&self) + used_ns(&children) - s.cpu_ns;
		if (write(w->answer, &s, sizeof(s)) != sizeof(s))
			_exit(1);
	}
}

static struct sample fork_exec(struct work *w)
{
	struct sample s;

	if (write(w->ask, "x", 1) != 1 || read(w->answer, &s, sizeof(s)) != sizeof(s))
		die("fork+exec did not run");
	return s;
}

static void start_forker(struct work *w)
{
	int ask[2], answer[2];
	struct work inner;

	if (pipe(ask) < 0 || pipe(answer) < 0)
		die("pipe: %s", strerror(errno));
	inner = (struct work){.ask = ask[0], .answer = answer[1]};
	w->pid = run_in(&fx.instance, forker, &inner);
	w->ask = ask[1];
	w->answer = answer[0];
}

static void stop(struct work *w)
{
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
}

/* ---- with against without */

typedef struct sample (*round_fn)(struct work *w);

static void compare_rounds(const char *bench, const struct variant *v, round_fn round,
			   struct work *w, uint32_t per_round)
{
	double ratio[PAIRS], cpu_ratio[PAIRS], plain[PAIRS], hooked[PAIRS];
	struct sample with, without;

	register_instance(v);
	round(w); /* warm up */
	for (int i = 0; i < PAIRS; i++) {
		bool hooks_first = i % 2; /* a drift of the machine cancels out */

		if (!hooks_first)
			without = round(w);
		attach(v);
		with = round(w);
		detach();
		if (hooks_first)
			without = round(w);
		ratio[i] = with.wall_ns / without.wall_ns;
		cpu_ratio[i] = with.cpu_ns / without.cpu_ns;
		plain[i] = without.wall_ns / per_round / 1e3;
		hooked[i] = with.wall_ns / per_round / 1e3;
	}
	must_have_counted((uint64_t)PAIRS * per_round, bench);
	must_be_without_statistics(bench);
	emit(bench, v->name,
	     (struct figure[]){{"ratio", quantile(ratio, PAIRS, 50)},
			       {"ratio_p25", quantile(ratio, PAIRS, 25)},
			       {"ratio_p75", quantile(ratio, PAIRS, 75)},
			       {"cpu_ratio", quantile(cpu_ratio, PAIRS, 50)},
			       {"without_us", quantile(plain, PAIRS, 50)},
			       {"with_us", quantile(hooked, PAIRS, 50)}},
	     6);
}

/* ---- nanoseconds per program */

static void new_connections(struct work *w)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = connect_local(w->port);

		request(fd);
		close(fd);
	}
}

static void freezes(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		freeze_and_wait(&fx.instance);
		thaw(&fx.instance);
	}
}

static void do_everything(struct work *server, struct work *exec)
{
	ping_pong(server);
	new_connections(server);
	fork_exec(exec);
	freezes();
}

static void program_costs(const struct variant *v, struct work *server, struct work *exec)
{
	double ns[MAX_LINKS][STAT_ROUNDS], runs[MAX_LINKS] = {0};
	struct usage before[MAX_LINKS];
	struct bpf_program *prog;
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME), n;
	char name[64];

	if (stats < 0)
		die("cannot enable the statistics of BPF programs: %s", strerror(errno));
	register_instance(v);
	attach(v);
	for (int r = 0; r < STAT_ROUNDS; r++) {
		n = 0;
		bpf_object__for_each_program(prog, fx.skel->obj) before[n++] = usage_of(prog);
		do_everything(server, exec);
		n = 0;
		bpf_object__for_each_program(prog, fx.skel->obj)
		{
			struct usage now = usage_of(prog);
			uint64_t count = now.runs - before[n].runs;

			runs[n] += (double)count;
			ns[n][r] = count ? (double)(now.ns - before[n].ns) / (double)count : 0;
			n++;
		}
	}
	detach();
	close(stats);
	n = 0;
	bpf_object__for_each_program(prog, fx.skel->obj)
	{
		snprintf(name, sizeof(name), "%s @ %s", bpf_program__name(prog), v->name);
		if (runs[n] >= STAT_ROUNDS * 20)
			emit("program", name,
			     (struct figure[]){{"ns", quantile(ns[n], STAT_ROUNDS, 50)},
					       {"runs", runs[n]}},
			     2);
		n++;
	}
}

int main(void)
{
	struct work server, exec;

	cgroups_begin("hearth-bench-hooks");
	pin_to_cpu((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	load();
	server.pid = start_servers(&fx.instance, &server.port, 1);
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		compare_rounds("http", &variants[i], ping_pong, &server, REQUESTS);
	start_forker(&exec);
	compare_rounds("fork_exec", &variants[1], fork_exec, &exec, EXECS);
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		program_costs(&variants[i], &server, &exec);
	stop(&server);
	stop(&exec);
	return 0;
}
