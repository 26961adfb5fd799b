/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "lib/memory_high.h"
#include "lib/util.h"

#define NOTE "trusted.hearth.memory.high" /* the value to put back */
#define TEXT 32

/* A note that is gone was somebody else's to remove: they put the value back too. */
static int put_back(int dirfd, const char *high)
{
	int rc = write_file_at(dirfd, "memory.high", high);

	if (rc < 0)
		return rc;
	return fremovexattr(dirfd, NOTE) < 0 && errno != ENODATA ? -errno : 0;
}

int memory_high_recover(int dirfd)
{
	char high[TEXT];
	ssize_t n = fgetxattr(dirfd, NOTE, high, sizeof(high) - 1);
	int rc;

	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	high[n] = '\0';
	rc = put_back(dirfd, high);
	return rc < 0 ? rc : 1;
}

/* By its own memory of the value: the note may have been used by the guard meanwhile. */
int memory_high_squeeze(int dirfd, uint64_t bytes)
{
	char high[TEXT], lower[TEXT];
	ssize_t n = read_file_at(dirfd, "memory.high", high, sizeof(high));
	int rc, back;

	if (n < 0)
		return (int)n;
	if (fsetxattr(dirfd, NOTE, high, (size_t)n, XATTR_CREATE) < 0)
		return -errno;
	snprintf(lower, sizeof(lower), "%" PRIu64, bytes);
	rc = write_once_at(dirfd, "memory.high", lower); /* a signal may end it early */
	back = put_back(dirfd, high);
	return back < 0 ? back : rc;
}
