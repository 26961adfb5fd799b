// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Load, pin, adopt. Maps that are pinned with the same layout are reused by the
 * new object, so what was counted stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/kernel_internal.h"
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
	err = kernel_hooks_list(k, o->want_unix);
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
		err = kernel_attach(k, o->attach_fd, o->attach_path, false);
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
