/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whole command lines against a stand-in agent: a thread that answers each
 * connection on a Unix socket with a canned answer, chosen by the request line.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "lib/util.h"

#define FUNCTION_FIELDS                                                                            \
	"\"name\":\"resize-a\",\"policy\":\"hybrid:240\",\"policy_from\":\"config\","              \
	"\"mode\":\"manage\",\"invocations\":812,\"busy_spans\":790,\"inflight\":0,"               \
	"\"cold_starts\":8,\"idle_s\":12.3,\"it_p50_s\":60.0,\"it_p99_s\":300.0,\"it_count\":789," \
	"\"windows\":[[54.0,null]],\"decision_reason\":\"histogram\",\"memory_bytes\":52428800,"   \
	"\"next\":{\"action\":\"thaw\",\"in_s\":41.7,\"reason\":\"its window opens\"},"            \
	"\"why\":\"frozen: outside its windows\",\"instances\":[{\"cgroup\":\"demo/resize-a/0\","  \
	"\"tier\":\"frozen\",\"idle_s\":12.3,\"hold\":\"a shell entered\"}]"

#define SHADOW_ROW(policy, acting, cold)                                                           \
	"{\"policy\":\"" policy "\",\"acting\":" acting ",\"cold_starts\":" cold                   \
	",\"lukewarm_starts\":4,\"warm_starts\":7,\"loads\":0,\"waste_s\":90.0,"                   \
	"\"waste_gb_s\":4.5,\"cost_s\":150.0,\"cost_gb_s\":7.5}"

#define SHADOW_A                                                                                   \
	"{\"function\":\"a\",\"since_at_s\":1769003599.2,\"cold_cost_s\":60.0,\"policies\":"       \
	"[" SHADOW_ROW("fixed:1m", "true", "2") "," SHADOW_ROW("always", "false", "1") "]}"
#define SHADOW_B "{\"function\":\"b\",\"policies\":[" SHADOW_ROW("always", "true", "1") "]}"

static const struct {
	const char *request; /* start of the request */
	const char *status;
	const char *body;
} answers[] = {
    {"GET /v1/functions ", "200 OK",
     "{\"functions\":[{" FUNCTION_FIELDS "},{\"name\":\"auth\",\"inflight\":2,"
     "\"idle_s\":null,\"instances\":[{\"tier\":\"warm\"},{\"tier\":\"running\"}]}]}"},
    {"GET /v1/functions/resize-a ", "200 OK",
     "{" FUNCTION_FIELDS ",\"histogram\":{\"bin_s\":60.0,\"nbins\":240,\"bins\":[0,700,89],"
     "\"s1\":789,\"oob\":0},\"measures\":{"
     "\"reclaimed_bytes\":{\"count\":3,\"p50\":1048576.0,\"p90\":2097152.0},"
     "\"thaw_s\":{\"count\":41,\"p50\":0.00007,\"p90\":0.0002},"
     "\"cold_s\":{\"count\":0,\"p50\":null,\"p90\":null}}}"},
    {"GET /v1/functions/shop%2Fcart ", "200 OK", "{\"name\":\"shop/cart\"}"},
    {"GET /v1/functions/", "404 Not Found",
     "{\"error\":{\"code\":\"no-such-function\",\"message\":\"no function is called 'resize'\","
     "\"hint\":\"did you mean resize-a?\",\"nearest\":[\"resize-a\"]}}"},
    {"GET /v1/events?limit=12&function=resize-a ", "200 OK",
     "{\"seq\":1,\"time_s\":1769003599.2,\"action\":\"freeze\",\"function\":\"resize-a\","
     "\"actor\":\"engine\",\"reason\":\"outside its windows\",\"took_s\":0.00002,\"error\":null}\n"
     "{\"seq\":2,\"time_s\":1769003600.2,\"action\":\"wake\",\"function\":\"resize-a\","
     "\"actor\":\"wake\",\"reason\":\"a request\",\"error\":null}\n"},
    {"GET /v1/status ", "200 OK",
     "{\"version\":\"0.1.0\",\"mode\":\"manage\",\"pid\":812,\"uptime_s\":3600,\"cpu_s\":1.8,"
     "\"totals\":{\"functions\":2,\"instances\":3,\"frozen\":1},"
     "\"memory\":{\"idle_bytes\":104857600.0,\"budget_bytes\":1073741824.0,"
     "\"swapped_bytes\":52428800.0,\"swap_budget_bytes\":2147483648.0,\"returned_bytes\":1048576.0,"
     "\"evictions\":3,\"prewarms_hit\":30,\"prewarms_early\":2,\"prewarms_wasted\":4,"
     "\"pressure_some\":0.125,\"why_no_pressure\":\"pressure = off\"},"
     "\"guard\":{\"alive\":false},\"wake\":{\"fifo\":false,\"why_not_fifo\":\"no CAP_SYS_NICE\"},"
     "\"hooks\":[{\"name\":\"ingress\",\"attached\":true,\"run_count\":10,\"run_time_ns\":2500},"
     "{\"name\":\"sk_data_ready\",\"attached\":false,\"why_not\":\"kernel too old\"}],"
     "\"drops\":[{\"reason\":\"events-ring-full\",\"count\":12}],"
     "\"maps\":[{\"name\":\"cgroups\",\"used\":12,\"max\":8192}],"
     "\"notices\":[{\"name\":\"adoption\",\"reason\":\"no iter/task_file\"}]}"},
    {"GET /v1/spans?since=0&follow=1&function=res%2A ", "200 OK",
     "{\"lost\":4}\n{\"seq\":5,\"function\":\"resize-a\",\"begin_at_s\":1.5,\"end_at_s\":1.75,"
     "\"start\":\"lukewarm\",\"memory_bytes\":52428800.0}\n"
     "{\"seq\":6,\"function\":\"resize-b\",\"lost\":3}\n"
     "{\"seq\":7,\"function\":\"resize-b\",\"begin_at_s\":2.0,\"end_at_s\":2.0,"
     "\"start\":\"warm\",\"memory_bytes\":null}\n"},
    {"GET /v1/shadow ", "200 OK", "{\"functions\":[" SHADOW_A "," SHADOW_B "]}"},
    {"POST /v1/functions/resize-a/freeze ", "409 Conflict",
     "{\"error\":{\"code\":\"not-now\",\"message\":\"2 requests in flight\"}}"},
    {"POST /v1/functions/resize-a/pin ", "200 OK",
     "{\"ok\":true,\"function\":\"resize-a\",\"message\":\"kept warm until unpinned\"}"},
    {"PUT /v1/functions/resize-a/policy ", "200 OK",
     "{\"ok\":true,\"function\":\"resize-a\",\"message\":\"policy is fixed:2s\"}"},
};

struct stand_in {
	char folder[64];
	char path[96];
	int listener;
	pthread_t thread;
	char last[4096]; /* the last request, whole */
};

static void respond(struct stand_in *s, int fd)
{
	char *head_end;
	size_t used = 0, want;
	ssize_t n;

	memset(s->last, 0, sizeof(s->last));
	do {
		n = read(fd, s->last + used, sizeof(s->last) - 1 - used);
		used += n > 0 ? (size_t)n : 0;
		head_end = strstr(s->last, "\r\n\r\n");
		want = strcasestr(s->last, "content-length: ")
			   ? strtoul(strcasestr(s->last, "content-length: ") + 16, NULL, 10)
			   : 0;
	} while (n > 0 && (!head_end || strlen(head_end + 4) < want));
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		if (strncmp(s->last, answers[i].request, strlen(answers[i].request)))
			continue;
		dprintf(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
			answers[i].status, strlen(answers[i].body), answers[i].body);
		return;
	}
	dprintf(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void *serve(void *arg)
{
	struct stand_in *s = arg;
	int fd;

	while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
		respond(s, fd);
		close(fd);
	}
	return NULL;
}

static int start(void **state)
{
	struct stand_in *s = calloc(1, sizeof(*s));
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(s->folder, "/tmp/hearth-cli-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->path, sizeof(s->path), "%s/sock", s->folder);
	strcpy(address.sun_path, s->path);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(s->listener, 16), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	unsetenv("NO_COLOR");
	unsetenv("COLUMNS");
	*state = s;
	return 0;
}

static int stop(void **state)
{
	struct stand_in *s = *state;

	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
	unlink(s->path);
	rmdir(s->folder);
	free(s);
	return 0;
}

/* One command line, words separated by spaces, and what it wrote. */
struct result {
	int status;
	char *out;
	char *err;
};

static struct result hearth(const char *socket, const char *line)
{
	struct result r;
	size_t out_size, err_size;
	FILE *out = open_memstream(&r.out, &out_size), *err = open_memstream(&r.err, &err_size);
	char *words = strdup(line), *argv[16] = {"hearth"};
	int argc = 1;

	setenv("HEARTH_SOCKET", socket, 1);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	r.status = cli_run(argc, argv, out, err);
	fclose(out);
	fclose(err);
	free(words);
	return r;
}

static void done(struct result r)
{
	free(r.out);
	free(r.err);
}

/* Status and a part of what must be on out and err; "" must be empty, NULL is not looked at. */
static void expect(const char *socket, const char *line, int status, const char *out,
		   const char *err)
{
	struct result r = hearth(socket, line);
	bool good = r.status == status && (!out || (*out ? !!strstr(r.out, out) : !*r.out)) &&
		    (!err || (*err ? !!strstr(r.err, err) : !*r.err));

	if (!good)
		fail_msg("hearth %s: status %d\n--- out\n%s--- err\n%s--- wanted %d \"%s\" \"%s\"",
			 line, r.status, r.out, r.err, status, out ? out : "*", err ? err : "*");
	done(r);
}

static const char *socket_of(void **state)
{
	return ((struct stand_in *)*state)->path;
}

static void ls_shows_a_row_per_function(void **state)
{
	const char *s = socket_of(state);

	expect(s, "ls", CLI_OK,
	       "resize-a    1 frozen          12s thaw 41s                1m      5m    812  1.0%  "
	       "50.0M frozen: outside its windows",
	       "");
	expect(s, "ls", CLI_OK, "auth        2 running 1/2  2 busy -", "");
	expect(s, "ls --names --sort name --reverse", CLI_OK, "resize-a\nauth\n", "");
	expect(s, "ls --names --filter FROZ", CLI_OK, "resize-a\n", "");
	expect(s, "ls --filter nothing-has-this", CLI_OK, "no functions", "");
	expect(s, "ls --json", CLI_OK, "\"it_p50_s\": 60.0", "");
}

static void without_a_terminal_the_live_view_is_the_list(void **state)
{
	struct result list = hearth(socket_of(state), "ls");
	struct result none = hearth(socket_of(state), "");

	assert_int_equal(none.status, CLI_OK);
	assert_string_equal(none.out, list.out);
	done(list);
	done(none);
}

static void top_prints_one_frame(void **state)
{
	const char *s = socket_of(state);

	expect(s, "top --once", CLI_OK, "hearthd 0.1.0 manage  up 1h  cpu <.1%", "");
	expect(s, "top --once", CLI_OK, "NO GUARD", "");
	expect(s, "top --once", CLI_OK, "12 kernel records dropped", "");
	expect(s, "top --once --filter auth", CLI_OK, "filter: auth  (1 shown)", "");
	expect(s, "top --delay 1ms", CLI_USAGE, "", "not a delay of 100ms or more");
}

static void show_draws_windows_histogram_and_instances(void **state)
{
	const char *s = socket_of(state);

	expect(s, "show resize-a", CLI_OK, "from 54s on after the last end (histogram)", "");
	expect(s, "show resize-a", CLI_OK, "H head (5%) 1m   M median 2m   T tail (99%) 3m", "");
	expect(s, "show resize-a", CLI_OK, "held: a shell entered", "");
	expect(s, "show resize-a", CLI_OK,
	       "  memory, reclaimed                    1.0M     2.0M       3\n"
	       "  thaw                                 70us    200us      41\n\n",
	       "");
	expect(s, "show shop/cart", CLI_OK, "shop/cart", "");
}

static void explain_tells_why_and_what_next(void **state)
{
	const char *s = socket_of(state);

	expect(s, "explain resize-a", CLI_OK, "frozen: outside its windows", "");
	expect(s, "explain resize-a", CLI_OK, "thaw in 41s: its window opens", "");
	expect(s, "explain resize-a", CLI_OK, "wake         a request (wake)", "");
	expect(s, "explain resize-a --json", CLI_OK, "\"events\": [", "");
}

static void status_tells_what_is_wrong_or_off(void **state)
{
	const char *s = socket_of(state);

	expect(s, "status", CLI_OK, "NOT WATCHING", "");
	expect(s, "status", CLI_OK,
	       "100M kept by idle instances of 1.0G at most, 50.0M in swap of 2.0G at most; "
	       "1.0M returned, 3 killed",
	       "");
	expect(s, "status", CLI_OK, "30 hit, 2 early, 4 wasted", "");
	expect(s, "status", CLI_OK, "12% of the last 10 s; not listened to: pressure = off", "");
	expect(s, "status", CLI_OK, "not SCHED_FIFO (no CAP_SYS_NICE)", "");
	expect(s, "status", CLI_OK, "on   10 runs, 250 ns each", "");
	expect(s, "status", CLI_OK, "off: kernel too old", "");
	expect(s, "status", CLI_OK, "12 of 8192 (0.1%)", "");
	expect(s, "status", CLI_OK, "adoption: no iter/task_file", "");
}

static void shadow_compares_what_acts_with_each_policy(void **state)
{
	const char *s = socket_of(state);

	expect(s, "shadow", CLI_OK,
	       "what acts                            2         3         8        14", "");
	expect(s, "shadow", CLI_OK,
	       "always                               2         2         8        14", "");
	expect(s, "shadow", CLI_OK,
	       "fixed:1m                             1         2         4         7", "");
	expect(s, "shadow", CLI_OK, "a cold start is worth 1m", "");
	expect(s, "shadow", CLI_OK, "* fixed:1m                             2         4         7",
	       "");
	expect(s, "shadow", CLI_OK, "1m30s      4.50     2m30s      7.50", "");
	expect(s, "shadow --json", CLI_OK, "\"cold_cost_s\": 60.0", "");
	expect(s, "shadow resize-a", CLI_OK, "no shadow policies", "");
	expect(s, "shadow resize", CLI_FAILED, "", "did you mean resize-a?");
}

static void changes_report_what_the_agent_says(void **state)
{
	struct stand_in *s = *state;

	expect(s->path, "pin resize-a", CLI_OK, "resize-a: kept warm until unpinned", "");
	expect(s->path, "freeze resize-a", CLI_FAILED, "", "2 requests in flight");
	expect(s->path, "policy resize-a fixed:2s", CLI_OK, "policy is fixed:2s", "");
	assert_non_null(strstr(s->last, "{\"policy\":\"fixed:2s\"}"));
	expect(s->path, "policy resize-a default", CLI_OK, NULL, "");
	assert_non_null(strstr(s->last, "{\"policy\":null}"));
}

static void a_wrong_policy_is_never_sent(void **state)
{
	struct stand_in *s = *state;

	memset(s->last, 0, sizeof(s->last));
	expect(s->path, "policy resize-a fixd:2s", CLI_USAGE, "", "did you mean \"fixed\"?");
	assert_string_equal(s->last, "");
}

static void errors_tell_what_to_do_next(void **state)
{
	const char *s = socket_of(state);

	expect("/nonexistent/sock", "ls", CLI_FAILED, "", "there is no socket /nonexistent/sock");
	expect("/nonexistent/sock", "ls", CLI_FAILED, "", "start it: sudo systemctl start hearthd");
	expect("/nonexistent/sock", "top --once", CLI_FAILED, "", "start it:");
	expect(s, "show resize", CLI_FAILED, "", "did you mean resize-a?");
	expect(s, "config check /nonexistent/file", CLI_FAILED, "", "/nonexistent/file");
}

static void a_socket_without_permission_names_the_way_in(void **state)
{
	struct stand_in *s = *state;

	if (geteuid() != 0) {
		print_message("skipped: needs root to become somebody else\n");
		skip();
	}
	assert_int_equal(chmod(s->folder, 0700), 0);
	assert_int_equal(seteuid(65534), 0);
	expect(s->path, "ls", CLI_FAILED, "", "no permission to use");
	expect(s->path, "ls", CLI_FAILED, "", "run it with sudo, or join the group");
	assert_int_equal(seteuid(0), 0);
}

static void an_agent_that_died_is_told_from_one_never_started(void **state)
{
	struct stand_in *s = *state;
	char path[128];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(path, sizeof(path), "%s/dead", s->folder);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	expect(path, "ls", CLI_FAILED, "", "nobody listens on");
	unlink(path);
}

static void record_writes_spans_and_tells_what_is_missing(void **state)
{
	expect(
	    socket_of(state), "record - --count 2 --function res*", CLI_OK,
	    "function,begin_ms,end_ms,start,mem_mb\n"
	    "resize-a,1500.000,1750.000,lukewarm,50.000\nresize-b,2000.000,2000.000,warm,0.000\n",
	    "2 spans of 2 functions in -\nhearth record: 7 spans are missing");
	expect(socket_of(state), "record - --function none", CLI_FAILED, NULL, "status 404");
}

static void wrong_command_lines_end_with_2_and_where_to_read(void **state)
{
	const char *s = socket_of(state);

	expect(s, "shw resize-a", CLI_USAGE, "", "did you mean `hearth show`?");
	expect(s, "show", CLI_USAGE, "", "too few arguments");
	expect(s, "ls extra", CLI_USAGE, "", "unexpected argument 'extra'");
	expect(s, "ls --unknown", CLI_USAGE, "", "unknown option '--unknown'");
	expect(s, "ls -x", CLI_USAGE, "", "unknown option '-x'");
	expect(s, "ls --sort size", CLI_USAGE, "", "accepted: name, instances");
	expect(s, "events --limit many", CLI_USAGE, "", "not a whole number");
	expect(s, "record", CLI_USAGE, "", "too few arguments");
	expect(s, "record - --for never", CLI_USAGE, "", "accepted: a duration");
	expect(s, "record - --for 0s", CLI_USAGE, "", "accepted: a duration");
	expect(s, "record - --count 0", CLI_USAGE, "", "not a whole number");
	expect(s, "record - --json", CLI_USAGE, "", "would mix");
	expect(s, "--socket", CLI_USAGE, "", "option '--socket' needs a value");
	expect(s, "--completion tcsh", CLI_USAGE, "", "accepted: bash");
}

static void global_options_stand_anywhere(void **state)
{
	const char *s = socket_of(state);

	expect(s, "--json ls", CLI_OK, "{\n", "");
	expect(s, "show resize-a --json", CLI_OK, "{\n", "");
	expect("/nonexistent", "ls --version", CLI_OK, "hearth " HEARTH_VERSION, "");
	expect("/nonexistent", "show --help", CLI_OK, "usage: hearth show NAME", "");
	expect("/nonexistent", "--help", CLI_OK, "explain NAME", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ls_shows_a_row_per_function),
	    cmocka_unit_test(without_a_terminal_the_live_view_is_the_list),
	    cmocka_unit_test(top_prints_one_frame),
	    cmocka_unit_test(show_draws_windows_histogram_and_instances),
	    cmocka_unit_test(explain_tells_why_and_what_next),
	    cmocka_unit_test(status_tells_what_is_wrong_or_off),
	    cmocka_unit_test(shadow_compares_what_acts_with_each_policy),
	    cmocka_unit_test(changes_report_what_the_agent_says),
	    cmocka_unit_test(a_wrong_policy_is_never_sent),
	    cmocka_unit_test(errors_tell_what_to_do_next),
	    cmocka_unit_test(a_socket_without_permission_names_the_way_in),
	    cmocka_unit_test(an_agent_that_died_is_told_from_one_never_started),
	    cmocka_unit_test(record_writes_spans_and_tells_what_is_missing),
	    cmocka_unit_test(wrong_command_lines_end_with_2_and_where_to_read),
	    cmocka_unit_test(global_options_stand_anywhere),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
