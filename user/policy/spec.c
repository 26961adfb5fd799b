/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Parsing and writing of policy specs. Works on the caller's text in place
 * through slices, so nothing is allocated; v[] is complete only on success.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/duration.h"
#include "policy/spec.h"

#define NUMBER_STEP   0.01 /* numbers carry two decimals, so that they print exactly */
#define SUGGEST_EDITS 3    /* a typo, not another word */
#define NUMBER_DIGITS 12   /* before the point: exact in a double */

struct scan {
	const char *name; /* of the policy */
	const struct policy_param *params;
	char *err;
	size_t err_size;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct scan *s, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(s->err, s->err_size, "%s: ", s->name);

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < s->err_size)
		vsnprintf(s->err + n, s->err_size - n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Appends to a buffer of SPEC_MAX bytes; what does not fit is cut. */
__attribute__((format(printf, 2, 3))) static void append(char *buf, const char *fmt, ...)
{
	size_t used = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + used, SPEC_MAX - used, fmt, ap);
	va_end(ap);
}

static void write_number(double v, char *out)
{
	long long steps = llround(v / NUMBER_STEP);

	append(out, "%lld", steps / 100);
	if (steps % 100)
		append(out, steps % 10 ? ".%02lld" : ".%lld",
		       steps % 10 ? steps % 100 : steps % 100 / 10);
}

static void write_duration(double seconds, char *out)
{
	char text[DURATION_TEXT];

	append(out, "%s", duration_format(llround(seconds * 1e9), text, sizeof(text)));
}

static void write_value(const struct policy_param *p, double v, char *out)
{
	switch (p->type) {
	case PARAM_CHOICE:
		append(out, "%s", p->choices[(int)v]);
		break;
	case PARAM_DURATION:
	case PARAM_COLD_COST:
	case PARAM_SECONDS:
		write_duration(v, out);
		break;
	default:
		write_number(v, out);
	}
}

/* What a parameter accepts, for messages. */
static void write_accepted(const struct policy_param *p, char *out)
{
	if (p->type == PARAM_CHOICE) {
		for (size_t i = 0; p->choices[i]; i++)
			append(out, "%s%s", i ? ", " : "", p->choices[i]);
		return;
	}
	if (p->type == PARAM_INTEGER)
		append(out, "a whole number from ");
	else if (p->type == PARAM_NUMBER)
		append(out, "a number with at most two decimals from ");
	else if (p->type == PARAM_SECONDS)
		append(out, "seconds, or a duration with a unit, from ");
	else
		append(out, "%s from ", DURATION_ACCEPTED);
	write_value(p, p->min, out);
	append(out, " to ");
	write_value(p, p->max, out);
}

static void write_keys(const struct policy_param *params, char *out)
{
	const char *sep = "";

	for (const struct policy_param *p = params; p && p->type; p++) {
		if (p->flags & PARAM_ARG)
			continue;
		append(out, "%s%s", sep, p->key);
		sep = ", ";
	}
	if (!*sep)
		append(out, "none");
}

/* Digits from *text on, as many as there are up to `most`. Returns how many it took. */
static unsigned int read_digits(const char **text, unsigned int most, double *n)
{
	unsigned int count = 0;

	for (; count < most && **text >= '0' && **text <= '9'; (*text)++, count++)
		*n = *n * 10 + (**text - '0');
	return count;
}

/* A decimal number without sign, exponent or locale, and nothing after it. */
static bool read_number(const char *text, unsigned int decimals, double *out)
{
	double n = 0;
	unsigned int after = 0;

	if (!read_digits(&text, NUMBER_DIGITS, &n))
		return false;
	if (decimals && *text == '.') {
		text++;
		after = read_digits(&text, decimals, &n);
		if (!after)
			return false;
	}
	for (; after; after--)
		n /= 10;
	*out = n;
	return !*text;
}

static bool read_duration(const char *text, double *out)
{
	uint64_t ns;

	if (duration_parse(text, &ns))
		return false;
	*out = ns / 1e9;
	return true;
}

static bool read_choice(const char *const *choices, const char *text, double *out)
{
	for (size_t i = 0; choices[i]; i++) {
		if (!strcmp(choices[i], text)) {
			*out = i;
			return true;
		}
	}
	return false;
}

static int read_value(const struct scan *s, const struct policy_param *p, const char *text,
		      double *out)
{
	char accepted[SPEC_MAX] = "";
	double v = 0;
	bool ok;

	switch (p->type) {
	case PARAM_CHOICE:
		ok = read_choice(p->choices, text, &v);
		break;
	case PARAM_INTEGER:
		ok = read_number(text, 0, &v);
		break;
	case PARAM_NUMBER:
		ok = read_number(text, 2, &v);
		break;
	case PARAM_SECONDS:
		ok = read_number(text, 2, &v) || read_duration(text, &v);
		break;
	default:
		ok = read_duration(text, &v);
	}
	if (ok && (p->type == PARAM_CHOICE || (v >= p->min && v <= p->max))) {
		*out = v;
		return 0;
	}
	write_accepted(p, accepted);
	return fail(s, "%s \"%s\" is not accepted; accepted: %s", p->key, text, accepted);
}

/* The parameter called key, or the argument if key is NULL. */
static const struct policy_param *find(const struct scan *s, const char *key)
{
	for (const struct policy_param *p = s->params; p && p->type; p++) {
		if (key ? !(p->flags & PARAM_ARG) && !strcmp(p->key, key)
			: p->flags & (PARAM_ARG | PARAM_BOTH))
			return p;
	}
	return NULL;
}

static int read_arg(const struct scan *s, const char *text, double v[])
{
	const struct policy_param *p = find(s, NULL);

	if (!p)
		return fail(s, "takes no argument, got \"%s\"", text);
	return read_value(s, p, text, &v[p - s->params]);
}

static int read_pair(const struct scan *s, char *text, unsigned int *seen, double v[])
{
	char keys[SPEC_MAX] = "";
	char *value = strchr(text, '=');
	const struct policy_param *p;

	if (value)
		*value++ = '\0';
	p = find(s, text);
	if (!p) {
		write_keys(s->params, keys);
		return fail(s, "unknown key \"%s\"; accepted: %s", text, keys);
	}
	if (!value && p->type != PARAM_FLAG)
		return fail(s, "%s needs a value: %s=...", text, text);
	if (value && p->type == PARAM_FLAG)
		return fail(s, "%s takes no value, got \"%s\"", text, value);
	if (*seen & 1u << (p - s->params))
		return fail(s, "%s is given twice", text);
	*seen |= 1u << (p - s->params);
	if (value)
		return read_value(s, p, value, &v[p - s->params]);
	v[p - s->params] = 1;
	return 0;
}

static int check_required(const struct scan *s, const double v[])
{
	char accepted[SPEC_MAX] = "";

	for (const struct policy_param *p = s->params; p && p->type; p++) {
		if (!isnan(v[p - s->params]))
			continue;
		write_accepted(p, accepted);
		return fail(s, "needs %s, as in %s:%s; accepted: %s", p->key, s->name, p->key,
			    accepted);
	}
	return 0;
}

static double fallback(const struct policy_param *p, double cold_cost_s)
{
	if (p->flags & PARAM_REQUIRED)
		return NAN;
	return p->type == PARAM_COLD_COST ? cold_cost_s : p->fallback;
}

int spec_parse(const char *name, const struct policy_param *params, const char *rest,
	       double cold_cost_s, double v[], char *err, size_t err_size)
{
	struct scan s = {name, params, err, err_size};
	char text[SPEC_MAX], *next = text, *field;
	double parsed[POLICY_PARAMS];
	unsigned int seen = 0;
	int ret = 0;

	if (strlen(rest) >= sizeof(text))
		return fail(&s, "spec longer than %zu bytes", sizeof(text) - 1);
	strcpy(text, rest);
	for (const struct policy_param *p = params; p && p->type; p++)
		parsed[p - params] = fallback(p, cold_cost_s);

	field = strsep(&next, ",");
	if (*field == ':')
		ret = read_arg(&s, field + 1, parsed);
	while (!ret && next)
		ret = read_pair(&s, strsep(&next, ","), &seen, parsed);
	if (!ret)
		ret = check_required(&s, parsed);
	if (!ret)
		memcpy(v, parsed, sizeof(parsed));
	return ret;
}

void spec_write(const char *name, const struct policy_param *params, const double v[],
		double cold_cost_s, char *out)
{
	*out = '\0';
	append(out, "%s", name);
	for (const struct policy_param *p = params; p && p->type; p++) {
		double value = v[p - params];

		if (!(p->flags & PARAM_ARG) && value == fallback(p, cold_cost_s))
			continue;
		if (p->flags & PARAM_ARG)
			append(out, ":");
		else
			append(out, p->type == PARAM_FLAG ? ",%s" : ",%s=", p->key);
		if (p->type != PARAM_FLAG)
			write_value(p, value, out);
	}
}

/* Edits between two words. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[SPEC_MAX];
	size_t n = strnlen(b, SPEC_MAX - 1);

	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < n; j++) {
			unsigned int swap = diagonal + (a[i] != b[j]);
			unsigned int above = row[j + 1];
			unsigned int best = swap < above + 1 ? swap : above + 1;

			row[j + 1] = best < row[j] + 1 ? best : row[j] + 1;
			diagonal = above;
		}
	}
	return row[n];
}

static const char *nearest(const char *word, const char *(*name_at)(size_t), size_t n)
{
	unsigned int best = SUGGEST_EDITS + 1;
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		unsigned int d = distance(word, name_at(i));

		if (d < best) {
			best = d;
			found = name_at(i);
		}
	}
	return found;
}

int spec_lookup(const char *kind, const char *spec, const char *(*name_at)(size_t), size_t n,
		const char **rest, char *err, size_t err_size)
{
	size_t len = strcspn(spec, ":,");
	char word[SPEC_MAX] = "", accepted[SPEC_MAX] = "";
	const char *like;

	for (size_t i = 0; i < n; i++) {
		if (strlen(name_at(i)) == len && !memcmp(name_at(i), spec, len)) {
			*rest = spec + len;
			return i;
		}
		append(accepted, "%s%s", i ? ", " : "", name_at(i));
	}
	memcpy(word, spec, len < SPEC_MAX - 1 ? len : SPEC_MAX - 1);
	like = nearest(word, name_at, n);
	snprintf(err, err_size, "unknown %s \"%s\"%s%s%s accepted: %s", kind, word,
		 like ? "; did you mean \"" : ";", like ? like : "", like ? "\"?" : "", accepted);
	return -EINVAL;
}
