/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Locked dependencies as pip's requirements files write them: NAME==VERSION, with
 * extras, a marker, hashes, comments and continued lines. Two files that lock the
 * same give the same text: "name==version" or "name==version; marker" a line, names
 * normalised, sorted, without doubles. Hashes are of archives, not of what is
 * installed: they are read and left out, as are options on where to download.
 */
#ifndef HEARTH_LIB_PIP_LOCK_H
#define HEARTH_LIB_PIP_LOCK_H

#include <stddef.h>

#define PIP_LOCK_MAX      (96u << 10) /* bytes of such a text: it must fit into a variable */
#define PIP_LOCK_FILE_MAX (8u << 20)  /* and of what it is made from */
#define PIP_LOCK_ACCEPTED "NAME==VERSION, then '; MARKER' and --hash=ALGORITHM:HEX"

/*
 * 0 and a text to free; -EINVAL with "NAME:LINE: what is wrong; accepted: ..." in
 * err, where NAME says where the text is from; or -ENOMEM.
 */
int pip_lock_parse(const char *name, const char *text, char **out, char *err, size_t err_size);

/* The same of a file; -errno also if it cannot be read. */
int pip_lock_read(const char *file, char **out, char *err, size_t err_size);

/* Lines of such a text. */
size_t pip_lock_count(const char *lock);

#endif
