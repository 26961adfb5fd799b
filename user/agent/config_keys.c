/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The one table of configuration keys. Parsing, defaults, error texts, the man
 * page and the test of deploy/hearth.conf all read it; a key that is not here
 * does not exist.
 */
#include <limits.h>
#include <string.h>

#include <hearth/event.h>

#include "agent/config_keys.h"
#include "lib/clock.h"
#include "lib/command.h"
#include "lib/duration.h"
#include "lib/size.h"
#include "lib/text.h"
#include "lib/util.h"

#define SIZE_MOST (UINT64_C(1) << 50) /* 1 PiB: sums of sizes stay far from overflow */
#define DAYS_MAX  (30 * NSEC_PER_DAY) /* as the policy library */

static const char *const modes[] = {"observe", "manage", NULL};
static const char *const sources[] = {"auto", "request", "exec", "unix", "image", NULL};
static const char *const ends[] = {"auto", "direction", NULL};
static const char *const holds[] = {"hold", "ignore", NULL};
static const char *const windows[] = {"alive", "resident", NULL};
static const char *const rungs[] = {"warm", "frozen", "reclaimed", "gone", NULL};

_Static_assert(ARRAY_SIZE(rungs) == HEARTH_RUNGS + 1, "a name for every rung");

#define AGENT(field)  .section = "agent", .offset = offsetof(struct config, field)
#define STARTS(field) AGENT(field), .restart = true /* used when hearthd starts */
#define MEMORY(field) .section = "memory", .offset = offsetof(struct config, memory.field)
#define POLICY(field) .section = "policy", .offset = offsetof(struct fn_settings, field)
#define NODE(field)   .section = "policy", .node = true, .offset = offsetof(struct config, field)

#define DURATION(lo, hi)                                                                           \
	.type = &config_duration, .accepted = DURATION_ACCEPTED, .min = (lo), .max = (hi)
#define CHOICE(list, text)   .type = &config_choice, .names = (list), .accepted = text
#define FLAG                 .type = &config_flag, .accepted = "yes or no"
#define NUMBER(lo, hi, text) .type = &config_number, .accepted = text, .min = (lo), .max = (hi)
#define PATH(shortest, longest)                                                                    \
	.type = &config_path, .accepted = "an absolute path", .min = (shortest), .max = (longest)
#define SPEC         .type = &config_policy, .accepted = "a policy spec such as hybrid:240 or fixed:10m"
#define SIZE(lo, hi) .type = &config_size, .accepted = SIZE_ACCEPTED, .min = (lo), .max = (hi)
#define AMOUNT                                                                                     \
	.type = &config_size_or_share, .accepted = "a size (512M, 1.5G) or a percentage (25%)",    \
	.max = SIZE_MOST
#define COMMAND .type = &config_command, .accepted = COMMAND_ACCEPTED
#define HOLD    CHOICE(holds, "hold (no freeze while there is one) or ignore")

/* clang-format off */
static const struct config_key keys[] = {
	{ AGENT(mode), .key = "mode", .fallback = "observe", CHOICE(modes, "observe or manage"),
	  .help = "observe only tells what it would do; manage freezes and thaws" },
	{ STARTS(socket), .key = "socket", .fallback = "/run/hearth/hearth.sock", PATH(1, 107),
	  .help = "the API, for hearth(1) and curl" },
	{ STARTS(socket_group), .key = "socket_group", .fallback = "hearth",
	  .type = &config_string, .accepted = "a group name", .min = 1, .max = 255,
	  .help = "members may steer hearthd through the socket" },
	{ AGENT(metrics), .key = "metrics", .fallback = "127.0.0.1:9465",
	  .type = &config_endpoint, .accepted = "ADDRESS:PORT, [IPV6]:PORT or off",
	  .help = "/metrics for Prometheus and /healthz, over TCP and read-only" },
	{ AGENT(images_socket), .key = "images_socket", .fallback = "/run/hearth/images.sock",
	  PATH(0, 107), .help = "the image manager, whose images are shown; empty: there is none" },
	{ STARTS(state_dir), .key = "state_dir", .fallback = "/var/lib/hearth",
	  PATH(1, PATH_MAX - 1), .help = "what was learned, kept over restarts" },
	{ STARTS(pin_dir), .key = "pin_dir", .fallback = "/sys/fs/bpf/hearth", PATH(1, PATH_MAX - 1),
	  .help = "pinned maps: counting goes on while hearthd restarts; one hearthd per folder" },
	{ AGENT(attach), .key = "attach", .fallback = "", PATH(0, PATH_MAX - 1),
	  .help = "cgroup of the socket hooks; empty: common ancestor of all rules; / sees sockets made elsewhere" },
	{ STARTS(run_dir), .key = "run_dir", .fallback = "", PATH(0, PATH_MAX - 1),
	  .help = "shared memory of hearthd and its guard; empty: the folder of the socket" },
	{ STARTS(max_instances), .key = "max_instances", .fallback = "8192",
	  NUMBER(1, HEARTH_MAX_INSTANCES, "1 to 8192"),
	  .help = "bounds memory; instances beyond it are left alone" },
	{ STARTS(max_functions), .key = "max_functions", .fallback = "2048",
	  NUMBER(1, HEARTH_MAX_FUNCTIONS, "1 to 2048"),
	  .help = "bounds memory at about 2 KB of kernel histogram each" },
	{ AGENT(state_interval_ns), .key = "state_interval", .fallback = "1m",
	  DURATION(NSEC_PER_SEC, NSEC_PER_DAY),
	  .help = "the most history a power failure can lose" },
	{ AGENT(freeze_timeout_ns), .key = "freeze_timeout", .fallback = "500ms",
	  DURATION(NSEC_PER_MSEC, NSEC_PER_MIN),
	  .help = "a freeze that is not complete by then is rolled back" },
	{ STARTS(wake_priority), .key = "wake_priority", .fallback = "10",
	  NUMBER(0, 99, "0 (off) to 99"),
	  .help = "SCHED_FIFO priority of the wake thread: wakes stay fast on a busy host; 0 = off" },
	{ STARTS(bpf_stats), .key = "bpf_stats", .fallback = "no", FLAG,
	  .help = "measure the kernel programs' run time, at about 50 ns an event" },
	{ STARTS(journal_size), .key = "journal_size", .fallback = "4096",
	  NUMBER(64, 1048576, "64 to 1048576"),
	  .help = "decisions kept in memory for explain and events" },

	{ MEMORY(budget), .key = "budget", .fallback = "", AMOUNT,
	  .help = "most memory that idle instances may keep, a size or % of RAM; empty: no limit" },
	{ MEMORY(ranker), .key = "ranker", .fallback = "lru,min-residency=1m",
	  .type = &config_ranker,
	  .accepted = "a ranker such as lru or gdsf,min-residency=1m",
	  .help = "which idle instance steps down first when memory is short" },
	{ MEMORY(pressure), .key = "pressure", .fallback = "10%", .type = &config_pressure,
	  .accepted = "a percentage such as 10%, or off",
	  .help = "share of time that tasks wait for memory at which idle instances step down" },
	{ MEMORY(swap), .key = "swap", .fallback = "yes", FLAG,
	  .help = "reclaim may swap out what idle instances keep; no: file pages only" },
	{ MEMORY(swap_budget), .key = "swap_budget", .fallback = "50%", AMOUNT,
	  .help = "most swap that idle instances may fill, a size or % of all swap" },
	{ MEMORY(swap_free_min), .key = "swap_free_min", .fallback = "20%",
	  .type = &config_percent, .accepted = "a percentage such as 20%",
	  .help = "with less of the swap free, only file pages are reclaimed" },
	{ MEMORY(swap_rate_bytes), .key = "swap_rate", .fallback = "32M",
	  SIZE(UINT64_C(64) << 10, SIZE_MOST),
	  .help = "most bytes a second to swap out: spares disks and those who wait for them" },
	{ MEMORY(prewarm_rate_bytes), .key = "prewarm_rate", .fallback = "256M",
	  SIZE(UINT64_C(64) << 10, SIZE_MOST),
	  .help = "most bytes a second to bring back ahead of an invocation" },
	{ MEMORY(prewarm_cpu), .key = "prewarm_cpu", .fallback = "0.5", .type = &config_share,
	  .accepted = "a decimal number above 0, up to 1", .max = 1,
	  .help = "share of one CPU to bring memory back with" },

	{ POLICY(policy), .key = "default", .fallback = "hybrid:240", SPEC,
	  .help = "policy of every function that has none of its own" },
	{ POLICY(shadow), .key = "shadow", .fallback = "", .type = &config_policies,
	  .accepted = "up to 8 policy specs with spaces between (fixed:10m hybrid:240)",
	  .help = "policies that run beside the one that acts, for `hearth shadow`; spaces between" },
	{ NODE(prior), .key = "prior", .fallback = "", .type = &config_prior,
	  .accepted = "an absolute path of a table that `hearth fit --prior` wrote",
	  .help = "what predictive policies expect of a function they know nothing of; empty: built in" },
	{ NODE(learn_prior), .key = "learn_prior", .fallback = "no", FLAG,
	  .help = "blend the prior with what the node's own functions do, every state_interval" },
	{ POLICY(cold_cost_ns), .key = "cold_cost", .fallback = "10m",
	  DURATION(NSEC_PER_MSEC, DAYS_MAX),
	  .help = "a cold start is worth this much idle time; policies that weigh costs use it" },
	{ POLICY(debounce_ns), .key = "debounce", .fallback = "1s", DURATION(0, NSEC_PER_DAY),
	  .help = "shortest idle time before any freeze: no flapping inside a burst" },
	{ POLICY(idle_grace_ns), .key = "idle_grace", .fallback = "5s", DURATION(0, NSEC_PER_DAY),
	  .help = "after the last byte, where the end of a response cannot be parsed" },
	{ POLICY(startup_grace_ns), .key = "startup_grace", .fallback = "10s",
	  DURATION(0, NSEC_PER_DAY), .help = "a new instance is never frozen this long" },
	{ POLICY(syn_hold_ns), .key = "syn_hold", .fallback = "1s", DURATION(0, NSEC_PER_MIN),
	  .help = "a connection attempt without data holds off a freeze this long" },
	{ POLICY(enter_hold_ns), .key = "enter_hold", .fallback = "5s", DURATION(0, NSEC_PER_HOUR),
	  .help = "a process that enters from outside (exec, shell) holds off a freeze this long" },
	{ POLICY(cpu_threshold), .key = "cpu_threshold", .fallback = "0.05", .type = &config_share,
	  .accepted = "a decimal number above 0, up to 1024", .max = 1024,
	  .help = "share of one CPU that counts as work even without a request in flight" },
	{ POLICY(source), .key = "source", .fallback = "auto",
	  CHOICE(sources, "auto, request, exec, unix or image"),
	  .help = "what an invocation is: TCP request, executed process, AF_UNIX request,"
		  " process forked from an image; auto: request, and exec" },
	{ POLICY(end), .key = "end", .fallback = "auto", CHOICE(ends, "auto or direction"),
	  .help = "auto parses HTTP/1 to find the end of a request; direction takes the first answer" },
	{ POLICY(outbound), .key = "outbound", .fallback = "hold", HOLD,
	  .help = "an established outbound connection may carry work (queue consumers)" },
	{ POLICY(udp), .key = "udp", .fallback = "hold", HOLD,
	  .help = "a UDP socket may carry work that has no begin and end (QUIC)" },
	{ POLICY(unattributed), .key = "unattributed", .fallback = "hold", HOLD,
	  .help = "a server socket that the kernel side cannot see (socket activation)" },
	{ POLICY(exclude), .key = "exclude", .fallback = "no", FLAG,
	  .help = "never touch it, but go on learning" },
	{ POLICY(pin), .key = "pin", .fallback = "no", FLAG,
	  .help = "keep it warm whatever the policy says" },
	{ POLICY(unproven), .key = "unproven", .fallback = "no", FLAG,
	  .help = "freeze even before a completed invocation proved that they are seen" },
	{ POLICY(min_warm), .key = "min_warm", .fallback = "0",
	  NUMBER(0, HEARTH_MAX_INSTANCES, "0 to 8192"),
	  .help = "so many most recently used instances stay warm" },
	{ POLICY(probe_nets), .key = "probes", .fallback = "", .type = &config_probes,
	  .accepted = "address blocks (10.0.0.0/8 fd00::/8) and up to two ua:PREFIX of at most"
		      " 15 bytes (ua:kube-probe/)",
	  .help = "health checks: wake the instance, but are not learned" },

	{ POLICY(tiers), .key = "tiers", .fallback = "warm frozen reclaimed",
	  .type = &config_set, .names = rungs, .accepted = "words out of warm frozen reclaimed gone",
	  .help = "where idle instances may be; gone: they may be killed when nothing else pays" },
	{ POLICY(windows), .key = "windows", .fallback = "alive",
	  CHOICE(windows, "alive or resident"),
	  .help = "what a keep-alive window promises: not gone, or memory in place all along" },
	{ POLICY(hook[HOOK_PRE_FREEZE]), .key = "pre_freeze", .fallback = "", COMMAND,
	  .help = "command before a freeze, which waits for it; its failure prevents the freeze" },
	{ POLICY(hook[HOOK_POST_THAW]), .key = "post_thaw", .fallback = "", COMMAND,
	  .help = "command after a thaw, beside the request: renew leases, connections" },
	{ POLICY(hook[HOOK_PREWARM]), .key = "prewarm", .fallback = "", COMMAND,
	  .help = "command that starts an instance before an invocation is due that would find none" },
	{ POLICY(hook[HOOK_ON_EVICT]), .key = "on_evict", .fallback = "", COMMAND,
	  .help = "command before an instance is killed, which waits for it" },
	{ POLICY(hook_timeout_ns), .key = "hook_timeout", .fallback = "5s",
	  DURATION(10 * NSEC_PER_MSEC, 10 * NSEC_PER_MIN),
	  .help = "a command that runs longer is killed" },

	{ .section = "rule", .key = "match", .fallback = "",
	  .accepted = "a cgroup path below the cgroup2 mount with *, **, ?, {function}, {instance}",
	  .help = "a glob on cgroup paths; {function} and {instance} capture" },
	{ .section = "rule", .key = "regex", .fallback = "",
	  .accepted = "a POSIX extended regex with (?<function>...) and (?<instance>...)",
	  .help = "the same with a regular expression, for the whole path" },
	{ .section = "rule", .key = "set", .fallback = "",
	  .accepted = "systemd, docker, podman or kubernetes",
	  .help = "ready-made rules that know a runtime's paths and names" },
	{ .section = "rule", .key = "source", .fallback = "",
	  CHOICE(sources, "auto, request, exec, unix or image"),
	  .help = "as in [policy], for what this rule matches; a [function] section's goes first" },

	{ .section = "function", .offset = offsetof(struct fn_settings, policy),
	  .key = "policy", .fallback = "", SPEC,
	  .help = "as `default` in [policy], for these functions" },
};
/* clang-format on */

_Static_assert(ARRAY_SIZE(keys) <= CONFIG_KEYS_MAX, "a section may set every key");

const struct config_key *config_keys(size_t *n)
{
	*n = ARRAY_SIZE(keys);
	return keys;
}

/* A [function] section takes [policy]'s keys; `default` is called `policy` there. */
static bool belongs(const struct config_key *k, const char *section)
{
	if (strcmp(k->section, section) == 0)
		return true;
	return strcmp(section, "function") == 0 && strcmp(k->section, "policy") == 0 && !k->node &&
	       strcmp(k->key, "default") != 0;
}

void *config_key_base(struct config *c, const struct config_key *key)
{
	return key->node || strcmp(key->section, "policy") != 0 ? (void *)c : &c->defaults;
}

const struct config_key *config_key_find(const char *section, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (belongs(&keys[i], section) && strcmp(keys[i].key, key) == 0)
			return &keys[i];
	}
	return NULL;
}

const char *config_key_home(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(keys[i].key, key) == 0)
			return keys[i].section;
	}
	return NULL;
}

const struct config_key *config_key_nearest(const char *section, const char *key)
{
	unsigned int best = text_tolerance(key) + 1;
	const struct config_key *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		unsigned int d = text_distance(key, keys[i].key);

		if (d < best && belongs(&keys[i], section)) {
			best = d;
			found = &keys[i];
		}
	}
	return found;
}

void config_key_names(const char *section, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && len < size; i++) {
		if (belongs(&keys[i], section))
			len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "",
						keys[i].key);
	}
}
