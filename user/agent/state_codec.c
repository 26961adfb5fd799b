/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The state file's text: one JSON document, laid out in lines.
 *
 *   {"hearth_state":1,"crc32":"89abcdef","functions":[
 *   {"name":...},
 *   {"name":...}
 *   ]}
 *
 * The checksum covers everything after the first line, and the first line must
 * be, byte for byte, the one that a save would write: no flipped or missing
 * byte goes unnoticed. A function is one line, so memory stays that of one.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "agent/state.h"
#include "agent/state_check.h"
#include "lib/util.h"

#define HEADER_SIZE 80
#define TAIL        "\n]}\n"
#define MAGIC       "{\"hearth_state\":"

struct field {
	const char *key;
	size_t offset;
};

#define FIELD(name)                                                                                \
	{                                                                                          \
#name, offsetof(struct state_function, name)                                       \
	}

static const struct field counters[] = {
    FIELD(bin_ns),          FIELD(oob),        FIELD(unbinned),
    FIELD(invocations),     FIELD(busy_spans), FIELD(cold_starts),
    FIELD(lukewarm_starts), FIELD(freezes),    FIELD(wakes),
};

static const struct field times[] = {
    FIELD(frozen_s),
    FIELD(instance_s),
    FIELD(first_seen_s),
    FIELD(last_seen_s),
};

static uint64_t *counter_of(const struct state_function *f, const struct field *field)
{
	return (uint64_t *)((char *)f + field->offset);
}

static double *time_of(const struct state_function *f, const struct field *field)
{
	return (double *)((char *)f + field->offset);
}

static size_t header_print(char out[HEADER_SIZE], unsigned long crc)
{
	return (size_t)snprintf(out, HEADER_SIZE, MAGIC "%d,\"crc32\":\"%08lx\",\"functions\":[",
				STATE_VERSION, crc);
}

/* ---- writing */

static json_t *hex_json(const void *data, size_t len)
{
	_cleanup_free_ char *hex = malloc(2 * len + 1);

	if (!hex)
		return NULL;
	for (size_t i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", ((const uint8_t *)data)[i]);
	return json_stringn_nocheck(hex, 2 * len);
}

/* Cgroup names may hold any byte; JSON strings may not. */
static int set_name(json_t *o, const char *name)
{
	json_t *text = json_string(name);

	if (text)
		return json_object_set_new(o, "name", text);
	return json_object_set_new(o, "name_hex", hex_json(name, strlen(name)));
}

/* Only what is there: [bin, count, bin, count, ...]. */
static json_t *bins_json(const struct state_function *f)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < f->nbins; i++)
		if (f->bins[i] && (json_array_append_new(a, json_integer(i)) < 0 ||
				   json_array_append_new(a, json_integer(f->bins[i])) < 0)) {
			json_decref(a);
			return NULL;
		}
	return a;
}

static json_t *gaps_json(const struct hearth_gaps *g)
{
	json_t *a = json_array();

	for (unsigned int i = 0; i < hearth_gaps_held(g); i++)
		if (json_array_append_new(a, json_integer(hearth_gaps_at(g, i))) < 0) {
			json_decref(a);
			return NULL;
		}
	return a;
}

static json_t *function_json(const struct state_function *f)
{
	json_t *o = json_object();
	int bad = set_name(o, f->name);

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		bad |= json_object_set_new(o, counters[i].key,
					   json_integer((json_int_t)*counter_of(f, &counters[i])));
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		bad |= json_object_set_new(o, times[i].key, json_real(*time_of(f, &times[i])));
	if (f->bins) {
		bad |= json_object_set_new(o, "nbins", json_integer(f->nbins));
		bad |= json_object_set_new(o, "bins", bins_json(f));
	}
	if (f->gaps.n)
		bad |= json_object_set_new(o, "gaps", gaps_json(&f->gaps));
	bad |= json_object_set_new(o, "measures", state_measures_json(&f->measures));
	if (f->policy)
		bad |= json_object_set_new(o, "policy", json_string(f->policy));
	bad |= json_object_set_new(o, "pinned", json_boolean(f->pinned));
	if (f->blob) {
		bad |= json_object_set_new(o, "memory_of", json_string(f->blob_spec));
		bad |= json_object_set_new(o, "memory", hex_json(f->blob, f->blob_bytes));
	}
	if (bad) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static int write_functions(const struct state *s, FILE *out)
{
	for (size_t i = 0; i < s->n; i++) {
		json_t *o = function_json(&s->functions[i]);
		int rc;

		if (!o)
			return -ENOMEM;
		fputs(i ? ",\n" : "\n", out);
		rc = json_dumpf(o, out, JSON_COMPACT);
		json_decref(o);
		if (rc < 0)
			return -ENOMEM;
	}
	fputs(TAIL, out);
	return 0;
}

int state_encode(const struct state *s, char **text, size_t *len)
{
	char header[HEADER_SIZE];
	char *buf = NULL;
	size_t size = 0, head = header_print(header, 0);
	FILE *out = open_memstream(&buf, &size);
	int rc;

	if (!out)
		return -ENOMEM;
	fputs(header, out); /* the room for the real one, of the same length */
	rc = write_functions(s, out);
	if (ferror(out))
		rc = -ENOMEM;
	if (fclose(out) != 0)
		rc = -ENOMEM;
	if (rc < 0) {
		free(buf);
		return rc;
	}
	header_print(header, crc32_z(0, (const Bytef *)buf + head, size - head));
	memcpy(buf, header, head);
	*text = buf;
	*len = size;
	return 0;
}

/* ---- reading */

static int digit(char c)
{
	const char *digits = "0123456789abcdef", *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

static bool hex_bytes(const char *hex, uint8_t *out, size_t len)
{
	if (strlen(hex) != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool read_name(const json_t *o, struct state_function *f)
{
	const char *name = json_string_value(json_object_get(o, "name"));
	const char *hex = json_string_value(json_object_get(o, "name_hex"));

	if (name && strlen(name) < sizeof(f->name)) {
		strcpy(f->name, name);
		return true;
	}
	return hex && strlen(hex) / 2 < sizeof(f->name) &&
	       hex_bytes(hex, (uint8_t *)f->name, strlen(hex) / 2);
}

/* A key that is not there stands for 0: counters are added over time. */
static bool read_counter(const json_t *o, const char *key, uint64_t *out)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return true;
	*out = (uint64_t)json_integer_value(v);
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

static bool read_time(const json_t *o, const char *key, double *out)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return true;
	*out = json_number_value(v);
	return json_is_number(v);
}

static bool read_pair(const json_t *a, size_t at, int64_t last, struct state_function *f)
{
	const json_t *bin = json_array_get(a, at), *count = json_array_get(a, at + 1);
	json_int_t i = json_integer_value(bin), c = json_integer_value(count);

	if (!json_is_integer(bin) || !json_is_integer(count) || i <= last || i >= f->nbins ||
	    c <= 0 || c > UINT32_MAX)
		return false;
	f->bins[i] = (uint32_t)c;
	return true;
}

static int read_bins(const json_t *o, struct state_function *f)
{
	const json_t *a = json_object_get(o, "bins");
	uint64_t nbins = 0;
	int64_t last = -1;

	if (!a)
		return 0;
	if (!read_counter(o, "nbins", &nbins) || nbins == 0 || nbins > STATE_BINS ||
	    !json_is_array(a) || json_array_size(a) % 2)
		return -EBADMSG;
	f->nbins = (uint32_t)nbins;
	f->bins = calloc(nbins, sizeof(*f->bins));
	if (!f->bins)
		return -ENOMEM;
	for (size_t at = 0; at < json_array_size(a); at += 2) {
		if (!read_pair(a, at, last, f))
			return -EBADMSG;
		last = json_integer_value(json_array_get(a, at));
	}
	return state_sums(f, &f->s1, &f->s2) ? 0 : -EBADMSG;
}

static int read_text(const json_t *o, const char *key, char **out)
{
	const json_t *v = json_object_get(o, key);

	if (!v)
		return 0;
	if (!json_is_string(v))
		return -EBADMSG;
	*out = strdup(json_string_value(v));
	return *out ? 0 : -ENOMEM;
}

static int read_blob(const json_t *o, struct state_function *f)
{
	_cleanup_free_ char *hex = NULL;
	int rc = read_text(o, "memory", &hex);

	if (rc < 0 || !hex)
		return rc;
	if (strlen(hex) == 0 || strlen(hex) / 2 > STATE_BLOB)
		return -EBADMSG;
	f->blob_bytes = (uint32_t)(strlen(hex) / 2);
	f->blob = malloc(f->blob_bytes + 1);
	if (!f->blob)
		return -ENOMEM;
	return hex_bytes(hex, f->blob, f->blob_bytes) ? 0 : -EBADMSG;
}

/* Minutes, oldest first. When the last of them was is not told, so none is open. */
static bool read_gaps(const json_t *o, struct state_function *f)
{
	const json_t *a = json_object_get(o, "gaps"), *v;
	size_t i;

	f->gaps.first_s = f->first_seen_s;
	f->gaps.last_s = f->last_seen_s;
	if (!a)
		return true;
	if (!json_is_array(a) || json_array_size(a) > HEARTH_GAPS)
		return false;
	json_array_foreach (a, i, v) {
		json_int_t minutes = json_integer_value(v);

		if (!json_is_integer(v) || minutes < 0 || minutes > HEARTH_PRIOR_MINUTES)
			return false;
		f->gaps.minutes[f->gaps.n++] = (uint16_t)minutes;
	}
	return true;
}

static int function_read(const json_t *o, struct state_function *f)
{
	const json_t *pinned = json_object_get(o, "pinned");
	bool ok = read_name(o, f);
	int rc;

	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		ok = ok && read_counter(o, counters[i].key, counter_of(f, &counters[i]));
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		ok = ok && read_time(o, times[i].key, time_of(f, &times[i]));
	if (!ok || (pinned && !json_is_boolean(pinned)))
		return -EBADMSG;
	f->pinned = json_is_true(pinned);
	if (!read_gaps(o, f) || !state_measures_read(json_object_get(o, "measures"), &f->measures))
		return -EBADMSG;
	rc = read_bins(o, f);
	if (rc == 0)
		rc = read_text(o, "policy", &f->policy);
	if (rc == 0)
		rc = read_text(o, "memory_of", &f->blob_spec);
	if (rc == 0)
		rc = read_blob(o, f);
	if (rc == 0 && state_check(f))
		rc = -EBADMSG;
	return rc;
}

static int line_read(const char *line, size_t len, struct state *out)
{
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	struct state_function f = {0};
	int rc = json_is_object(o) ? function_read(o, &f) : -EBADMSG;

	if (rc == 0)
		rc = state_push(out, &f);
	state_function_done(&f);
	json_decref(o);
	return rc;
}

/* The number at text, which is not terminated; 0 if there is none. */
static unsigned long number_at(const char *text, const char *end)
{
	unsigned long n = 0;

	for (; text < end && *text >= '0' && *text <= '9' && n < 1000000; text++)
		n = 10 * n + (unsigned long)(*text - '0');
	return n;
}

/* 0, or -EBADMSG with what is wrong with the first line or the checksum. */
static int header_check(const char *text, size_t len, char *err, size_t err_size)
{
	const char *wrong = NULL;
	char header[HEADER_SIZE];
	size_t head = header_print(header, 0);
	unsigned long version = 0;

	if (len < head + strlen(TAIL) || memcmp(text, MAGIC, strlen(MAGIC)) != 0) {
		snprintf(err, err_size, "it is cut short, or not a state file of hearth");
		return -EBADMSG;
	}
	version = number_at(text + strlen(MAGIC), text + head);
	if (version && version != STATE_VERSION) {
		snprintf(err, err_size, "it has version %lu, this hearthd reads version %d",
			 version, STATE_VERSION);
		return -EBADMSG;
	}
	header_print(header, crc32_z(0, (const Bytef *)text + head, len - head));
	if (memcmp(text, header, head) != 0)
		wrong = "its checksum is wrong: damaged or cut short";
	else if (memcmp(text + len - strlen(TAIL), TAIL, strlen(TAIL)) != 0)
		wrong = "it has no proper end";
	if (wrong)
		snprintf(err, err_size, "%s", wrong);
	return wrong ? -EBADMSG : 0;
}

static int lines_read(const char *at, const char *end, struct state *out, char *err,
		      size_t err_size)
{
	for (unsigned int n = 2; at < end; n++) {
		const char *eol = memchr(at + 1, '\n', (size_t)(end - at - 1));
		size_t len = (size_t)((eol ? eol : end) - at);
		int rc = line_read(at, len - (eol && at[len - 1] == ','), out);

		if (rc == -EBADMSG)
			snprintf(err, err_size, "line %u does not describe a function", n);
		if (rc < 0)
			return rc;
		at += len;
	}
	return 0;
}

int state_decode(const char *text, size_t len, struct state *out, char *err, size_t err_size)
{
	char header[HEADER_SIZE];
	struct state s = {0};
	int rc = header_check(text, len, err, err_size);

	if (rc == 0)
		rc = lines_read(text + header_print(header, 0), text + len - strlen(TAIL), &s, err,
				err_size);
	if (rc < 0) {
		state_done(&s);
		return rc;
	}
	*out = s;
	return 0;
}
