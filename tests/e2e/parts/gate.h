/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Lets a test stop a handler in mid-request without sleeping: the handler
 * says on stdout that it is held and goes on when the test writes "release"
 * to stdin. One permit lets one held handler go.
 */
#ifndef HEARTH_E2E_GATE_H
#define HEARTH_E2E_GATE_H

/* Prints "held LABEL" and waits for a permit. */
void gate_wait(const char *label);
/* Hands out n permits. */
void gate_release(int n);
/* One line on stdout, flushed and never interleaved with another. */
void gate_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
