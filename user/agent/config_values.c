/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kinds of values: each turns text into one field, or says what is wrong with
 * the text. Nothing is stored before the whole value is known to be good.
 */
#include <arpa/inet.h>

#include <hearth/event.h>
#include <hearth/policy.h>

#include "agent/config_value.h"
#include "lib/clock.h"
#include "lib/duration.h"
#include "trace/prior.h"

#define SPEC_COLD_COST_S 600.0 /* specs are only checked here: any valid cost will do */
#define PROBE_NETS_MAX   64    /* per function: each costs the kernel one trie entry */

_Static_assert(ARRAY_SIZE(((struct fn_settings *)0)->probe_ua) == HEARTH_UA_PREFIXES,
	       "the kernel side compares as many prefixes");

static int parse_duration(const struct config_key *key, const char *text, void *base, char *why,
			  size_t size)
{
	char low[DURATION_TEXT], high[DURATION_TEXT];
	uint64_t ns;
	int rc = duration_parse(text, &ns);

	if (rc == -EINVAL)
		return wrong(why, size, "\"%s\" is not a duration", text);
	if (rc < 0 || ns < key->min || ns > key->max)
		return wrong(why, size, "%s is out of range (%s to %s)", text,
			     duration_format(key->min, low, sizeof(low)),
			     duration_format(key->max, high, sizeof(high)));
	*(uint64_t *)field(key, base) = ns;
	return 0;
}

static int parse_choice(const struct config_key *key, const char *text, void *base, char *why,
			size_t size)
{
	for (unsigned int i = 0; key->names[i]; i++) {
		if (strcmp(text, key->names[i]) == 0) {
			*(unsigned int *)field(key, base) = i;
			return 0;
		}
	}
	return wrong(why, size, "\"%s\" is none of the choices", text);
}

static int parse_flag(const struct config_key *key, const char *text, void *base, char *why,
		      size_t size)
{
	static const char *const words[][2] = {
	    {"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		for (int value = 0; value < 2; value++) {
			if (strcmp(text, words[i][value]) == 0) {
				*(bool *)field(key, base) = value;
				return 0;
			}
		}
	}
	return wrong(why, size, "\"%s\" is neither yes nor no", text);
}

static int parse_number(const struct config_key *key, const char *text, void *base, char *why,
			size_t size)
{
	unsigned long long value;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return wrong(why, size, "\"%s\" is not a whole number", text);
	errno = 0;
	value = strtoull(text, NULL, 10);
	if (errno || value < key->min || value > key->max)
		return wrong(why, size, "%s is out of range (%llu to %llu)", text,
			     (unsigned long long)key->min, (unsigned long long)key->max);
	*(unsigned int *)field(key, base) = (unsigned int)value;
	return 0;
}

/* A share of one CPU: a plain decimal number above 0 and up to key->max. */
static int parse_share(const struct config_key *key, const char *text, void *base, char *why,
		       size_t size)
{
	double value;
	char *end;

	if (*text < '0' || *text > '9' || strspn(text, "0123456789.") != strlen(text))
		return wrong(why, size, "\"%s\" is not a decimal number", text);
	value = strtod(text, &end);
	if (*end)
		return wrong(why, size, "\"%s\" is not a decimal number", text);
	if (!(value > 0) || value > (double)key->max)
		return wrong(why, size, "%s is out of range (above 0, up to %llu)", text,
			     (unsigned long long)key->max);
	*(double *)field(key, base) = value;
	return 0;
}

static int parse_string(const struct config_key *key, const char *text, void *base, char *why,
			size_t size)
{
	if (strlen(text) < key->min)
		return wrong(why, size, "is empty");
	if (strlen(text) > key->max)
		return wrong(why, size, "is longer than %llu bytes", (unsigned long long)key->max);
	return replace_string(key, text, base);
}

static int parse_path(const struct config_key *key, const char *text, void *base, char *why,
		      size_t size)
{
	if (*text && *text != '/')
		return wrong(why, size, "\"%s\" is not an absolute path", text);
	return parse_string(key, text, base, why, size);
}

static int parse_policy(const struct config_key *key, const char *text, void *base, char *why,
			size_t size)
{
	struct hearth_policy *policy;
	int rc = hearth_policy_parse(text, SPEC_COLD_COST_S, &policy, why, size);

	if (rc < 0)
		return rc;
	hearth_policy_free(policy);
	return replace_string(key, text, base);
}

static int check_shadow(const char *spec, char *why, size_t size)
{
	struct hearth_policy *policy;
	int rc = hearth_policy_parse(spec, SPEC_COLD_COST_S, &policy, why, size);

	if (rc < 0)
		return rc;
	if (hearth_policy_needs(policy))
		rc = wrong(why, size, "%s knows the future: only `hearth sim` can run it", spec);
	hearth_policy_free(policy);
	return rc;
}

static int parse_policies(const struct config_key *key, const char *text, void *base, char *why,
			  size_t size)
{
	_cleanup_free_ char *copy = strdup(text);
	char *save = NULL;
	int n = 0;

	if (!copy)
		return -ENOMEM;
	for (char *w = strtok_r(copy, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		int rc = check_shadow(w, why, size);

		if (rc < 0)
			return rc;
		if (++n > SHADOWS_MAX)
			return wrong(why, size, "has more than %d policies", SHADOWS_MAX);
	}
	return replace_string(key, text, base);
}

/* Read at once: a file that is no table is an error of this line. */
static int parse_prior(const struct config_key *key, const char *text, void *base, char *why,
		       size_t size)
{
	struct prior **slot = field(key, base), *table = NULL;
	int rc;

	if (*text && *text != '/')
		return wrong(why, size, "\"%s\" is not an absolute path", text);
	if (*text) {
		table = malloc(sizeof(*table));
		if (!table)
			return -ENOMEM;
		rc = prior_read(text, table, why, size);
		if (rc < 0) {
			free(table);
			return rc == -ENOMEM ? rc : -EINVAL;
		}
	}
	free(*slot);
	*slot = table;
	return 0;
}

static int parse_net(const char *word, struct probe_net *net, char *why, size_t size)
{
	char addr[INET6_ADDRSTRLEN];
	size_t len = strcspn(word, "/");
	unsigned int width = 128, offset = 0, prefix;

	if (len >= sizeof(addr))
		return wrong(why, size, "\"%s\" is not an address block", word);
	memcpy(addr, word, len);
	addr[len] = '\0';
	memset(net, 0, sizeof(*net));
	if (inet_pton(AF_INET, addr, net->addr + 12) == 1) {
		memset(net->addr + 10, 0xff, 2);
		width = 32;
		offset = 96;
	} else if (inet_pton(AF_INET6, addr, net->addr) != 1) {
		return wrong(why, size, "\"%s\" is neither an address block nor ua:PREFIX", word);
	}
	prefix = width;
	if (word[len] == '/') {
		const char *digits = word + len + 1;

		if (!*digits || strlen(digits) > 3 ||
		    strspn(digits, "0123456789") != strlen(digits) ||
		    (prefix = (unsigned int)atoi(digits)) > width)
			return wrong(why, size, "\"%s\" needs a prefix length of 0 to %u", word,
				     width);
	}
	net->prefix = offset + prefix;
	for (unsigned int bit = net->prefix; bit < 128; bit++)
		net->addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	return 0;
}

struct probes {
	struct probe_net nets[PROBE_NETS_MAX];
	size_t n_nets;
	char *ua[HEARTH_UA_PREFIXES];
	size_t n_ua;
};

static int add_probe(struct probes *p, char *word, char *why, size_t size)
{
	size_t len;

	if (strncmp(word, "ua:", 3) != 0) {
		if (p->n_nets == PROBE_NETS_MAX)
			return wrong(why, size, "has more than %d address blocks", PROBE_NETS_MAX);
		return parse_net(word, &p->nets[p->n_nets++], why, size);
	}
	len = strlen(word + 3);
	if (len == 0 || len >= HEARTH_UA_LEN)
		return wrong(why, size, "\"%s\" needs 1 to %u bytes after ua:", word,
			     HEARTH_UA_LEN - 1);
	if (p->n_ua == HEARTH_UA_PREFIXES)
		return wrong(why, size, "has more than %u User-Agent prefixes", HEARTH_UA_PREFIXES);
	p->ua[p->n_ua++] = word + 3;
	return 0;
}

static int store_probes(const struct probes *p, struct fn_settings *s)
{
	struct probe_net *nets = NULL;
	char *ua[HEARTH_UA_PREFIXES] = {NULL};
	bool failed = false;

	if (p->n_nets) {
		nets = calloc(p->n_nets, sizeof(*nets));
		failed = !nets;
	}
	for (size_t i = 0; i < p->n_ua; i++) {
		ua[i] = strdup(p->ua[i]);
		failed |= !ua[i];
	}
	for (size_t i = 0; i < HEARTH_UA_PREFIXES; i++)
		free(failed ? ua[i] : s->probe_ua[i]);
	free(failed ? nets : s->probe_nets);
	if (failed)
		return -ENOMEM;
	if (nets)
		memcpy(nets, p->nets, p->n_nets * sizeof(*nets));
	memcpy(s->probe_ua, ua, sizeof(ua));
	s->probe_nets = nets;
	s->n_probe_nets = p->n_nets;
	return 0;
}

/* One key, two fields: address blocks and User-Agent prefixes. */
static int parse_probes(const struct config_key *key, const char *text, void *base, char *why,
			size_t size)
{
	_cleanup_free_ char *copy = strdup(text);
	struct probes p = {.n_nets = 0};
	char *save = NULL;

	(void)key;
	if (!copy)
		return -ENOMEM;
	for (char *w = strtok_r(copy, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		int rc = add_probe(&p, w, why, size);

		if (rc < 0)
			return rc;
	}
	return store_probes(&p, base);
}

static int parse_endpoint(const struct config_key *key, const char *text, void *base, char *why,
			  size_t size)
{
	struct config_endpoint *out = field(key, base), at = {0};
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2] = "";
	size_t len = colon ? (size_t)(colon - text) : 0;
	char *end;
	long port;

	if (!strcmp(text, "off")) {
		*out = at;
		return 0;
	}
	if (!colon || len >= sizeof(host))
		return wrong(why, size, "\"%s\" is no address and port", text);
	memcpy(host, text, len);
	at.v6 = host[0] == '[' && len > 1 && host[len - 1] == ']';
	if (at.v6)
		host[len - 1] = '\0';
	if (inet_pton(at.v6 ? AF_INET6 : AF_INET, host + at.v6, at.addr) != 1)
		return wrong(why, size, "\"%.*s\" is no IP address", (int)len, text);
	port = strtol(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || port < 1 || port > 65535)
		return wrong(why, size, "\"%s\" is no port (1 to 65535)", colon + 1);
	at.port = (uint16_t)port;
	*out = at;
	return 0;
}

const struct config_type config_duration = {parse_duration};
const struct config_type config_choice = {parse_choice};
const struct config_type config_flag = {parse_flag};
const struct config_type config_number = {parse_number};
const struct config_type config_share = {parse_share};
const struct config_type config_path = {parse_path};
const struct config_type config_endpoint = {parse_endpoint};
const struct config_type config_string = {parse_string};
const struct config_type config_policy = {parse_policy};
const struct config_type config_policies = {parse_policies};
const struct config_type config_probes = {parse_probes};
const struct config_type config_prior = {parse_prior};
