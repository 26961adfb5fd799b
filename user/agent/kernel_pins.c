// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The pin directory: one agent at a time, and what an earlier one left there is
 * either of our layout or removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "agent/kernel_internal.h"
#include "lib/log.h"
#include "lib/util.h"

#define BPFFS_DEFAULT "/sys/fs/bpf"

/* ---- pin directory */

int kernel_pin_path(const struct kernel *k, const char *sub, const char *name, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%s%s", k->pin_dir, sub, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static bool on_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

/* systemd mounts it; a host without systemd may not have it. */
static int mount_bpffs(const char *pin_dir)
{
	if (strncmp(pin_dir, BPFFS_DEFAULT "/", sizeof(BPFFS_DEFAULT)) || on_bpffs(BPFFS_DEFAULT))
		return 0;
	if (mount("bpf", BPFFS_DEFAULT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return -errno;
	log_info("mounted the BPF file system on %s", BPFFS_DEFAULT);
	return 0;
}

static int make_dir(const char *path)
{
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

int kernel_pins_open(struct kernel *k, const char *pin_dir)
{
	char links[PATH_MAX];
	int err;

	k->pin_dir = strdup(pin_dir);
	if (!k->pin_dir)
		return -ENOMEM;
	err = mount_bpffs(pin_dir);
	if (!err)
		err = make_dir(pin_dir);
	if (!err && !on_bpffs(pin_dir)) {
		log_error("%s: not on a BPF file system (mount -t bpf bpf %s)", pin_dir,
			  BPFFS_DEFAULT);
		return -EINVAL;
	}
	if (!err)
		err = kernel_pin_path(k, "", "links", links);
	if (!err)
		err = make_dir(links);
	if (err) {
		log_error("%s: %s", pin_dir, strerror(-err));
		return err;
	}
	k->lock_fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->lock_fd < 0)
		return -errno;
	if (flock(k->lock_fd, LOCK_EX | LOCK_NB)) {
		log_error("%s: another hearthd uses this pin directory", pin_dir);
		return -EBUSY;
	}
	return 0;
}

static void unpin_folder(int dirfd, const char *name)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	int fd;

	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(fd, e->d_name, 0);
}

/* Links first: with them the programs go, then nobody writes the maps. */
void kernel_pins_remove(const char *pin_dir)
{
	_cleanup_close_ int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return;
	unpin_folder(fd, "links");
	unpin_folder(fd, ".");
}

void kernel_pins_keep_links(const struct kernel *k,
			    bool (*wanted)(const struct kernel *k, const char *name))
{
	_cleanup_closedir_ DIR *d = NULL;
	char path[PATH_MAX];
	struct dirent *e;

	d = kernel_pin_path(k, "", "links", path) ? NULL : opendir(path);
	if (!d)
		return;
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && !wanted(k, e->d_name))
			unlinkat(dirfd(d), e->d_name, 0);
}

int kernel_uninstall(const char *pin_dir)
{
	_cleanup_close_ int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB))
		return -EBUSY;
	kernel_pins_remove(pin_dir);
	unlinkat(fd, "links", AT_REMOVEDIR);
	return rmdir(pin_dir) ? -errno : 0;
}

/* ---- layout of what is pinned */

/* What the pinned `node` says; false if there is nothing usable. */
static bool pinned_node(const struct kernel *k, struct hearth_node *out)
{
	char path[PATH_MAX];
	uint32_t zero = 0;
	int fd, err;

	if (kernel_pin_path(k, "", "node", path))
		return false;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	err = bpf_map_lookup_elem(fd, &zero, out);
	close(fd);
	return !err;
}

static bool same_size(const struct kernel *k, const char *map, unsigned int max_entries)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	char path[PATH_MAX];
	int fd, err;

	if (kernel_pin_path(k, "", map, path))
		return false;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return false;
	err = bpf_obj_get_info_by_fd(fd, &info, &len);
	close(fd);
	return !err && info.max_entries == max_entries;
}

/* Keep what is pinned if its layout is ours; else tell, and start anew. */
void kernel_pins_check(struct kernel *k, const struct kernel_options *o)
{
	struct hearth_node node = {};

	if (!pinned_node(k, &node))
		return kernel_pins_remove(k->pin_dir);
	if (node.abi != HEARTH_ABI)
		log_warn("%s: layout version %u, this hearthd has %u: rebuilding (saved history is "
			 "kept)",
			 k->pin_dir, node.abi, HEARTH_ABI);
	else if (!same_size(k, "instances", o->max_instances) ||
		 !same_size(k, "functions", o->max_functions))
		log_warn("%s: max_instances or max_functions changed: rebuilding (saved history is "
			 "kept)",
			 k->pin_dir);
	else {
		k->adopted = true;
		return;
	}
	kernel_pins_remove(k->pin_dir);
}
