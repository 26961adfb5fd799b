/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "images/logs.h"
#include "images/manager.h"
#include "lib/util.h"

#define LOG_MAX   (8 << 20)
#define LOG_KEPT  (64 << 10)
#define PERIOD_MS 1000

/* Who writes appends, so it goes on at the new end; what it writes meanwhile is lost. */
static void cut(const char *path, off_t size)
{
	static const char note[] = "hearth-images: what was here before was too long\n";
	_cleanup_close_ int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
	static char text[LOG_KEPT];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text), size - LOG_KEPT);

	if (n < 0 || ftruncate(fd, 0) < 0 || write(fd, note, sizeof(note) - 1) < 0 ||
	    write(fd, text, (size_t)n) < 0)
		return; /* no room: the next round finds it shorter, or tries again */
}

static void on_timer(uv_timer_t *timer)
{
	const struct manager *m = timer->data;
	const struct image *image;
	struct stat st;

	DL_FOREACH (m->images, image) {
		if (stat(image->log, &st) == 0 && st.st_size > LOG_MAX)
			cut(image->log, st.st_size);
	}
}

/* NAME@N.log or NAME@N.sock: of an image whose name another has got. */
static bool is_retired(const char *file)
{
	const char *at = strchr(file, '@'), *end = at + 1;
	char name[IMAGE_NAME_MAX + 1];

	if (!at || (size_t)(at - file) >= sizeof(name))
		return false;
	memcpy(name, file, (size_t)(at - file));
	name[at - file] = '\0';
	while (isdigit((unsigned char)*end))
		end++;
	return settings_good_name(name) && end > at + 1 &&
	       (!strcmp(end, ".log") || !strcmp(end, ".sock"));
}

/* Such images end with their manager; one that was killed has left these. */
static void sweep(const char *folder)
{
	DIR *all = opendir(folder);
	const struct dirent *entry;

	while (all && (entry = readdir(all)))
		if (is_retired(entry->d_name))
			unlinkat(dirfd(all), entry->d_name, 0);
	if (all)
		closedir(all);
}

int logs_begin(struct manager *m)
{
	int err = uv_timer_init(&m->loop, &m->logs_timer);

	sweep(m->settings->run_dir);
	m->logs_timer.data = m;
	return err ? err : uv_timer_start(&m->logs_timer, on_timer, PERIOD_MS, PERIOD_MS);
}

void logs_end(struct manager *m)
{
	uv_close((uv_handle_t *)&m->logs_timer, NULL);
}
