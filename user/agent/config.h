/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The configuration: an INI file parsed into plain data, immutable once loaded.
 * A reload builds a second struct config; the running one stays when that fails.
 * Every key stands in one table (config_keys.c), from which parsing, error texts,
 * docs and deploy/hearth.conf's test all work. Durations are u64 nanoseconds.
 */
#ifndef HEARTH_CONFIG_H
#define HEARTH_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hearth/ladder.h>

enum run_mode { MODE_OBSERVE, MODE_MANAGE };

enum source_choice {              /* which kernel hooks count invocations */
		     SOURCE_AUTO, /* TCP requests, and execs once the instance listened */
		     SOURCE_REQUEST,
		     SOURCE_EXEC,
		     SOURCE_UNIX,
		     SOURCE_IMAGE, /* processes that enter, until they listen; then TCP requests */
};

/*
 * Sockets that the hooks cannot attribute (outbound, UDP, foreign): hold off any
 * freeze while there is one, or do not look at them.
 */
enum hold_choice { HOLD_FREEZE, HOLD_IGNORE };

enum window_choice { WINDOW_ALIVE, WINDOW_RESIDENT };

#define SHADOWS_MAX 8 /* policies that run beside a function's own */

enum end_choice { END_AUTO, END_DIRECTION };

/* When a function's own commands run. */
enum hook_kind {
	HOOK_PRE_FREEZE, /* before a freeze, which waits for it */
	HOOK_POST_THAW,  /* after a thaw, beside the request */
	HOOK_PREWARM,    /* before an invocation is due that would find no instance */
	HOOK_ON_EVICT,   /* before an instance is killed */
	HOOK_KINDS,
};

/* An address block whose requests wake but do not count; IPv4 as v4-mapped. */
struct probe_net {
	uint8_t addr[16];
	unsigned int prefix; /* 0..128 */
};

/*
 * Per-function settings. [policy] gives the defaults, then every [function GLOB]
 * section that matches the name overrides, in file order.
 */
struct fn_settings {
	char *policy; /* a policy spec, checked at load */
	char *shadow; /* specs with spaces between, at most SHADOWS_MAX; "": none */
	uint64_t cold_cost_ns;
	uint64_t debounce_ns;      /* shortest idle time before any freeze */
	uint64_t idle_grace_ns;    /* after the last byte where ends cannot be parsed */
	uint64_t startup_grace_ns; /* after creation: never frozen */
	uint64_t syn_hold_ns;      /* a connection attempt without data holds this long */
	uint64_t enter_hold_ns;    /* a task that entered from outside holds this long */
	double cpu_threshold;      /* share of one CPU that counts as active, e.g. 0.05 */
	enum source_choice source; /* see config_source() */
	bool source_named;         /* a [function] section named it */
	enum end_choice end;
	enum hold_choice outbound; /* established outbound TCP */
	enum hold_choice udp;
	enum hold_choice unattributed; /* server sockets the hooks cannot see */
	bool exclude;                  /* never touched, still observed */
	bool pin;                      /* kept warm */
	bool unproven;                 /* freeze even before one completed invocation was seen */
	unsigned int min_warm;         /* most recently used instances that stay warm */
	struct probe_net *probe_nets;
	size_t n_probe_nets;
	char *probe_ua[2];          /* User-Agent prefixes, up to 15 bytes; NULL ends */
	unsigned int tiers;         /* bit 1 << enum hearth_rung, at least one */
	enum window_choice windows; /* what one promises that begins with the idle time */
	char *hook[HOOK_KINDS];     /* command lines that command_split() takes; "": none */
	uint64_t hook_timeout_ns;
};

/* Bytes, or a share of a whole that only the host knows. */
struct config_amount {
	uint64_t bytes;
	double share; /* above 0: of the whole; bytes is 0 then */
};

/* Where to listen on TCP. */
struct config_endpoint {
	uint8_t addr[16]; /* network order; IPv4: the first 4 */
	bool v6;
	uint16_t port; /* 0: nowhere */
};

struct hearth_ranker;

struct memory_settings {
	struct config_amount budget;  /* of RAM, for all idle instances; 0: no limit */
	struct hearth_ranker *ranker; /* who goes first */
	double pressure; /* share of time stalled on memory ("some"); 0: do not listen */
	bool swap;       /* false: only file pages are reclaimed */
	struct config_amount swap_budget; /* of the host's swap, for all instances */
	double swap_free_min;        /* share of swap: below it only file pages are reclaimed */
	uint64_t swap_rate_bytes;    /* swapped out at most, per second */
	uint64_t prewarm_rate_bytes; /* brought back at most, per second */
	double prewarm_cpu;          /* share of one CPU to bring back with */
};

struct naming;
struct prior; /* trace/prior.h */

struct config {
	char *path;
	/* [agent] */
	enum run_mode mode;
	char *socket;
	char *images_socket; /* of the image manager; "": there is none */
	struct config_endpoint metrics;
	char *socket_group; /* group that may use the socket, default "hearth" */
	char *state_dir;
	char *attach; /* cgroup of the socket hooks; "": the rules' common ancestor */
	char *pin_dir;
	char *run_dir; /* guard table; default: the folder of the socket */
	unsigned int max_instances;
	unsigned int max_functions;
	uint64_t state_interval_ns; /* between two writes of the state file */
	uint64_t freeze_timeout_ns; /* a freeze not complete by then is rolled back */
	int wake_priority;          /* SCHED_FIFO priority of the wake thread, 0 = off */
	bool bpf_stats;             /* measure run time per program (costs about 50 ns an event) */
	unsigned int journal_size;  /* decisions kept per node */
	/* [rule NAME] and the ready-made sets */
	struct naming *naming;
	/* [policy], of the node as a whole */
	struct prior *prior; /* what predictive policies start from; NULL: the built-in one */
	bool learn_prior;    /* and learn on, from the node's own functions */
	struct memory_settings memory; /* [memory] */
	/* [policy], [function GLOB] */
	struct fn_settings defaults;
	struct fn_section *sections;
	size_t n_sections;
};

/*
 * 0, or -errno with one line in err: "FILE:LINE: [section] key: what is wrong;
 * accepted: ...". Unknown sections and keys are errors.
 */
int config_load(const char *path, struct config **out, char *err, size_t err_size);
void config_free(struct config *c);

/* Settings of a function by name; the caller calls fn_settings_done. -ENOMEM. */
int config_settings(const struct config *c, const char *function, struct fn_settings *out);
void fn_settings_done(struct fn_settings *s);

/*
 * The source of an instance: what its [function] section names, else its rule
 * (naming_result.source, -1 = none), else [policy].
 */
enum source_choice config_source(const struct fn_settings *s, int rule_source);

/* The bytes of an amount. */
uint64_t config_amount_bytes(const struct config_amount *a, uint64_t whole_bytes);

/* True if any rule or section asks for AF_UNIX sources. */
bool config_wants_unix(const struct config *c);

/*
 * Before a reload: what takes a restart is in next as it runs. The names of the keys
 * that would have changed, separated by ", ", in names; "" for none.
 */
void config_keep_running(struct config *next, struct config *running, char *names, size_t size);

/* NULL, or one line about a config that is valid but hardly meant so. */
const char *config_warning(const struct config *c);

/*
 * Every key with its section, default and one-line help. Keys of [policy] may
 * stand in [function GLOB] too, except `default`, which is `policy` there, and
 * those of the node as a whole.
 */
struct config_key {
	const char *section; /* agent, memory, policy, rule or function */
	const char *key;
	const char *fallback; /* default, as written in the file */
	const char *help;
	const char *accepted; /* for errors and docs */
	bool node;            /* a key of [policy] whose field is in struct config */
	bool restart;         /* of [agent]: a reload changes nothing of it */
	/* how the loader stores it (config_values.c) */
	const struct config_type *type;
	size_t offset;
	uint64_t min;
	uint64_t max;
	const char *const *names;
};
const struct config_key *config_keys(size_t *n);

#endif
