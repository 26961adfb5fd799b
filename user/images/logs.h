/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The logs of images, bounded. They are where sockets are, in memory as a rule, and
 * whatever an image or an instance without stdio prints goes there: looked at once a
 * second, one that has grown too long is cut to its end. Those of images that were
 * replaced go with them, or with the beginning of the next manager.
 */
#ifndef HEARTH_IMAGES_LOGS_H
#define HEARTH_IMAGES_LOGS_H

struct manager;

/* 0 or -errno. */
int logs_begin(struct manager *m);
void logs_end(struct manager *m);

#endif
