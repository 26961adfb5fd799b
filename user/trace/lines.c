/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "lib/util.h"
#include "trace/lines.h"

#define CHUNK (128 * 1024)

struct lines {
	gzFile file;
	char *path;
	char *line; /* the current one, when it spans two chunks */
	size_t line_cap;
	uint64_t number;
	double bytes; /* of the file as it is stored */
	char *err;
	size_t err_size;
	size_t pos, fill;
	char chunk[CHUNK];
};

int lines_open(const char *path, struct lines **out, char *err, size_t err_size)
{
	struct lines *l = calloc(1, sizeof(*l));
	struct stat st;

	if (!l)
		return -ENOMEM;
	l->err = err;
	l->err_size = err_size;
	l->path = strdup(path);
	errno = 0;
	l->file = gzopen(path, "rbe");
	if (!l->file || !l->path) {
		int rc = errno ? -errno : -ENOMEM;

		snprintf(err, err_size, "%s: %s", path, strerror(-rc));
		lines_close(l);
		return rc;
	}
	gzbuffer(l->file, CHUNK);
	l->bytes = stat(path, &st) ? 0 : st.st_size;
	*out = l;
	return 0;
}

void lines_close(struct lines *l)
{
	if (!l)
		return;
	if (l->file)
		gzclose_r(l->file);
	free(l->path);
	free(l->line);
	free(l);
}

double lines_share(const struct lines *l)
{
	return l->bytes > 0 ? fmin(gzoffset(l->file) / l->bytes, 1) : 1;
}

int lines_error(struct lines *l, unsigned int col, const char *format, ...)
{
	int n = snprintf(l->err, l->err_size, "%s:%llu:%u: ", l->path,
			 (unsigned long long)l->number, col);
	va_list ap;

	if (n > 0 && (size_t)n < l->err_size) {
		va_start(ap, format);
		vsnprintf(l->err + n, l->err_size - n, format, ap);
		va_end(ap);
	}
	return -EINVAL;
}

/* More bytes: 1, 0 at the end, -EIO if the file cannot be read to its end. */
static int fill(struct lines *l)
{
	int n = gzread(l->file, l->chunk, sizeof(l->chunk));
	int z;
	const char *why;

	if (n > 0) {
		l->pos = 0;
		l->fill = n;
		return 1;
	}
	why = gzerror(l->file, &z);
	if (n == 0 && z == Z_OK)
		return 0;
	if (z == Z_ERRNO)
		why = strerror(errno);
	else if (z == Z_BUF_ERROR)
		why = "the compressed data end too early";
	else if (z == Z_DATA_ERROR)
		why = "the compressed data are damaged";
	snprintf(l->err, l->err_size, "%s: %s", l->path, why);
	return -EIO;
}

/* Append to the joined line, which has `have` bytes. */
static int join(struct lines *l, size_t have, const char *part, size_t n)
{
	size_t need = have + n;

	if (need > LINES_MAX)
		return lines_error(l, LINES_MAX, "line longer than %d bytes", LINES_MAX);
	if (need > l->line_cap) {
		size_t cap = MAX(need, l->line_cap * 2 + 4096);
		char *grown = realloc(l->line, cap);

		if (!grown)
			return -ENOMEM;
		l->line = grown;
		l->line_cap = cap;
	}
	memcpy(l->line + have, part, n);
	return 0;
}

/* One line without its newline: 1 and its place, 0 at the end, -errno. */
static int raw_line(struct lines *l, const char **line, size_t *len)
{
	size_t have = 0;
	bool joined = false;
	int rc;

	for (;;) {
		char *start, *nl;
		size_t n;

		if (l->pos == l->fill) {
			rc = fill(l);
			if (rc < 0)
				return rc;
			if (rc == 0)
				break;
		}
		start = l->chunk + l->pos;
		nl = memchr(start, '\n', l->fill - l->pos);
		n = nl ? (size_t)(nl - start) : l->fill - l->pos;
		l->pos += n + (nl ? 1 : 0);
		if (nl && !joined) {
			*line = start;
			*len = n;
			return 1;
		}
		rc = join(l, have, start, n);
		if (rc)
			return rc;
		joined = true;
		have += n;
		if (nl)
			break;
	}
	*line = l->line;
	*len = have;
	return joined;
}

/* Neither quotes nor control characters; points at the first one. */
static const char *bad_byte(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == '"' || line[i] == 0x7f)
			return line + i;
	return NULL;
}

int lines_next(struct lines *l, struct cursor *out)
{
	const char *line, *bad;
	size_t len;
	int rc;

	do {
		l->number++;
		rc = raw_line(l, &line, &len);
		if (rc <= 0)
			return rc;
		if (l->number == 1 && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
			line += 3;
			len -= 3;
		}
		if (len && line[len - 1] == '\r')
			len--;
	} while (!len);
	*out = (struct cursor){.p = line, .end = line + len, .line = line};
	if (l->number == 1 && (unsigned char)*line == 0x80)
		return lines_error(l, 1,
				   "a pickle is never read, it can run code: export it as CSV");
	bad = bad_byte(line, len);
	if (bad)
		return lines_error(l, bad - line + 1,
				   *bad == '"' ? "quoted fields are not accepted"
					       : "control character: this is not a text file");
	return 1;
}

bool cursor_next(struct cursor *c, struct field *out)
{
	const char *comma;

	if (!c->p)
		return false;
	comma = memchr(c->p, ',', c->end - c->p);
	out->s = c->p;
	out->len = (comma ? comma : c->end) - c->p;
	out->col = cursor_col(c);
	c->p = comma ? comma + 1 : NULL;
	return true;
}

unsigned int cursor_col(const struct cursor *c)
{
	return (c->p ? c->p : c->end) - c->line + 1;
}

bool lines_is(const struct field *f, const char *text)
{
	return strlen(text) == f->len && !memcmp(f->s, text, f->len);
}

bool lines_number(const struct field *f, double min, double max, double *out)
{
	char text[64] = "";
	char *end;
	double v;

	if (!f->len || f->len >= sizeof(text) ||
	    f->len != strspn(memcpy(text, f->s, f->len), "0123456789+-.eE"))
		return false;
	text[f->len] = '\0';
	v = strtod(text, &end);
	if (*end || end == text || !isfinite(v) || v < min || v > max)
		return false;
	*out = v;
	return true;
}

bool lines_count(const struct field *f, uint32_t max, uint32_t *out)
{
	uint64_t v = 0;

	if (!f->len || f->len > 10)
		return false;
	for (size_t i = 0; i < f->len; i++) {
		if (f->s[i] < '0' || f->s[i] > '9')
			return false;
		v = v * 10 + (f->s[i] - '0');
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

int lines_show(const struct field *f)
{
	return MIN(f->len, (size_t)40);
}
