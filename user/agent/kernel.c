// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Load, pin, attach and adopt. Maps that are pinned with the same layout are
 * reused by the new object; links are kept as they are if the pinned ones run
 * the very same object, so counting is never interrupted by a restart.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include <bpf/btf.h>
#include <linux/btf.h>

#include "agent/kernel_internal.h"
#include "lib/cgroup.h"
#include "lib/log.h"
#include "lib/util.h"

/* Maps that outlive the agent. The others are scratch of one run. */
static const char *const PINNED[] = {
    "cgroups", "instances", "controls", "functions", "fn_controls", "names",  "probe_nets",
    "marks",   "early",     "node",     "drops",     "wakes",       "events", "conns"};

static int libbpf_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	_cleanup_free_ char *line = NULL;

	if (level == LIBBPF_DEBUG || vasprintf(&line, fmt, args) < 0)
		return 0;
	line[strcspn(line, "\n")] = '\0';
	log_debug("%s", line);
	return 0;
}

/* ---- load */

/* The object's own hash: links that run it need not be touched. */
static uint64_t build_hash(void)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	const unsigned char *p;
	size_t size;

	for (p = hearth_bpf__elf_bytes(&size); size; size--)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return h;
}

static bool has_tracepoint(const struct btf *btf, const char *name)
{
	char type[64];

	snprintf(type, sizeof(type), "btf_trace_%s", name);
	return btf__find_by_name_kind(btf, type, BTF_KIND_TYPEDEF) > 0;
}

static void add_hook(struct kernel *k, const char *name, struct bpf_program *prog, bool on_cgroup)
{
	k->hooks[k->n_hooks++] = (struct hook){.name = name, .prog = prog, .on_cgroup = on_cgroup};
}

static void add_unix_hook(struct kernel *k, const struct btf *btf, const char *name,
			  struct bpf_program *prog, bool wanted)
{
	struct hook *h = &k->hooks[k->n_hooks];

	add_hook(k, name, prog, false);
	h->optional = true;
	if (!wanted)
		h->why_not = "no rule or function has source = unix";
	else if (!has_tracepoint(btf, name))
		h->why_not = "this kernel has no such tracepoint (6.3 and later have): AF_UNIX "
			     "functions are not seen";
	if (h->why_not)
		bpf_program__set_autoload(prog, false);
}

/* Does this kernel (7.0 and later) preempt tasks inside tracing programs? See bpf/exec.bpf.c. */
static bool preempts_programs(void)
{
	struct utsname host;
	int major;

	return !uname(&host) && sscanf(host.release, "%d.", &major) == 1 && major >= 7;
}

static void add_second_hook(struct kernel *k, const char *name, struct bpf_program *prog)
{
	if (k->skel->rodata->preempted)
		add_hook(k, name, prog, false);
	else
		bpf_program__set_autoload(prog, false);
}

static int list_hooks(struct kernel *k, bool want_unix)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct hearth_bpf *s = k->skel;

	if (libbpf_get_error(btf)) {
		log_error("the kernel has no BTF (/sys/kernel/btf/vmlinux): it needs "
			  "CONFIG_DEBUG_INFO_BTF=y");
		return -ENOTSUP;
	}
	add_hook(k, "ingress", s->progs.hearth_ingress, true);
	add_hook(k, "egress", s->progs.hearth_egress, true);
	add_hook(k, "sockops", s->progs.hearth_established, true);
	add_hook(k, "sock_release", s->progs.hearth_sock_release, true);
	add_hook(k, "inet_sock_set_state", s->progs.hearth_set_state, false);
	add_hook(k, "cgroup_mkdir", s->progs.hearth_mkdir, false);
	add_hook(k, "cgroup_rmdir", s->progs.hearth_rmdir, false);
	add_hook(k, "cgroup_attach_task", s->progs.hearth_attach_task, false);
	add_hook(k, "cgroup_notify_populated", s->progs.hearth_populated, false);
	add_hook(k, "cgroup_notify_frozen", s->progs.hearth_frozen, false);
	add_hook(k, "sched_process_fork", s->progs.hearth_fork, false);
	add_hook(k, "sched_process_exec", s->progs.hearth_exec, false);
	add_hook(k, "sched_process_exit", s->progs.hearth_exit, false);
	s->rodata->preempted = preempts_programs();
	add_second_hook(k, "cgroup_attach_task-again", s->progs.hearth_attach_again);
	add_second_hook(k, "sched_process_fork-again", s->progs.hearth_fork_again);
	add_second_hook(k, "sched_process_exec-again", s->progs.hearth_exec_again);
	add_second_hook(k, "sched_process_exit-again", s->progs.hearth_exit_again);
	add_unix_hook(k, btf, "sk_data_ready", s->progs.hearth_data_ready, want_unix);
	add_unix_hook(k, btf, "sock_recv_length", s->progs.hearth_recv, want_unix);
	add_unix_hook(k, btf, "sock_send_length", s->progs.hearth_send, want_unix);
	btf__free(btf);
	return 0;
}

static int set_pins(struct kernel *k)
{
	char path[PATH_MAX];
	struct bpf_map *map;
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(PINNED); i++) {
		map = bpf_object__find_map_by_name(k->skel->obj, PINNED[i]);
		if (!map)
			return -ENOENT;
		err = kernel_pin_path(k, "", PINNED[i], path);
		if (!err)
			err = bpf_map__set_pin_path(map, path);
		if (err)
			return err;
	}
	return 0;
}

/* Test only: HEARTH_TEST_RINGS=BYTES makes both rings small enough to be filled. */
static void shrink_rings(struct kernel *k)
{
	const char *env = getenv("HEARTH_TEST_RINGS");
	uint32_t bytes = env ? (uint32_t)strtoul(env, NULL, 10) : 0;

	if (!bytes)
		return;
	log_warn("HEARTH_TEST_RINGS is set: both rings hold %u bytes", bytes);
	bpf_map__set_max_entries(k->skel->maps.wakes, bytes);
	bpf_map__set_max_entries(k->skel->maps.events, bytes);
}

static void set_sizes(struct kernel *k, const struct kernel_options *o)
{
	bpf_map__set_max_entries(k->skel->maps.instances, o->max_instances);
	bpf_map__set_max_entries(k->skel->maps.controls, o->max_instances);
	bpf_map__set_max_entries(k->skel->maps.recounts, o->max_instances);
	bpf_map__set_max_entries(k->skel->maps.cgroups, 4 * o->max_instances);
	bpf_map__set_max_entries(k->skel->maps.functions, o->max_functions);
	bpf_map__set_max_entries(k->skel->maps.fn_controls, o->max_functions);
	bpf_map__set_max_entries(k->skel->maps.names, o->max_functions);
	shrink_rings(k);
}

static int map_array(struct bpf_map *map, void **out)
{
	size_t size = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	void *p;

	size = (size + 4095) & ~(size_t)4095;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

static int map_all(struct kernel *k, const struct kernel_options *o)
{
	struct hearth_bpf *s = k->skel;
	int err;

	k->maps.n_instances = o->max_instances;
	k->maps.n_functions = o->max_functions;
	err = map_array(s->maps.instances, (void **)&k->maps.instances);
	if (!err)
		err = map_array(s->maps.controls, (void **)&k->maps.controls);
	if (!err)
		err = map_array(s->maps.functions, (void **)&k->maps.functions);
	if (!err)
		err = map_array(s->maps.fn_controls, (void **)&k->maps.fn_controls);
	if (!err)
		err = map_array(s->maps.node, (void **)&k->maps.node);
	if (!err)
		err = map_array(s->maps.recounts, (void **)&k->recounts);
	return err;
}

static void unmap_array(struct bpf_map *map, void *p)
{
	size_t size = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);

	if (p)
		munmap(p, (size + 4095) & ~(size_t)4095);
}

static int load(struct kernel *k, const struct kernel_options *o)
{
	int err;

	k->skel = hearth_bpf__open();
	if (!k->skel)
		return -errno;
	err = list_hooks(k, o->want_unix);
	if (err)
		return err;
	set_sizes(k, o);
	err = set_pins(k);
	if (!err)
		err = hearth_bpf__load(k->skel);
	if (err) {
		log_error("BPF programs do not load: %s (`hearth doctor` looks for "
			  "what is missing, hearthd --debug shows the verifier's words)",
			  strerror(-err));
		return err;
	}
	return map_all(k, o);
}

/* ---- attach */

/* A pinned link that still does what a new one would. */
static struct bpf_link *keep_link(const struct hook *h, const char *path, uint64_t attach_id)
{
	struct bpf_link *link = bpf_link__open(path);
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (libbpf_get_error(link))
		return NULL;
	if (!bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &len) &&
	    (!h->on_cgroup || info.cgroup.cgroup_id == attach_id))
		return link;
	bpf_link__destroy(link);
	return NULL;
}

/*
 * Pinned in place of whatever was there. For tracepoints the old one goes first:
 * two at once would count everything twice. On cgroups it goes last: there the
 * connection's own state makes a doubled hook harmless, and a gap would not be.
 */
static int attach_anew(struct hook *h, int attach_fd, const char *path)
{
	struct bpf_link *link, *old = h->link;
	int err;

	if (!h->on_cgroup)
		unlink(path);
	link = h->on_cgroup ? bpf_program__attach_cgroup(h->prog, attach_fd)
			    : bpf_program__attach(h->prog);
	err = libbpf_get_error(link);
	if (err) {
		log_error("hook %s: %s", h->name, strerror(-err));
		return err;
	}
	h->link = link;
	bpf_link__destroy(old);
	unlink(path);
	return bpf_link__pin(link, path);
}

static int attach_hook(struct kernel *k, struct hook *h, int attach_fd, uint64_t attach_id,
		       bool same_build)
{
	char path[PATH_MAX];
	int err;

	err = kernel_pin_path(k, "links/", h->name, path);
	if (err)
		return err;
	if (h->why_not) {
		unlink(path); /* an earlier run may have wanted it */
		return 0;
	}
	if (same_build && !h->link) {
		h->link = keep_link(h, path, attach_id);
		if (h->link)
			return 0;
	}
	return attach_anew(h, attach_fd, path);
}

static unsigned int path_depth(const char *path)
{
	unsigned int n = *path ? 1 : 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

static int attach_all(struct kernel *k, int attach_fd, const char *attach_path, bool cgroup_only)
{
	uint64_t build = build_hash(), id;
	bool same = k->maps.node->build == build && k->maps.node->abi == HEARTH_ABI;
	size_t i;
	int err;

	err = cgroup_id_of_fd(attach_fd, &id);
	if (err)
		return err;
	k->maps.node->attach_id = id;
	k->maps.node->attach_level = path_depth(attach_path);
	k->maps.node->abi = HEARTH_ABI;
	for (i = 0; i < k->n_hooks; i++) {
		struct hook *h = &k->hooks[i];

		if (cgroup_only && !h->on_cgroup)
			continue;
		err = attach_hook(k, h, attach_fd, id, same);
		if (err)
			return err;
	}
	k->maps.node->build = build;
	return 0;
}

int kernel_reattach(struct kernel *k, int attach_fd, const char *attach_path)
{
	return attach_all(k, attach_fd, attach_path, true);
}

/* A cgroup that is removed takes its links along, silently. */
static bool sits_on(const struct hook *h, uint64_t attach_id)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	return h->link && !bpf_obj_get_info_by_fd(bpf_link__fd(h->link), &info, &len) &&
	       info.cgroup.cgroup_id == attach_id;
}

bool kernel_attached(const struct kernel *k)
{
	size_t i;

	for (i = 0; i < k->n_hooks; i++)
		if (k->hooks[i].on_cgroup && !sits_on(&k->hooks[i], k->maps.node->attach_id))
			return false;
	return true;
}

/* ---- life cycle */

static int on_event(void *ctx, void *data, size_t size)
{
	struct kernel *k = ctx;

	if (size < sizeof(struct hearth_event) || !k->on_event)
		return 0;
	if (((const struct hearth_event *)data)->type == HEARTH_EV_MISSED &&
	    size < sizeof(struct hearth_missed))
		return 0;
	return k->on_event(data, k->on_event_arg);
}

int kernel_open(const struct kernel_options *o, struct kernel **out)
{
	struct kernel *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return -ENOMEM;
	k->lock_fd = k->stats_fd = -1;
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	libbpf_set_print(libbpf_print);
	err = kernel_pins_open(k, o->pin_dir);
	if (err)
		goto fail;
	kernel_pins_check(k, o);
	err = load(k, o);
	if (err && k->adopted) {
		log_warn("%s: cannot go on with what is pinned: rebuilding (saved history is kept)",
			 k->pin_dir);
		kernel_pins_remove(k->pin_dir);
		k->adopted = false;
		k->n_hooks = 0;
		hearth_bpf__destroy(k->skel);
		err = load(k, o);
	}
	if (!err)
		err = attach_all(k, o->attach_fd, o->attach_path, false);
	if (err)
		goto fail;
	k->events = ring_buffer__new(bpf_map__fd(k->skel->maps.events), on_event, k, NULL);
	if (!k->events) {
		err = -errno;
		goto fail;
	}
	if (o->stats)
		k->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	*out = k;
	return 0;
fail:
	kernel_close(k);
	return err;
}

void kernel_close(struct kernel *k)
{
	size_t i;

	if (!k)
		return;
	ring_buffer__free(k->events);
	for (i = 0; i < k->n_hooks; i++) {
		if (!k->hooks[i].link)
			continue;
		bpf_link__disconnect(k->hooks[i].link); /* the pin keeps it attached */
		bpf_link__destroy(k->hooks[i].link);
	}
	if (k->skel) {
		unmap_array(k->skel->maps.instances, k->maps.instances);
		unmap_array(k->skel->maps.controls, k->maps.controls);
		unmap_array(k->skel->maps.functions, k->maps.functions);
		unmap_array(k->skel->maps.fn_controls, k->maps.fn_controls);
		unmap_array(k->skel->maps.node, k->maps.node);
		unmap_array(k->skel->maps.recounts, k->recounts);
	}
	hearth_bpf__destroy(k->skel);
	if (k->stats_fd >= 0)
		close(k->stats_fd);
	if (k->lock_fd >= 0)
		close(k->lock_fd);
	free(k->pin_dir);
	free(k);
}

const struct kernel_maps *kernel_maps(const struct kernel *k)
{
	return &k->maps;
}

bool kernel_adopted(const struct kernel *k)
{
	return k->adopted;
}

void kernel_events_subscribe(struct kernel *k, kernel_event_fn fn, void *arg)
{
	k->on_event = fn;
	k->on_event_arg = arg;
}

int kernel_events_fd(const struct kernel *k)
{
	return ring_buffer__epoll_fd(k->events);
}

int kernel_events_consume(struct kernel *k)
{
	return ring_buffer__consume(k->events);
}

int kernel_wakes_map(const struct kernel *k)
{
	return bpf_map__fd(k->skel->maps.wakes);
}
