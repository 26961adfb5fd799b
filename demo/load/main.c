/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Command line and clock of hearth-load. The replay ends when every arrival
 * was sent and answered; SIGINT and SIGTERM end it early, with a report of
 * what was sent until then.
 */
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

struct replay {
	uv_loop_t loop;
	uv_timer_t timer;
	uv_signal_t signals[2];
	struct target *targets;
	size_t n_targets;
	struct arrival *arrivals;
	size_t n_arrivals, next;
	uint64_t start_ns;
};

static const char usage[] = "usage: hearth-load --targets FILE --trace FILE|FOLDER [options]\n"
			    "  --from MINUTES     first minute of the trace (0)\n"
			    "  --minutes N        minutes of the trace to replay (60)\n"
			    "  --speed X          trace time per time (60: a minute a second)\n"
			    "  --seed N           places of the arrivals inside their minute (1)\n";

static bool idle(const struct replay *r)
{
	for (size_t i = 0; i < r->n_targets; i++)
		if (r->targets[i].inflight)
			return false;
	return true;
}

static void finish(struct replay *r)
{
	for (size_t i = 0; i < r->n_targets; i++)
		exchange_close_idle(&r->targets[i]);
	uv_close((uv_handle_t *)&r->timer, NULL);
	for (int i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&r->signals[i], NULL);
}

static void on_time(uv_timer_t *timer)
{
	struct replay *r = timer->data;
	uint64_t now = uv_hrtime() - r->start_ns;

	while (r->next < r->n_arrivals && r->arrivals[r->next].at_ns <= now)
		exchange_send(&r->loop, &r->targets[r->arrivals[r->next++].target]);
	uv_update_time(&r->loop);
	if (r->next < r->n_arrivals)
		uv_timer_start(timer, on_time, (r->arrivals[r->next].at_ns - now) / 1000000 + 1, 0);
	else if (!idle(r))
		uv_timer_start(timer, on_time, 10, 0);
	else
		finish(r);
}

static void on_signal(uv_signal_t *s, int number)
{
	struct replay *r = s->data;

	(void)number;
	r->n_arrivals = r->next;
}

static int run(struct replay *r)
{
	static const int numbers[2] = {SIGINT, SIGTERM};
	double seconds;

	signal(SIGPIPE, SIG_IGN);
	uv_loop_init(&r->loop);
	uv_timer_init(&r->loop, &r->timer);
	r->timer.data = r;
	for (int i = 0; i < 2; i++) {
		uv_signal_init(&r->loop, &r->signals[i]);
		r->signals[i].data = r;
		uv_signal_start(&r->signals[i], on_signal, numbers[i]);
	}
	r->start_ns = uv_hrtime();
	uv_timer_start(&r->timer, on_time, 0, 0);
	uv_run(&r->loop, UV_RUN_DEFAULT);
	seconds = (double)(uv_hrtime() - r->start_ns) / 1e9;
	uv_loop_close(&r->loop);
	return report_print(r->targets, r->n_targets, seconds);
}

static double number(const char *text, const char *option)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !(v >= 0))
		errx(2, "--%s %s: expected a number, 0 or more", option, text);
	return v;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"targets", required_argument, NULL, 't'},
	    {"trace", required_argument, NULL, 'f'},
	    {"from", required_argument, NULL, 'b'},
	    {"minutes", required_argument, NULL, 'm'},
	    {"speed", required_argument, NULL, 's'},
	    {"seed", required_argument, NULL, 'r'},
	    {0},
	};
	struct window w = {.span_s = 3600, .speed = 60, .seed = 1};
	const char *targets = NULL, *trace = NULL;
	struct replay r = {0};
	int opt, rc;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 't')
			targets = optarg;
		else if (opt == 'f')
			trace = optarg;
		else if (opt == 'b')
			w.from_s = 60 * number(optarg, "from");
		else if (opt == 'm')
			w.span_s = 60 * number(optarg, "minutes");
		else if (opt == 's')
			w.speed = number(optarg, "speed");
		else if (opt == 'r')
			w.seed = (unsigned int)number(optarg, "seed");
		else
			errx(2, "%s", usage);
	}
	if (!targets || !trace || optind != argc || !(w.speed > 0))
		errx(2, "%s", usage);
	r.targets = targets_read(targets, &r.n_targets);
	r.arrivals = schedule_make(trace, r.targets, r.n_targets, &w, &r.n_arrivals);
	rc = run(&r);
	free(r.arrivals);
	targets_free(r.targets, r.n_targets);
	return rc < 0 ? 1 : 0;
}
