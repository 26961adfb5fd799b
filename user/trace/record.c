/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Times keep microseconds: what the hooks' coarse clock gives is longer still. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "lib/util.h"
#include "trace/record.h"

#define HEADER    "function,begin_ms,end_ms,start,mem_mb\n"
#define NAME_SIZE 251 /* the readers take names of 250 bytes */
#define MS        1000.0

struct record {
	FILE *file; /* one of the two */
	gzFile gz;
	bool borrowed;
};

static int gz_error(gzFile gz)
{
	int z;

	gzerror(gz, &z);
	return z == Z_ERRNO && errno ? -errno : -EIO;
}

static int put(struct record *r, const char *line)
{
	if (r->gz)
		return gzputs(r->gz, line) < 0 ? gz_error(r->gz) : 0;
	/* Whole lines, at once: a reader or a crash never sees a part of one. */
	return fputs(line, r->file) < 0 || fflush(r->file) ? -errno : 0;
}

static int begin(struct record *r, struct record **out)
{
	int rc = put(r, HEADER);

	if (!rc)
		rc = record_flush(r);
	if (rc)
		record_close(r);
	else
		*out = r;
	return rc;
}

static bool is_gz(const char *path)
{
	size_t n = strlen(path);

	return n > 3 && !strcmp(path + n - 3, ".gz");
}

int record_open(const char *path, bool replace, struct record **out)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (replace ? O_TRUNC : O_EXCL);
	_cleanup_close_ int fd = open(path, flags, 0666);
	struct record *r;

	if (fd < 0)
		return -errno;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (is_gz(path))
		r->gz = gzdopen(fd, "wb");
	else
		r->file = fdopen(fd, "w");
	if (!r->gz && !r->file) {
		free(r);
		return -ENOMEM;
	}
	steal_fd(&fd);
	return begin(r, out);
}

int record_open_stream(FILE *stream, struct record **out)
{
	struct record *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->file = stream;
	r->borrowed = true;
	return begin(r, out);
}

/* Percent-encode what would end the field or spoil the file; cut at a whole byte. */
static void encode(const char *name, char out[NAME_SIZE])
{
	size_t n = 0;

	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;
		bool bad = c < ' ' || c == 0x7f || strchr(",\"%", c);

		if (n + (bad ? 3 : 1) >= NAME_SIZE)
			break;
		if (bad)
			n += (size_t)sprintf(out + n, "%%%02X", c);
		else
			out[n++] = (char)c;
	}
	out[n] = '\0';
}

int record_row(struct record *r, const struct record_row *row)
{
	double mem_mb = isfinite(row->mem_mb) && row->mem_mb > 0 ? row->mem_mb : 0;
	char name[NAME_SIZE], line[NAME_SIZE + 128];

	encode(row->function, name);
	snprintf(line, sizeof(line), "%s,%.3f,%.3f,%s,%.3f\n", name, row->begin_s * MS,
		 row->end_s * MS, row->start, mem_mb);
	return put(r, line);
}

int record_flush(struct record *r)
{
	return r->gz && gzflush(r->gz, Z_SYNC_FLUSH) != Z_OK ? gz_error(r->gz) : 0;
}

int record_close(struct record *r)
{
	int rc = 0;

	if (!r)
		return 0;
	if (r->gz)
		rc = gzclose(r->gz) != Z_OK ? -EIO : 0;
	else if (!r->borrowed)
		rc = fclose(r->file) ? -errno : 0;
	free(r);
	return rc;
}
