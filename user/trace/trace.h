/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Invocation traces, read as a sequence of blocks: a stretch of time with the
 * arrivals of each unit (app or function), in time order. Blocks follow each
 * other in time, so memory is flat in the length of the trace: one block (a
 * day of an azure2019 trace, some 100,000 rows of the others) and the units.
 *
 * Formats, told apart by their header lines; files may be .gz:
 *   azure2019  HashOwner,HashApp,HashFunction,Trigger,1..1440 per day, with the
 *              durations and app memory files beside them if there are any
 *   azure2021  app,func,end_timestamp,duration (seconds)
 *   csv        function,start_ms[,warm_ms][,cold_ms][,mem_mb], any column order
 *   recorded   function,begin_ms,end_ms,start,mem_mb; start: cold|warm|lukewarm
 *
 * A bad row is an error with path:line:column and what is accepted; lenient
 * reading skips and counts such rows. Not thread-safe.
 */
#ifndef HEARTH_TRACE_H
#define HEARTH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_MEM_MB 170.0 /* assumed where a trace does not say: the median Azure app */

struct progress;

enum trace_by { TRACE_BY_APP, TRACE_BY_FUNCTION };

struct trace_options {
	enum trace_by by;
	bool lenient;
	/* Leave out units with more; 0: no limit. Reads the trace twice. */
	uint64_t max_invocations;
	struct progress *progress; /* told how far reading is, a step a block; or NULL */
};

/* What is simulated as one thing. Known once the trace was read past its first arrival. */
struct trace_unit {
	const char *name;
	double mem_mb; /* TRACE_MEM_MB if mem_known is false */
	double warm_s; /* mean execution time, start-up excluded; 0 if unknown */
	double cold_s; /* mean of the first call of an instance; 0 if unknown */
	bool mem_known;
	bool left_out;
	uint32_t functions;
	uint64_t invocations; /* so far */
};

/* n arrivals, evenly at t_s + i * span_s / n; each runs busy_s once warm. */
struct trace_run {
	double t_s;
	double busy_s;
	uint32_t n;
	uint32_t seq; /* order in the file, for ties between units */
};

struct trace_slice {
	uint32_t unit;
	uint32_t n;
	size_t first;
};

struct trace_block {
	double span_s; /* over which a run spreads; 0: runs are single arrivals */
	const struct trace_slice *slices; /* one per unit that has arrivals */
	size_t nslices;
	const struct trace_run *runs;
};

struct trace_info {
	const char *format;
	uint32_t apps;
	uint32_t functions;
	uint64_t invocations; /* of the units not left out */
	uint64_t skipped;     /* bad rows, when lenient */
	double start_s;
	double end_s; /* the horizon; valid at the end of the trace */
	bool binned;  /* arrivals are known by the minute */
};

struct trace;

/*
 * Files, or directories whose *.csv and *.csv.gz are taken, as one trace.
 * 0, or -errno with a message in err; later messages go there too.
 */
int trace_open(char *const paths[], size_t n, const struct trace_options *options,
	       struct trace **out, char *err, size_t err_size);
void trace_close(struct trace *t);

/* The next block, valid until the next call: 1, 0 at the end, or -errno with a message. */
int trace_next(struct trace *t, const struct trace_block **out);

/* Start again from the first block; units stay. */
int trace_rewind(struct trace *t);

const struct trace_unit *trace_units(const struct trace *t, size_t *n);
void trace_info(const struct trace *t, struct trace_info *out);

/* That of the options: who works on a block cuts its step into pieces. */
struct progress *trace_progress(const struct trace *t);

#endif
