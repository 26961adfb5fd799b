/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kinds of values about memory: sizes, shares, tiers, rankers, and the commands
 * of a function. As in config_values.c, nothing is stored before the whole value
 * is known to be good.
 */
#include <hearth/rank.h>

#include "agent/config_value.h"
#include "lib/command.h"
#include "lib/size.h"

static int read_size(const struct config_key *key, const char *text, uint64_t *bytes, char *why,
		     size_t size)
{
	char low[SIZE_TEXT], high[SIZE_TEXT];
	int rc = size_parse(text, bytes);

	if (rc == -EINVAL)
		return wrong(why, size, "\"%s\" is not a size", text);
	if (rc < 0 || *bytes < key->min || *bytes > key->max)
		return wrong(why, size, "%s is out of range (%s to %s)", text,
			     size_format(key->min, low, sizeof(low)),
			     size_format(key->max, high, sizeof(high)));
	return 0;
}

static int read_percent(const char *text, double *share, char *why, size_t size)
{
	int rc = share_parse(text, share);

	if (rc == -EINVAL)
		return wrong(why, size, "\"%s\" is not a percentage", text);
	if (rc < 0)
		return wrong(why, size, "%s is out of range (0%% to 100%%)", text);
	return 0;
}

static int parse_size(const struct config_key *key, const char *text, void *base, char *why,
		      size_t size)
{
	uint64_t bytes;
	int rc = read_size(key, text, &bytes, why, size);

	if (rc == 0)
		*(uint64_t *)field(key, base) = bytes;
	return rc;
}

/* A size or a percentage; "" is 0. */
static int parse_amount(const struct config_key *key, const char *text, void *base, char *why,
			size_t size)
{
	struct config_amount a = {.bytes = 0};
	int rc = 0;

	if (strchr(text, '%'))
		rc = read_percent(text, &a.share, why, size);
	else if (*text)
		rc = read_size(key, text, &a.bytes, why, size);
	if (rc == 0)
		*(struct config_amount *)field(key, base) = a;
	return rc;
}

static int parse_percent(const struct config_key *key, const char *text, void *base, char *why,
			 size_t size)
{
	double share;
	int rc = read_percent(text, &share, why, size);

	if (rc == 0)
		*(double *)field(key, base) = share;
	return rc;
}

/* A percentage that a trigger of the kernel takes, or none. */
static int parse_pressure(const struct config_key *key, const char *text, void *base, char *why,
			  size_t size)
{
	double share = 0;
	int rc = 0;

	if (strcmp(text, "off") != 0 && strcmp(text, "0") != 0)
		rc = read_percent(text, &share, why, size);
	if (rc == 0)
		*(double *)field(key, base) = share;
	return rc;
}

/* Words out of the names of a key, as a bit mask. */
static int parse_set(const struct config_key *key, const char *text, void *base, char *why,
		     size_t size)
{
	_cleanup_free_ char *copy = strdup(text);
	unsigned int set = 0;
	char *save = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *w = strtok_r(copy, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		unsigned int i = 0;

		while (key->names[i] && strcmp(w, key->names[i]) != 0)
			i++;
		if (!key->names[i])
			return wrong(why, size, "\"%s\" is none of the choices", w);
		set |= 1u << i;
	}
	if (!set)
		return wrong(why, size, "names none");
	*(unsigned int *)field(key, base) = set;
	return 0;
}

static int parse_ranker(const struct config_key *key, const char *text, void *base, char *why,
			size_t size)
{
	struct hearth_ranker **slot = field(key, base), *ranker;
	int rc = hearth_ranker_parse(text, &ranker, why, size);

	if (rc < 0)
		return rc;
	hearth_ranker_free(*slot);
	*slot = ranker;
	return 0;
}

/* Whether it can be run is not asked: the file may come later than hearthd. */
static int parse_command(const struct config_key *key, const char *text, void *base, char *why,
			 size_t size)
{
	_cleanup_free_ char **argv = NULL;
	int rc = *text ? command_split(text, &argv, why, size) : 0;

	return rc < 0 ? rc : replace_string(key, text, base);
}

uint64_t config_amount_bytes(const struct config_amount *a, uint64_t whole_bytes)
{
	return a->share > 0 ? (uint64_t)(a->share * (double)whole_bytes) : a->bytes;
}

const struct config_type config_size = {parse_size};
const struct config_type config_size_or_share = {parse_amount};
const struct config_type config_percent = {parse_percent};
const struct config_type config_pressure = {parse_pressure};
const struct config_type config_set = {parse_set};
const struct config_type config_ranker = {parse_ranker};
const struct config_type config_command = {parse_command};
