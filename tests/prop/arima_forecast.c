/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads one series per line and writes the forecast of the value after each;
 * on stderr the longest CPU times of a first fit and of a refit, in ms.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "policy/arima.h"

static double cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

int main(void)
{
	static char line[65536];
	double longest = 0, longest_refit = 0;

	while (fgets(line, sizeof(line), stdin)) {
		double y[ARIMA_MOST], began, fitted;
		struct arima m;
		size_t n = 0;
		char *next, *at = line;

		for (; n < ARIMA_MOST; at = next) {
			y[n] = strtod(at, &next);
			if (next == at)
				break;
			n++;
		}
		began = cpu_ms();
		if (arima_search(y, n, &m)) {
			fprintf(stderr, "series of %zu values\n", n);
			return 1;
		}
		fitted = cpu_ms();
		printf("%.12g\n", arima_forecast(&m, y, n));
		longest = fitted - began > longest ? fitted - began : longest;
		began = cpu_ms();
		arima_refit(y, n, &m);
		fitted = cpu_ms();
		longest_refit = fitted - began > longest_refit ? fitted - began : longest_refit;
	}
	fprintf(stderr, "longest first fit %.3f ms, refit %.3f ms\n", longest, longest_refit);
	return 0;
}
