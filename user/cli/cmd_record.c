/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth record FILE|-: busy spans as hearthd sees them close, as a trace. It
 * ends by count, time or signal, always with a valid file; a hearthd that goes
 * away is waited for, and what was missed is told.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <uthash.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "lib/clock.h"
#include "lib/duration.h"
#include "lib/util.h"
#include "trace/record.h"

#define TIMEOUT_MS 5000
#define RETRY_NS   (300 * NSEC_PER_MSEC) /* between two looks for a hearthd that went away */
#define FLUSH_NS   NSEC_PER_SEC
#define MB         (1024.0 * 1024.0)

enum { OPT_FORCE = 256 };

const struct cli_option cmd_record_options[] = {
    {'f', "function", "GLOB", "only functions that GLOB names"},
    {'t', "for", "TIME", "end after this time (a bare number is minutes)"},
    {'n', "count", "N", "end after N spans"},
    {OPT_FORCE, "force", NULL, "replace FILE if it is there already"},
    {0},
};

struct seen {
	UT_hash_handle hh;
	char name[];
};

struct recording {
	struct cli *cli;
	struct client *client;
	struct record *file;
	const char *path, *function;
	const char *ended_by; /* NULL: goes on */
	bool force, failed, terminal;
	int count; /* 0: no limit */
	uint64_t for_ns, flushed_ns;
	uint64_t spans, lost;
	unsigned int restarts;
	struct seen *functions; /* uthash */
	int64_t seq;            /* last one told by this run of hearthd */
	double run_s;           /* when that started */
};

static volatile sig_atomic_t caught;

static void on_signal(int signum)
{
	caught = signum;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGALRM};

/* Without SA_RESTART: whatever waits is to look at `caught`. */
static void catch_signals(struct sigaction old[ARRAY_SIZE(signals)])
{
	const struct sigaction action = {.sa_handler = on_signal};

	caught = 0;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, &old[i]);
}

static void release_signals(const struct sigaction old[ARRAY_SIZE(signals)])
{
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &old[i], NULL);
}

static void set_timer(uint64_t ns)
{
	/* Rounded up: a timer of 0 would never fire. */
	uint64_t us = (ns + NSEC_PER_USEC - 1) / NSEC_PER_USEC;
	const struct itimerval timer = {
	    .it_value = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)}};

	if (ns)
		setitimer(ITIMER_REAL, &timer, NULL);
}

/* ---- what comes in */

static bool write_failed(struct recording *r, int rc)
{
	cli_error(r->cli, "%s: %s", r->path, strerror(-rc));
	r->failed = true;
	return false;
}

static void show_progress(const struct recording *r)
{
	if (!r->terminal)
		return;
	fprintf(r->cli->err, "\r\033[K%" PRIu64 " spans of %u functions", r->spans,
		HASH_COUNT(r->functions));
	if (r->lost)
		fprintf(r->cli->err, ", %" PRIu64 " lost", r->lost);
	fflush(r->cli->err);
}

/* Messages come on lines of their own. */
static void clear_progress(const struct recording *r)
{
	if (r->terminal)
		fputs("\r\033[K", r->cli->err);
}

static bool go_on(void *arg)
{
	struct recording *r = arg;
	uint64_t now = now_ns();
	int rc;

	if (caught && !r->ended_by)
		r->ended_by = caught == SIGALRM ? "time" : "signal";
	if (r->ended_by || r->failed)
		return false;
	if (now < r->flushed_ns + FLUSH_NS)
		return true;
	r->flushed_ns = now;
	show_progress(r);
	rc = record_flush(r->file);
	return rc ? write_failed(r, rc) : true;
}

static void remember(struct recording *r, const char *name)
{
	size_t len = strlen(name);
	struct seen *s;

	HASH_FIND(hh, r->functions, name, len, s);
	if (s || !(s = malloc(sizeof(*s) + len + 1)))
		return;
	memcpy(s->name, name, len + 1);
	HASH_ADD_KEYPTR(hh, r->functions, s->name, len, s);
}

static double number(const json_t *line, const char *key)
{
	const json_t *value = json_object_get(line, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool take_line(json_t *line, void *arg)
{
	struct recording *r = arg;
	const json_t *lost = json_object_get(line, "lost"), *seq = json_object_get(line, "seq");
	struct record_row row = {
	    .function = json_string_value(json_object_get(line, "function")),
	    .start = json_string_value(json_object_get(line, "start")),
	    .begin_s = number(line, "begin_at_s"),
	    .end_s = number(line, "end_at_s"),
	    .mem_mb = number(line, "memory_bytes") / MB,
	};
	int rc;

	if (!go_on(r))
		return false;
	if (seq)
		r->seq = json_integer_value(seq);
	if (lost) {
		r->lost += (uint64_t)json_integer_value(lost);
		return true;
	}
	if (!row.function || !row.start || isnan(row.begin_s) || isnan(row.end_s)) {
		r->lost++; /* a newer hearthd, or none: not what the API says */
		return true;
	}
	rc = record_row(r->file, &row);
	if (rc)
		return write_failed(r, rc);
	remember(r, row.function);
	if (++r->spans == (uint64_t)r->count)
		r->ended_by = "count";
	return !r->ended_by;
}

/* ---- connections */

/* Which run of hearthd answers, and how many spans it has told. HTTP status or -errno. */
static int ask_run(struct client *client, double *run_s, int64_t *told, json_t **answer)
{
	int status = client_call(client, "GET", "/v1/status", NULL, answer);

	if (status != 200)
		return status;
	*run_s = number(*answer, "started_at_s");
	*told = json_integer_value(json_object_get(json_object_get(*answer, "spans"), "last_seq"));
	return status;
}

/* Until hearthd answers again; false: the recording has ended meanwhile. */
static bool reconnect(struct recording *r)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	double run_s = r->run_s;
	int64_t told;
	int status = 0;

	clear_progress(r);
	cli_error(r->cli, "the connection to hearthd ended; waiting for it (an interrupt ends the "
			  "recording)");
	while (status != 200) {
		json_t *answer = NULL;

		nanosleep(&pause, NULL);
		if (!go_on(r))
			return false;
		status = ask_run(r->client, &run_s, &told, &answer);
		json_decref(answer);
	}
	if (run_s != r->run_s) {
		r->seq = 0; /* numbers start again: take all that the new one holds */
		r->restarts++;
	}
	r->run_s = run_s;
	clear_progress(r);
	cli_error(r->cli, "connected again%s", r->seq ? "" : ", to a hearthd that was restarted");
	return true;
}

static int follow(struct recording *r)
{
	struct client_query query = {
	    .path = "/v1/spans", .function = r->function, .follow = true, .go_on = go_on};
	json_t *refusal = NULL;
	int status;

	do {
		query.since = r->seq;
		status = client_stream(r->client, &query, take_line, r, &refusal);
		if (r->ended_by || r->failed)
			break;
		if (status > 0 && status != 200) {
			agent_failed(r->cli, status, refusal);
			r->failed = true;
		}
		json_decref(steal_ptr(refusal));
	} while (!r->failed && reconnect(r));
	json_decref(refusal);
	return r->failed ? CLI_FAILED : CLI_OK;
}

/* ---- the whole */

static void report(const struct recording *r)
{
	struct cli *cli = r->cli;
	json_t *all;

	if (cli->json) {
		all = json_pack("{s:s, s:I, s:i, s:I, s:i, s:s}", "file", r->path, "spans",
				(json_int_t)r->spans, "functions", (int)HASH_COUNT(r->functions),
				"lost", (json_int_t)r->lost, "restarts", (int)r->restarts,
				"ended_by", r->ended_by);
		agent_print_json(cli, all);
		json_decref(all);
	} else {
		fprintf(cli->err, "%" PRIu64 " spans of %u functions in %s\n", r->spans,
			HASH_COUNT(r->functions), r->path);
	}
	if (r->lost)
		cli_error(cli, "%" PRIu64 " spans are missing: hearthd could not tell them",
			  r->lost);
}

static int open_file(struct recording *r)
{
	bool standard = !strcmp(r->path, "-");
	int rc;

	rc = standard ? record_open_stream(r->cli->out, &r->file)
		      : record_open(r->path, r->force, &r->file);
	if (!rc)
		return CLI_OK;
	cli_error(r->cli, "%s: %s", r->path, strerror(-rc));
	if (rc == -EEXIST)
		cli_hint(r->cli, "--force replaces it; `hearth sim` reads several files as one "
				 "trace, so that the next part may have a file of its own");
	return CLI_FAILED;
}

static int run(struct recording *r)
{
	struct sigaction old[ARRAY_SIZE(signals)];
	int rc = client_new(r->cli->socket, TIMEOUT_MS, &r->client), status;
	json_t *answer = NULL;

	if (rc)
		return cli_error(r->cli, "%s: %s", r->cli->socket, strerror(-rc));
	/* No file is made, or replaced, for a hearthd that is not there. */
	status = ask_run(r->client, &r->run_s, &r->seq, &answer);
	if (status != 200)
		status = agent_failed(r->cli, status, answer);
	else
		status = open_file(r);
	json_decref(answer);
	if (status)
		return status;
	catch_signals(old);
	set_timer(r->for_ns);
	status = follow(r);
	release_signals(old);
	clear_progress(r);
	rc = record_close(steal_ptr(r->file));
	if (rc && !r->failed) {
		write_failed(r, rc);
		status = CLI_FAILED;
	}
	if (status == CLI_OK)
		report(r);
	return status;
}

static int take_option(struct recording *r, int c)
{
	struct cli *cli = r->cli;

	switch (c) {
	case 'f':
		r->function = cli->arg;
		return CLI_OK;
	case 't':
		if (!duration_parse(cli->arg, &r->for_ns) && r->for_ns)
			return CLI_OK;
		return cli_usage(cli, "--for: '%s'; accepted: %s", cli->arg, DURATION_ACCEPTED);
	case 'n':
		return cli_number(cli, 1, INT_MAX, &r->count);
	default:
		r->force = true;
		return CLI_OK;
	}
}

int cmd_record(struct cli *cli)
{
	struct recording r = {.cli = cli};
	struct seen *s, *tmp;
	int c, status = CLI_OK, fd = fileno(cli->err);

	while (!status && (c = cli_option(cli)) >= 0)
		status = take_option(&r, c);
	if (status || c == CLI_STOP)
		return CLI_USAGE;
	r.path = cli->argv[0];
	if (cli->json && !strcmp(r.path, "-"))
		return cli_usage(cli, "--json would mix with the trace on standard output");
	r.terminal = fd >= 0 && isatty(fd);
	status = run(&r);
	client_free(r.client);
	HASH_ITER (hh, r.functions, s, tmp) {
		HASH_DEL(r.functions, s);
		free(s);
	}
	return status;
}
