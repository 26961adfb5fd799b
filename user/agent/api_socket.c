/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The groups of a peer come from the kernel (SO_PEERGROUPS): those it really
 * has, and no look-up that could block on a directory server.
 */
#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/api_socket.h"
#include "lib/log.h"
#include "lib/util.h"

#define MODE    0660
#define BACKLOG 64

static int fail(char *err, size_t err_size, const char *path, int rc, const char *what)
{
	snprintf(err, err_size, "%s: %s", path, what ? what : strerror(-rc));
	return rc;
}

static int connects(const struct sockaddr_un *addr)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return 1; /* EAGAIN: its backlog is full */
	return errno == ECONNREFUSED || errno == ENOENT ? 0 : -errno;
}

/* Make room at the path; refuse to take what is not stale. */
static int clear(const struct sockaddr_un *addr, char *err, size_t err_size)
{
	struct stat st;
	int rc;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : fail(err, err_size, addr->sun_path, -errno, NULL);
	if (!S_ISSOCK(st.st_mode))
		return fail(err, err_size, addr->sun_path, -EEXIST,
			    "is there and is not a socket; remove it or choose another path");
	rc = connects(addr);
	if (rc > 0)
		return fail(err, err_size, addr->sun_path, -EADDRINUSE,
			    "another process answers here; stop it or choose another path");
	if (rc == 0 && unlink(addr->sun_path) < 0 && errno != ENOENT)
		rc = -errno;
	return rc < 0 ? fail(err, err_size, addr->sun_path, rc, NULL) : 0;
}

static bool find_group(const char *name, gid_t *out)
{
	struct group group, *found = NULL;
	char buf[16384];

	if (!name || !*name || getgrnam_r(name, &group, buf, sizeof(buf), &found) != 0 || !found)
		return false;
	*out = group.gr_gid;
	return true;
}

/* The parent folder, if only that is missing (a fresh /run has no hearth/). */
static void make_folder(const char *path)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];

	snprintf(copy, sizeof(copy), "%s", path);
	mkdir(dirname(copy), 0755);
}

static int bind_to(const struct sockaddr_un *addr, struct api_socket *s)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	/* The file takes its mode from the socket's inode: it is never wider than this. */
	if (fd < 0 || fchmod(fd, MODE) < 0 ||
	    bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -errno;
	if ((s->has_group && lchown(addr->sun_path, (uid_t)-1, s->group) < 0) ||
	    chmod(addr->sun_path, MODE) < 0 || lstat(addr->sun_path, &st) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		int rc = -errno;

		unlink(addr->sun_path);
		return rc;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->fd = steal_fd(&fd);
	return 0;
}

int api_socket_open(const char *path, const char *group, struct api_socket *out, char *err,
		    size_t err_size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct api_socket s = {.fd = -1};
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path))
		return fail(err, err_size, path, -ENAMETOOLONG,
			    "too long for a socket: at most 107 bytes");
	strcpy(addr.sun_path, path);
	s.has_group = find_group(group, &s.group);
	if (!s.has_group && group && *group)
		log_info("%s: no group is called %s, so only root may use it", path, group);
	make_folder(path);
	rc = clear(&addr, err, err_size);
	if (rc < 0)
		return rc;
	rc = bind_to(&addr, &s);
	if (rc < 0)
		return fail(err, err_size, path, rc, NULL);
	*out = s;
	return 0;
}

void api_socket_unlink(const struct api_socket *s, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(path);
}

int api_socket_peer(int fd, struct api_peer *out)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*out = (struct api_peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	return 0;
}

bool api_socket_may_change(const struct api_socket *s, int fd, const struct api_peer *peer)
{
	_cleanup_free_ gid_t *groups = NULL;
	socklen_t len = 0;

	if (peer->uid == 0)
		return true;
	if (!s->has_group)
		return false;
	if (peer->gid == s->group)
		return true;
	/* Asked without room, the kernel tells the length. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return false;
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == s->group)
			return true;
	return false;
}
