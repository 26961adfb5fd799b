/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <fcntl.h>
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

int logs_begin(struct manager *m)
{
	int err = uv_timer_init(&m->loop, &m->logs_timer);

	m->logs_timer.data = m;
	return err ? err : uv_timer_start(&m->logs_timer, on_timer, PERIOD_MS, PERIOD_MS);
}

void logs_end(struct manager *m)
{
	uv_close((uv_handle_t *)&m->logs_timer, NULL);
}
