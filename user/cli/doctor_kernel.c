/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel is and what it offers to the programs. */
#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "cli/doctor.h"
#include "lib/util.h"

/* Inodes of the first namespaces, fixed by the kernel (include/linux/proc_ns.h). */
#define FIRST_PID_NS    0xEFFFFFFCu
#define FIRST_CGROUP_NS 0xEFFFFFFBu

static void check_version(struct doctor *d)
{
	int major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	sscanf(u.release, "%d.%d", &major, &minor);
	if (major > 6 || (major == 6 && minor >= 1))
		doctor_add(d, "kernel", VERDICT_OK, NULL, "%s", u.release);
	else
		doctor_add(d, "kernel", VERDICT_WARN,
			   "use Linux 6.1 or newer: nothing older is tested", "%s", u.release);
}

static void check_lockdown(struct doctor *d)
{
	char text[128];

	if (doctor_read(d->sysroot, "kernel/security/lockdown", text, sizeof(text)) < 0)
		return; /* no such security module: nothing is locked down */
	if (strstr(text, "[confidentiality]"))
		doctor_add(d, "lockdown", VERDICT_FAIL,
			   "boot with lockdown=integrity or none: confidentiality forbids BPF to "
			   "read kernel memory",
			   "confidentiality");
	else
		doctor_add(d, "lockdown", VERDICT_OK, NULL, "%s",
			   strstr(text, "[integrity]") ? "integrity" : "none");
}

static void check_jit(struct doctor *d)
{
	char text[16];

	if (doctor_read(d->procroot, "sys/net/core/bpf_jit_enable", text, sizeof(text)) < 0)
		return; /* always on in this kernel, or not ours to see */
	if (*text == '0')
		doctor_add(d, "bpf jit", VERDICT_WARN, "sysctl net.core.bpf_jit_enable=1",
			   "off: every hook costs several times as much");
	else
		doctor_add(d, "bpf jit", VERDICT_OK, NULL, "on");
}

static bool in_first_namespace(const struct doctor *d, const char *name, ino_t first)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/self/ns/%s", d->procroot, name);
	return stat(path, &st) || st.st_ino == first;
}

static void check_namespaces(struct doctor *d)
{
	bool pid = in_first_namespace(d, "pid", FIRST_PID_NS);
	bool cgroup = in_first_namespace(d, "cgroup", FIRST_CGROUP_NS);

	if (pid && cgroup)
		doctor_add(d, "namespaces", VERDICT_OK, NULL, "the host's");
	else
		doctor_add(d, "namespaces", VERDICT_WARN,
			   "in a container, share the host's: --pid=host --cgroupns=host, or "
			   "hostPID: true",
			   "not in the host's %s%s%s namespace: functions outside stay unseen",
			   pid ? "" : "pid", !pid && !cgroup ? " and " : "",
			   cgroup ? "" : "cgroup");
}

void doctor_kernel(struct doctor *d)
{
	check_version(d);
	check_lockdown(d);
	check_jit(d);
	check_namespaces(d);
}

/* ---- hooks */

/* Tracepoints that the programs attach to, as BTF names them ("btf_trace_NAME"). */
static const struct {
	const char *name;
	const char *optional; /* what is missing without it; NULL: hearthd cannot do without */
} tracepoints[] = {
    {"cgroup_mkdir", NULL},
    {"cgroup_rmdir", NULL},
    {"cgroup_attach_task", NULL},
    {"cgroup_notify_populated", NULL},
    {"cgroup_notify_frozen", NULL},
    {"sched_process_fork", NULL},
    {"sched_process_exec", NULL},
    {"sched_process_exit", NULL},
    {"inet_sock_set_state", NULL},
    {"sk_data_ready", "AF_UNIX functions"},
    {"sock_recv_length", "AF_UNIX functions"},
    {"sock_send_length", "AF_UNIX functions"},
};

static bool has_tracepoint(const struct btf *btf, const char *name)
{
	char type[96];

	snprintf(type, sizeof(type), "btf_trace_%s", name);
	return btf__find_by_name_kind(btf, type, BTF_KIND_TYPEDEF) > 0;
}

static void check_tracepoints(struct doctor *d, const struct btf *btf)
{
	size_t missing = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		const char *optional = tracepoints[i].optional;

		if (has_tracepoint(btf, tracepoints[i].name))
			continue;
		missing++;
		if (optional)
			doctor_add(d, "hook", VERDICT_WARN,
				   "needed only for them; use Linux 6.3 or "
				   "newer",
				   "%s is missing: no %s", tracepoints[i].name, optional);
		else
			doctor_add(d, "hook", VERDICT_FAIL, "use a kernel that has it",
				   "%s is missing", tracepoints[i].name);
	}
	if (!missing)
		doctor_add(d, "hooks", VERDICT_OK, NULL, "all %zu tracepoints are there",
			   ARRAY_SIZE(tracepoints));
}

void doctor_hooks(struct doctor *d)
{
	struct btf *btf;
	char path[512];

	snprintf(path, sizeof(path), "%s/kernel/btf/vmlinux", d->sysroot);
	btf = btf__parse(path, NULL);
	if (!btf) {
		doctor_add(d, "btf", VERDICT_FAIL,
			   "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (all large "
			   "distributions' are)",
			   "%s: %s", path, strerror(errno));
		return;
	}
	doctor_add(d, "btf", VERDICT_OK, NULL, "%s, %u types", path, btf__type_cnt(btf));
	check_tracepoints(d, btf);
	btf__free(btf);
}
