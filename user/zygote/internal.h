/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the parts of libhearth-zygote share: a request as the image took it off
 * the wire, and the steps it goes through. Runs inside other people's programs:
 * no logs, no signals, no state but that of the one serving image.
 */
#ifndef HEARTH_ZYGOTE_INTERNAL_H
#define HEARTH_ZYGOTE_INTERNAL_H

#include <poll.h>

#include "hearth/zygote.h"

#define ZYGOTE_STDIO   3
#define ZYGOTE_MAX_FDS (2 + ZYGOTE_STDIO + HEARTH_ZYGOTE_MAX_EXTRA)

struct zygote_job {
	struct hearth_zygote_wire wire;
	const char *filter;  /* in the receive buffer, as are the strings: */
	const char *strings; /* argv, env, directory */
	int n_fds;           /* received and to be closed, whatever they are: */
	int fds[ZYGOTE_MAX_FDS];
	int cgroup_fd;
	int namespace_fd;
	int stdio[ZYGOTE_STDIO];
	const int *extra;
};

/* Write the line (error may be NULL) and return -err. */
int zygote_fail(char *error, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- wire.c */
int zygote_send(int conn, const void *data, size_t size, const int *fds, size_t n_fds);
int zygote_reply(int conn, const struct hearth_zygote_reply *reply, int fd);
int zygote_reply_failure(int conn, int err, pid_t pid, const char *why);

/* One message and the descriptors that came with it; 0 at the end; negative errno. */
ssize_t zygote_receive(int conn, void *data, size_t size, int *fds, int *n_fds, char *error);

/* The request in `data`, checked; *job owns the descriptors in any case. */
int zygote_parse(const char *data, size_t size, struct zygote_job *job, char *error);
void zygote_close_fds(struct zygote_job *job);

/*
 * ---- check.c: what keeps an image from forking. -EBUSY with the reason. ours: the listening
 * socket and connections; *n_fds are the image's descriptors without connections.
 */
int zygote_check(const struct pollfd *ours, nfds_t n_ours,
		 const struct hearth_zygote_options *options, unsigned *n_fds, char *error);

/* ---- fork.c: 0 in the instance, its pid in the image */
pid_t zygote_fork(const struct zygote_job *job, int *pidfd, char *error);
/*
 * The same without a copy: 0 in a process that has all of this one's memory, while this
 * one tells FORKED on `conn` and is gone. -errno: still this one.
 */
int zygote_move(const struct zygote_job *job, int conn, char *error);

/* ---- child.c: all that the request asks of the instance; moves *conn */
int zygote_child_setup(const struct zygote_job *job, const struct hearth_zygote_options *options,
		       int *conn, struct hearth_zygote_child *out, char *error);
/* Close all from `first` on but conn and what the options keep. */
int zygote_close_from(int first, int conn, const struct hearth_zygote_options *options);
/* argv, env and directory become this process's. */
int zygote_take_words(const struct zygote_job *job, struct hearth_zygote_child *out, char *error);

/* ---- spare.c: say that one waits; 1: claimed by the request in *job, 0: nobody will */
int zygote_await_claim(int conn, struct zygote_job *job, char *error);

#endif
