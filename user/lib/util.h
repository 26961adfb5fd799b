/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Small helpers that know nothing of hearth: scope-bound cleanup, array and
 * number macros, and whole-file reads and writes relative to a directory fd.
 * File functions return 0 (or a length) or -errno; every fd is close-on-exec.
 */
#ifndef HEARTH_LIB_UTIL_H
#define HEARTH_LIB_UTIL_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* <sys/param.h>, which <uv.h> includes, has ones that evaluate twice. */
#undef MIN
#undef MAX
#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__auto_type min_a_ = (a);                                                          \
		__auto_type min_b_ = (b);                                                          \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                 \
	})
#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__auto_type max_a_ = (a);                                                          \
		__auto_type max_b_ = (b);                                                          \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                 \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))

static inline void cleanup_free_p(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close_p(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose_p(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_(fn)      __attribute__((cleanup(fn)))
#define _cleanup_free_     _cleanup_(cleanup_free_p)
#define _cleanup_close_    _cleanup_(cleanup_close_p) /* int, -1 = none */
#define _cleanup_fclose_   _cleanup_(cleanup_fclose_p)
#define _cleanup_closedir_ _cleanup_(cleanup_closedir_p)

/* Hand a resource out of its scope: returns it and leaves the "none" value behind. */
static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

#define steal_ptr(p)                                                                               \
	({                                                                                         \
		__auto_type steal_p_ = &(p);                                                       \
		__auto_type steal_v_ = *steal_p_;                                                  \
		*steal_p_ = NULL;                                                                  \
		steal_v_;                                                                          \
	})

/*
 * Read a whole small file into buf and terminate it. Length, or -errno;
 * -EFBIG if it does not fit (never a silently cut content).
 */
ssize_t read_file_at(int dirfd, const char *path, char *buf, size_t size);

/* Write str in one write(2) to an existing file (kernel files want exactly one). */
int write_file_at(int dirfd, const char *path, const char *str);

/* The same, and a signal ends it: -EINTR. */
int write_once_at(int dirfd, const char *path, const char *str);

/*
 * Replace path so that a reader or a crash sees the old or the new content,
 * never a mix: PATH.tmp, fsync, rename, fsync of the folder. One writer per path.
 */
int write_atomic(const char *path, const void *data, size_t len, mode_t mode);

/*
 * Rename a damaged file to PATH.damaged-TIME, whose name is then in aside: it is kept
 * for a look, and never takes the place of another.
 */
int file_set_aside(const char *path, char *aside, size_t size);

#endif
