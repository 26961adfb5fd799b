/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Collecting windows: the decision is valid after every step but for the open window. */
#include <math.h>

#include "policy/windows.h"

void windows_init(struct windows *w, struct hearth_decision *out)
{
	out->n = 0;
	w->out = out;
	w->open_gain = NAN;
}

/* The open window replaces the one that saves least, or is left out itself. */
static void replace_least(struct windows *w)
{
	struct hearth_decision *out = w->out;
	unsigned int least = 0;

	for (unsigned int i = 1; i < out->n; i++) {
		if (w->gain[i] < w->gain[least])
			least = i;
	}
	if (w->gain[least] >= w->open_gain)
		return;
	for (unsigned int i = least; i + 1 < out->n; i++) {
		out->w[i] = out->w[i + 1];
		w->gain[i] = w->gain[i + 1];
	}
	out->w[out->n - 1] = w->open;
	w->gain[out->n - 1] = w->open_gain;
}

void windows_done(struct windows *w)
{
	struct hearth_decision *out = w->out;

	if (!(w->open_gain > 0)) {
		/* no open window, or one that does not earn its load */
	} else if (out->n < HEARTH_WINDOWS) {
		w->gain[out->n] = w->open_gain;
		out->w[out->n++] = w->open;
	} else {
		replace_least(w);
	}
	w->open_gain = NAN;
}

void windows_add(struct windows *w, double from_s, double to_s, double gain, double load_cost)
{
	if (!isnan(w->open_gain) && w->open.close_s == from_s) {
		w->open.close_s = to_s;
		w->open_gain += gain;
		return;
	}
	windows_done(w);
	w->open = (struct hearth_window){from_s, to_s};
	w->open_gain = gain - (from_s > 0 ? load_cost : 0);
}
