/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Globs and regular expressions of naming rules. A glob is translated to a POSIX
 * extended regex and named captures to numbered groups, so both kinds share one
 * matcher, which always has to match the whole path.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "agent/naming_pattern.h"
#include "agent/naming_sets.h"
#include "lib/util.h"

#define GROUPS_MAX 32 /* of one pattern, besides the whole and ours */

/* A pattern on its way to a regular expression: ^( ... )$, so groups start at 2. */
struct draft {
	char text[8192];
	size_t len;
	bool full;
	size_t groups;
	size_t function_group;
	size_t instance_group;
	char *err;
	size_t err_size;
};

static int refuse(struct draft *d, const char *fmt, ...) _printf_(2, 3);

static int refuse(struct draft *d, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(d->err, d->err_size, fmt, args);
	va_end(args);
	return -EINVAL;
}

static void append(struct draft *d, const char *text, size_t len)
{
	if (d->len + len + 1 > sizeof(d->text)) {
		d->full = true;
		return;
	}
	memcpy(d->text + d->len, text, len);
	d->len += len;
	d->text[d->len] = '\0';
}

static void append_text(struct draft *d, const char *text)
{
	append(d, text, strlen(text));
}

static int add_group(struct draft *d)
{
	if (d->groups > GROUPS_MAX)
		return refuse(d, "has more than %d groups", GROUPS_MAX);
	d->groups++;
	return 0;
}

/* A group that captures `name`, opened as text; names are function and instance. */
static int open_capture(struct draft *d, const char *name, size_t len)
{
	size_t *group;

	if (len == 8 && memcmp(name, "function", len) == 0)
		group = &d->function_group;
	else if (len == 8 && memcmp(name, "instance", len) == 0)
		group = &d->instance_group;
	else
		return refuse(d, "\"%.*s\" is no capture: they are called function and instance",
			      (int)MIN(len, (size_t)40), name);
	if (*group)
		return refuse(d, "%.*s is captured twice", (int)len, name);
	if (add_group(d) < 0)
		return -EINVAL;
	*group = d->groups;
	append_text(d, "(");
	return 0;
}

/* ---- globs */

/* The text at p stands for itself. */
static void append_literal(struct draft *d, const char *p)
{
	if (strchr("\\^.[$()|*+?{", *p))
		append_text(d, "\\");
	append(d, p, 1);
}

/* `**` and the slash next to it: any number of whole components. */
static int append_any_depth(struct draft *d, const char *pattern, const char **pos)
{
	const char *p = *pos;
	bool first = p == pattern;

	if ((!first && p[-1] != '/') || (p[2] && p[2] != '/'))
		return refuse(d, "** must stand alone between slashes");
	if (strncmp(p + 2, "/**", 3) == 0)
		return refuse(d, "** twice in a row says no more than once");
	if (add_group(d) < 0)
		return -EINVAL;
	if (p[2] == '/') {
		append_text(d, "([^/]+/)*");
		*pos = p + 3;
		return 0;
	}
	if (first) {
		append_text(d, "(.+)");
	} else {
		d->text[--d->len] = '\0'; /* the slash belongs to what may be absent */
		append_text(d, "(/[^/]+)*");
	}
	*pos = p + 2;
	return 0;
}

static int translate_glob(struct draft *d, const char *pattern)
{
	const char *p = pattern;
	int rc = 0;

	while (rc == 0 && *p) {
		size_t brace = *p == '{' ? strcspn(p, "}/") : 0;

		if (p[0] == '*' && p[1] == '*') {
			rc = append_any_depth(d, pattern, &p);
		} else if (*p == '*') {
			append_text(d, "[^/]*");
			p++;
		} else if (*p == '?') {
			append_text(d, "[^/]");
			p++;
		} else if (*p == '{' && p[brace] == '}') {
			rc = open_capture(d, p + 1, brace - 1);
			append_text(d, "[^/]+)");
			p += brace + 1;
		} else if (*p == '{') {
			rc = refuse(d, "\"{\" has no \"}\" in its component");
		} else {
			append_literal(d, p++);
		}
	}
	return rc;
}

/* Length of the folders in front that hold no wildcard, without the last slash. */
static size_t glob_folder(const char *pattern)
{
	size_t len = strcspn(pattern, "*?{");

	while (len > 0 && pattern[len] != '/')
		len--;
	return len;
}

/* ---- regular expressions */

/* Past a bracket expression that begins at p. */
static const char *skip_brackets(const char *p)
{
	p += p[1] == '^' ? 2 : 1;
	if (*p == ']')
		p++;
	while (*p && *p != ']') {
		if (*p == '[' && p[1] && strchr(":.=", p[1])) {
			const char end[] = {p[1], ']', '\0'};
			const char *close = strstr(p + 2, end);

			p = close ? close + 1 : p;
		}
		p++;
	}
	return *p ? p + 1 : p;
}

static int translate_group(struct draft *d, const char **pos)
{
	const char *p = *pos, *name;
	size_t len;

	if (p[1] != '?') {
		append_text(d, "(");
		*pos = p + 1;
		return add_group(d);
	}
	name = p[2] == '<' ? p + 3 : "";
	len = strcspn(name, ">");
	if (name[len] != '>')
		return refuse(d,
			      "\"%.8s\": of the (? groups only (?<function>...) and "
			      "(?<instance>...) exist",
			      p);
	*pos = name + len + 1;
	return open_capture(d, name, len);
}

static int translate_regex(struct draft *d, const char *regex)
{
	const char *p = regex;
	unsigned int depth = 0;
	int rc = 0;

	while (rc == 0 && *p) {
		const char *from = p;

		if (*p == '(') {
			depth++;
			rc = translate_group(d, &p);
			continue;
		}
		/* It would close our own group, and with it the anchors. */
		if (*p == ')' && depth-- == 0)
			return refuse(d, "\")\" closes nothing");
		if (*p == '\\' && p[1] >= '1' && p[1] <= '9')
			return refuse(d, "back-references are not supported");
		if (*p == '[')
			p = skip_brackets(p);
		else
			p += *p == '\\' && p[1] ? 2 : 1;
		append(d, from, (size_t)(p - from));
	}
	return rc;
}

/* Literal folders in front of a regex; "" as soon as there is any doubt. */
static size_t regex_folder(const char *regex, char *out)
{
	const char *p = regex + (*regex == '^');
	size_t len = 0, slash = 0;

	if (strchr(regex, '|'))
		return 0;
	for (; *p && !strchr("^.[$()*+?{", *p); p++) {
		if (*p == '\\' && !strchr("^.[$()*+?{\\/-", *++p))
			break; /* \w and the like */
		if (!*p || (p[1] && strchr("*?{", p[1])))
			break;
		if (*p == '/')
			slash = len;
		out[len++] = *p;
	}
	return slash;
}

/* ---- both */

static void draft_init(struct draft *d, char *err, size_t err_size)
{
	*d = (struct draft){.groups = 1, .err = err, .err_size = err_size};
	append_text(d, "^(");
}

static int check_path_pattern(struct draft *d, const char *pattern)
{
	if (!*pattern)
		return refuse(d, "is empty: the root is never an instance");
	if (*pattern == '/')
		return refuse(d, "starts with a slash: paths begin below the cgroup2 mount");
	return 0;
}

static int compile(struct draft *d, const char *folder, size_t folder_len,
		   struct naming_pattern *out)
{
	struct naming_pattern p = {.function_group = d->function_group,
				   .instance_group = d->instance_group};
	int rc;

	append_text(d, ")$");
	if (d->full)
		return refuse(d, "is too long");
	rc = regcomp(&p.regex, d->text, REG_EXTENDED);
	if (rc != 0) {
		regerror(rc, &p.regex, d->err, d->err_size);
		return -EINVAL;
	}
	p.folder = strndup(folder, folder_len);
	if (!p.folder) {
		regfree(&p.regex);
		return -ENOMEM;
	}
	*out = p;
	return 0;
}

int naming_pattern_glob(const char *glob, struct naming_pattern *out, char *err, size_t err_size)
{
	struct draft d;
	int rc;

	draft_init(&d, err, err_size);
	rc = check_path_pattern(&d, glob);
	if (rc == 0 && (strstr(glob, "//") || glob[strlen(glob) - 1] == '/'))
		rc = refuse(&d, "has an empty component");
	if (rc == 0)
		rc = translate_glob(&d, glob);
	return rc < 0 ? rc : compile(&d, glob, glob_folder(glob), out);
}

int naming_pattern_regex(const char *regex, struct naming_pattern *out, char *err, size_t err_size)
{
	_cleanup_free_ char *folder = strdup(regex);
	struct draft d;
	int rc;

	if (!folder)
		return -ENOMEM;
	draft_init(&d, err, err_size);
	rc = check_path_pattern(&d, regex);
	if (rc == 0)
		rc = translate_regex(&d, regex);
	return rc < 0 ? rc : compile(&d, folder, regex_folder(regex, folder), out);
}

void naming_pattern_done(struct naming_pattern *p)
{
	regfree(&p->regex);
	free(p->folder);
}

static void copy_group(char out[NAMING_TEXT], const char *path, const regmatch_t *m)
{
	char text[PATH_MAX];

	snprintf(text, sizeof(text), "%.*s", (int)(m->rm_eo - m->rm_so), path + m->rm_so);
	naming_text(out, text);
}

bool naming_pattern_match(const struct naming_pattern *p, const char *path, const char *rule,
			  struct naming_result *out)
{
	regmatch_t groups[GROUPS_MAX + 2];
	const char *last = strrchr(path, '/');
	const regmatch_t *f = &groups[p->function_group], *i = &groups[p->instance_group];

	if (regexec(&p->regex, path, ARRAY_SIZE(groups), groups, 0) != 0)
		return false;
	/* A capture in an alternative that was not taken, or that is empty, names nothing. */
	if (f->rm_eo <= f->rm_so || i->rm_eo <= i->rm_so)
		return false;
	if (p->function_group)
		copy_group(out->function, path, f);
	else
		naming_text(out->function, rule);
	if (p->instance_group)
		copy_group(out->instance, path, i);
	else
		naming_text(out->instance, last ? last + 1 : path);
	return true;
}
