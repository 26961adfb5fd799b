/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * libhearth-zygote: an image is a process that has loaded what a function
 * depends on and then serves; for each request it forks an instance that is
 * born in the function's cgroup. This header is its two sides (image, client)
 * and the wire between them. An image forks only while it has one thread and
 * no descriptors but its own: what it cannot hand on, it refuses to serve with.
 *
 * Outputs are written on success only; errors are negative errno, with a line
 * for people in `error` (HEARTH_ZYGOTE_ERROR bytes, or NULL).
 *
 * The wire: AF_UNIX, SOCK_SEQPACKET, one connection a request. Integers are in
 * host order. The image accepts root and its owner (SO_PEERCRED).
 *
 *   client -> image     REQUEST  hearth_zygote_wire, then the seccomp filter (n_filter times
 *                                struct sock_filter), then argv, env and directory: strings with
 *                                their NUL. Descriptors by SCM_RIGHTS, those named by `fds` in
 *                                the order of its bits, then n_extra more.
 *                       SPARE    hearth_zygote_wire, with a cgroup at most
 *                       INFO     hearth_zygote_wire with nothing in it
 *   image -> client     FORKED   hearth_zygote_reply; a pidfd by SCM_RIGHTS
 *                       READY    hearth_zygote_reply
 *                       FAILED   hearth_zygote_reply
 *   instance -> client  STARTED  hearth_zygote_reply: set up, hooks run, handler found
 *                       FAILED   hearth_zygote_reply: it exits
 *   spare -> client     WAITING  hearth_zygote_reply: REQUEST on this connection claims it; then as
 *                                above, with the spare in the place of the image
 *
 * A spare is forked ahead, in a cgroup of its own. Claimed, it goes over into a new
 * process that is born in the function's cgroup and keeps its memory (no page is copied
 * and none moves): what a fork may enter and is charged for is so with it too. A
 * runtime with threads cannot: it stays the process that it is, says no FORKED, and its
 * client moves it before.
 * A spare ends with its connection, and with the image's parent even if it is frozen.
 *
 * FORKED and STARTED come from two processes, in any order. The connection ends
 * when both are done with it: an end before FORKED means that the image died, one
 * between the two that the instance did. An image that is still loading answers
 * once it serves; one that is frozen, once it is thawed (as its instances do when
 * their cgroup is).
 */
#ifndef HEARTH_ZYGOTE_H
#define HEARTH_ZYGOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define HEARTH_ZYGOTE_PROTOCOL  1u
#define HEARTH_ZYGOTE_ERROR     256                /* bytes of an error line */
#define HEARTH_ZYGOTE_RUNTIME   64                 /* bytes of a runtime's name */
#define HEARTH_ZYGOTE_MAX_BYTES 131072             /* of a request, filter and strings included */
#define HEARTH_ZYGOTE_MAX_EXTRA 32                 /* descriptors beyond stdio */
#define HEARTH_ZYGOTE_FD_ENV    "HEARTH_ZYGOTE_FD" /* a listening socket, for who starts images */
#define HEARTH_ZYGOTE_EXIT      125 /* status of an instance that could not be set up */

/* ---- the wire */

enum hearth_zygote_type {
	HEARTH_ZYGOTE_REQUEST = 1,
	HEARTH_ZYGOTE_INFO = 2,
	HEARTH_ZYGOTE_FORKED = 3,
	HEARTH_ZYGOTE_READY = 4,
	HEARTH_ZYGOTE_STARTED = 5,
	HEARTH_ZYGOTE_FAILED = 6,
	HEARTH_ZYGOTE_SPARE = 7,
	HEARTH_ZYGOTE_WAITING = 8,
};

/* hearth_zygote_wire.fds: which descriptors came along */
enum hearth_zygote_fds {
	HEARTH_ZYGOTE_CGROUP = 1, /* directory of the cgroup2 to be born in */
	HEARTH_ZYGOTE_PIDFD = 2,  /* whose namespaces to join */
	HEARTH_ZYGOTE_STDIN = 4,
	HEARTH_ZYGOTE_STDOUT = 8,
	HEARTH_ZYGOTE_STDERR = 16,
};

/* hearth_zygote_wire.flags */
enum hearth_zygote_flags {
	HEARTH_ZYGOTE_SET_IDS = 1,      /* become uid and gid, with no other groups */
	HEARTH_ZYGOTE_NO_NEW_PRIVS = 2, /* implied by a filter */
	HEARTH_ZYGOTE_SET_ENV = 4,      /* env replaces the image's, also when it is empty */
	HEARTH_ZYGOTE_SET_DIR = 8,      /* one more string: the working directory */
};

struct hearth_zygote_wire {
	uint32_t type;
	uint32_t protocol;
	uint32_t flags;
	uint32_t fds;
	uint32_t n_extra;
	uint32_t namespaces; /* CLONE_NEW* of PIDFD's process to join */
	uint32_t uid;
	uint32_t gid;
	uint32_t n_filter;
	uint32_t argc; /* strings that follow: argc, n_env, and the directory */
	uint32_t n_env;
	uint32_t padding;
};

struct hearth_zygote_reply {
	uint32_t type;
	uint32_t protocol;
	int32_t error;    /* FAILED: a positive errno */
	int32_t pid;      /* FORKED, READY: as the image sees it; FAILED: 0 if the image says so */
	uint32_t threads; /* READY: 1 */
	uint32_t fds;     /* READY: open descriptors, stdio included */
	uint64_t forks;   /* READY: instances forked so far */
	char text[HEARTH_ZYGOTE_ERROR]; /* FAILED: why; READY: the runtime */
};

/* ---- the image's side */

struct hearth_zygote_options {
	const char *runtime; /* for people: "python 3.11.2"; NULL: the program's name */
	const int *keep_fds; /* files of the image that instances share */
	size_t n_keep_fds;
	uid_t owner;                   /* who may ask besides root; (uid_t)-1: the image's uid */
	void (*after_fork)(void *arg); /* in the instance, set up and confined: reseed, reopen */
	void *arg;
	void (*warm)(void *arg); /* in a spare before it waits: write to what a handler would */
};

/* What an instance is to do. The strings live as long as it does. */
struct hearth_zygote_child {
	int argc;
	char **argv; /* ends with NULL */
	char **env;  /* NULL: none came, the image's stays; else environ is this already */
	int n_extra; /* descriptors 3, 4 ... */
	int conn;    /* for hearth_zygote_started() */
};

/* A listening socket at `path` (mode 0600; one left by a dead image is replaced), or -errno. */
int hearth_zygote_listen(const char *path, char *error);

/*
 * Serve requests on the listening socket `fd`. Returns 1 in every instance, as
 * fork() returns 0 in a child: call hearth_zygote_started(), then do the work.
 * Returns -errno in the image: -EINTR after a signal (call again), -EBUSY when
 * it cannot serve because of its threads or descriptors (who waits for READY is told
 * why), anything else when the socket failed.
 *
 * Handlers of pthread_atfork() run once, in a fork that is thrown away, so that
 * pools of threads stop; they do not run in instances. `options` may be NULL.
 */
int hearth_zygote_serve(int fd, const struct hearth_zygote_options *options,
			struct hearth_zygote_child *out, char *error);

/*
 * Tell the client that the instance has started (why = NULL) or why it cannot;
 * the caller then exits with HEARTH_ZYGOTE_EXIT. Once per instance.
 */
void hearth_zygote_started(struct hearth_zygote_child *child, const char *why);

/*
 * A process with threads as a spare: wait on `conn` (one end of a socketpair, say) until
 * it is claimed. 1: stdio, directory, argv and env are the request's, and the process no
 * longer ends with its parent: hearth_zygote_started(), then do the work. 0: nobody will
 * claim it any more. -EINVAL: more was asked (ids, a filter, namespaces, extra
 * descriptors, a cgroup) than a process with threads can do to itself.
 */
int hearth_zygote_wait_claim(int conn, struct hearth_zygote_child *out, char *error);

/* ---- the client's side */

struct hearth_zygote_info {
	pid_t pid;
	unsigned threads;
	unsigned fds;
	uint64_t forks;
	char runtime[HEARTH_ZYGOTE_RUNTIME];
};

/* A descriptor that is -1 and a pointer that is NULL mean "none". Begin with HEARTH_ZYGOTE_NONE. */
struct hearth_zygote_request {
	int cgroup_fd;        /* none: the image's own cgroup */
	int namespace_fd;     /* pidfd of a process in the sandbox */
	uint32_t namespaces;  /* CLONE_NEW* to join of it */
	int stdio[3];         /* none: the image's */
	const int *extra_fds; /* become 3, 4 ... */
	size_t n_extra;
	bool set_ids;
	uid_t uid;
	gid_t gid;
	bool no_new_privs;
	const void *filter; /* struct sock_filter[n_filter]; it must allow sendto and close */
	size_t n_filter;
	char *const *argv; /* the runtime says what [0] is; Python: FILE or MODULE:FUNCTION */
	char *const *env;
	const char *directory;
};

#define HEARTH_ZYGOTE_NONE                                                                         \
	{                                                                                          \
		.cgroup_fd = -1, .namespace_fd = -1, .stdio = { -1, -1, -1 }                       \
	}

struct hearth_zygote_instance {
	pid_t pid;  /* a child of the image's parent, which must reap it */
	int pidfd;  /* close-on-exec; the caller's */
	int conn;   /* until hearth_zygote_wait_started() */
	int status; /* 0: not known yet; 1: started; -errno: failed, and why: */
	char failure[HEARTH_ZYGOTE_ERROR];
};

/* -errno: -ENOENT and -ECONNREFUSED if there is no image. */
int hearth_zygote_connect(const char *path, char *error);

/*
 * Wait until the image serves. Consumes `conn` whatever comes. -ETIMEDOUT;
 * -ECONNRESET if it died; -EBUSY if it cannot serve, with the reason.
 */
int hearth_zygote_ready(int conn, int timeout_ms, struct hearth_zygote_info *out, char *error);

/*
 * Ask for an instance. Consumes `conn` on failure; on success it is the
 * instance's. The error is the image's: -EACCES (not its owner), -EINVAL (bad
 * request), what clone3() said. -ECONNRESET if the image died: there may be an
 * instance in the cgroup all the same. -ETIMEDOUT: likewise, it may come later.
 */
int hearth_zygote_request(int conn, const struct hearth_zygote_request *request, int timeout_ms,
			  struct hearth_zygote_instance *out, char *error);

/*
 * Ask for a spare. Consumes `conn` on failure; on success out->conn is the one to claim
 * it by: hearth_zygote_request(out->conn, ...), once hearth_zygote_wait_spare() has
 * returned 0. It must not be frozen then. The instance has a pid of its own, and the
 * spare ends: out->pid is to be reaped as well.
 */
int hearth_zygote_spare(int conn, int cgroup_fd, int timeout_ms, struct hearth_zygote_instance *out,
			char *error);

/* Wait until it can be claimed; closes its conn on failure. */
int hearth_zygote_wait_spare(struct hearth_zygote_instance *spare, int timeout_ms, char *error);

/*
 * Claim one that is a process with threads, and so the instance itself: send the request.
 * -EINVAL if it asks for more than hearth_zygote_wait_claim() grants, -EPIPE if it has
 * ended. hearth_zygote_wait_started() comes next.
 */
int hearth_zygote_claim(struct hearth_zygote_instance *spare,
			const struct hearth_zygote_request *request, char *error);

/*
 * Wait until the instance is set up: namespaces joined, confined, hooks run, handler
 * found. Closes its conn, except after -ETIMEDOUT, when it may be called again (a
 * spare in a frozen cgroup starts once that is thawed). Other errors are the
 * instance's own; it exits. -ECONNRESET if it ended without a word.
 */
int hearth_zygote_wait_started(struct hearth_zygote_instance *instance, int timeout_ms,
			       char *error);

/* Close what the instance keeps here; it lives on. */
void hearth_zygote_release(struct hearth_zygote_instance *instance);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
