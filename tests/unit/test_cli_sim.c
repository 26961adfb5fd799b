/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hearth sim, fit and gen as command lines: results, formats, refusals. */
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli/cli.h"

#define ARGS_MAX 24

static char dir[] = "/tmp/hearth-cli-sim-XXXXXX";
static char trace[64], *out, *err;

static int make_trace(void **state)
{
	FILE *f;

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(trace, sizeof(trace), "%s/trace.csv", dir);
	f = fopen(trace, "w");
	fprintf(f, "function,start_ms,warm_ms,cold_ms,mem_mb\n");
	for (int i = 0; i < 50; i++)
		fprintf(f, "f,%d,100,900,64\ng,%d,100,900,32\n", i * 240000, i * 240000 + 60000);
	return fclose(f);
}

static int remove_trace(void **state)
{
	char command[96];

	(void)state;
	free(out);
	free(err);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* Run "hearth LINE", T standing for the trace and D for its directory; fills out and err. */
static int hearth(const char *line)
{
	char text[512], *argv[ARGS_MAX] = {"hearth"}, *save;
	char paths[ARGS_MAX][128];
	size_t out_size, err_size;
	int argc = 1, status;
	FILE *o, *e;

	free(out);
	free(err);
	o = open_memstream(&out, &out_size);
	e = open_memstream(&err, &err_size);
	snprintf(text, sizeof(text), "%s", line);
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		argv[argc] = w;
		if (!strcmp(w, "T"))
			argv[argc] = trace;
		if (!strncmp(w, "D/", 2)) {
			snprintf(paths[argc], sizeof(paths[0]), "%s/%s", dir, w + 2);
			argv[argc] = paths[argc];
		}
		argc++;
	}
	status = cli_run(argc, argv, o, e);
	fclose(o);
	fclose(e);
	return status;
}

static json_t *result(const char *line, size_t i)
{
	json_t *all, *r;

	if (hearth(line))
		fail_msg("%s: %s", line, err);
	all = json_loads(out, 0, NULL);
	assert_non_null(all);
	r = json_incref(json_array_get(json_object_get(all, "results"), i));
	assert_non_null(r);
	json_decref(all);
	return r;
}

static double number(const json_t *r, const char *key)
{
	assert_true(json_is_number(json_object_get(r, key)));
	return json_number_value(json_object_get(r, key));
}

static void costs_add_up(void **state)
{
	json_t *r = result("sim T -p fixed:2 -p fixed:10 -c 5,20 --json", 1);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(r, "policy")), "fixed:2");
	assert_true(number(r, "cold_cost_min") == 20);
	assert_true(number(r, "cold_starts") == 100);
	assert_true(number(r, "cost_s") == number(r, "waste_s") + 1200 * 100);
	assert_true(json_is_null(json_object_get(r, "ranker")));
	json_decref(r);
	r = result("sim T -p fixed:2 -p fixed:10 -c 5,20 --json", 2);
	assert_true(number(r, "cold_starts") == 2 && number(r, "warm_starts") == 98);
	assert_true(number(r, "cold_p75_pct") == 2 && number(r, "avg_cold_per_app") == 1);
	assert_true(number(r, "waste_mb_s") == 64 * (49 * 240 + 60) + 32 * 49 * 240.0);
	json_decref(r);
}

/* What scripts rely on; more fields may come, none may go. */
static void json_has_the_documented_fields(void **state)
{
	static const char *const of_trace[] = {"apps", "functions", "invocations", "horizon_s"};
	static const char *const of_result[] = {
	    "cold_cost_min", "cold_starts",      "warm_starts", "dropped",    "evictions",
	    "cold_p75_pct",  "avg_cold_per_app", "waste_s",     "waste_mb_s", "cost_s",
	    "loads",
	};
	json_t *all, *r = result("sim T -p fixed:2 --json", 0);

	(void)state;
	for (size_t i = 0; i < sizeof(of_result) / sizeof(of_result[0]); i++)
		number(r, of_result[i]);
	assert_true(json_is_null(json_object_get(r, "ranker")));
	assert_true(json_is_null(json_object_get(r, "memory_mb")));
	json_decref(r);
	r = result("sim T -m 64 --json", 0);
	assert_true(json_is_string(json_object_get(r, "ranker")));
	assert_true(number(r, "memory_mb") == 64);
	json_decref(r);
	assert_int_equal(hearth("sim T -p none --json"), CLI_OK);
	all = json_loads(out, 0, NULL);
	for (size_t i = 0; i < sizeof(of_trace) / sizeof(of_trace[0]); i++)
		number(json_object_get(all, "trace"), of_trace[i]);
	json_decref(all);
}

static void the_load_cost_is_charged_for_loads_ahead_alone(void **state)
{
	json_t *r = result("sim T -p hybrid:240,arima=off -L 7 -c 10 --json", 0);

	(void)state;
	assert_true(number(r, "loads") > 10);
	assert_true(number(r, "cost_s") ==
		    number(r, "waste_s") + 600 * number(r, "cold_starts") + 7 * number(r, "loads"));
	json_decref(r);
}

static void memory_sizes_and_rankers_are_combined(void **state)
{
	json_t *r = result("sim T -m 64,100 -r lru -r lfu --json", 3);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(r, "ranker")), "lfu");
	assert_true(number(r, "memory_mb") == 100 && number(r, "evictions") == 0);
	json_decref(r);
	r = result("sim T -m 64 -r lru,min-residency=9,gdsf,cold-cost,asc --json", 0);
	assert_string_equal(json_string_value(json_object_get(r, "ranker")), "lru,min-residency=9");
	json_decref(r);
	r = result("sim T -m 64 -r lru,min-residency=9,gdsf,cold-cost,asc --json", 1);
	assert_string_equal(json_string_value(json_object_get(r, "ranker")), "gdsf");
	json_decref(r);
	r = result("sim T -m 64 -r lru,min-residency=9,gdsf,cold-cost,asc --json", 2);
	assert_string_equal(json_string_value(json_object_get(r, "ranker")), "cold-cost,asc");
	json_decref(r);
	r = result("sim T -m 64 -M faascache --json", 0);
	assert_true(number(r, "evictions") == 99 && number(r, "cold_pct") == 100);
	assert_true(number(r, "warm_pct") == 0 && number(r, "dropped_pct") == 0);
	json_decref(r);
}

static void a_file_per_app_lists_every_setting(void **state)
{
	char path[96], line[256];
	int lines = 0;
	FILE *f;

	(void)state;
	assert_int_equal(hearth("sim T -p fixed:2 -p none -a D/apps.csv"), CLI_OK);
	snprintf(path, sizeof(path), "%s/apps.csv", dir);
	f = fopen(path, "r");
	while (fgets(line, sizeof(line), f))
		lines++;
	fclose(f);
	unlink(path);
	assert_int_equal(lines, 1 + 2 * 2);
}

static void a_plot_without_gnuplot_says_what_to_install(void **state)
{
	char *path = strdup(getenv("PATH"));

	(void)state;
	setenv("PATH", dir, 1);
	assert_int_equal(hearth("sim T -p none -P D/x.svg"), CLI_FAILED);
	setenv("PATH", path, 1);
	free(path);
	assert_non_null(strstr(err, "gnuplot is not installed"));
}

static char *content(const char *name, size_t *n)
{
	char path[128], *text = calloc(1, 1 << 20);
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	assert_non_null(f);
	*n = fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	unlink(path);
	return text;
}

static void a_plot_has_the_panels_that_the_results_can_fill(void **state)
{
	static const struct {
		const char *line, *has[3], *lacks;
	} table[] = {
	    {"sim T -p fixed:2 -p fixed:10 -P D/x.svg",
	     {"Memory against cold starts", "Cold starts over all apps", ">fixed<"},
	     "Cost against"},
	    {"sim T -p fixed:2 -c 5,10 -u function -P D/x.svg",
	     {"Cost against the worth of a cold start", "Cold starts over all functions",
	      ">fixed:2<"},
	     "Who is served"},
	    {"sim T -m 64,100 -r lru -r gdsf -P D/x.svg",
	     {"Who is served warm in so much memory", "cold starts and drops per app", ">gdsf<"},
	     "Cost against"},
	};
	size_t n;
	char *text;

	(void)state;
	if (system("gnuplot --version >/dev/null 2>&1")) {
		print_message("skipped: no gnuplot\n");
		skip();
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(hearth(table[i].line), CLI_OK);
		text = content("x.svg", &n);
		for (int k = 0; k < 3; k++)
			if (!strstr(text, table[i].has[k]))
				fail_msg("%s: no \"%s\"", table[i].line, table[i].has[k]);
		assert_null(strstr(text, table[i].lacks));
		free(text);
	}
	assert_int_equal(hearth("sim T -p none -P D/x.png"), CLI_OK);
	text = content("x.png", &n);
	assert_memory_equal(text, "\x89PNG", 4);
	free(text);
}

/* A terminal hands on what was written piece by piece. */
static size_t read_until(int fd, const char *end, char *text, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0, tail = strlen(end);
	ssize_t got;

	while (n < tail || memcmp(text + n - tail, end, tail) != 0) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		got = read(fd, text + n, size - 1 - n);
		assert_true(got > 0);
		n += (size_t)got;
		text[n] = '\0';
	}
	return n;
}

static void a_bar_is_drawn_on_a_terminal_alone_and_taken_away(void **state)
{
	static const char gone[] = "\r\x1b[K";
	char shown[4096], *argv[] = {"hearth", "sim", trace, "-N", "1000", NULL};
	int master, slave;
	FILE *o = fopen("/dev/null", "w"), *f;
	size_t n;

	(void)state;
	assert_int_equal(hearth("sim T -N 1000"), CLI_OK);
	assert_string_equal(err, "");
	setenv("TERM", "vt100", 1);
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	f = fdopen(slave, "w");
	assert_int_equal(cli_run(5, argv, o, f), CLI_OK);
	fclose(o);
	n = read_until(master, gone, shown, sizeof(shown));
	assert_non_null(strstr(shown, "%"));
	assert_string_equal(shown + n - strlen(gone), gone);
	fclose(f);
	close(master);
}

static void fits_are_described(void **state)
{
	json_t *all, *u;

	(void)state;
	assert_int_equal(hearth("fit T --json"), CLI_OK);
	all = json_loads(out, 0, NULL);
	u = json_array_get(json_object_get(all, "units"), 1);
	assert_string_equal(json_string_value(json_object_get(u, "class")), "timer");
	assert_true(number(u, "invocations") == 50 && number(u, "cv") == 0);
	json_decref(all);
	assert_int_equal(hearth("fit T"), CLI_OK);
	assert_non_null(strstr(out, "timer"));
}

static void a_fitted_prior_is_what_predictive_starts_from(void **state)
{
	json_t *r;
	double before;

	(void)state;
	assert_int_equal(hearth("fit --prior T"), CLI_OK);
	assert_non_null(strstr(out, "Apps: 2.\nminute,probability\n0,0.00e+00\n"));
	assert_non_null(strstr(out, "\n4,1.00e+00\n5,0.00e+00\n"));
	r = result("sim T -p predictive --json", 0);
	before = number(r, "waste_s");
	json_decref(r);
	assert_int_equal(hearth("fit --prior T -o D/prior.csv"), CLI_OK);
	r = result("sim T -p predictive -R D/prior.csv --json", 0);
	/* Sure of the four minutes before it has seen any: in ahead of every call but the first. */
	assert_true(number(r, "cold_starts") == 2);
	assert_true(number(r, "waste_s") < before);
	assert_true(number(r, "loads") == 98);
	json_decref(r);
}

/* 60 timers of 25 minutes for two days, then 60 like them that are new. */
static void a_prior_is_learned_on_from_the_apps_of_the_trace(void **state)
{
	json_t *as_it_is, *learned;
	char path[128];
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/late.csv", dir);
	f = fopen(path, "w");
	fprintf(f, "function,start_ms,mem_mb\n");
	for (int i = 0; i < 120; i++)
		for (int app = 0; app < 60; app++)
			fprintf(f, "%s%d,%d,64\n", i < 116 ? "old" : "new", app,
				i * 25 * 60000 + app * 1000);
	fclose(f);
	as_it_is = result("sim D/late.csv -p predictive --json", 0);
	learned = result("sim D/late.csv -p predictive --learn-prior --json", 0);
	assert_true(number(learned, "cold_starts") <= number(as_it_is, "cold_starts") - 50);
	assert_true(number(learned, "cost_s") < number(as_it_is, "cost_s"));
	json_decref(as_it_is);
	json_decref(learned);
	/* The trace in hours is the trace. */
	as_it_is = result("sim D/late.csv -p hybrid:240 --json", 0);
	learned = result("sim D/late.csv -p hybrid:240 --learn-prior --json", 0);
	assert_true(json_equal(as_it_is, learned));
	json_decref(as_it_is);
	json_decref(learned);
	unlink(path);
}

static void refuse(const char *line, int status, const char *what)
{
	assert_int_equal(hearth(line), status);
	if (!strstr(err, what))
		fail_msg("%s: \"%s\" lacks \"%s\"", line, err, what);
}

static void a_prior_that_is_not_one_is_refused_by_line(void **state)
{
	static const struct {
		const char *text, *what;
	} table[] = {
	    {"", ":0: no rows; accepted: minute,probability"},
	    {"minute,probability\n", ":1: no rows"},
	    {"minute,p\n0,1\n", ":1: not a table of \"hearth fit --prior\""},
	    {"minute,probability\n1,0.5\n", ":2: minute 1 is out of order"},
	    {"# c\nminute,probability\n0,0.5\n0,0.1\n", ":4: minute 0 is out of order"},
	    {"minute,probability\n0,0.5\n1440,0.1\n", ":3: minute 1440 is out of order"},
	    {"minute,probability\n0,0.5\n1.5,0.1\n", ":3: minute 1.5 is out of order"},
	    {"minute,probability\n0,nan\n", ":2: \"0,nan\" has no probability"},
	    {"minute,probability\n0,1.5\n", ":2: \"0,1.5\" has no probability"},
	    {"minute,probability\n0,0.7\n1,0.7\n", ":3: probabilities sum to more than 1"},
	    {"minute,probability\nzero\n", ":2: \"zero\" is not accepted"},
	};
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/bad.csv", dir);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		FILE *f = fopen(path, "w");

		fputs(table[i].text, f);
		fclose(f);
		refuse("sim T -R D/bad.csv", CLI_FAILED, table[i].what);
	}
	refuse("sim T -R D/none.csv", CLI_FAILED, "none.csv: No such file");
	refuse("fit T -o D/x", CLI_USAGE, "--output needs --prior");
	refuse("fit T --prior --json", CLI_USAGE, "no --json");
	refuse("fit T --prior -o /nonexistent/x", CLI_FAILED, "/nonexistent/x: No such file");
}

static void generated_traces_can_be_replayed(void **state)
{
	(void)state;
	assert_int_equal(hearth("gen D/made -n 20 -x 2000 --json"), CLI_OK);
	assert_non_null(strstr(out, "\"checks\""));
	assert_int_equal(hearth("gen D/made"), CLI_FAILED);
	assert_non_null(strstr(err, "File exists"));
	assert_int_equal(hearth("sim D/made"), CLI_OK);
	assert_non_null(strstr(out, "predictive"));
}

static void images_are_compared_with_keep_alive_under_one_budget(void **state)
{
	static const char *const modes[] = {"keep-alive", "images", "both"};
	static const char *const numbers[] = {
	    "memory_mb", "cold_starts",   "image_starts", "warm_starts",
	    "dropped",   "evictions",     "loads",        "image_loads",
	    "cold_pct",  "start_mean_ms", "start_p99_ms", "memory_mb_s",
	};
	const char *line = "sim T -m 500 -p fixed:2 -i 1 -I alone=100,cold=800 --json";
	json_t *r;

	(void)state;
	for (size_t m = 0; m < 3; m++) {
		r = result(line, m);
		assert_string_equal(json_string_value(json_object_get(r, "mode")), modes[m]);
		for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
			number(r, numbers[i]);
		/* The two come a minute apart every four, so that neither stays, nor the image. */
		assert_true(number(r, "warm_starts") == 0);
		assert_true(number(r, "image_starts") == (m ? 49 : 0));
		assert_true(number(r, "cold_starts") == (m ? 51 : 100));
		json_decref(r);
	}
	assert_int_equal(hearth("sim T -m 500 -p fixed:2 -i 1"), CLI_OK);
	assert_non_null(strstr(out, "an instance takes 90 MB alone"));
	assert_non_null(strstr(out, "keep-alive fixed:2"));
}

static void wrong_command_lines_are_refused_with_what_is_accepted(void **state)
{
	(void)state;
	refuse("sim", CLI_USAGE, "TRACE");
	refuse("sim T -P x.pdf", CLI_USAGE, "accepted: FILE.svg, FILE.png");
	refuse("sim T -p fixd:10", CLI_USAGE, "did you mean \"fixed\"");
	refuse("sim T -u host", CLI_USAGE, "accepted: app, function");
	refuse("sim T -c ten", CLI_USAGE, "accepted: a number");
	refuse("sim T -c 1,,2", CLI_USAGE, "accepted: a number");
	refuse("sim T -r lru", CLI_USAGE, "--ranker needs --memory");
	refuse("sim T -A -m 100", CLI_USAGE, "--learn-prior does not go with --memory");
	refuse("sim T -m 100 -r lruu", CLI_USAGE, "lru");
	refuse("sim T -M faascache", CLI_USAGE, "needs --memory");
	refuse("sim T -M vhive", CLI_USAGE, "accepted: default, faascache");
	refuse("sim T -M faascache -m 1 -p none", CLI_USAGE, "takes no --policy");
	refuse("sim T -m 100 -p offline", CLI_USAGE, "knows the future");
	refuse("sim T -i 3", CLI_USAGE, "--images needs --memory");
	refuse("sim T -m 100 -I cold=1", CLI_USAGE, "--image-costs needs --images");
	refuse("sim T -m 100 -i 0", CLI_USAGE, "accepted: 1 to 10000 sets");
	refuse("sim T -m 100 -i 20000", CLI_USAGE, "a number from 0 to 10000");
	refuse("sim T -m 100 -i 3 -I colt=1", CLI_USAGE, "accepted: alone, private");
	refuse("sim T -m 100 -i 3 -Q 1", CLI_USAGE, "does not go with");
	refuse("sim T -m 100 -i /nonexistent", CLI_FAILED, "/nonexistent: No such file");
	refuse("fit T -S 0", CLI_USAGE, "nothing to fit");
	refuse("sim /nonexistent", CLI_FAILED, "/nonexistent: No such file");
	refuse("sim T -p none -a /nonexistent/x", CLI_FAILED, "/nonexistent/x: No such file");
	refuse("gen /nonexistent/x", CLI_FAILED, "No such file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(costs_add_up),
	    cmocka_unit_test(json_has_the_documented_fields),
	    cmocka_unit_test(the_load_cost_is_charged_for_loads_ahead_alone),
	    cmocka_unit_test(memory_sizes_and_rankers_are_combined),
	    cmocka_unit_test(a_file_per_app_lists_every_setting),
	    cmocka_unit_test(a_plot_without_gnuplot_says_what_to_install),
	    cmocka_unit_test(a_plot_has_the_panels_that_the_results_can_fill),
	    cmocka_unit_test(a_bar_is_drawn_on_a_terminal_alone_and_taken_away),
	    cmocka_unit_test(fits_are_described),
	    cmocka_unit_test(a_fitted_prior_is_what_predictive_starts_from),
	    cmocka_unit_test(a_prior_is_learned_on_from_the_apps_of_the_trace),
	    cmocka_unit_test(a_prior_that_is_not_one_is_refused_by_line),
	    cmocka_unit_test(generated_traces_can_be_replayed),
	    cmocka_unit_test(images_are_compared_with_keep_alive_under_one_budget),
	    cmocka_unit_test(wrong_command_lines_are_refused_with_what_is_accepted),
	};

	return cmocka_run_group_tests(tests, make_trace, remove_trace);
}
