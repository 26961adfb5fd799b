/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The configuration: every kind of error with its file, line and key; that a
 * failed load changes nothing; what functions get; and that deploy/hearth.conf
 * says exactly what the table of keys says.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <hearth/rank.h>

#include "agent/config.h"
#include "agent/naming.h"
#include "lib/clock.h"
#include "lib/util.h"
#include "trace/prior.h"

#define SHIPPED       "deploy/hearth.conf"
#define LITERAL(text) text, strlen(text)

static char path[] = "/tmp/hearth-test-config-XXXXXX";
static char err[1024];

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void put(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

static struct config *load(const char *text)
{
	struct config *c = NULL;

	put(text, strlen(text));
	err[0] = '\0';
	if (config_load(path, &c, err, sizeof(err)) != 0)
		fail_msg("%s\nis refused: %s", text, err);
	return c;
}

/* The file is refused at that line, and the message has every part of `says`. */
static void refused(const char *text, size_t len, int line, const char *const *says, size_t n)
{
	struct config *c = (struct config *)err; /* untouched on error */
	char where[PATH_MAX];

	put(text, len);
	err[0] = '\0';
	if (config_load(path, &c, err, sizeof(err)) != -EINVAL)
		fail_msg("%s\nis accepted or fails otherwise: %s", text, err);
	assert_ptr_equal(c, err);
	snprintf(where, sizeof(where), "%s:%d: ", path, line);
	if (strncmp(err, where, strlen(where)) != 0)
		fail_msg("%s\nis not refused in line %d: %s", text, line, err);
	for (size_t i = 0; i < n; i++) {
		if (says[i] && !strstr(err, says[i]))
			fail_msg("%s\nis refused without \"%s\": %s", text, says[i], err);
	}
	assert_null(strchr(err, '\n'));
}

/* ---- errors */

static void every_mistake_names_line_and_key_and_what_is_accepted(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *says[3];
	} cases[] = {
	    /* lines */
	    {"[agent]\nmode\n", 2, {"[agent]", "key = value"}},
	    {"\n\nmode = manage\n", 3, {"mode", "before the first section", "[rule NAME]"}},
	    {"[agent\nmode = manage\n", 1, {"[name] and nothing else"}},
	    {"[agent] mode = manage\n", 1, {"[name] and nothing else"}},
	    {"[]\n", 1, {"unknown section []"}},
	    /* sections */
	    {"# x\n[agnet]\n", 2, {"unknown section [agnet]", "did you mean [agent]?"}},
	    {"[functoin a-*]\n", 1, {"did you mean [function GLOB]?"}},
	    {"[xyz]\n", 1, {"unknown section [xyz]; accepted: [agent], [memory], [policy]"}},
	    {"[agent x]\n", 1, {"[agent x] takes no name"}},
	    {"[rule]\n", 1, {"[rule] needs a name"}},
	    {"[function ]\n", 1, {"[function] needs a name"}},
	    {"[agent]\n[policy]\n[agent]\n", 3, {"[agent]", "began in line 1"}},
	    {"[function a]\n[function  a]\n", 2, {"[function a]", "began in line 1"}},
	    /* keys */
	    {"[agent]\n\nmod = manage\n",
	     3,
	     {"[agent] mod: ", "did you mean \"mode\"?", "accepted: mode, socket, "}},
	    {"[agent]\nzzz = 1\n", 2, {"[agent] zzz: unknown key; accepted: mode"}},
	    {"[policy]\npolicy = fixed:1\n",
	     2,
	     {"[policy] policy: ", "a [function] section", "accepted: default, shadow, prior, "}},
	    {"[agent]\ndebounce = 1s\n", 2, {"belongs to a [policy] section"}},
	    {"[function a]\ndefault = fixed:1\n", 2, {"default", "accepted: shadow, cold_cost"}},
	    {"[policy]\npin = yes\n\npin = no\n", 4, {"[policy] pin: ", "in line 2"}},
	    /* values */
	    {"[agent]\nmode = mange\n",
	     2,
	     {"[agent] mode: ", "\"mange\"", "accepted: observe or manage"}},
	    {"[agent]\nmetrics = 9465\n", 2, {"[agent] metrics: ", "ADDRESS:PORT"}},
	    {"[agent]\nmetrics = localhost:9465\n", 2, {"\"localhost\" is no IP address"}},
	    {"[agent]\nmetrics = 127.0.0.1:\n", 2, {"is no port"}},
	    {"[agent]\nmetrics = 127.0.0.1:65536\n", 2, {"is no port"}},
	    {"[agent]\nmetrics = ::1:9465\n", 2, {"is no IP address"}},
	    {"[agent]\nmode =\n", 2, {"[agent] mode: ", "observe or manage"}},
	    {"[agent]\nsocket = run/x\n", 2, {"\"run/x\" is not an absolute path"}},
	    {"[agent]\nstate_dir =\n", 2, {"[agent] state_dir: is empty"}},
	    {"[agent]\nsocket_group =\n", 2, {"is empty; accepted: a group name"}},
	    {"[agent]\nmax_instances = -1\n", 2, {"whole number", "1 to 8192"}},
	    {"[agent]\nmax_instances = 0\n", 2, {"out of range (1 to 8192)"}},
	    {"[agent]\nmax_instances = 8193\n", 2, {"out of range (1 to 8192)"}},
	    {"[agent]\nmax_functions = 99999999999999999999\n", 2, {"out of range"}},
	    {"[agent]\nwake_priority = 100\n", 2, {"[agent] wake_priority", "0 to 99"}},
	    {"[agent]\nbpf_stats = maybe\n", 2, {"neither yes nor no"}},
	    {"[agent]\nstate_interval = 1x\n", 2, {"\"1x\" is not a duration", "500ms, 30s, 10m"}},
	    {"[agent]\nstate_interval = 10ms\n", 2, {"out of range (1s to 1d)"}},
	    {"[policy]\ndebounce = -1s\n", 2, {"[policy] debounce: ", "not a duration"}},
	    {"[policy]\ncold_cost = 0\n", 2, {"[policy] cold_cost: ", "out of range"}},
	    {"[policy]\nsyn_hold = 99999999d\n", 2, {"out of range"}},
	    {"[policy]\ncpu_threshold = 0\n", 2, {"out of range (above 0"}},
	    {"[policy]\ncpu_threshold = 1.2.3\n", 2, {"not a decimal number"}},
	    {"[policy]\ncpu_threshold = nan\n", 2, {"not a decimal number"}},
	    {"[policy]\ncpu_threshold = 0x1\n", 2, {"not a decimal number"}},
	    {"[policy]\nsource = tcp\n", 2, {"accepted: auto, request, exec, unix or image"}},
	    {"[policy]\nudp = freeze\n", 2, {"accepted: hold"}},
	    {"[policy]\ndefault = hybird:240\n", 2, {"[policy] default: ", "hybird"}},
	    {"[policy]\ndefault =\n", 2, {"[policy] default: "}},
	    {"[function a]\npolicy = fixed\n", 2, {"[function a] policy: "}},
	    {"[function a]\nmin_warm = many\n", 2, {"[function a] min_warm: "}},
	    {"[policy]\nshadow = always fixd:1\n",
	     2,
	     {"[policy] shadow: ", "did you mean \"fixed\"?"}},
	    {"[policy]\nshadow = always, none\n", 2, {"[policy] shadow: ", "spaces between"}},
	    {"[function a]\nshadow = always offline:10\n", 2, {"offline:10 knows the future"}},
	    {"[policy]\nshadow = none none none none none none none none none\n",
	     2,
	     {"more than 8 policies"}},
	    /* memory */
	    {"[memory]\nbudget = lots\n",
	     2,
	     {"[memory] budget: ", "\"lots\" is not a size", "25%"}},
	    {"[memory]\nbudget = 1.5\n", 2, {"\"1.5\" is not a size"}},
	    {"[memory]\nbudget = -1\n", 2, {"not a size"}},
	    {"[memory]\nbudget = 101%\n", 2, {"101% is out of range (0% to 100%)"}},
	    {"[memory]\nswap_budget = 2000T\n", 2, {"[memory] swap_budget: ", "(0 to 1024T)"}},
	    {"[memory]\nswap_budget = 99999999999T\n", 2, {"out of range"}},
	    {"[memory]\nranker = lruu\n", 2, {"[memory] ranker: ", "lru"}},
	    {"[memory]\nranker =\n", 2, {"[memory] ranker: ", "gdsf,min-residency=1m"}},
	    {"[memory]\npressure = 0.1\n", 2, {"not a percentage", "10%, or off"}},
	    {"[memory]\npressure = 200%\n", 2, {"out of range"}},
	    {"[memory]\nswap_free_min = 1G\n", 2, {"not a percentage"}},
	    {"[memory]\nswap_rate = 0\n", 2, {"[memory] swap_rate: ", "(64K to 1024T)"}},
	    {"[memory]\nprewarm_rate =\n", 2, {"not a size", "512K, 100M or 1.5G"}},
	    {"[memory]\nprewarm_cpu = 1.5\n", 2, {"(above 0, up to 1)"}},
	    {"[policy]\nbudget = 1G\n", 2, {"belongs to a [memory] section"}},
	    {"[memory]\ntiers = warm\n", 2, {"belongs to a [policy] section"}},
	    /* tiers and commands */
	    {"[policy]\ntiers =\n",
	     2,
	     {"[policy] tiers: names none", "warm frozen reclaimed gone"}},
	    {"[policy]\ntiers = warm, gone\n", 2, {"\"warm,\" is none of the choices"}},
	    {"[function a]\npre_freeze = drain\n", 2, {"\"drain\" is not an absolute path"}},
	    {"[function a]\non_evict = /bin/x 'a\n", 2, {"on_evict: a quote is not closed"}},
	    {"[policy]\nhook_timeout = 1h\n", 2, {"out of range (10ms to 10m)"}},
	    /* probes */
	    {"[policy]\nprobes = 10.0.0.0/33\n", 2, {"10.0.0.0/33", "0 to 32"}},
	    {"[policy]\nprobes = fd00::/129\n", 2, {"fd00::/129", "0 to 128"}},
	    {"[policy]\nprobes = 10.0.0.0/\n", 2, {"prefix length"}},
	    {"[policy]\nprobes = 10.0.0\n", 2, {"\"10.0.0\" is neither"}},
	    {"[policy]\nprobes = host.example\n", 2, {"[policy] probes: ", "ua:kube-probe/"}},
	    {"[policy]\nprobes = ua:\n", 2, {"1 to 15 bytes"}},
	    {"[policy]\nprobes = ua:0123456789abcdef\n", 2, {"1 to 15 bytes"}},
	    {"[policy]\nprobes = ua:a ua:b ua:c\n", 2, {"more than 2 User-Agent"}},
	    /* rules */
	    {"[rule a]\n\n[policy]\n", 1, {"[rule a]: ", "match, regex, set"}},
	    {"[rule a]\nsource = exec\n", 1, {"says nothing to match"}},
	    {"[rule a]\nset = docker\nmatch = x\n", 3, {"[rule a] match: ", "in line 2"}},
	    {"[rule a]\nset = lxc\n", 2, {"[rule a] set: ", "systemd, docker, podman"}},
	    {"[rule a]\n\nsource = udp\nset = docker\n", 3, {"[rule a] source: "}},
	    {"[rule a]\nmatch = /x\n", 2, {"[rule a] match: ", "starts with a slash"}},
	    {"[rule a]\nmatch = x//y\n", 2, {"empty component"}},
	    {"[rule a]\nmatch = x/\n", 2, {"empty component"}},
	    {"[rule a]\nmatch =\n", 2, {"[rule a] match: is empty"}},
	    {"[rule a]\nmatch = a**/b\n", 2, {"** must stand alone"}},
	    {"[rule a]\nmatch = a/**b\n", 2, {"** must stand alone"}},
	    {"[rule a]\nmatch = a/**/**\n", 2, {"** twice"}},
	    {"[rule a]\nmatch = {name}\n", 2, {"\"name\"", "function and instance"}},
	    {"[rule a]\nmatch = {function\n", 2, {"has no \"}\""}},
	    {"[rule a]\nmatch = {function}/{function}\n", 2, {"captured twice"}},
	    {"[rule a]\nregex = a(b\n", 2, {"[rule a] regex: "}},
	    {"[rule a]\nregex = a)|(b\n", 2, {"closes nothing"}},
	    {"[rule a]\nregex = (?:a)\n", 2, {"(?<function>...)"}},
	    {"[rule a]\nregex = (?<fn>a)\n", 2, {"\"fn\""}},
	    {"[rule a]\nregex = (?<function>a\n", 2, {"[rule a] regex: "}},
	    {"[rule a]\nregex = (a)\\1\n", 2, {"back-references"}},
	    {"[rule a]\nregex = [a\n", 2, {"[rule a] regex: "}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refused(cases[i].text, strlen(cases[i].text), cases[i].line, cases[i].says,
			ARRAY_SIZE(cases[i].says));
}

static void the_first_mistake_is_reported(void **state)
{
	const char *says[] = {"[agent] a: unknown key"};
	static const char text[] = "[agent]\na = 1\nb\n[what]\n";

	(void)state;
	refused(text, strlen(text), 2, says, 1);
}

static void long_lines_and_nul_bytes_are_refused(void **state)
{
	static const char nul[] = "[agent]\nmode = ob\0serve\n";
	const char *nul_says[] = {"NUL byte"}, *long_says[] = {"over 4000 bytes"};
	const char *name_says[] = {"at most 127 bytes"};
	char text[5000] = "[agent]\n# ";

	(void)state;
	refused(nul, sizeof(nul) - 1, 2, nul_says, 1);
	memset(text + 10, 'x', sizeof(text) - 11);
	refused(text, sizeof(text) - 1, 2, long_says, 1);
	snprintf(text, sizeof(text), "[function %0128d]\n", 7);
	refused(text, strlen(text), 1, name_says, 1);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct config *c = NULL;

	(void)state;
	assert_int_equal(config_load("/nowhere/hearth.conf", &c, err, sizeof(err)), -ENOENT);
	assert_string_equal(err, "/nowhere/hearth.conf: No such file or directory");
	assert_int_equal(config_load("/tmp", &c, err, sizeof(err)), -EISDIR);
	assert_string_equal(err, "/tmp: Is a directory");
	assert_null(c);
}

static void a_failed_reload_leaves_the_running_config_alone(void **state)
{
	struct config *running = load("[agent]\nmode = manage\n[policy]\ndebounce = 2s\n"
				      "[rule r]\nmatch = a/{function}\n");
	struct config *next = running;
	static const char bad[] = "[agent]\nmode = observe\n[rule r]\nmatch = b/{function}\n"
				  "[policy]\ndebounce = never\n";
	struct naming_result name;

	(void)state;
	put(bad, strlen(bad));
	assert_int_equal(config_load(path, &next, err, sizeof(err)), -EINVAL);
	assert_ptr_equal(next, running);
	assert_int_equal(running->mode, MODE_MANAGE);
	assert_int_equal(running->defaults.debounce_ns, 2 * NSEC_PER_SEC);
	assert_true(naming_match(running->naming, "a/f", &name));
	assert_false(naming_match(running->naming, "b/f", &name));
	config_free(running);
}

static void a_reload_leaves_what_takes_a_restart_as_it_runs(void **state)
{
	struct config *running = load("[agent]\nsocket = /a\njournal_size = 100\nmetrics = off\n");
	struct config *next = load("[agent]\nsocket = /b\nbpf_stats = yes\nmax_functions = 7\n"
				   "run_dir = /c\nmetrics = 127.0.0.1:80\nmode = manage\n");
	char names[256];

	(void)state;
	config_keep_running(next, running, names, sizeof(names));
	assert_string_equal(names, "socket, run_dir, max_functions, bpf_stats, journal_size");
	assert_string_equal(next->socket, "/a");
	assert_int_equal(next->journal_size, 100);
	assert_false(next->bpf_stats);
	assert_int_equal(next->max_functions, 2048);
	assert_int_equal(next->metrics.port, 80);
	assert_int_equal(next->mode, MODE_MANAGE);
	config_free(running);
	running = load("[agent]\nsocket = /a\njournal_size = 100\nrun_dir = /\n");
	config_keep_running(next, running, names, sizeof(names));
	assert_string_equal(names, "");
	config_free(running);
	config_free(next);
}

/* ---- values */

static void an_empty_file_observes_and_manages_nothing(void **state)
{
	struct config *c = load("");
	struct naming_result name;

	(void)state;
	assert_int_equal(c->mode, MODE_OBSERVE);
	assert_string_equal(c->path, path);
	assert_string_equal(c->socket, "/run/hearth/hearth.sock");
	assert_string_equal(c->socket_group, "hearth");
	assert_string_equal(c->run_dir, "/run/hearth");
	assert_string_equal(c->state_dir, "/var/lib/hearth");
	assert_string_equal(c->pin_dir, "/sys/fs/bpf/hearth");
	assert_int_equal(c->max_instances, 8192);
	assert_int_equal(c->max_functions, 2048);
	assert_false(c->bpf_stats);
	assert_string_equal(c->defaults.policy, "hybrid:240");
	assert_int_equal(c->defaults.cold_cost_ns, 10 * NSEC_PER_MIN);
	assert_int_equal(c->defaults.debounce_ns, NSEC_PER_SEC);
	assert_int_equal(c->defaults.idle_grace_ns, 5 * NSEC_PER_SEC);
	assert_int_equal(c->defaults.startup_grace_ns, 10 * NSEC_PER_SEC);
	assert_int_equal(c->defaults.source, SOURCE_AUTO);
	assert_int_equal(c->defaults.outbound, HOLD_FREEZE);
	assert_int_equal(c->defaults.unattributed, HOLD_FREEZE);
	assert_null(c->defaults.probe_nets);
	assert_null(c->defaults.probe_ua[0]);
	assert_false(naming_match(c->naming, "system.slice/a.service", &name));
	assert_non_null(config_warning(c));
	config_free(c);
}

static void every_form_of_line_is_understood(void **state)
{
	struct config *c = load("\xef\xbb\xbf[agent] ; of the node\n"
				"  mode = manage   ; act\n"
				"\tsocket=/tmp/a;b.sock\r\n"
				"bpf_stats : on\n"
				"; a comment\n"
				"   # another\n"
				"\n"
				" [policy]\n"
				"debounce = 0.5 ; half a minute\n"
				"probes = \n"
				"[ function   img-[ab]-* ]\n"
				"policy = fixed:2s");
	struct fn_settings s;

	(void)state;
	assert_int_equal(c->mode, MODE_MANAGE);
	assert_string_equal(c->socket, "/tmp/a;b.sock");
	assert_string_equal(c->run_dir, "/tmp");
	assert_true(c->bpf_stats);
	assert_int_equal(c->defaults.debounce_ns, 30 * NSEC_PER_SEC);
	assert_int_equal(config_settings(c, "img-b-1", &s), 0);
	assert_string_equal(s.policy, "fixed:2s");
	fn_settings_done(&s);
	assert_int_equal(config_settings(c, "img-c-1", &s), 0);
	assert_string_equal(s.policy, "hybrid:240");
	fn_settings_done(&s);
	config_free(c);
}

/* libinih itself would cut section names at 49 bytes and lines at 200. */
static void long_names_and_values_are_kept_whole(void **state)
{
	char text[1024], name[64];
	struct config *c;
	struct fn_settings s;

	(void)state;
	snprintf(name, sizeof(name), "%s",
		 "a-function-with-a-name-that-takes-up-more-than-49-bytes");
	snprintf(text, sizeof(text),
		 "[function %s]\nmin_warm = 3\n[rule r]\nregex = (?<function>x{1,5})%0300d/y\n",
		 name, 0);
	c = load(text);
	assert_int_equal(config_settings(c, name, &s), 0);
	assert_int_equal(s.min_warm, 3);
	fn_settings_done(&s);
	name[49] = '\0';
	assert_int_equal(config_settings(c, name, &s), 0);
	assert_int_equal(s.min_warm, 0);
	fn_settings_done(&s);
	config_free(c);
}

static void sections_override_in_file_order_only_what_they_name(void **state)
{
	struct config *c = load("[function shop/*]\n"
				"min_warm = 2\n"
				"policy = fixed:1m\n"
				"pin = yes\n"
				"[policy]\n"
				"min_warm = 1\n"
				"default = fixed:3m\n"
				"[function shop/cart]\n"
				"policy = fixed:2m\n"
				"pin = no\n");
	struct fn_settings s;

	(void)state;
	assert_int_equal(config_settings(c, "shop/cart", &s), 0);
	assert_string_equal(s.policy, "fixed:2m");
	assert_int_equal(s.min_warm, 2);
	assert_false(s.pin);
	fn_settings_done(&s);
	assert_int_equal(config_settings(c, "shop/pay/web", &s), 0);
	assert_string_equal(s.policy, "fixed:1m");
	assert_true(s.pin);
	fn_settings_done(&s);
	assert_int_equal(config_settings(c, "other", &s), 0);
	assert_string_equal(s.policy, "fixed:3m");
	assert_int_equal(s.min_warm, 1);
	fn_settings_done(&s);
	config_free(c);
}

static void probes_are_blocks_and_prefixes(void **state)
{
	static const uint8_t v4[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = 128};
	struct config *c = load("[policy]\n"
				"probes = 10.129.2.3/9 fd00::1/8\tua:kube-probe/ ::1 ua:GoogleHC/ "
				"0.0.0.0/0\n"
				"[function a]\n"
				"probes = 192.0.2.7\n"
				"[function b]\n"
				"probes =\n");
	const struct fn_settings *d = &c->defaults;
	struct fn_settings s;

	(void)state;
	assert_int_equal(d->n_probe_nets, 4);
	assert_int_equal(d->probe_nets[0].prefix, 96 + 9);
	assert_memory_equal(d->probe_nets[0].addr, v4, 16);
	assert_int_equal(d->probe_nets[1].prefix, 8);
	assert_int_equal(d->probe_nets[1].addr[0], 0xfd);
	assert_int_equal(d->probe_nets[1].addr[15], 0);
	assert_int_equal(d->probe_nets[2].prefix, 128);
	assert_int_equal(d->probe_nets[2].addr[15], 1);
	assert_int_equal(d->probe_nets[3].prefix, 96);
	assert_string_equal(d->probe_ua[0], "kube-probe/");
	assert_string_equal(d->probe_ua[1], "GoogleHC/");

	assert_int_equal(config_settings(c, "a", &s), 0);
	assert_int_equal(s.n_probe_nets, 1);
	assert_int_equal(s.probe_nets[0].prefix, 128);
	assert_null(s.probe_ua[0]);
	fn_settings_done(&s);
	assert_int_equal(config_settings(c, "b", &s), 0);
	assert_int_equal(s.n_probe_nets, 0);
	fn_settings_done(&s);
	assert_int_equal(config_settings(c, "c", &s), 0);
	assert_int_equal(s.n_probe_nets, 4);
	fn_settings_done(&s);
	config_free(c);
}

static void amounts_are_bytes_or_shares_of_a_whole(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* of 1 GiB */
	} cases[] = {
	    {"", 0},           {"0", 0},           {"4096", 4096},
	    {"64K", 64 << 10}, {"1.5M", 3u << 19}, {"2G", UINT64_C(2) << 30},
	    {"25%", 1 << 28},  {"0%", 0},          {"100%", 1 << 30},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[64];
		struct config *c;

		snprintf(text, sizeof(text), "[memory]\nbudget = %s\n", cases[i].text);
		c = load(text);
		assert_int_equal(config_amount_bytes(&c->memory.budget, 1 << 30), cases[i].bytes);
		config_free(c);
	}
}

static void memory_has_settings_of_its_own(void **state)
{
	struct config *c = load("[memory]\nranker = gdsf,min-residency=5\npressure = 2.5%\n"
				"swap = no\nswap_free_min = 5%\nswap_rate = 1M\n"
				"prewarm_rate = 2M\nprewarm_cpu = 0.25\n");

	(void)state;
	assert_string_equal(hearth_ranker_spec(c->memory.ranker), "gdsf,min-residency=5s");
	assert_float_equal(c->memory.pressure, 0.025, 1e-12);
	assert_false(c->memory.swap);
	assert_float_equal(c->memory.swap_free_min, 0.05, 1e-12);
	assert_int_equal(c->memory.swap_rate_bytes, 1 << 20);
	assert_int_equal(c->memory.prewarm_rate_bytes, 2 << 20);
	assert_float_equal(c->memory.prewarm_cpu, 0.25, 1e-12);
	config_free(c);
	c = load("[memory]\npressure = off\n");
	assert_true(c->memory.pressure == 0);
	assert_string_equal(hearth_ranker_spec(c->memory.ranker), "lru,min-residency=1m");
	assert_true(c->memory.swap);
	config_free(c);
}

static void tiers_and_commands_are_per_function(void **state)
{
	struct config *c = load("[policy]\npre_freeze = /bin/drain --now\n"
				"[function a]\ntiers = gone\twarm\npre_freeze =\n"
				"on_evict = /bin/save 'a b'\nhook_timeout = 30s\n");
	struct fn_settings s;

	(void)state;
	assert_int_equal(config_settings(c, "a", &s), 0);
	assert_int_equal(s.tiers, 1 << HEARTH_WARM | 1 << HEARTH_GONE);
	assert_string_equal(s.hook[HOOK_PRE_FREEZE], "");
	assert_string_equal(s.hook[HOOK_ON_EVICT], "/bin/save 'a b'");
	assert_int_equal(s.hook_timeout_ns, 30 * NSEC_PER_SEC);
	fn_settings_done(&s);
	assert_int_equal(config_settings(c, "b", &s), 0);
	assert_int_equal(s.tiers, 1 << HEARTH_WARM | 1 << HEARTH_FROZEN | 1 << HEARTH_RECLAIMED);
	assert_string_equal(s.hook[HOOK_PRE_FREEZE], "/bin/drain --now");
	assert_string_equal(s.hook[HOOK_POST_THAW], "");
	assert_int_equal(s.hook_timeout_ns, 5 * NSEC_PER_SEC);
	fn_settings_done(&s);
	config_free(c);
}

static int source_of(const struct config *c, const char *function, int rule_source)
{
	struct fn_settings s;
	int source;

	assert_int_equal(config_settings(c, function, &s), 0);
	source = config_source(&s, rule_source);
	fn_settings_done(&s);
	return source;
}

static void a_prior_is_read_with_the_file_that_names_it(void **state)
{
	static const struct {
		const char *table, *says[3];
	} wrong[] = {
	    {"minute,probability\n0,0.25\n30,2\n", {"[policy] prior: ", ".csv:3: ", "0 to 1"}},
	    {"minute,probability\n", {".csv:1: ", "no rows"}},
	    {"nonsense\n", {".csv:1: ", "accepted: minute,probability"}},
	    {NULL, {"[policy] prior: ", "No such file", "hearth fit --prior"}},
	};
	char table[64], text[128];
	struct config *c;

	(void)state;
	snprintf(table, sizeof(table), "%s.csv", path);
	snprintf(text, sizeof(text), "[policy]\nlearn_prior = yes\nprior = %s\n", table);
	assert_int_equal(write_atomic(table, LITERAL("minute,probability\n0,0.25\n30,0.5\n"), 0600),
			 0);
	c = load(text);
	assert_true(c->learn_prior);
	assert_int_equal(c->prior->n, 2);
	assert_int_equal(c->prior->cells[1].minute, 30);
	config_free(c);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		unlink(table);
		if (wrong[i].table)
			assert_int_equal(
			    write_atomic(table, wrong[i].table, strlen(wrong[i].table), 0600), 0);
		refused(text, strlen(text), 3, wrong[i].says, 3);
	}
	unlink(table);
	c = load("");
	assert_null(c->prior);
	config_free(c);
	refused(LITERAL("[policy]\nprior = table.csv\n"), 2, (const char *[]){"absolute path"}, 1);
	refused(LITERAL("[function a]\nprior = /table.csv\n"), 2,
		(const char *[]){"belongs to a [policy] section"}, 1);
	refused(LITERAL("[policy]\nprior = /\n"), 2, (const char *[]){"Is a directory"}, 1);
}

static void a_source_is_named_by_function_then_rule_then_policy(void **state)
{
	struct config *c = load("[policy]\nsource = request\n"
				"[rule a]\nmatch = a/{function}\nsource = exec\n"
				"[rule b]\nmatch = b/{function}\n"
				"[function f]\nsource = auto\n"
				"[function g]\npin = yes\n");
	struct naming_result a, b;

	(void)state;
	assert_true(naming_match(c->naming, "a/f", &a));
	assert_int_equal(a.source, SOURCE_EXEC);
	assert_true(naming_match(c->naming, "b/f", &b));
	assert_int_equal(b.source, -1);
	assert_int_equal(source_of(c, "f", a.source), SOURCE_AUTO);
	assert_int_equal(source_of(c, "g", a.source), SOURCE_EXEC);
	assert_int_equal(source_of(c, "g", b.source), SOURCE_REQUEST);
	assert_null(config_warning(c));
	config_free(c);
}

static void unix_sources_are_asked_for_anywhere(void **state)
{
	static const struct {
		const char *text;
		bool wants;
	} cases[] = {
	    {"[policy]\nsource = unix\n", true},
	    {"[function a]\npin = yes\nsource = unix\n", true},
	    {"[rule a]\nset = docker\nsource = unix\n", true},
	    {"[function a]\nsource = exec\n[rule a]\nset = docker\nsource = auto\n", false},
	    {"[function a]\nend = direction\n", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = load(cases[i].text);

		assert_int_equal(config_wants_unix(c), cases[i].wants);
		config_free(c);
	}
}

/* ---- the table of keys and the shipped file */

/* Finds "\n#KEY = VALUE\n" in the part of the file between two places. */
static const char *commented(const char *from, const char *to, const char *key)
{
	char line[128];
	const char *found;

	snprintf(line, sizeof(line), "\n#%s =", key);
	found = strstr(from, line);
	return found && found < to ? found + 1 : NULL;
}

static void the_shipped_file_has_every_key_at_its_default(void **state)
{
	static const struct {
		const char *section, *begin, *end;
	} parts[] = {
	    {"agent", "\n[agent]\n", "\n[memory]\n"}, {"memory", "\n[memory]\n", "\n[policy]\n"},
	    {"policy", "\n[policy]\n", "\n#[rule "},  {"rule", "\n#[rule demo]\n", "\n#[function "},
	    {"function", "\n#[function ", ""},
	};
	static char text[65536];
	size_t n, lines = 0;
	const struct config_key *keys = config_keys(&n);

	(void)state;
	if (read_file_at(AT_FDCWD, SHIPPED, text, sizeof(text)) < 0)
		fail_msg("run from the top of the tree: cannot read %s", SHIPPED);
	for (size_t i = 0; i < n; i++) {
		const char *begin = NULL, *end = NULL, *line;
		char expected[256], help[256];

		for (size_t p = 0; p < ARRAY_SIZE(parts); p++) {
			if (strcmp(keys[i].section, parts[p].section) != 0)
				continue;
			begin = strstr(text, parts[p].begin);
			end = begin && *parts[p].end ? strstr(begin, parts[p].end)
						     : text + strlen(text);
		}
		assert_non_null(begin);
		assert_non_null(end);
		line = commented(begin, end, keys[i].key);
		if (!line)
			fail_msg("[%s] %s is missing", keys[i].section, keys[i].key);
		snprintf(expected, sizeof(expected), "#%s =%s%s\n", keys[i].key,
			 *keys[i].fallback ? " " : "", keys[i].fallback);
		if ((strcmp(keys[i].section, "agent") == 0 ||
		     strcmp(keys[i].section, "memory") == 0 ||
		     strcmp(keys[i].section, "policy") == 0) &&
		    strncmp(line, expected, strlen(expected)) != 0)
			fail_msg("the line of [%s] %s is not %s", keys[i].section, keys[i].key,
				 expected);
		snprintf(help, sizeof(help), "\n# %s", keys[i].help);
		if (!strstr(begin, help))
			fail_msg("[%s] %s is not explained as in the table", keys[i].section,
				 keys[i].key);
	}
	/* And none that does not exist: its key lines are the table's and two examples. */
	for (const char *p = text; (p = strstr(p, "\n#")); p++)
		lines += p[2] >= 'a' && p[2] <= 'z';
	assert_int_equal(lines, n + 2);
}

static void metrics_have_an_address_or_none(void **state)
{
	const uint8_t v6[16] = {[15] = 1};
	struct config *c = load("");

	(void)state;
	assert_int_equal(c->metrics.port, 9465);
	assert_memory_equal(c->metrics.addr, "\x7f\0\0\1", 4);
	config_free(c);
	c = load("[agent]\nmetrics = [::1]:80\n");
	assert_true(c->metrics.v6 && c->metrics.port == 80);
	assert_memory_equal(c->metrics.addr, v6, sizeof(v6));
	config_free(c);
	c = load("[agent]\nmetrics = off\n");
	assert_int_equal(c->metrics.port, 0);
	config_free(c);
}

static void the_shipped_file_loads_as_it_is_and_uncommented(void **state)
{
	static char text[65536];
	struct config *c = NULL, *plain;
	char *rules, *out = text;

	(void)state;
	assert_true(read_file_at(AT_FDCWD, SHIPPED, text, sizeof(text)) > 0);
	assert_int_equal(config_load(SHIPPED, &c, err, sizeof(err)), 0);
	assert_int_equal(c->mode, MODE_OBSERVE);
	config_free(c);

	rules = strstr(text, "\n#[rule ");
	assert_non_null(rules);
	*rules = '\0';
	for (const char *p = text; *p; p++) { /* drop the # of "#key" */
		if (*p != '#' || p[1] < 'a' || p[1] > 'z')
			*out++ = *p;
	}
	*out = '\0';
	c = load(text);
	plain = load("");
	assert_string_equal(c->run_dir, plain->run_dir);
	assert_string_equal(c->defaults.policy, plain->defaults.policy);
	assert_memory_equal(&c->memory.budget, &plain->memory.budget, sizeof(c->memory.budget));
	assert_int_equal(c->defaults.tiers, plain->defaults.tiers);
	assert_int_equal(c->freeze_timeout_ns, plain->freeze_timeout_ns);
	config_free(plain);
	config_free(c);
}

static void every_key_is_documented_and_its_default_is_accepted(void **state)
{
	size_t n;
	const struct config_key *keys = config_keys(&n);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		char text[512];

		assert_true(strlen(keys[i].help) > 10);
		assert_true(strlen(keys[i].accepted) > 3);
		if (strcmp(keys[i].section, "agent") != 0 &&
		    strcmp(keys[i].section, "memory") != 0 &&
		    strcmp(keys[i].section, "policy") != 0)
			continue;
		snprintf(text, sizeof(text), "[%s]\n%s = %s\n", keys[i].section, keys[i].key,
			 keys[i].fallback);
		config_free(load(text));
		if (strcmp(keys[i].section, "policy") != 0 || keys[i].node ||
		    strcmp(keys[i].key, "default") == 0)
			continue;
		snprintf(text, sizeof(text), "[function x]\n%s = %s\n", keys[i].key,
			 keys[i].fallback);
		config_free(load(text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_mistake_names_line_and_key_and_what_is_accepted),
	    cmocka_unit_test(the_first_mistake_is_reported),
	    cmocka_unit_test(long_lines_and_nul_bytes_are_refused),
	    cmocka_unit_test(a_file_that_cannot_be_read_is_named),
	    cmocka_unit_test(a_failed_reload_leaves_the_running_config_alone),
	    cmocka_unit_test(a_reload_leaves_what_takes_a_restart_as_it_runs),
	    cmocka_unit_test(an_empty_file_observes_and_manages_nothing),
	    cmocka_unit_test(every_form_of_line_is_understood),
	    cmocka_unit_test(long_names_and_values_are_kept_whole),
	    cmocka_unit_test(sections_override_in_file_order_only_what_they_name),
	    cmocka_unit_test(probes_are_blocks_and_prefixes),
	    cmocka_unit_test(a_prior_is_read_with_the_file_that_names_it),
	    cmocka_unit_test(amounts_are_bytes_or_shares_of_a_whole),
	    cmocka_unit_test(memory_has_settings_of_its_own),
	    cmocka_unit_test(tiers_and_commands_are_per_function),
	    cmocka_unit_test(a_source_is_named_by_function_then_rule_then_policy),
	    cmocka_unit_test(unix_sources_are_asked_for_anywhere),
	    cmocka_unit_test(the_shipped_file_has_every_key_at_its_default),
	    cmocka_unit_test(metrics_have_an_address_or_none),
	    cmocka_unit_test(the_shipped_file_loads_as_it_is_and_uncommented),
	    cmocka_unit_test(every_key_is_documented_and_its_default_is_accepted),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
