/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whether this process may be an image. A fork has one thread and shares open
 * files: other threads would be missing in the instance while what they hold
 * (locks, pools, event loops) stays, so that it hangs later, somewhere else.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "zygote/internal.h"

#define NAMED         4   /* things an error names; more are counted */
#define DYING_WAIT_MS 200 /* a thread that was joined may still be listed */

/* "a, b and 3 more" */
struct list {
	char text[HEARTH_ZYGOTE_ERROR / 2];
	unsigned count;
};

static void list_add(struct list *list, const char *what)
{
	size_t used = strlen(list->text);

	if (list->count++ < NAMED)
		snprintf(list->text + used, sizeof(list->text) - used, "%s%.32s", used ? ", " : "",
			 what);
}

static void list_end(struct list *list)
{
	size_t used = strlen(list->text);

	if (list->count > NAMED)
		snprintf(list->text + used, sizeof(list->text) - used, " and %u more",
			 list->count - NAMED);
}

/* Runs the prepare handlers of pthread_atfork(): pools of threads stop in them. */
static void stop_pools(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int list_threads(struct list *threads)
{
	char path[64], name[32];
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/task");

	*threads = (struct list){0};
	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", entry->d_name);
		file = fopen(path, "re");
		if (!file || !fgets(name, sizeof(name), file))
			strcpy(name, "?");
		if (file)
			fclose(file);
		name[strcspn(name, "\n")] = '\0';
		list_add(threads, name);
	}
	closedir(dir);
	list_end(threads);
	return 0;
}

static int check_threads(char *error)
{
	struct list threads;

	for (int ms = 0;; ms++) {
		int err = list_threads(&threads);

		if (err)
			return zygote_fail(error, -err, "/proc/self/task: %s", strerror(-err));
		if (threads.count == 1)
			return 0;
		if (ms == DYING_WAIT_MS)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return zygote_fail(error, EBUSY,
			   "%u threads (%s): an image has one; stop the others, or load nothing "
			   "that starts them",
			   threads.count, threads.text);
}

static bool is_kept(int fd, const struct hearth_zygote_options *options)
{
	struct stat st;

	for (size_t i = 0; i < options->n_keep_fds; i++)
		if (options->keep_fds[i] == fd)
			return fstat(fd, &st) == 0 &&
			       (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISCHR(st.st_mode));
	return false;
}

static bool is_ours(int fd, const struct pollfd *ours, nfds_t n_ours)
{
	for (nfds_t i = 0; i < n_ours; i++)
		if (ours[i].fd == fd)
			return true;
	return false;
}

static int check_fds(const struct pollfd *ours, nfds_t n_ours,
		     const struct hearth_zygote_options *options, unsigned *n_fds, char *error)
{
	char target[64], what[96];
	struct list strangers = {0};
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");

	if (!dir)
		return zygote_fail(error, errno, "/proc/self/fd: %s", strerror(errno));
	for (*n_fds = 0; (entry = readdir(dir));) {
		int fd = atoi(entry->d_name);
		ssize_t length;

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		++*n_fds;
		if (fd < ZYGOTE_STDIO || is_ours(fd, ours, n_ours) || is_kept(fd, options))
			continue;
		length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		target[length > 0 ? length : 0] = '\0';
		snprintf(what, sizeof(what), "%d %s", fd, target);
		list_add(&strangers, what);
	}
	closedir(dir);
	*n_fds -= (unsigned)n_ours - 1;
	list_end(&strangers);
	if (!strangers.count)
		return 0;
	return zygote_fail(error, EBUSY,
			   "%u open descriptors (%s): instances would share them; close them "
			   "after loading (files may be kept by keep_fds)",
			   strangers.count, strangers.text);
}

int zygote_check(const struct pollfd *ours, nfds_t n_ours,
		 const struct hearth_zygote_options *options, unsigned *n_fds, char *error)
{
	int err;

	fflush(NULL); /* or every instance would write it again */
	stop_pools();
	err = check_threads(error);
	return err ? err : check_fds(ours, n_ours, options, n_fds, error);
}
