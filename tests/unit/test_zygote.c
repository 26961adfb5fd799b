/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The client calls of libhearth-zygote against an image, and a request taken apart, byte by byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "zygote/internal.h"

#define PATIENCE_MS 20000

static char directory[] = "/tmp/hearth-unit-zygote-XXXXXX", path[64], error[HEARTH_ZYGOTE_ERROR];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/s", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void mark(void *arg)
{
	*(int *)arg = 1;
}

/* What instances of the test's image do. */
static int work(struct hearth_zygote_child *child, int hooked)
{
	if (strcmp(child->argv[0], "hooked") == 0) {
		hearth_zygote_started(child, NULL);
		return hooked;
	}
	if (strcmp(child->argv[0], "silent") == 0)
		return 9;
	if (strcmp(child->argv[0], "hang") == 0)
		pause();
	hearth_zygote_started(child, "known: hooked, silent, hang");
	return HEARTH_ZYGOTE_EXIT;
}

static pid_t start_image(void (*load)(void))
{
	int hooked = 0, fd = hearth_zygote_listen(path, error);
	struct hearth_zygote_options options = {
	    .runtime = "test", .owner = (uid_t)-1, .after_fork = mark, .arg = &hooked};
	struct hearth_zygote_child child;
	pid_t pid;

	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0) {
		int low = dup2(fd, 3);

		close_range(4, ~0U, 0);
		if (load)
			load();
		_exit(hearth_zygote_serve(low, &options, &child, error) == 1 ? work(&child, hooked)
									     : 99);
	}
	close(fd);
	return pid;
}

static void end_image(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static struct hearth_zygote_instance ask(const char *word)
{
	struct hearth_zygote_request request = HEARTH_ZYGOTE_NONE;
	struct hearth_zygote_instance instance;
	char *argv[] = {(char *)word, NULL};
	int conn = hearth_zygote_connect(path, error);

	request.argv = argv;
	assert_true(conn >= 0);
	if (hearth_zygote_request(conn, &request, PATIENCE_MS, &instance, error) < 0)
		fail_msg("%s", error);
	return instance;
}

static int reap(struct hearth_zygote_instance *instance)
{
	int status = -1;

	assert_int_equal(waitpid(instance->pid, &status, 0), instance->pid);
	hearth_zygote_release(instance);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void an_instance_is_a_child_here_and_ran_its_hook(void **state)
{
	pid_t image = start_image(NULL);
	struct hearth_zygote_info info;
	struct hearth_zygote_instance instance;

	(void)state;
	assert_int_equal(
	    hearth_zygote_ready(hearth_zygote_connect(path, error), PATIENCE_MS, &info, error), 0);
	assert_int_equal(info.pid, image);
	assert_int_equal(info.threads, 1);
	assert_int_equal(info.fds, 4);
	assert_string_equal(info.runtime, "test");
	instance = ask("hooked");
	assert_int_equal(hearth_zygote_wait_started(&instance, PATIENCE_MS, error), 0);
	assert_int_equal(reap(&instance), 1);
	end_image(image);
}

static void an_instance_that_fails_hangs_or_ends_is_told_apart(void **state)
{
	pid_t image = start_image(NULL);
	struct hearth_zygote_instance instance = ask("unknown");

	(void)state;
	assert_int_equal(hearth_zygote_wait_started(&instance, PATIENCE_MS, error), -ENOEXEC);
	assert_string_equal(error, "known: hooked, silent, hang");
	assert_int_equal(reap(&instance), HEARTH_ZYGOTE_EXIT);
	instance = ask("silent");
	assert_int_equal(hearth_zygote_wait_started(&instance, PATIENCE_MS, error), -ECONNRESET);
	assert_int_equal(reap(&instance), 9);
	instance = ask("hang");
	assert_int_equal(hearth_zygote_wait_started(&instance, 20, error), -ETIMEDOUT);
	assert_int_equal(kill(instance.pid, SIGKILL), 0);
	assert_int_equal(hearth_zygote_wait_started(&instance, PATIENCE_MS, error), -ECONNRESET);
	assert_int_equal(reap(&instance), -SIGKILL);
	end_image(image);
}

static void what_the_client_cannot_send_is_refused_here(void **state)
{
	struct hearth_zygote_request request = HEARTH_ZYGOTE_NONE;
	struct hearth_zygote_instance instance;
	char *argv[] = {NULL, NULL};
	pid_t image = start_image(NULL);

	(void)state;
	argv[0] = malloc(HEARTH_ZYGOTE_MAX_BYTES + 1);
	assert_non_null(argv[0]);
	memset(argv[0], 'x', HEARTH_ZYGOTE_MAX_BYTES);
	argv[0][HEARTH_ZYGOTE_MAX_BYTES] = '\0';
	request.argv = argv;
	assert_int_equal(hearth_zygote_request(hearth_zygote_connect(path, error), &request,
					       PATIENCE_MS, &instance, error),
			 -EMSGSIZE);
	free(argv[0]);
	request.argv = NULL;
	assert_int_equal(hearth_zygote_request(hearth_zygote_connect(path, error), &request,
					       PATIENCE_MS, &instance, error),
			 -EINVAL);
	assert_non_null(strstr(error, "argv has one or more"));
	request.n_extra = HEARTH_ZYGOTE_MAX_EXTRA + 1;
	assert_int_equal(hearth_zygote_request(hearth_zygote_connect(path, error), &request,
					       PATIENCE_MS, &instance, error),
			 -EINVAL);
	end_image(image);
	assert_int_equal(hearth_zygote_connect(path, error), -ECONNREFUSED);
	assert_non_null(strstr(error, "no image listens there"));
}

static pthread_t pool;
static sem_t work_for_pool;

static void *wait_for_work(void *arg)
{
	while (sem_wait(&work_for_pool) < 0)
		;
	return arg;
}

static void stop_pool(void)
{
	sem_post(&work_for_pool);
	pthread_join(pool, NULL);
}

static void load_pool(void)
{
	sem_init(&work_for_pool, 0, 0);
	pthread_create(&pool, NULL, wait_for_work, NULL);
}

/* As OpenBLAS does. */
static void load_pool_that_stops_at_forks(void)
{
	load_pool();
	pthread_atfork(stop_pool, NULL, NULL);
}

static void a_pool_of_threads_stops_or_the_image_does_not_serve(void **state)
{
	struct hearth_zygote_info info;
	pid_t image = start_image(load_pool_that_stops_at_forks);
	int err =
	    hearth_zygote_ready(hearth_zygote_connect(path, error), PATIENCE_MS, &info, error);

	(void)state;
	end_image(image);
	assert_int_equal(err, 0);
	assert_int_equal(info.threads, 1);
	image = start_image(load_pool);
	err = hearth_zygote_ready(hearth_zygote_connect(path, error), PATIENCE_MS, &info, error);
	end_image(image);
	assert_int_equal(err, -EBUSY);
	assert_non_null(strstr(error, "2 threads"));
}

static void two_images_cannot_share_a_path(void **state)
{
	pid_t image = start_image(NULL);

	(void)state;
	assert_int_equal(hearth_zygote_listen(path, error), -EADDRINUSE);
	end_image(image);
	end_image(start_image(NULL));
}

/* Any cut and any changed byte of a good request is parsed or refused, within its bounds. */
static void no_message_is_read_beyond_its_end(void **state)
{
	struct hearth_zygote_wire wire = {.type = HEARTH_ZYGOTE_REQUEST,
					  .protocol = HEARTH_ZYGOTE_PROTOCOL,
					  .flags = HEARTH_ZYGOTE_SET_DIR | HEARTH_ZYGOTE_SET_ENV,
					  .n_filter = 2,
					  .argc = 2,
					  .n_env = 1};
	static const char strings[] = "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1one\0two\0A=1\0/tmp";
	char good[sizeof(wire) + sizeof(strings)];
	unsigned taken = 0;

	(void)state;
	memcpy(good, &wire, sizeof(wire));
	memcpy(good + sizeof(wire), strings, sizeof(strings));
	for (size_t size = 0; size <= sizeof(good); size++) {
		for (size_t change = 0; change < size; change++) {
			struct zygote_job job = {0};
			char *copy = malloc(size);

			assert_non_null(copy);
			memcpy(copy, good, size);
			copy[change] ^= (char)(1 << change % 8);
			taken += zygote_parse(copy, size, &job, error) == 0;
			free(copy);
		}
	}
	assert_true(taken > 0); /* changed letters and ids are no error */
}

static void a_spare_goes_over_into_the_instance_and_ends(void **state)
{
	struct hearth_zygote_request request = HEARTH_ZYGOTE_NONE;
	struct hearth_zygote_instance spare, instance;
	char *argv[] = {"hooked", NULL};
	pid_t image = start_image(NULL);
	int conn = hearth_zygote_connect(path, error);

	(void)state;
	request.argv = argv;
	assert_int_equal(hearth_zygote_spare(conn, -1, PATIENCE_MS, &spare, error), 0);
	assert_int_equal(hearth_zygote_wait_spare(&spare, PATIENCE_MS, error), 0);
	assert_int_equal(hearth_zygote_request(spare.conn, &request, PATIENCE_MS, &instance, error),
			 0);
	spare.conn = -1;
	assert_int_not_equal(instance.pid, spare.pid);
	assert_int_equal(hearth_zygote_wait_started(&instance, PATIENCE_MS, error), 0);
	assert_int_equal(reap(&instance), 1);
	assert_int_equal(reap(&spare), 0);
	assert_int_equal(
	    hearth_zygote_spare(hearth_zygote_connect(path, error), -1, PATIENCE_MS, &spare, error),
	    0);
	assert_int_equal(hearth_zygote_wait_spare(&spare, PATIENCE_MS, error), 0);
	end_image(image);
	close(spare.conn); /* nobody can claim it any more */
	spare.conn = -1;
	assert_int_equal(reap(&spare), 0);
}

/* What a runtime with threads does; its status is argv's first letter. */
static struct hearth_zygote_instance start_threaded(void)
{
	struct hearth_zygote_instance spare = {.pidfd = -1};
	struct hearth_zygote_child child;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	spare.conn = pair[0];
	spare.pid = fork();
	if (spare.pid == 0) {
		close(pair[0]);
		if (hearth_zygote_wait_claim(pair[1], &child, error) != 1)
			_exit(HEARTH_ZYGOTE_EXIT);
		hearth_zygote_started(&child, NULL);
		_exit(getenv("CLAIMED") && access("self/maps", R_OK) == 0 ? child.argv[0][0] : 0);
	}
	close(pair[1]);
	if (hearth_zygote_wait_spare(&spare, PATIENCE_MS, error) < 0)
		fail_msg("%s", error);
	return spare;
}

static void a_process_with_threads_is_a_spare_and_the_instance(void **state)
{
	struct hearth_zygote_instance spare = start_threaded();
	struct hearth_zygote_request request = HEARTH_ZYGOTE_NONE;
	char *argv[] = {"a", NULL}, *env[] = {"CLAIMED=1", NULL};

	(void)state;
	request.argv = argv;
	request.env = env;
	request.directory = "/proc";
	request.no_new_privs = true;
	assert_int_equal(hearth_zygote_claim(&spare, &request, error), -EINVAL);
	assert_non_null(strstr(error, "stdio, argv, env and a directory"));
	request.no_new_privs = false;
	assert_int_equal(hearth_zygote_claim(&spare, &request, error), 0);
	assert_int_equal(hearth_zygote_wait_started(&spare, PATIENCE_MS, error), 0);
	assert_int_equal(reap(&spare), 'a');

	spare = start_threaded();
	request.directory = "/nowhere-at-all";
	assert_int_equal(hearth_zygote_claim(&spare, &request, error), 0);
	assert_int_equal(hearth_zygote_wait_started(&spare, PATIENCE_MS, error), -ENOENT);
	assert_int_equal(reap(&spare), HEARTH_ZYGOTE_EXIT);

	spare = start_threaded();
	kill(spare.pid, SIGKILL);
	waitpid(spare.pid, NULL, 0);
	assert_int_equal(hearth_zygote_claim(&spare, &request, error), -EPIPE);
	hearth_zygote_release(&spare);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_instance_is_a_child_here_and_ran_its_hook),
	    cmocka_unit_test(an_instance_that_fails_hangs_or_ends_is_told_apart),
	    cmocka_unit_test(what_the_client_cannot_send_is_refused_here),
	    cmocka_unit_test(a_pool_of_threads_stops_or_the_image_does_not_serve),
	    cmocka_unit_test(two_images_cannot_share_a_path),
	    cmocka_unit_test(no_message_is_read_beyond_its_end),
	    cmocka_unit_test(a_spare_goes_over_into_the_instance_and_ends),
	    cmocka_unit_test(a_process_with_threads_is_a_spare_and_the_instance),
	};

	return cmocka_run_group_tests_name("zygote", tests, make_directory, remove_directory);
}
