/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A command line as a list of words, without a shell: blanks separate words, a
 * pair of ' or " keeps blanks inside one, and nothing else has a meaning. The
 * first word is an absolute path.
 */
#ifndef HEARTH_LIB_COMMAND_H
#define HEARTH_LIB_COMMAND_H

#include <stddef.h>

#define COMMAND_WORDS    64
#define COMMAND_ACCEPTED "an absolute path and its arguments, without a shell"

/*
 * *argv is one allocation, ended by NULL; the caller frees it. 0; -EINVAL with
 * what is wrong in why; -ENOMEM.
 */
int command_split(const char *text, char ***argv, char *why, size_t why_size);

#endif
