/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Logging to stderr. A line is built on the stack and written at once, so lines
 * of several threads do not mix; text beyond LINE_BYTES is cut.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/log.h"

#define LINE_BYTES 2048

static const struct {
	const char *journal; /* sd-daemon(3) priority */
	const char *plain;
} prefixes[] = {
    [LOG_LEVEL_ERROR] = {"<3>", "error: "},
    [LOG_LEVEL_WARN] = {"<4>", "warning: "},
    [LOG_LEVEL_INFO] = {"<6>", ""},
    [LOG_LEVEL_DEBUG] = {"<7>", "debug: "},
};

static _Atomic int max_level = LOG_LEVEL_INFO;
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool to_journal;

/* JOURNAL_STREAM is inherited by children whose stderr was redirected: compare. */
static void detect_journal(void)
{
	const char *env = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	to_journal = env && sscanf(env, "%llu:%llu", &dev, &ino) == 2 &&
		     fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, (int)level, memory_order_relaxed);
}

static void log_line(enum log_level level, const char *fmt, va_list args)
{
	char line[LINE_BYTES];
	int saved = errno;
	size_t len;

	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	pthread_once(&journal_once, detect_journal);
	len = (size_t)snprintf(line, sizeof(line), "%s",
			       to_journal ? prefixes[level].journal : prefixes[level].plain);
	errno = saved; /* %m */
	vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
	len = strlen(line);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		/* nobody left to tell */
	}
	errno = saved;
}

#define LOG_FUNCTION(name, level)                                                                  \
	void name(const char *fmt, ...)                                                            \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		va_start(args, fmt);                                                               \
		log_line(level, fmt, args);                                                        \
		va_end(args);                                                                      \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
