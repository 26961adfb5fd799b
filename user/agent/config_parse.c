/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parsing a configuration file. libinih splits lines into keys and values; our
 * line reader in front of it keeps the line number and the section (which
 * libinih would cut at 49 bytes). The first error ends the parse.
 */
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <string.h>

#include "agent/config.h"
#include "agent/config_keys.h"
#include "agent/naming.h"
#include "lib/text.h"
#include "lib/util.h"

#define LINE_BYTES_MAX 4000
#define NAME_BYTES_MAX (NAMING_TEXT - 1) /* of a rule or function glob */
#define WHY_BYTES      512

enum section_kind {
	SECTION_AGENT,
	SECTION_MEMORY,
	SECTION_POLICY,
	SECTION_RULE,
	SECTION_FUNCTION,
	SECTION_NONE
};

static const struct {
	const char *word;
	const char *argument; /* what the name after the word is, NULL: takes none */
} section_kinds[] = {
    [SECTION_AGENT] = {"agent", NULL},         [SECTION_MEMORY] = {"memory", NULL},
    [SECTION_POLICY] = {"policy", NULL},       [SECTION_RULE] = {"rule", "NAME"},
    [SECTION_FUNCTION] = {"function", "GLOB"},
};
#define SECTIONS_ACCEPTED "[agent], [memory], [policy], [rule NAME], [function GLOB]"

struct seen_section {
	char *title;
	int line;
};

struct loader {
	struct config *cfg;
	FILE *file;
	char *text; /* the current line */
	size_t text_size;
	int line;

	/* the current section; kind is SECTION_NONE before the first */
	enum section_kind kind;
	char *title;     /* between the brackets */
	const char *arg; /* in title, after the word */
	int title_line;
	int key_lines[CONFIG_KEYS_MAX]; /* where each key stands, 0: not yet */

	/* of a [rule] section */
	const struct config_key *rule_how; /* match, regex or set */
	char *rule_pattern;
	int rule_source; /* -1: none */

	struct seen_section *seen;
	size_t n_seen;

	int rc; /* the first error; its text is in err */
	char *err;
	size_t err_size;
};

static int fail(struct loader *l, int line, const char *key, const char *accepted, const char *fmt,
		...) _printf_(5, 6);

/* FILE:LINE: [section] key: what is wrong; accepted: ... */
static int fail(struct loader *l, int line, const char *key, const char *accepted, const char *fmt,
		...)
{
	char where[WHY_BYTES] = "", what[WHY_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	if (l->kind != SECTION_NONE)
		snprintf(where, sizeof(where), "[%s]%s%s: ", l->title, key ? " " : "",
			 key ? key : "");
	else if (key)
		snprintf(where, sizeof(where), "%s: ", key);
	snprintf(l->err, l->err_size, "%s:%d: %s%s%s%s", l->cfg->path, line, where, what,
		 accepted ? "; accepted: " : "", accepted ? accepted : "");
	l->rc = -EINVAL;
	return l->rc;
}

static int fail_errno(struct loader *l, int error)
{
	snprintf(l->err, l->err_size, "%s: %s", l->cfg->path, strerror(error));
	l->rc = -error;
	return l->rc;
}

static int *key_line(struct loader *l, const struct config_key *key)
{
	size_t n;

	return &l->key_lines[key - config_keys(&n)];
}

/* ---- sections */

static int rule_end(struct loader *l)
{
	static const struct {
		const char *key;
		int (*add)(struct naming *n, const char *rule, const char *pattern, int source,
			   char *err, size_t err_size);
	} kinds[] = {
	    {"match", naming_add_glob},
	    {"regex", naming_add_regex},
	    {"set", naming_add_set},
	};
	char why[WHY_BYTES];

	if (!l->rule_how)
		return fail(l, l->title_line, NULL, "one of match, regex, set",
			    "says nothing to match");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *key = l->rule_how->key;
		int rc;

		if (strcmp(kinds[i].key, key) != 0)
			continue;
		rc = kinds[i].add(l->cfg->naming, l->arg, l->rule_pattern, l->rule_source, why,
				  sizeof(why));
		if (rc == -EINVAL)
			return fail(l, *key_line(l, l->rule_how), key, l->rule_how->accepted, "%s",
				    why);
		if (rc < 0)
			return fail_errno(l, -rc);
	}
	return 0;
}

static int section_end(struct loader *l)
{
	int rc = l->kind == SECTION_RULE ? rule_end(l) : 0;

	l->rule_how = NULL;
	free(l->rule_pattern);
	l->rule_pattern = NULL;
	l->rule_source = -1;
	return rc;
}

static enum section_kind kind_of(const char *word, size_t len)
{
	for (int i = 0; i < SECTION_NONE; i++) {
		if (strlen(section_kinds[i].word) == len &&
		    memcmp(section_kinds[i].word, word, len) == 0)
			return (enum section_kind)i;
	}
	return SECTION_NONE;
}

static int fail_unknown_section(struct loader *l, const char *title, size_t word_len)
{
	char word[TEXT_WORD_MAX];

	snprintf(word, sizeof(word), "%.*s", (int)word_len, title);
	for (int i = 0; i < SECTION_NONE; i++) {
		const char *known = section_kinds[i].word;

		if (text_distance(word, known) <= text_tolerance(word))
			return fail(l, l->line, NULL, SECTIONS_ACCEPTED,
				    "unknown section [%s], did you mean [%s%s%s]?", title, known,
				    section_kinds[i].argument ? " " : "",
				    section_kinds[i].argument ?: "");
	}
	return fail(l, l->line, NULL, SECTIONS_ACCEPTED, "unknown section [%s]", title);
}

static int fn_section_begin(struct loader *l)
{
	struct config *c = l->cfg;
	struct fn_section *more =
	    reallocarray(c->sections, c->n_sections + 1, sizeof(*c->sections));
	struct fn_section section = {.glob = strdup(l->arg)};

	if (more)
		c->sections = more;
	if (!more || !section.glob) {
		free(section.glob);
		return fail_errno(l, ENOMEM);
	}
	c->sections[c->n_sections++] = section;
	return 0;
}

/* A section that comes twice would hide half of itself from the reader. */
static int remember_section(struct loader *l)
{
	struct seen_section *more;
	char *title;

	for (size_t i = 0; i < l->n_seen; i++) {
		if (strcmp(l->seen[i].title, l->title) == 0)
			return fail(l, l->line, NULL, NULL, "this section began in line %d already",
				    l->seen[i].line);
	}
	more = reallocarray(l->seen, l->n_seen + 1, sizeof(*l->seen));
	if (!more)
		return fail_errno(l, ENOMEM);
	l->seen = more;
	title = strdup(l->title);
	if (!title)
		return fail_errno(l, ENOMEM);
	l->seen[l->n_seen++] = (struct seen_section){title, l->line};
	return 0;
}

static int section_begin(struct loader *l, const char *text)
{
	size_t len = strcspn(text, " \t");
	const char *arg = text + len + strspn(text + len, " \t");
	enum section_kind kind = kind_of(text, len);
	char *title;

	l->kind = SECTION_NONE;
	if (kind == SECTION_NONE)
		return fail_unknown_section(l, text, len);
	if (!section_kinds[kind].argument && *arg)
		return fail(l, l->line, NULL, SECTIONS_ACCEPTED, "[%s] takes no name", text);
	if (section_kinds[kind].argument && !*arg)
		return fail(l, l->line, NULL, SECTIONS_ACCEPTED, "[%s] needs a name", text);
	if (strlen(arg) > NAME_BYTES_MAX)
		return fail(l, l->line, NULL, NULL, "the name of a section has at most %d bytes",
			    NAME_BYTES_MAX);
	if (asprintf(&title, "%s%s%s", section_kinds[kind].word, *arg ? " " : "", arg) < 0)
		return fail_errno(l, ENOMEM);
	free(l->title);
	l->title = title;
	l->kind = kind;
	l->arg = title + len + (*arg ? 1 : 0);
	l->title_line = l->line;
	memset(l->key_lines, 0, sizeof(l->key_lines));
	if (remember_section(l) < 0)
		return l->rc;
	return kind == SECTION_FUNCTION ? fn_section_begin(l) : 0;
}

/* ---- keys */

static int fail_unknown_key(struct loader *l, const char *name)
{
	const char *section = section_kinds[l->kind].word;
	const struct config_key *near = config_key_nearest(section, name);
	const char *home = config_key_home(name);
	char names[WHY_BYTES];

	config_key_names(section, names, sizeof(names));
	if (home)
		return fail(l, l->line, name, names, "belongs to a [%s] section", home);
	if (near)
		return fail(l, l->line, name, names, "unknown key, did you mean \"%s\"?",
			    near->key);
	return fail(l, l->line, name, names, "unknown key");
}

static int rule_key(struct loader *l, const struct config_key *key, const char *value, char *why,
		    size_t why_size)
{
	if (key->type)
		return config_key_parse(key, value, &l->rule_source, why, why_size);
	if (l->rule_how) {
		snprintf(why, why_size, "a rule has one of match, regex, set; %s stands in line %d",
			 l->rule_how->key, *key_line(l, l->rule_how));
		return -EINVAL;
	}
	l->rule_pattern = strdup(value);
	if (!l->rule_pattern)
		return -ENOMEM;
	l->rule_how = key;
	return 0;
}

static int function_key(struct loader *l, const struct config_key *key, const char *value,
			char *why, size_t why_size)
{
	struct fn_section *section = &l->cfg->sections[l->cfg->n_sections - 1];
	struct fn_settings scratch = {.policy = NULL};
	int rc = config_key_parse(key, value, &scratch, why, why_size);
	char *copy;

	fn_settings_done(&scratch);
	if (rc < 0)
		return rc;
	copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	section->set[section->n_set].key = key;
	section->set[section->n_set++].value = copy;
	return 0;
}

static int store_key(struct loader *l, const struct config_key *key, const char *value, char *why,
		     size_t why_size)
{
	switch (l->kind) {
	case SECTION_AGENT:
	case SECTION_MEMORY:
	case SECTION_POLICY:
		return config_key_parse(key, value, config_key_base(l->cfg, key), why, why_size);
	case SECTION_RULE:
		return rule_key(l, key, value, why, why_size);
	default:
		return function_key(l, key, value, why, why_size);
	}
}

/* Called by libinih; its idea of the section is cut, ours is not. 0 stops. */
static int on_key(void *user, const char *section, const char *name, const char *value)
{
	struct loader *l = user;
	const struct config_key *key;
	char why[WHY_BYTES] = "";
	int rc;

	(void)section;
	if (l->kind == SECTION_NONE) {
		fail(l, l->line, name, SECTIONS_ACCEPTED, "stands before the first section");
		return 0;
	}
	key = config_key_find(section_kinds[l->kind].word, name);
	if (!key) {
		fail_unknown_key(l, name);
		return 0;
	}
	if (*key_line(l, key)) {
		fail(l, l->line, name, NULL, "stands in line %d of this section already",
		     *key_line(l, key));
		return 0;
	}
	rc = store_key(l, key, value, why, sizeof(why));
	if (rc == -EINVAL)
		fail(l, l->line, name, key->accepted, "%s", why);
	else if (rc < 0)
		fail_errno(l, -rc);
	*key_line(l, key) = l->line;
	return rc == 0;
}

/* ---- lines */

/* As libinih has it: ';' after white space. */
static void cut_comment(char *text)
{
	for (char *p = strchr(text, ';'); p; p = strchr(p + 1, ';')) {
		if (p > text && (p[-1] == ' ' || p[-1] == '\t')) {
			*p = '\0';
			return;
		}
	}
}

/* "[title]" with an optional comment after it. The title may contain "[" and "]". */
static int section_line(struct loader *l, char *text)
{
	char *close;

	cut_comment(text);
	close = strrchr(text, ']');
	if (!close || close[1 + strspn(close + 1, " \t\r\n")])
		return fail(l, l->line, NULL, SECTIONS_ACCEPTED,
			    "a section line is [name] and nothing else");
	while (close > text && (close[-1] == ' ' || close[-1] == '\t'))
		close--;
	*close = '\0';
	if (section_end(l) < 0)
		return l->rc;
	return section_begin(l, text + 1 + strspn(text + 1, " \t"));
}

/* The ini_reader: one line into buf, NULL at the end and after an error. */
static char *next_line(char *buf, int size, void *user)
{
	struct loader *l = user;
	ssize_t len;
	char *start;

	errno = 0;
	len = getline(&l->text, &l->text_size, l->file);
	if (len < 0) {
		if (!feof(l->file))
			fail_errno(l, errno ? errno : EIO);
		return NULL;
	}
	l->line++;
	if (len >= MIN(size, LINE_BYTES_MAX)) {
		fail(l, l->line, NULL, NULL, "the line is over %d bytes", LINE_BYTES_MAX);
		return NULL;
	}
	if (strlen(l->text) != (size_t)len) {
		fail(l, l->line, NULL, NULL, "the line contains a NUL byte");
		return NULL;
	}
	memcpy(buf, l->text, (size_t)len + 1);
	start = l->text + (l->line == 1 && strncmp(l->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
	start += strspn(start, " \t");
	if (*start == '[' && section_line(l, start) < 0)
		return NULL;
	return buf;
}

static int parse_lines(struct loader *l)
{
	int rc;

	/* Debian's libinih has its options at run time. */
	ini_max_line = LINE_BYTES_MAX + 3;
	ini_allow_multiline = false;
	ini_stop_on_first_error = true;
	rc = ini_parse_stream(next_line, l, on_key, l);
	if (l->rc < 0)
		return l->rc;
	if (rc == -2)
		return fail_errno(l, ENOMEM);
	if (rc != 0)
		return fail(l, l->line, NULL, NULL,
			    "is neither `key = value` nor a [section] nor a comment");
	return section_end(l);
}

int config_parse(struct config *cfg, FILE *file, char *err, size_t err_size)
{
	struct loader l = {.cfg = cfg,
			   .file = file,
			   .kind = SECTION_NONE,
			   .rule_source = -1,
			   .err = err,
			   .err_size = err_size};
	int rc = parse_lines(&l);

	for (size_t i = 0; i < l.n_seen; i++)
		free(l.seen[i].title);
	free(l.seen);
	free(l.text);
	free(l.title);
	free(l.rule_pattern);
	return rc;
}
