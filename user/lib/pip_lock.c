/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/pip_lock.h"
#include "lib/util.h"

#define BLANKS " \t\r\f\v"

struct parser {
	const char *name;
	unsigned int line;  /* read so far */
	unsigned int begun; /* line where the statement begins */
	char **list;
	size_t n, room;
	char *err;
	size_t err_size;
};

static int fail(const struct parser *p, const char *fmt, ...) _printf_(2, 3);
static int fail(const struct parser *p, const char *fmt, ...)
{
	int n = snprintf(p->err, p->err_size, "%s:%u: ", p->name, p->begun);
	va_list args;

	va_start(args, fmt);
	if (n >= 0 && (size_t)n < p->err_size)
		vsnprintf(p->err + n, p->err_size - n, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* ---- lines */

static void strip_comment(char *line)
{
	for (char *at = line; (at = strchr(at, '#')); at++) {
		if (at == line || strchr(BLANKS, at[-1])) {
			*at = '\0';
			return;
		}
	}
}

static void strip_end(char *text)
{
	size_t n = strlen(text);

	while (n && strchr(BLANKS, text[n - 1]))
		text[--n] = '\0';
}

/* The next statement, its continued lines put together in place; NULL at the end. */
static char *next_statement(struct parser *p, char **rest)
{
	char *begin = *rest, *to = begin, *line;

	p->begun = p->line + 1;
	if (!begin)
		return NULL;
	while ((line = strsep(rest, "\n"))) {
		size_t n;

		p->line++;
		strip_comment(line);
		strip_end(line);
		n = strlen(line);
		memmove(to, line, n + 1);
		if (!n || to[n - 1] != '\\')
			break;
		to += n;
		to[-1] = ' ';
		*to = '\0';
	}
	return begin + strspn(begin, BLANKS);
}

/* ---- a statement */

/* Where to download and what from: no matter for what is installed. */
static bool is_download_option(const char *text)
{
	static const char *const known[] = {
	    "-i",
	    "--index-url",
	    "--extra-index-url",
	    "--no-index",
	    "-f",
	    "--find-links",
	    "--no-binary",
	    "--only-binary",
	    "--prefer-binary",
	    "--require-hashes",
	    "--trusted-host",
	    "--pre",
	};
	size_t n = strcspn(text, BLANKS "=");

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i]) == n && !strncmp(known[i], text, n))
			return true;
	return false;
}

/* As in an index: lower case, each run of '-', '_' and '.' one '-'. The length read. */
static size_t take_name(const char *text, char *out)
{
	const char *at = text;

	for (; isalnum((unsigned char)*at) || (at > text && *at && strchr("-_.", *at)); at++) {
		if (isalnum((unsigned char)*at))
			*out++ = (char)tolower((unsigned char)*at);
		else if (out[-1] != '-')
			*out++ = '-';
	}
	*out = '\0';
	return (size_t)(at - text);
}

static size_t take_version(const char *text, char *out)
{
	const char *at = text;

	for (; isalnum((unsigned char)*at) || (*at && strchr(".!+_-", *at)); at++)
		*out++ = (char)tolower((unsigned char)*at);
	*out = '\0';
	return (size_t)(at - text);
}

/* Up to the first option; runs of blanks become one. */
static const char *take_marker(const char *text, char *out)
{
	char *begin = out;

	while (*text &&
	       !(strchr(BLANKS, *text) && !strncmp(text + strspn(text, BLANKS), "--", 2))) {
		if (!strchr(BLANKS, *text))
			*out++ = *text;
		else if (out > begin && out[-1] != ' ')
			*out++ = ' ';
		text++;
	}
	*out = '\0';
	strip_end(begin);
	return text;
}

static bool good_hash(const char *text, size_t n)
{
	static const char *const algorithms[] = {"sha256:", "sha384:", "sha512:"};
	size_t skip = 7;

	for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
		if (!strncmp(text, algorithms[i], skip))
			return n > skip &&
			       strspn(text + skip, "0123456789abcdefABCDEF") == n - skip;
	return false;
}

static int check_hashes(const struct parser *p, const char *at)
{
	for (at += strspn(at, BLANKS); *at; at += strspn(at, BLANKS)) {
		size_t n = strcspn(at, BLANKS);

		if (strncmp(at, "--hash=", 7) || !good_hash(at + 7, n - 7))
			return fail(
			    p,
			    "'%.*s'; accepted: --hash= and sha256, sha384 or sha512, ':' and "
			    "hexadecimal digits",
			    (int)MIN(n, 60u), at);
		at += n;
	}
	return 0;
}

static int add(struct parser *p, const char *name, const char *version, const char *marker)
{
	char *line;

	if (p->n == p->room) {
		char **more = reallocarray(p->list, p->room + 64, sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->list = more;
		p->room += 64;
	}
	if (asprintf(&line, "%s==%s%s%s\n", name, version, *marker ? "; " : "", marker) < 0)
		return -ENOMEM;
	p->list[p->n++] = line;
	return 0;
}

static int take_statement(struct parser *p, const char *text)
{
	size_t most = strlen(text) + 1;
	_cleanup_free_ char *words = malloc(3 * most);
	char *name = words, *version = words + most, *marker = words + 2 * most;
	const char *at = text;

	if (!words)
		return -ENOMEM;
	*marker = '\0';
	at += take_name(at, name);
	at += strspn(at, BLANKS);
	if (*at == '[')
		at += strcspn(at, "]") + (strchr(at, ']') != NULL);
	at += strspn(at, BLANKS);
	if (!*name || name[strlen(name) - 1] == '-' || strncmp(at, "==", 2))
		goto wrong;
	at += 2 + strspn(at + 2, BLANKS);
	at += take_version(at, version);
	if (!*version || (*at && !strchr(BLANKS ";", *at)))
		goto wrong;
	at += strspn(at, BLANKS);
	if (*at == ';') {
		at = take_marker(at + 1, marker);
		if (!*marker || strchr("-#", *marker) || strchr(marker, '\\'))
			goto wrong;
	} else if (*at && strncmp(at, "--", 2)) {
		goto wrong;
	}
	return check_hashes(p, at) ?: add(p, name, version, marker);
wrong:
	return fail(p, "'%.80s'; accepted: " PIP_LOCK_ACCEPTED, text);
}

/* ---- a whole text */

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int put_together(struct parser *p, char **out)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 1;
	char *end;

	for (size_t i = 0; i < p->n; i++)
		size += strlen(p->list[i]);
	if (!p->n)
		return fail(p, "it locks nothing; accepted: lines of " PIP_LOCK_ACCEPTED);
	if (size > PIP_LOCK_MAX)
		return fail(p, "%zu bytes of names and versions; accepted: up to %u", size,
			    PIP_LOCK_MAX);
	end = text = malloc(size);
	if (!text)
		return -ENOMEM;
	qsort(p->list, p->n, sizeof(*p->list), compare_lines);
	for (size_t i = 0; i < p->n; i++)
		if (!i || strcmp(p->list[i - 1], p->list[i]))
			end = stpcpy(end, p->list[i]);
	*out = steal_ptr(text);
	return 0;
}

int pip_lock_parse(const char *name, const char *text, char **out, char *err, size_t err_size)
{
	struct parser p = {.name = name, .err = err, .err_size = err_size};
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *statement;
	int rc = copy ? 0 : -ENOMEM;

	while (!rc && (statement = next_statement(&p, &rest)))
		if (*statement && !is_download_option(statement))
			rc = take_statement(&p, statement);
	if (!rc)
		rc = put_together(&p, out);
	if (rc == -ENOMEM)
		snprintf(err, err_size, "%s: no memory", name);
	for (size_t i = 0; i < p.n; i++)
		free(p.list[i]);
	free(p.list);
	return rc;
}

static int read_text(const char *file, char **out)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (st.st_size > PIP_LOCK_FILE_MAX)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	while (n < (size_t)st.st_size) {
		ssize_t got = read(fd, text + n, (size_t)st.st_size - n);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got == 0)
			break;
		n += got > 0 ? (size_t)got : 0;
	}
	text[n] = '\0';
	if (strlen(text) != n)
		return -EILSEQ;
	*out = steal_ptr(text);
	return 0;
}

int pip_lock_read(const char *file, char **out, char *err, size_t err_size)
{
	_cleanup_free_ char *text = NULL;
	int rc = read_text(file, &text);

	if (!rc)
		return pip_lock_parse(file, text, out, err, err_size);
	snprintf(err, err_size, "%s: %s", file,
		 rc == -EILSEQ ? "is no text: it has a byte 0" : strerror(-rc));
	return rc;
}

size_t pip_lock_count(const char *lock)
{
	size_t n = 0;

	for (; *lock; lock++)
		n += *lock == '\n';
	return n;
}
