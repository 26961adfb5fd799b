/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Four log functions to stderr, one line and one write(2) a call, from any
 * thread. Lines carry a <N> priority when stderr is the journal. errno is kept.
 */
#ifndef HEARTH_LIB_LOG_H
#define HEARTH_LIB_LOG_H

#include "lib/util.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Messages above this level are dropped; the default is info. */
void log_set_level(enum log_level level);

void log_error(const char *fmt, ...) _printf_(1, 2);
void log_warn(const char *fmt, ...) _printf_(1, 2);
void log_info(const char *fmt, ...) _printf_(1, 2);
void log_debug(const char *fmt, ...) _printf_(1, 2);

#endif
