// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Which programs this kernel gets, and their links. A pinned link is kept as it
 * is if it runs the very same object, so counting is never interrupted by a
 * restart; one that this object does not have is removed.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <linux/btf.h>

#include "agent/kernel_internal.h"
#include "lib/cgroup.h"
#include "lib/host.h"
#include "lib/log.h"
#include "lib/util.h"

/* ---- hooks */

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

/* For what a preempted task keeps the first program from, on kernels that do that. */
static void add_second_hook(struct kernel *k, const char *name, struct bpf_program *prog)
{
	if (host_preempts_programs())
		add_hook(k, name, prog, false);
	else
		bpf_program__set_autoload(prog, false);
}

struct unix_hook {
	const char *name, *second_name;
	struct bpf_program *prog, *second;
};

static void add_unix_hook(struct kernel *k, const struct btf *btf, const struct unix_hook *u,
			  bool wanted)
{
	struct hook *h = &k->hooks[k->n_hooks];

	add_hook(k, u->name, u->prog, false);
	if (!wanted)
		h->why_not = "no rule or function has source = unix";
	else if (!has_tracepoint(btf, u->name))
		h->why_not = "this kernel has no such tracepoint (6.3 and later have): AF_UNIX "
			     "functions are not seen";
	if (h->why_not) {
		bpf_program__set_autoload(u->prog, false);
		bpf_program__set_autoload(u->second, false);
	} else {
		add_second_hook(k, u->second_name, u->second);
	}
}

int kernel_hooks_list(struct kernel *k, bool want_unix)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct hearth_bpf *s = k->skel;
	const struct unix_hook unix_hooks[] = {
	    {"sk_data_ready", "sk_data_ready-again", s->progs.hearth_data_ready,
	     s->progs.hearth_data_ready_again},
	    {"sock_recv_length", "sock_recv_length-again", s->progs.hearth_recv,
	     s->progs.hearth_recv_again},
	    {"sock_send_length", "sock_send_length-again", s->progs.hearth_send,
	     s->progs.hearth_send_again},
	};
	size_t i;

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
	add_second_hook(k, "inet_sock_set_state-again", s->progs.hearth_set_state_again);
	add_second_hook(k, "sched_process_fork-again", s->progs.hearth_fork_again);
	add_second_hook(k, "sched_process_exec-again", s->progs.hearth_exec_again);
	add_second_hook(k, "sched_process_exit-again", s->progs.hearth_exit_again);
	for (i = 0; i < ARRAY_SIZE(unix_hooks); i++)
		add_unix_hook(k, btf, &unix_hooks[i], want_unix);
	btf__free(btf);
	return 0;
}

/* ---- links */

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
	if (h->why_not)
		return 0;
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

static bool is_wanted(const struct kernel *k, const char *name)
{
	size_t i;

	for (i = 0; i < k->n_hooks; i++)
		if (!strcmp(k->hooks[i].name, name))
			return !k->hooks[i].why_not;
	return false;
}

int kernel_attach(struct kernel *k, int attach_fd, const char *attach_path, bool cgroup_only)
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
	kernel_pins_keep_links(k, is_wanted);
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
	return kernel_attach(k, attach_fd, attach_path, true);
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
