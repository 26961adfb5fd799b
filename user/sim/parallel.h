/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Independent pieces of work on all processors. */
#ifndef HEARTH_SIM_PARALLEL_H
#define HEARTH_SIM_PARALLEL_H

#include <stddef.h>

/*
 * f(arg, i) for i = 0..n-1, each once, begun in this order, on `threads`
 * threads (0: one per processor) of which the caller is one. With fewer than
 * wanted it takes longer; that is no error.
 */
void parallel(size_t n, unsigned int threads, void (*f)(void *arg, size_t i), void *arg);

#endif
