/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * An image says which process it has forked. It is its owner's program, so it may say
 * anything: another's child, whose status would be told to the wrong caller, or a process
 * of root's, which would get the signals that are meant for an instance.
 */
#ifndef HEARTH_IMAGES_VERIFY_H
#define HEARTH_IMAGES_VERIFY_H

#include <hearth/zygote.h>

/*
 * Is this a child of ours and the owner's? 0; else -EBADMSG with a text in error, and the
 * instance is given up: neither its pid nor its pidfd is of any use.
 */
int verify_instance(struct hearth_zygote_instance *instance, uid_t owner, char *error);

#endif
