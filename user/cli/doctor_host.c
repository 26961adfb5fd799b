/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Cgroups and privileges of the host. */
#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "lib/cgroup.h"
#include "lib/util.h"

#define BPF_FS 0xcafe4a11u /* magic of a mounted bpffs */

/* ---- cgroups */

/* Directory fd of any child: the root has none of the files to look for. */
static int any_child(int rootfd)
{
	int fd = openat(rootfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return -1;
	while ((e = readdir(dir)))
		if (e->d_type == DT_DIR && *e->d_name != '.')
			return openat(rootfd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return -1;
}

static void check_files(struct doctor *d, int rootfd, bool memory)
{
	_cleanup_close_ int child = any_child(rootfd);

	if (child < 0) {
		doctor_add(d, "freezer", VERDICT_WARN, "look again when functions run",
			   "no cgroup to look at below the root");
		return;
	}
	if (faccessat(child, "cgroup.freeze", F_OK, 0))
		doctor_add(d, "freezer", VERDICT_FAIL, "use Linux 5.2 or newer",
			   "cgroup.freeze is missing");
	else
		doctor_add(d, "freezer", VERDICT_OK, NULL, "cgroup.freeze is there, cgroup.kill %s",
			   faccessat(child, "cgroup.kill", F_OK, 0) ? "is missing" : "too");
	if (memory && faccessat(child, "memory.reclaim", F_OK, 0) &&
	    !faccessat(child, "memory.current", F_OK, 0))
		doctor_add(d, "reclaim", VERDICT_WARN, "use Linux 5.19 or newer",
			   "memory.reclaim is missing: memory is taken back process by process");
	else if (memory)
		doctor_add(d, "reclaim", VERDICT_OK, NULL, "memory.reclaim can be used");
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += n)
		if ((at == list || at[-1] == ' ') && strchr(" \n", at[n]))
			return true;
	return false;
}

static bool check_controllers(struct doctor *d, int rootfd)
{
	char list[256] = "";
	bool memory;

	read_file_at(rootfd, "cgroup.controllers", list, sizeof(list));
	list[strcspn(list, "\n")] = '\0';
	memory = has_word(list, "memory");
	if (memory)
		doctor_add(d, "controllers", VERDICT_OK, NULL, "%s", list);
	else
		doctor_add(
		    d, "controllers", VERDICT_WARN,
		    "boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all",
		    "no memory controller in cgroup2: memory is measured and taken back process "
		    "by process, which is slower and leaves what they share");
	return memory;
}

void doctor_cgroups(struct doctor *d)
{
	_cleanup_close_ int rootfd = -1;
	struct statvfs vfs;
	char path[512];
	int err = cgroup_root_open(d->procroot, &rootfd, path, sizeof(path));

	if (err) {
		doctor_add(d, "cgroup2", VERDICT_FAIL,
			   "mount it: mount -t cgroup2 none /sys/fs/cgroup, or boot with "
			   "systemd.unified_cgroup_hierarchy=1",
			   "no cgroup2 mount: %s", strerror(-err));
		return;
	}
	if (!fstatvfs(rootfd, &vfs) && (vfs.f_flag & ST_RDONLY))
		doctor_add(d, "cgroup2", VERDICT_FAIL,
			   "mount it writable: in a container, -v /sys/fs/cgroup:/sys/fs/cgroup:rw",
			   "%s is read-only", path);
	else
		doctor_add(d, "cgroup2", VERDICT_OK, NULL, "%s", path);
	check_files(d, rootfd, check_controllers(d, rootfd));
}

/* ---- privileges */

/* What hearthd needs, and for what. deploy/hearthd.service grants the same. */
static const struct {
	unsigned int cap;
	const char *what;
} needed[] = {
    {CAP_BPF, "load programs"},
    {CAP_PERFMON, "attach tracepoints"},
    {CAP_NET_ADMIN, "attach socket hooks"},
    {CAP_SYS_ADMIN, "walk tasks of other namespaces"},
    {CAP_DAC_READ_SEARCH, "open cgroups by id"},
    {CAP_DAC_OVERRIDE, "write cgroup files of other users"},
    {CAP_SYS_NICE, "wake with SCHED_FIFO, page out processes"},
    {CAP_IPC_LOCK, "lock the guard into memory"},
    {CAP_SYS_PTRACE, "see sockets and memory of other users' processes"},
};

static void check_capabilities(struct doctor *d)
{
	char missing[256] = "";
	size_t effective = 0;

	capng_get_caps_process();
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		size_t used = strlen(missing);

		effective += capng_have_capability(CAPNG_EFFECTIVE, needed[i].cap);
		if (!capng_have_capability(CAPNG_BOUNDING_SET, needed[i].cap))
			snprintf(missing + used, sizeof(missing) - used, "%s%s (%s)",
				 used ? ", " : "", capng_capability_to_name(needed[i].cap),
				 needed[i].what);
	}
	if (*missing)
		doctor_add(d, "capabilities", VERDICT_FAIL,
			   "in a container, grant them: --cap-add, or --privileged",
			   "nothing here may have %s", missing);
	else if (effective < ARRAY_SIZE(needed))
		doctor_add(d, "capabilities", VERDICT_OK, NULL,
			   "all can be had; hearthd must run as root");
	else
		doctor_add(d, "capabilities", VERDICT_OK, NULL, "all %zu there",
			   ARRAY_SIZE(needed));
}

static void check_bpffs(struct doctor *d)
{
	char path[512];
	struct statfs fs;

	snprintf(path, sizeof(path), "%s/fs/bpf", d->sysroot);
	if (!statfs(path, &fs) && (unsigned int)fs.f_type == BPF_FS)
		doctor_add(d, "bpffs", VERDICT_OK, NULL, "%s", path);
	else
		doctor_add(d, "bpffs", VERDICT_FAIL, "mount -t bpf bpf /sys/fs/bpf",
			   "not mounted on %s: counting would end with hearthd", path);
}

static void check_realtime(struct doctor *d)
{
	char text[32];

	if (doctor_read(d->procroot, "sys/kernel/sched_rt_runtime_us", text, sizeof(text)) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	if (!strcmp(text, "0"))
		doctor_add(d, "real-time", VERDICT_WARN, "sysctl kernel.sched_rt_runtime_us=950000",
			   "SCHED_FIFO is off: wakes are late on a busy host");
	else
		doctor_add(d, "real-time", VERDICT_OK, NULL, "SCHED_FIFO %s%s%s",
			   *text == '-' ? "without throttling" : "may use ",
			   *text == '-' ? "" : text, *text == '-' ? "" : " us a period");
}

static void check_unprivileged(struct doctor *d)
{
	char text[8];

	if (doctor_read(d->procroot, "sys/kernel/unprivileged_bpf_disabled", text, sizeof(text)) <
	    0)
		return;
	doctor_add(d, "unprivileged bpf", VERDICT_OK, NULL, "%s (hearthd is root: no matter)",
		   *text == '0' ? "allowed" : "refused");
}

void doctor_privileges(struct doctor *d)
{
	check_capabilities(d);
	check_bpffs(d);
	check_unprivileged(d);
	check_realtime(d);
}
