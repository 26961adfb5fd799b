/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads and writes of cgroup2 files. All path handling of the tree is here, so
 * that nobody else builds paths below the mount.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cgroup.h"
#include "lib/util.h"

#define DIR_FLAGS     (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define KERNFS_HANDLE 0xfe /* FILEID_KERNFS: the 8 bytes are the id */

static int gone(int rc)
{
	return rc == -ENODEV || rc == -ESTALE ? -ENOENT : rc;
}

/* mountinfo writes space, tab, newline and backslash as three octal digits. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; out++) {
		unsigned int c;

		if (s[0] == '\\' && sscanf(s + 1, "%3o", &c) == 1 && strlen(s) >= 4) {
			*out = (char)c;
			s += 4;
		} else {
			*out = *s++;
		}
	}
	*out = '\0';
}

/* Fields: id parent major:minor root mountpoint options [optional...] - type ... */
static bool parse_mount(char *line, char **root, char **point)
{
	char *fields = strstr(line, " - ");
	char *save = NULL;

	if (!fields || strncmp(fields + 3, "cgroup2 ", 8) != 0)
		return false;
	*fields = '\0';
	strtok_r(line, " ", &save);
	strtok_r(NULL, " ", &save);
	strtok_r(NULL, " ", &save);
	*root = strtok_r(NULL, " ", &save);
	*point = strtok_r(NULL, " ", &save);
	if (!*point)
		return false;
	unescape(*root);
	unescape(*point);
	return true;
}

static int find_mount(const char *procroot, char *path, size_t path_size)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char file[PATH_MAX], *root, *point;
	bool found = false, whole = false;
	size_t cap = 0;

	if ((size_t)snprintf(file, sizeof(file), "%s/self/mountinfo", procroot) >= sizeof(file))
		return -ENAMETOOLONG;
	f = fopen(file, "re");
	if (!f)
		return -errno;
	while (!whole && getline(&line, &cap, f) > 0) {
		if (!parse_mount(line, &root, &point))
			continue;
		whole = strcmp(root, "/") == 0;
		if (found && !whole)
			continue;
		found = true;
		if ((size_t)snprintf(path, path_size, "%s", point) >= path_size)
			return -ENAMETOOLONG;
	}
	return found ? 0 : -ENOENT;
}

int cgroup_root_open(const char *procroot, int *fd, char *path, size_t path_size)
{
	int rc = find_mount(procroot, path, path_size);
	int dir;

	if (rc < 0)
		return rc;
	dir = open(path, DIR_FLAGS);
	if (dir < 0)
		return -errno;
	*fd = dir;
	return 0;
}

int cgroup_open(int rootfd, const char *path)
{
	int fd = openat(rootfd, *path ? path : ".", DIR_FLAGS);

	return fd < 0 ? gone(-errno) : fd;
}

int cgroup_open_by_id(int rootfd, uint64_t id)
{
	union {
		struct file_handle head;
		char bytes[sizeof(struct file_handle) + sizeof(id)];
	} handle = {.head = {.handle_bytes = sizeof(id), .handle_type = KERNFS_HANDLE}};
	int fd;

	memcpy(handle.bytes + offsetof(struct file_handle, f_handle), &id, sizeof(id));
	fd = open_by_handle_at(rootfd, &handle.head, DIR_FLAGS);
	return fd < 0 ? gone(-errno) : fd;
}

int cgroup_id_of_fd(int fd, uint64_t *id)
{
	struct stat st;

	_Static_assert(sizeof(st.st_ino) == sizeof(*id), "inode numbers carry whole ids");
	if (fstat(fd, &st) < 0)
		return gone(-errno);
	*id = st.st_ino;
	return 0;
}

static int real_path(int fd, char *path, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, size);
	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	path[n] = '\0';
	return 0;
}

int cgroup_path_of_fd(int rootfd, int fd, char *path, size_t size)
{
	char root[PATH_MAX], full[PATH_MAX];
	const char *rel;
	struct stat a, b;
	size_t len;
	int rc;

	rc = real_path(rootfd, root, sizeof(root));
	if (rc == 0)
		rc = real_path(fd, full, sizeof(full));
	if (rc < 0)
		return rc;
	len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(full, root, len) != 0 || (full[len] && full[len] != '/'))
		return -EXDEV;
	rel = full[len] ? full + len + 1 : "";
	/* A removed directory reads "... (deleted)", which is also a legal name: look. */
	if (fstat(fd, &a) < 0 || fstatat(rootfd, *rel ? rel : ".", &b, AT_SYMLINK_NOFOLLOW) < 0)
		return gone(-errno);
	if (a.st_ino != b.st_ino || a.st_dev != b.st_dev)
		return -ENOENT;
	if ((size_t)snprintf(path, size, "%s", rel) >= size)
		return -ENAMETOOLONG;
	return 0;
}

struct walk {
	cgroup_walk_fn fn;
	void *arg;
	char path[PATH_MAX];
	size_t len;
};

static int walk_dir(struct walk *w, int fd);

static int walk_child(struct walk *w, int parent, const char *name)
{
	_cleanup_close_ int fd = openat(parent, name, DIR_FLAGS | O_NOFOLLOW);
	size_t len = w->len, left = sizeof(w->path) - len;
	int n, rc;

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	n = snprintf(w->path + len, left, "%s%s", len ? "/" : "", name);
	if ((size_t)n >= left)
		return -ENAMETOOLONG;
	w->len = len + (size_t)n;
	rc = walk_dir(w, fd);
	w->len = len;
	w->path[len] = '\0';
	return rc;
}

static int walk_children(struct walk *w, int fd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *e;
	int own, rc = 0;

	own = openat(fd, ".", DIR_FLAGS);
	if (own < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	dir = fdopendir(own);
	if (!dir) {
		rc = -errno;
		close(own);
		return rc;
	}
	while (rc == 0 && (e = readdir(dir))) {
		if (e->d_type != DT_DIR || strcmp(e->d_name, ".") == 0 ||
		    strcmp(e->d_name, "..") == 0)
			continue;
		rc = walk_child(w, fd, e->d_name);
	}
	return rc;
}

static int walk_dir(struct walk *w, int fd)
{
	uint64_t id;
	int rc;

	if (cgroup_id_of_fd(fd, &id) < 0)
		return 0;
	rc = w->fn(fd, id, w->path, w->arg);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	return walk_children(w, fd);
}

int cgroup_walk(int rootfd, const char *path, cgroup_walk_fn fn, void *arg)
{
	struct walk w = {.fn = fn, .arg = arg};
	_cleanup_close_ int fd = cgroup_open(rootfd, path);

	if (fd < 0)
		return fd;
	w.len = strlen(path);
	if (w.len >= sizeof(w.path))
		return -ENAMETOOLONG;
	memcpy(w.path, path, w.len + 1);
	return walk_dir(&w, fd);
}

int cgroup_freeze_write(int fd, bool freeze)
{
	return gone(write_file_at(fd, "cgroup.freeze", freeze ? "1" : "0"));
}

/* Value of a "key value" line; -EPROTO if the file has no such line. */
static int read_keyed(int fd, const char *file, const char *key, uint64_t *value)
{
	char buf[8192];
	ssize_t n = read_file_at(fd, file, buf, sizeof(buf));
	size_t len = strlen(key);

	if (n < 0)
		return gone((int)n);
	for (const char *p = buf; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, len) == 0 && p[len] == ' ' &&
		    sscanf(p + len, "%" SCNu64, value) == 1)
			return 0;
	}
	return -EPROTO;
}

static int read_event(int fd, const char *key)
{
	uint64_t value;
	int rc = read_keyed(fd, "cgroup.events", key, &value);

	return rc < 0 ? rc : value != 0;
}

int cgroup_read_frozen(int fd)
{
	return read_event(fd, "frozen");
}

int cgroup_read_populated(int fd)
{
	return read_event(fd, "populated");
}

int cgroup_read_freeze(int fd)
{
	char buf[16];
	ssize_t n = read_file_at(fd, "cgroup.freeze", buf, sizeof(buf));

	return n < 0 ? gone((int)n) : buf[0] == '1';
}

int cgroup_cpu_usec(int fd, uint64_t *usec)
{
	return read_keyed(fd, "cpu.stat", "usage_usec", usec);
}

int cgroup_kill(int fd)
{
	return gone(write_file_at(fd, "cgroup.kill", "1"));
}

int cgroup_procs(int fd, cgroup_proc_fn fn, void *arg)
{
	_cleanup_fclose_ FILE *f = NULL;
	int file = openat(fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	int pid, rc = 0;

	if (file < 0)
		return gone(-errno);
	f = fdopen(file, "r");
	if (!f) {
		rc = -errno;
		close(file);
		return rc;
	}
	errno = 0;
	while (rc == 0 && fscanf(f, "%d", &pid) == 1)
		rc = fn(pid, arg);
	if (rc == 0 && ferror(f))
		rc = gone(errno ? -errno : -EIO);
	return rc;
}
