/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Commands of functions, with real scripts: what they get, how they end, that a
 * cancel or a timeout kills all of them, and that no more run than may.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "agent/hooks.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/util.h"

#define DEADLINE_MS 20000
#define RESULTS_MAX 16
#define LONG_NS     (60 * NSEC_PER_SEC)

static char dir[] = "/tmp/hearth-test-hooks-XXXXXX";

struct fixture {
	uv_loop_t loop;
	uv_timer_t deadline, poll;
	struct hooks *hooks;
	struct hook_result results[RESULTS_MAX];
	unsigned int n;
};

static int make_dir(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	setenv("HEARTH_TEST_SECRET", "x", 1);
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* A script that begins in the folder of the test; "NAME" of it is the command. */
static void script(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	fprintf(f, "#!/bin/sh\ncd %s\n%s\n", dir, text);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path_of(name), 0755), 0);
}

static void on_result(const struct hook_result *r, void *arg)
{
	struct fixture *f = arg;

	assert_true(f->n < RESULTS_MAX);
	f->results[f->n++] = *r;
}

static void on_deadline(uv_timer_t *t)
{
	(void)t;
	fail_msg("nothing happened in time");
}

static void on_poll(uv_timer_t *t)
{
	(void)t; /* turns the loop, so that conditions outside of it are looked at */
}

static void begin(struct fixture *f, unsigned int max_running)
{
	struct hooks_options o = {&f->loop, max_running, on_result, f};

	memset(f, 0, sizeof(*f));
	assert_int_equal(uv_loop_init(&f->loop), 0);
	uv_timer_init(&f->loop, &f->deadline);
	uv_timer_start(&f->deadline, on_deadline, DEADLINE_MS, 0);
	uv_timer_init(&f->loop, &f->poll);
	uv_timer_start(&f->poll, on_poll, 10, 10);
	assert_int_equal(hooks_new(&o, &f->hooks), 0);
}

static void finish(struct fixture *f)
{
	hooks_free(f->hooks);
	uv_close((uv_handle_t *)&f->deadline, NULL);
	uv_close((uv_handle_t *)&f->poll, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

#define UNTIL(f, condition)                                                                        \
	while (!(condition))                                                                       \
	uv_run(&(f)->loop, UV_RUN_ONCE)

static int run(struct fixture *f, uint64_t id, const char *name, const char *arguments,
	       uint64_t timeout_ns)
{
	char command[256];
	struct hook_job job = {
	    .kind = HOOK_PRE_FREEZE,
	    .id = id,
	    .tag = id + 100,
	    .command = command,
	    .timeout_ns = timeout_ns,
	    .function = "shop/cart",
	    .instance = "cart-1",
	    .cgroup = "/sys/fs/cgroup/cart 1",
	    .cgroup_id = 4711,
	};

	snprintf(command, sizeof(command), "%s %s", path_of(name), arguments);
	return hooks_run(f->hooks, &job);
}

static bool there(const char *name)
{
	return access(path_of(name), F_OK) == 0;
}

static void content(const char *name, char *buf, size_t size)
{
	assert_true(read_file_at(AT_FDCWD, path_of(name), buf, size) >= 0);
}

/* The process whose id a script wrote is gone, or dead and not waited for. */
static bool dead(const char *name)
{
	char pid[32], path[64], stat[512];

	content(name, pid, sizeof(pid));
	snprintf(path, sizeof(path), "/proc/%d/stat", atoi(pid));
	return read_file_at(AT_FDCWD, path, stat, sizeof(stat)) < 0 || strstr(stat, ") Z");
}

static void a_command_gets_its_words_and_an_environment_of_its_own(void **state)
{
	struct fixture f;
	char text[1024];

	(void)state;
	begin(&f, 4);
	script("env", "env | grep -v '^PWD=\\|^_=\\|^SHLVL=\\|^OLDPWD=' | sort > env.out\n"
		      "echo \"$#:$1:$2\" >> env.out");
	assert_int_equal(run(&f, 1, "env", "'a b' $HOME", LONG_NS), 0);
	assert_int_equal(f.n, 0); /* never from within the call */
	UNTIL(&f, f.n);
	assert_int_equal(f.results[0].end, HOOK_OK);
	assert_int_equal(f.results[0].id, 1);
	assert_int_equal(f.results[0].tag, 101);
	assert_true(f.results[0].took_ns > 0);
	assert_non_null(strstr(f.results[0].text, "pre_freeze: ok after "));
	content("env.out", text, sizeof(text));
	assert_string_equal(
	    text,
	    "HEARTH_CGROUP=/sys/fs/cgroup/cart 1\nHEARTH_CGROUP_ID=4711\n"
	    "HEARTH_FUNCTION=shop/cart\nHEARTH_HOOK=pre_freeze\nHEARTH_INSTANCE=cart-1\n"
	    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n2:a b:$HOME\n");
	finish(&f);
}

static void how_it_ended_is_told_with_its_last_words(void **state)
{
	static const struct {
		const char *script;
		enum hook_end end;
		int status;
		const char *says[2];
	} cases[] = {
	    {"echo one; echo 'pool is\tbusy' >&2; exit 3",
	     HOOK_FAILED,
	     3,
	     {"pre_freeze: exit status 3 after ", ": pool is busy"}},
	    {"printf unended; exit 1", HOOK_FAILED, 1, {"exit status 1", ": unended"}},
	    {"kill -SEGV $$", HOOK_SIGNALLED, SIGSEGV, {"ended by SIGSEGV"}},
	    {"head -c 300000 /dev/zero | tr '\\0' x; exit 2", HOOK_FAILED, 2, {": xxxxxxxx"}},
	    {"yes | head -n 20000; exit 2", HOOK_FAILED, 2, {": y"}},
	};
	struct fixture f;

	(void)state;
	begin(&f, 4);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		script("end", cases[i].script);
		assert_int_equal(run(&f, 1, "end", "", LONG_NS), 0);
		UNTIL(&f, f.n > i);
		assert_int_equal(f.results[i].end, cases[i].end);
		assert_int_equal(f.results[i].status, cases[i].status);
		for (int j = 0; j < 2 && cases[i].says[j]; j++)
			if (!strstr(f.results[i].text, cases[i].says[j]))
				fail_msg("\"%s\" without \"%s\"", f.results[i].text,
					 cases[i].says[j]);
	}
	finish(&f);
}

static void what_cannot_be_run_is_told(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_int_equal(run(&f, 1, "nothing-here", "", LONG_NS), 0);
	UNTIL(&f, f.n == 1);
	assert_int_equal(f.results[0].end, HOOK_NOT_RUN);
	assert_int_equal(f.results[0].status, -ENOENT);
	assert_string_equal(f.results[0].text,
			    "pre_freeze: cannot be run: No such file or directory");
	script("fine", "exit 0"); /* and its place is free again */
	assert_int_equal(run(&f, 1, "fine", "", LONG_NS), 0);
	UNTIL(&f, f.n == 2);
	assert_int_equal(f.results[1].end, HOOK_OK);
	assert_int_equal(run(&f, 1, "fine", "'", LONG_NS), -EINVAL);
	finish(&f);
}

static void a_timeout_kills_the_whole_group(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 4);
	script("hang", "sleep 1000 & echo $! > hang.pid.tmp; mv hang.pid.tmp hang.pid; wait");
	assert_int_equal(run(&f, 1, "hang", "", 300 * NSEC_PER_MSEC), 0);
	UNTIL(&f, f.n);
	assert_int_equal(f.results[0].end, HOOK_TIMEOUT);
	assert_non_null(strstr(f.results[0].text, "killed, not done after "));
	UNTIL(&f, !there("hang.pid") || dead("hang.pid"));
	finish(&f);
}

static void a_cancel_is_told_at_once_and_the_next_waits_for_the_death(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 4);
	script("slow", "echo $$ > slow.pid.tmp; mv slow.pid.tmp slow.pid; exec sleep 1000");
	script("after", "kill -0 $(cat slow.pid) 2> /dev/null && exit 9; exit 0");
	assert_int_equal(run(&f, 7, "slow", "", LONG_NS), 0);
	UNTIL(&f, there("slow.pid"));
	assert_true(hooks_busy(f.hooks, 7));
	assert_false(hooks_busy(f.hooks, 8));
	assert_int_equal(run(&f, 7, "after", "", LONG_NS), -EBUSY);
	hooks_cancel(f.hooks, 7);
	assert_false(hooks_busy(f.hooks, 7));
	assert_int_equal(run(&f, 7, "after", "", LONG_NS), 0);
	assert_int_equal(f.n, 0);
	UNTIL(&f, f.n == 2);
	assert_int_equal(f.results[0].end, HOOK_CANCELLED);
	assert_non_null(strstr(f.results[0].text, "pre_freeze: cancelled after "));
	assert_int_equal(f.results[1].end, HOOK_OK);
	finish(&f);
}

static void one_that_waits_in_line_can_be_cancelled(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	script("hold", "until test -e go1; do sleep 0.02; done");
	script("never", "touch ran");
	assert_int_equal(run(&f, 1, "hold", "", LONG_NS), 0);
	assert_int_equal(run(&f, 2, "never", "", LONG_NS), 0);
	hooks_cancel(f.hooks, 2);
	UNTIL(&f, f.n == 1);
	assert_int_equal(f.results[0].id, 2);
	assert_int_equal(f.results[0].end, HOOK_CANCELLED);
	assert_int_equal(f.results[0].took_ns, 0);
	assert_string_equal(f.results[0].text, "pre_freeze: cancelled");
	close(creat(path_of("go1"), 0600));
	UNTIL(&f, f.n == 2);
	assert_int_equal(f.results[1].end, HOOK_OK);
	assert_false(there("ran"));
	hooks_cancel(f.hooks, 2); /* none there: nothing happens */
	finish(&f);
}

static void no_more_run_than_may(void **state)
{
	struct fixture f;
	char text[256];

	(void)state;
	begin(&f, 2);
	script("count", "mkdir run.$1; ls -d run.* | wc -l >> counts\n"
			"until test -e go2; do sleep 0.02; done; rmdir run.$1");
	for (uint64_t id = 1; id <= 5; id++) {
		char word[8];

		snprintf(word, sizeof(word), "%d", (int)id);
		assert_int_equal(run(&f, id, "count", word, LONG_NS), 0);
	}
	UNTIL(&f, there("run.1") && there("run.2"));
	assert_true(hooks_busy(f.hooks, 5));
	close(creat(path_of("go2"), 0600));
	UNTIL(&f, f.n == 5);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(f.results[i].end, HOOK_OK);
	content("counts", text, sizeof(text));
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_in_range(atoi(line), 1, 2);
	finish(&f);
}

static void a_child_left_behind_is_not_waited_for(void **state)
{
	struct fixture f;
	char pid[32];

	(void)state;
	begin(&f, 1);
	script("leave", "sleep 1000 & echo $! > left.pid; echo left; exit 4");
	assert_int_equal(run(&f, 1, "leave", "", LONG_NS), 0);
	UNTIL(&f, f.n);
	assert_int_equal(f.results[0].status, 4);
	assert_non_null(strstr(f.results[0].text, ": left"));
	content("left.pid", pid, sizeof(pid));
	assert_int_equal(kill(atoi(pid), SIGKILL), 0);
	finish(&f);
}

static void the_end_kills_what_runs_and_tells_nothing(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	script("last", "sleep 1000 & echo $! > last.pid.tmp; mv last.pid.tmp last.pid; wait");
	assert_int_equal(run(&f, 1, "last", "", LONG_NS), 0);
	assert_int_equal(run(&f, 2, "last", "", LONG_NS), 0);
	UNTIL(&f, there("last.pid"));
	finish(&f);
	assert_int_equal(f.n, 0);
	for (uint64_t until = now_ns() + DEADLINE_MS * NSEC_PER_MSEC; !dead("last.pid");)
		assert_true(now_ns() < until);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_command_gets_its_words_and_an_environment_of_its_own),
	    cmocka_unit_test(how_it_ended_is_told_with_its_last_words),
	    cmocka_unit_test(what_cannot_be_run_is_told),
	    cmocka_unit_test(a_timeout_kills_the_whole_group),
	    cmocka_unit_test(a_cancel_is_told_at_once_and_the_next_waits_for_the_death),
	    cmocka_unit_test(one_that_waits_in_line_can_be_cancelled),
	    cmocka_unit_test(no_more_run_than_may),
	    cmocka_unit_test(a_child_left_behind_is_not_waited_for),
	    cmocka_unit_test(the_end_kills_what_runs_and_tells_nothing),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
