// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The slow side of the kernel: iterators over sockets and tasks, single map
 * entries, and what `status` shows. Never on the path of a request.
 */
#include <errno.h>
#include <string.h>

#include "agent/kernel_internal.h"
#include "lib/util.h"

/* ---- entries */

int kernel_ref_get(struct kernel *k, uint64_t cgid, struct hearth_ref *out)
{
	return bpf_map__lookup_elem(k->skel->maps.cgroups, &cgid, sizeof(cgid), out, sizeof(*out),
				    0);
}

int kernel_ref_set(struct kernel *k, uint64_t cgid, const struct hearth_ref *ref)
{
	return bpf_map__update_elem(k->skel->maps.cgroups, &cgid, sizeof(cgid), ref, sizeof(*ref),
				    0);
}

void kernel_ref_del(struct kernel *k, uint64_t cgid)
{
	bpf_map__delete_elem(k->skel->maps.cgroups, &cgid, sizeof(cgid), 0);
}

void kernel_ref_each(struct kernel *k, kernel_ref_fn fn, void *arg)
{
	int fd = bpf_map__fd(k->skel->maps.cgroups);
	uint64_t key, *prev = NULL;
	struct hearth_ref ref;

	while (!bpf_map_get_next_key(fd, prev, &key)) {
		if (!bpf_map_lookup_elem(fd, &key, &ref))
			fn(key, &ref, arg);
		prev = &key;
	}
}

int kernel_name_get(struct kernel *k, uint32_t function, struct hearth_name *out)
{
	return bpf_map__lookup_elem(k->skel->maps.names, &function, sizeof(function), out,
				    sizeof(*out), 0);
}

int kernel_name_set(struct kernel *k, uint32_t function, const char *name)
{
	struct hearth_name value = {};

	snprintf(value.text, sizeof(value.text), "%s", name);
	return bpf_map__update_elem(k->skel->maps.names, &function, sizeof(function), &value,
				    sizeof(value), 0);
}

int kernel_probe_net_set(struct kernel *k, uint32_t function, const uint8_t addr[16],
			 unsigned int prefix)
{
	struct hearth_probe_net key = {.prefixlen = 32 + prefix, .function = function};
	uint8_t one = 1;

	memcpy(key.addr, addr, sizeof(key.addr));
	return bpf_map__update_elem(k->skel->maps.probe_nets, &key, sizeof(key), &one, sizeof(one),
				    0);
}

void kernel_probe_nets_clear(struct kernel *k, uint32_t function)
{
	int fd = bpf_map__fd(k->skel->maps.probe_nets);
	struct hearth_probe_net key, next, *prev = NULL;
	bool more = !bpf_map_get_next_key(fd, prev, &next);

	while (more) {
		key = next;
		more = !bpf_map_get_next_key(fd, &key, &next);
		if (key.function == function)
			bpf_map_delete_elem(fd, &key);
	}
}

/* ---- iterators */

/* Run an iterator to its end; what it writes goes to fn in records of `size`. */
static int run_iter(struct bpf_program *prog, union bpf_iter_link_info *info,
		    int (*fn)(const void *record, void *arg), size_t size, void *arg)
{
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = info,
		    .link_info_len = info ? sizeof(*info) : 0);
	struct bpf_link *link = bpf_program__attach_iter(prog, &opts);
	char buf[4096];
	size_t have = 0;
	int fd, err;
	ssize_t n;

	err = libbpf_get_error(link);
	if (err)
		return err;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0) {
		err = fd;
		goto out;
	}
	while ((n = read(fd, buf + have, sizeof(buf) - have)) != 0) {
		size_t at = 0;

		if (n < 0) {
			if (errno == EAGAIN || errno == EINTR)
				continue;
			err = -errno;
			break;
		}
		for (have += n; !err && fn && have - at >= size; at += size)
			err = fn(buf + at, arg);
		if (err)
			break;
		have -= at;
		memmove(buf, buf + at, have);
	}
	close(fd);
out:
	bpf_link__destroy(link);
	return err;
}

struct socket_visit {
	kernel_socket_fn fn;
	void *arg;
};

static int visit_socket(const void *record, void *arg)
{
	struct socket_visit *v = arg;

	return v->fn ? v->fn(record, v->arg) : 0;
}

/* Twice: a connection's file may come before its listener's, and is told by it. */
int kernel_sockets(struct kernel *k, pid_t pid, kernel_socket_fn fn, void *arg)
{
	union bpf_iter_link_info info = {.task.pid = (uint32_t)pid};
	struct socket_visit v = {.arg = arg};
	struct bpf_program *prog = k->skel->progs.hearth_adopt_sockets;
	int err;

	err = run_iter(prog, &info, visit_socket, sizeof(struct hearth_socket), &v);
	if (err)
		return err;
	v.fn = fn;
	return run_iter(prog, &info, visit_socket, sizeof(struct hearth_socket), &v);
}

/* ---- recount */

struct seen_counters {
	uint64_t begins, ends, probe_begins;
	int32_t inflight, probes, outsiders;
};

/* The kernel writes the context back to where it came from. */
static int run_prog(struct bpf_program *prog, void *ctx, uint32_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = ctx, .ctx_size_in = size);

	return bpf_prog_test_run_opts(bpf_program__fd(prog), &opts);
}

/* ---- source image */

int kernel_early_take(struct kernel *k, uint64_t cgid, const struct hearth_ref *ref)
{
	struct hearth_take take = {.cgid = cgid, .slot = ref->slot, .gen = ref->gen};

	return run_prog(k->skel->progs.hearth_take_early, &take, sizeof(take));
}

/*
 * Nested cgroups are no instances by name, but theirs may have taken what came early. Only this
 * thread takes, so none does so between the two calls; what enters meanwhile is adopted if the
 * cgroup is ever an instance.
 */
void kernel_early_forget(struct kernel *k, uint64_t cgid)
{
	struct hearth_early e;

	if (!bpf_map__lookup_elem(k->skel->maps.early, &cgid, sizeof(cgid), &e, sizeof(e), 0) &&
	    !(e.word & HEARTH_EARLY_TAKEN))
		bpf_map__delete_elem(k->skel->maps.early, &cgid, sizeof(cgid), 0);
}

void kernel_early_sweep(struct kernel *k, bool (*is_gone)(uint64_t cgid, void *arg), void *arg)
{
	int fd = bpf_map__fd(k->skel->maps.early);
	uint64_t key, next = 0;
	int end = bpf_map_get_next_key(fd, NULL, &key);

	for (; !end; key = next) {
		end = bpf_map_get_next_key(fd, &key, &next);
		if (is_gone(key, arg))
			bpf_map_delete_elem(fd, &key);
	}
}

int kernel_adopt_process(struct kernel *k, pid_t pid)
{
	union bpf_iter_link_info info = {.task.tid = (uint32_t)pid};

	return run_iter(k->skel->progs.hearth_adopt_task, &info, NULL, 1, NULL);
}

int kernel_count_missed(struct kernel *k, struct hearth_missed *missed)
{
	return run_prog(k->skel->progs.hearth_count_missed, missed, sizeof(*missed));
}

/* ---- marks */

/* Forget the marks of processes that are gone, count those that run. */
static int sweep_marks(struct kernel *k)
{
	int err;

	/* 0 means "never looked at" and 1 "looked at once": sweeps count from 2. */
	k->maps.node->sweep = k->maps.node->sweep < 2 ? 2 : k->maps.node->sweep + 1;
	err = run_iter(k->skel->progs.hearth_sweep_tasks, NULL, NULL, 1, NULL);
	return err ? err : run_prog(k->skel->progs.hearth_sweep_marks, NULL, 0);
}

static int repair(struct kernel *k, uint32_t slot, const struct seen_counters *before)
{
	const struct hearth_recount *found = &k->recounts[slot];
	const struct hearth_instance *inst = &k->maps.instances[slot];
	struct hearth_repair fix = {
	    .slot = slot,
	    .gen = inst->gen,
	    .begins = before->begins,
	    .ends = before->ends,
	    .probe_begins = before->probe_begins,
	    .seen_inflight = before->inflight,
	    .seen_probes = before->probes,
	    .seen_outsiders = before->outsiders,
	    .inflight = (int32_t)(found->requests + found->execs),
	    .requests = (int32_t)found->requests,
	    .probes = (int32_t)found->probes,
	    .outsiders = (int32_t)found->outsiders,
	};
	int err;

	if (inst->inflight == fix.inflight && inst->probes == fix.probes &&
	    inst->outsiders == fix.outsiders)
		return 0;
	err = run_prog(k->skel->progs.hearth_repair, &fix, sizeof(fix));
	return err ? err : (int)fix.repaired;
}

static void look(struct kernel *k, struct seen_counters *out)
{
	const struct hearth_instance *i = k->maps.instances;
	unsigned int slot;

	for (slot = 0; slot < k->maps.n_instances; slot++, i++)
		out[slot] = (struct seen_counters){
		    .begins = __atomic_load_n(&i->begins, __ATOMIC_SEQ_CST),
		    .ends = __atomic_load_n(&i->ends, __ATOMIC_SEQ_CST),
		    .probe_begins = __atomic_load_n(&i->probe_begins, __ATOMIC_SEQ_CST),
		    .inflight = __atomic_load_n(&i->inflight, __ATOMIC_SEQ_CST),
		    .probes = __atomic_load_n(&i->probes, __ATOMIC_SEQ_CST),
		    .outsiders = __atomic_load_n(&i->outsiders, __ATOMIC_SEQ_CST),
		};
}

/*
 * A function is as busy as it has instances with work in flight. A leak would
 * keep it busy, and from learning, for ever; only a count that held still while
 * we looked is mended.
 */
static int repair_busy(struct kernel *k)
{
	_cleanup_free_ int32_t *busy = calloc(k->maps.n_functions, sizeof(*busy));
	_cleanup_free_ uint64_t *before = calloc(k->maps.n_functions, sizeof(*before));
	struct hearth_function *fn;
	int repaired = 0;
	uint32_t i;

	if (!busy || !before)
		return -ENOMEM;
	for (i = 0; i < k->maps.n_functions; i++)
		before[i] = __atomic_load_n(&k->maps.functions[i].invocations, __ATOMIC_SEQ_CST);
	for (i = 0; i < k->maps.n_instances; i++)
		if ((k->maps.instances[i].gen & 1) &&
		    k->maps.controls[i].function < k->maps.n_functions)
			busy[k->maps.controls[i].function] += k->maps.instances[i].inflight > 0;
	for (i = 0; i < k->maps.n_functions; i++) {
		int32_t was;

		fn = &k->maps.functions[i];
		was = __atomic_load_n(&fn->busy, __ATOMIC_SEQ_CST);
		/* Too high or below nothing: what else differs is only being counted. */
		if ((was <= busy[i] && was >= 0) || before[i] != fn->invocations)
			continue;
		fn->last_idle_ns = fn->last_idle_ns ? fn->last_idle_ns : fn->last_busy_ns;
		repaired += __atomic_compare_exchange_n(&fn->busy, &was, busy[i], false,
							__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	return repaired;
}

int kernel_recount(struct kernel *k)
{
	union bpf_iter_link_info info = {.map.map_fd = (uint32_t)bpf_map__fd(k->skel->maps.conns)};
	unsigned int n = k->maps.n_instances, i;
	_cleanup_free_ struct seen_counters *before = calloc(n, sizeof(*before));
	int err, repaired = 0;

	if (!before)
		return -ENOMEM;
	memset(k->recounts, 0, n * sizeof(*k->recounts));
	look(k, before);
	err = sweep_marks(k);
	if (!err)
		err = run_iter(k->skel->progs.hearth_recount, &info, NULL, 1, NULL);
	if (err)
		return err;
	for (i = 0; i < n; i++) {
		if (!(k->maps.instances[i].gen & 1))
			continue;
		err = repair(k, i, &before[i]);
		if (err < 0)
			return err;
		repaired += err;
	}
	err = repair_busy(k);
	return err < 0 ? err : repaired + err;
}

/* ---- what status shows */

size_t kernel_hooks(struct kernel *k, struct kernel_hook out[KERNEL_HOOKS])
{
	size_t i;

	for (i = 0; i < k->n_hooks; i++) {
		const struct hook *h = &k->hooks[i];
		struct bpf_link_info link = {};
		struct bpf_prog_info prog = {};
		uint32_t len = sizeof(link);
		int fd;

		out[i] = (struct kernel_hook){
		    .name = h->name, .attached = h->link, .why_not = h->why_not};
		if (!h->link || bpf_obj_get_info_by_fd(bpf_link__fd(h->link), &link, &len))
			continue;
		fd = bpf_prog_get_fd_by_id(link.prog_id);
		if (fd < 0)
			continue;
		len = sizeof(prog);
		if (!bpf_obj_get_info_by_fd(fd, &prog, &len)) {
			out[i].run_count = prog.run_cnt;
			out[i].run_time_ns = prog.run_time_ns;
		}
		close(fd);
	}
	return k->n_hooks;
}

void kernel_drops(struct kernel *k, uint64_t out[HEARTH_DROP_REASONS])
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = cpus > 0 ? calloc(cpus, sizeof(*values)) : NULL;
	uint32_t reason;
	int cpu;

	memset(out, 0, HEARTH_DROP_REASONS * sizeof(*out));
	for (reason = 0; values && reason < HEARTH_DROP_REASONS; reason++) {
		if (bpf_map_lookup_elem(bpf_map__fd(k->skel->maps.drops), &reason, values))
			continue;
		for (cpu = 0; cpu < cpus; cpu++)
			out[reason] += values[cpu];
	}
}

const char *kernel_drop_name(enum hearth_drop reason)
{
	static const char *const NAMES[] = {
	    [HEARTH_DROP_WAKES_FULL] = "wakes-ring-full",
	    [HEARTH_DROP_EVENTS_FULL] = "events-ring-full",
	    [HEARTH_DROP_STORAGE] = "no-socket-storage",
	    [HEARTH_DROP_MARKS_FULL] = "marks-full",
	    [HEARTH_DROP_CGROUPS_FULL] = "cgroups-full",
	    [HEARTH_DROP_UNDERFLOW] = "end-without-begin",
	};

	return reason < HEARTH_DROP_REASONS ? NAMES[reason] : "?";
}

static struct kernel_fill fill_of(const struct bpf_map *map, size_t key_size)
{
	struct kernel_fill out = {.name = bpf_map__name(map), .max = bpf_map__max_entries(map)};
	unsigned char key[sizeof(struct hearth_probe_net)], *prev = NULL;
	int fd = bpf_map__fd(map);

	if (key_size > sizeof(key))
		return out;
	while (out.used < out.max && !bpf_map_get_next_key(fd, prev, key)) {
		out.used++;
		prev = key;
	}
	return out;
}

size_t kernel_fill(struct kernel *k, struct kernel_fill out[KERNEL_FILLS])
{
	unsigned int i, live = 0;

	for (i = 0; i < k->maps.n_instances; i++)
		live += k->maps.instances[i].gen & 1;
	out[0] = fill_of(k->skel->maps.cgroups, sizeof(uint64_t));
	out[1] = fill_of(k->skel->maps.marks, sizeof(uint32_t));
	out[2] = fill_of(k->skel->maps.probe_nets, sizeof(struct hearth_probe_net));
	out[3] = (struct kernel_fill){"instances", live, k->maps.n_instances};
	return 4;
}
