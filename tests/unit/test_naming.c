/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Naming rules on cgroup paths as the runtimes make them, under both cgroup
 * drivers and nested, on near misses that must not match, and with state
 * folders of docker, podman, containerd and CRI-O made here.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/naming.h"
#include "agent/naming_sets.h"
#include "lib/util.h"

/* Container ids: their first letter is all that differs, so names tell them apart. */
#define ID(x)    #x "4cc818a75eb691c5efb9c943b0c3a26ec8e0a05acb60bef4717315e65d67177"
#define SHORT(x) #x "4cc818a75eb"
#define UID      "1858680e-b044-4fd5-9dd4-f137e30e2180"
#define UID_     "1858680e_b044_4fd5_9dd4_f137e30e2180"
#define STATIC   "4c9ae0f5b1d2e3a4958677869504a3b2"
#define KUBELET  "kubelet.slice/kubelet-kubepods.slice/"
#define KIND     "system.slice/docker-" ID(f) ".scope/"

static struct naming *with_set(const char *set)
{
	struct naming *n = naming_new();
	char err[256] = "";

	assert_non_null(n);
	assert_int_equal(naming_set_root(n, ""), 0);
	if (naming_add_set(n, set, set, -1, err, sizeof(err)) != 0)
		fail_msg("%s: %s", set, err);
	return n;
}

struct sample {
	const char *set;
	const char *path;
	const char *function; /* NULL: must not match */
	const char *instance;
};

static const struct sample samples[] = {
    /* systemd */
    {"systemd", "system.slice/resize.service", "resize", "resize"},
    {"systemd", "system.slice/system-resize.slice/resize@1.service", "resize", "1"},
    {"systemd", "functions.slice/functions-img.slice/thumb@eu-1.service", "thumb", "eu-1"},
    {"systemd", "functions.slice/thumb.service", "thumb", "thumb"},
    {"systemd", "thumb.service", "thumb", "thumb"},
    {"systemd", "system.slice/my\\x2dfn.service", "my\\x2dfn", "my\\x2dfn"},
    {"systemd", "system.slice/a@b@c.service", "a", "b@c"},
    {"systemd", "system.slice/systemd-journald.service", NULL, NULL},
    {"systemd", "system.slice/systemd-udevd.service", NULL, NULL},
    {"systemd", "system.slice/dbus.service", NULL, NULL},
    {"systemd", "system.slice/dbus-broker.service", NULL, NULL},
    {"systemd", "system.slice/ssh.service", NULL, NULL},
    {"systemd", "system.slice/system-getty.slice/getty@tty1.service", NULL, NULL},
    {"systemd", "system.slice/containerd.service", NULL, NULL},
    {"systemd", "system.slice/docker.service", NULL, NULL},
    {"systemd", "system.slice/hearthd.service", NULL, NULL},
    {"systemd", "system.slice/run-u12.service", NULL, NULL},
    {"systemd", "init.scope", NULL, NULL},
    {"systemd", "system.slice", NULL, NULL},
    {"systemd", "functions.slice/x.scope", NULL, NULL},
    {"systemd", "system.slice/.service", NULL, NULL},
    {"systemd", "system.slice/resize@.service", NULL, NULL},
    {"systemd", "system.slice/@1.service", NULL, NULL},
    {"systemd", "system.slice/resize.service/inner", NULL, NULL},
    {"systemd", "system.slice/resize.service/inner.service", NULL, NULL},
    {"systemd", "user.slice/user-1000.slice/user@1000.service", NULL, NULL},
    {"systemd", "user.slice/user-1000.slice/user@1000.service/app.slice/a.service", NULL, NULL},
    {"systemd", "docker/" ID(a), NULL, NULL},
    {"systemd", KIND "system.slice/resize.service", NULL, NULL},

    /* docker */
    {"docker", "system.slice/docker-" ID(a) ".scope", SHORT(a), SHORT(a)},
    {"docker", "fn.slice/fn-img.slice/docker-" ID(a) ".scope", SHORT(a), SHORT(a)},
    {"docker", "docker/" ID(a), SHORT(a), SHORT(a)},
    {"docker", "user.slice/user-1000.slice/user@1000.service/user.slice/docker-" ID(a) ".scope",
     SHORT(a), SHORT(a)},
    {"docker", "docker", NULL, NULL},
    {"docker", "docker/buildkit", NULL, NULL},
    {"docker", "docker/buildkit/" ID(a), NULL, NULL},
    {"docker", "podman/" ID(a), NULL, NULL},
    {"docker", "docker/" ID(A), NULL, NULL},
    {"docker", "docker/" ID(a) "0", NULL, NULL},
    {"docker", "docker/" SHORT(a), NULL, NULL},
    {"docker", "docker/" ID(a) "/init", NULL, NULL},
    {"docker", "docker/" ID(a) "/docker/" ID(b), NULL, NULL},
    {"docker", KIND "docker/" ID(b), NULL, NULL},
    {"docker", "system.slice/docker-" ID(a) ".scope/system.slice/a.service", NULL, NULL},
    {"docker", "system.slice/docker-" ID(a) ".service", NULL, NULL},
    {"docker", "system.slice/docker.service", NULL, NULL},
    {"docker", "system.slice/xdocker-" ID(a) ".scope", NULL, NULL},
    {"docker", "system.slice/docker-" ID(a) ".scope.d", NULL, NULL},
    {"docker",
     "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
     ".slice/docker-" ID(a) ".scope",
     NULL, NULL},

    /* podman */
    {"podman", "machine.slice/libpod-" ID(a) ".scope", SHORT(a), SHORT(a)},
    {"podman", "machine.slice/machine-libpod_pod_" ID(b) ".slice/libpod-" ID(a) ".scope", SHORT(a),
     SHORT(a)},
    {"podman", "libpod_parent/libpod-" ID(a), SHORT(a), SHORT(a)},
    {"podman", "libpod_parent/" ID(b) "/libpod-" ID(a), SHORT(a), SHORT(a)},
    {"podman", "system.slice/nginx.service/libpod-payload-" ID(a), SHORT(a), SHORT(a)},
    {"podman", "user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID(a) ".scope",
     SHORT(a), SHORT(a)},
    {"podman",
     "user.slice/user-1000.slice/user@1000.service/app.slice/r.service/libpod-payload-" ID(a),
     SHORT(a), SHORT(a)},
    {"podman", "machine.slice/libpod-conmon-" ID(a) ".scope", NULL, NULL},
    {"podman", "machine.slice/libpod-" ID(a) ".scope/container", NULL, NULL},
    {"podman", "libpod_parent/libpod-" ID(a) "/container", NULL, NULL},
    {"podman", "libpod_parent/conmon", NULL, NULL},
    {"podman", "libpod_parent", NULL, NULL},
    {"podman", "system.slice/nginx.service/runtime", NULL, NULL},
    {"podman", "machine.slice/libpod-" SHORT(a) ".scope", NULL, NULL},
    {"podman", "machine.slice/libpod-" ID(a), NULL, NULL},
    {"podman",
     "machine.slice/libpod-" ID(a) ".scope/container/machine.slice/libpod-" ID(b) ".scope", NULL,
     NULL},
    {"podman", "machine.slice/machine-libpod_pod_" ID(b) ".slice", NULL, NULL},
    {"podman", "machine.slice/machine-qemu.scope", NULL, NULL},

    /* Kubernetes, systemd driver */
    {"kubernetes",
     "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
     ".slice/cri-containerd-" ID(a) ".scope",
     SHORT(a), SHORT(a)},
    {"kubernetes",
     "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_
     ".slice/crio-" ID(a) ".scope",
     SHORT(a), SHORT(a)},
    {"kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" ID(a) ".scope",
     SHORT(a), SHORT(a)},
    {"kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice/docker-" ID(a) ".scope", SHORT(a),
     SHORT(a)},
    {"kubernetes",
     KIND KUBELET "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" UID_
		  ".slice/cri-containerd-" ID(a) ".scope",
     SHORT(a), SHORT(a)},
    {"kubernetes",
     "system.slice/containerd.service/kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID(a),
     SHORT(a), SHORT(a)},
    /* Kubernetes, cgroupfs driver */
    {"kubernetes", "kubepods/burstable/pod" UID "/" ID(a), SHORT(a), SHORT(a)},
    {"kubernetes", "kubepods/besteffort/pod" UID "/" ID(a), SHORT(a), SHORT(a)},
    {"kubernetes", "kubepods/pod" UID "/" ID(a), SHORT(a), SHORT(a)},
    {"kubernetes", "kubepods/burstable/pod" UID "/crio-" ID(a), SHORT(a), SHORT(a)},
    {"kubernetes", KIND "kubelet/kubepods/burstable/pod" UID "/" ID(a), SHORT(a), SHORT(a)},
    {"kubernetes", "docker/" ID(f) "/kubelet/kubepods/pod" UID "/" ID(a), SHORT(a), SHORT(a)},
    /* near misses */
    {"kubernetes", "kubepods/burstable/pod" UID, NULL, NULL},
    {"kubernetes", "kubepods/burstable/pod" UID "/" ID(a) "/inner", NULL, NULL},
    {"kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID(a) ".scope/container", NULL,
     NULL},
    {"kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice/crio-conmon-" ID(a) ".scope", NULL,
     NULL},
    {"kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice", NULL, NULL},
    {"kubernetes", "kubepods/burstable/pod" STATIC "/" ID(a), NULL, NULL},
    {"kubernetes",
     "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" STATIC
     ".slice/cri-containerd-" ID(a) ".scope",
     NULL, NULL},
    {"kubernetes", "kubepods/other/pod" UID "/" ID(a), NULL, NULL},
    {"kubernetes", "burstable/pod" UID "/" ID(a), NULL, NULL},
    {"kubernetes", "pod" UID "/" ID(a), NULL, NULL},
    {"kubernetes", "kubepods/pod" UID "/" SHORT(a), NULL, NULL},
    {"kubernetes", "kubepods/pod" UID "/" ID(a) ".scope", NULL, NULL},
    {"kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice/" ID(a), NULL, NULL},
    {"kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice/foo-" ID(a) ".scope", NULL, NULL},
    {"kubernetes", "x.slice/x-pod" UID_ ".slice/cri-containerd-" ID(a) ".scope", NULL, NULL},
    {"kubernetes", "kubepods.slice/kubepods-podUID.slice/cri-containerd-" ID(a) ".scope", NULL,
     NULL},
    {"kubernetes", "kubepods-burstable-pod" UID_ ".slice:cri-containerd:" SHORT(a), NULL, NULL},
    {"kubernetes", "kubepods-burstable-pod" UID_ ".slice:runc:" ID(a), NULL, NULL},
    {"kubernetes", ":cri-containerd:" ID(a), NULL, NULL},
    {"kubernetes", "system.slice/docker-" ID(a) ".scope", NULL, NULL},
    {"kubernetes", "kubepods", NULL, NULL},
};

static void check_sample(const struct sample *s)
{
	struct naming *n = with_set(s->set);
	struct naming_result out;
	bool matches = naming_match(n, s->path, &out);

	if (matches != !!s->function)
		fail_msg("%s %s %s", s->set, matches ? "matches" : "does not match", s->path);
	if (matches) {
		if (strcmp(out.function, s->function) != 0 ||
		    strcmp(out.instance, s->instance) != 0)
			fail_msg("%s names %s %s / %s", s->set, s->path, out.function,
				 out.instance);
		assert_string_equal(out.rule, s->set);
		assert_int_equal(out.source, -1);
	}
	naming_free(n);
}

static void sets_know_their_paths_and_no_others(void **state)
{
	(void)state;
	assert_true(ARRAY_SIZE(samples) >= 80);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		check_sample(&samples[i]);
}

/* Every sample of a container set belongs to at most one of them. */
static void sets_do_not_claim_each_others_containers(void **state)
{
	static const char *const sets[] = {"systemd", "docker", "podman", "kubernetes"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		int claims = 0;

		for (size_t j = 0; j < ARRAY_SIZE(sets); j++) {
			struct naming *n = with_set(sets[j]);
			struct naming_result out;

			claims += naming_match(n, samples[i].path, &out);
			naming_free(n);
		}
		if (claims > 1)
			fail_msg("%d sets match %s", claims, samples[i].path);
	}
}

static void unclean_paths_match_nothing(void **state)
{
	static const char *const paths[] = {
	    "", "/", "/docker/" ID(a), "docker//" ID(a), "docker/" ID(a) "/",
	};
	static char deep[PATH_MAX + 64];
	struct naming *n = with_set("docker");
	struct naming_result out;
	char err[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		assert_false(naming_match(n, paths[i], &out));
	assert_int_equal(naming_add_glob(n, "all", "**", -1, err, sizeof(err)), 0);
	assert_false(naming_match(n, "", &out));
	assert_false(naming_match(n, "/x", &out));
	memset(deep, 'x', sizeof(deep) - 1);
	assert_false(naming_match(n, deep, &out));
	/* Deeper than any set looks, but a glob still sees it. */
	for (size_t i = 0; i < 200; i++)
		memcpy(deep + 2 * i, "a/", 2);
	strcpy(deep + 400, "docker/" ID(a));
	assert_true(naming_match(n, deep, &out));
	assert_string_equal(out.rule, "all");
	naming_free(n);
}

/* ---- globs and regular expressions */

static const struct {
	const char *kind;
	const char *pattern;
	const char *path;
	const char *function; /* NULL: must not match */
	const char *instance;
} patterns[] = {
    {"glob", "hearth-demo/{function}/{instance}", "hearth-demo/resize/1", "resize", "1"},
    {"glob", "hearth-demo/{function}/{instance}", "hearth-demo/resize", NULL, NULL},
    {"glob", "hearth-demo/{function}/{instance}", "hearth-demo/resize/1/x", NULL, NULL},
    {"glob", "hearth-demo/{function}/{instance}", "x/hearth-demo/resize/1", NULL, NULL},
    {"glob", "openfaas-fn/{function}", "openfaas-fn/figlet", "figlet", "figlet"},
    {"glob", "{instance}/{function}", "i/f", "f", "i"},
    {"glob", "fn-{function}@{instance}.slice", "fn-a-b@2@3.slice", "a-b@2", "3"},
    {"glob", "{function}-{instance}", "img-resize-7", "img-resize", "7"},
    {"glob", "{function}", "a/b", NULL, NULL},
    {"glob", "a/*/{function}", "a/x/f", "f", "f"},
    {"glob", "a/*/{function}", "a/x/y/f", NULL, NULL},
    {"glob", "a/x*z/{function}", "a/xz/f", "f", "f"},
    {"glob", "a/?/{function}", "a/xy/f", NULL, NULL},
    {"glob", "a/?/{function}", "a/x/f", "f", "f"},
    {"glob", "a/**/{function}", "a/f", "f", "f"},
    {"glob", "a/**/{function}", "a/x/y/z/f", "f", "f"},
    {"glob", "a/**/{function}", "ab/f", NULL, NULL},
    {"glob", "**/{function}.fn", "f.fn", "f", "f.fn"},
    {"glob", "**/{function}.fn", "a/b/f.fn", "f", "f.fn"},
    {"glob", "{function}/**", "f", "f", "f"},
    {"glob", "{function}/**", "f/a/b", "f", "b"},
    {"glob", "**/a/**/{instance}", "x/a/y/i", "rule", "i"},
    {"glob", "api.slice/api.service", "api.slice/api.service", "rule", "api.service"},
    {"glob", "api.slice/api.service", "api.slice/apixservice", NULL, NULL},
    {"glob", "a+(b)|c$^[d]/{function}", "a+(b)|c$^[d]/f", "f", "f"},
    {"glob", "a\\x2db/{function}", "a\\x2db/f", "f", "f"},
    {"glob", "a}/{function}", "a}/f", "f", "f"},
    {"regex", "fn/(?<function>[a-z]+)-(?<instance>[0-9]+)", "fn/abc-12", "abc", "12"},
    {"regex", "fn/(?<function>[a-z]+)-(?<instance>[0-9]+)", "fn/abc-12x", NULL, NULL},
    {"regex", "fn/(?<function>[a-z]+)-(?<instance>[0-9]+)", "x/fn/abc-12", NULL, NULL},
    {"regex", "(a|b)/((x)|(y))/(?<function>.+)", "b/y/f", "f", "f"},
    {"regex", "(a|b)/((x)|(y))/(?<function>.+)", "c/y/f", NULL, NULL},
    {"regex", "a|b/(?<function>f)", "a", NULL, NULL},
    {"regex", "a|b/(?<function>f)", "b/f", "f", "f"},
    {"regex", "[]()]/(?<function>[^/]+)", ")/f", "f", "f"},
    {"regex", "[^](]/(?<function>[[:alpha:]()]+)", "x/f(", "f(", "f("},
    {"regex", "a\\(/(?<function>f)", "a(/f", "f", "f"},
    {"regex", "^a/(?<function>f)$", "a/f", "f", "f"},
    {"regex", "a/(?<function>f*)/b", "a//b", NULL, NULL},
    {"regex", "svc/[0-9]+", "svc/12", "rule", "12"},
};

static void patterns_match_whole_paths_and_capture(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct naming *n = naming_new();
		struct naming_result out;
		char err[256] = "";
		int rc =
		    strcmp(patterns[i].kind, "glob") == 0
			? naming_add_glob(n, "rule", patterns[i].pattern, 2, err, sizeof(err))
			: naming_add_regex(n, "rule", patterns[i].pattern, 2, err, sizeof(err));
		bool matches;

		if (rc != 0)
			fail_msg("%s: %s", patterns[i].pattern, err);
		matches = naming_match(n, patterns[i].path, &out);
		if (matches != !!patterns[i].function)
			fail_msg("%s %s %s", patterns[i].pattern,
				 matches ? "matches" : "does not match", patterns[i].path);
		if (matches) {
			assert_string_equal(out.function, patterns[i].function);
			assert_string_equal(out.instance, patterns[i].instance);
			assert_int_equal(out.source, 2);
		}
		naming_free(n);
	}
}

static void patterns_with_too_many_groups_are_refused(void **state)
{
	struct naming *n = naming_new();
	char text[9000], err[256];

	(void)state;
	text[0] = '\0';
	for (int i = 0; i < 40; i++)
		strcat(text, "(a)");
	assert_int_equal(naming_add_regex(n, "r", text, -1, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "groups"));
	text[0] = '\0';
	for (int i = 0; i < 33; i++)
		strcat(text, "x/**/");
	strcat(text, "{function}/{instance}");
	assert_int_equal(naming_add_glob(n, "r", text, -1, err, sizeof(err)), -EINVAL);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(naming_add_glob(n, "r", text, -1, err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "is too long");
	assert_int_equal(naming_count(n), 0);
	naming_free(n);
}

static void the_first_rule_that_matches_wins(void **state)
{
	struct naming *n = naming_new();
	struct naming_result out;
	char err[256];

	(void)state;
	assert_int_equal(naming_add_glob(n, "one", "a/{function}", 1, err, sizeof(err)), 0);
	assert_int_equal(naming_add_glob(n, "two", "*/{function}", 2, err, sizeof(err)), 0);
	assert_int_equal(naming_count(n), 2);
	assert_true(naming_match(n, "a/f", &out));
	assert_string_equal(out.rule, "one");
	assert_int_equal(out.source, 1);
	assert_true(naming_match(n, "b/f", &out));
	assert_string_equal(out.rule, "two");
	assert_true(naming_has_source(n, 2));
	assert_false(naming_has_source(n, 3));
	naming_free(n);
}

static void the_attach_folder_holds_all_that_rules_can_match(void **state)
{
	static const struct {
		const char *globs[3];
		const char *regex;
		const char *set;
		const char *folder;
	} cases[] = {
	    {{NULL}, NULL, NULL, ""},
	    {{"demo/{function}/{instance}"}, NULL, NULL, "demo"},
	    {{"demo/a/x-{function}"}, NULL, NULL, "demo/a"},
	    {{"demo/a/api.service"}, NULL, NULL, "demo/a"},
	    {{"api.service"}, NULL, NULL, ""},
	    {{"**/{function}"}, NULL, NULL, ""},
	    {{"demo/a/{function}", "demo/b/{function}"}, NULL, NULL, "demo"},
	    {{"demo/a/{function}", "demo/ab/{function}"}, NULL, NULL, "demo"},
	    {{"demo/{function}", "demo/a/{function}"}, NULL, NULL, "demo"},
	    {{"demo/{function}", "other/{function}"}, NULL, NULL, ""},
	    {{NULL}, "demo/a/(?<function>.*)", NULL, "demo/a"},
	    {{NULL}, "^demo\\.x/a-.*", NULL, "demo.x"},
	    {{NULL}, "demo/a|b/c", NULL, ""},
	    {{NULL}, "demo/?a", NULL, ""},
	    {{NULL}, "a/demo\\w/b/c", NULL, "a"},
	    {{NULL}, "de*mo/x/y", NULL, ""},
	    {{NULL}, "(demo/)?x", NULL, ""},
	    {{"demo/{function}"}, NULL, "docker", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct naming *n = naming_new();
		char err[256], folder[64] = "?";

		for (size_t g = 0; g < 3 && cases[i].globs[g]; g++)
			assert_int_equal(
			    naming_add_glob(n, "g", cases[i].globs[g], -1, err, sizeof(err)), 0);
		if (cases[i].regex)
			assert_int_equal(
			    naming_add_regex(n, "r", cases[i].regex, -1, err, sizeof(err)), 0);
		if (cases[i].set)
			assert_int_equal(naming_add_set(n, "s", cases[i].set, -1, err, sizeof(err)),
					 0);
		naming_common_ancestor(n, folder, sizeof(folder));
		if (strcmp(folder, cases[i].folder) != 0)
			fail_msg("case %zu: \"%s\" instead of \"%s\"", i, folder, cases[i].folder);
		naming_free(n);
	}
}

static void odd_bytes_in_names_become_printable_and_stay_distinct(void **state)
{
	static const struct {
		const char *name, *text;
	} cases[] = {
	    {"plain-name_1.2:x@y+z", "plain-name_1.2:x@y+z"},
	    {"sp ace\ttab\nnl\033[2J", "sp\\x20ace\\x09tab\\x0anl\\x1b[2J"},
	    {"caf\xc3\xa9", "caf\xc3\xa9"},
	    {"\xe2\x98\x83\xf0\x9f\x94\xa5", "\xe2\x98\x83\xf0\x9f\x94\xa5"},
	    {"bad\xff\xc3", "bad\\xff\\xc3"},
	    {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong slash */
	    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* surrogate */
	    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
	    {"\xc2\x9b", "\\xc2\\x9b"},                   /* C1 control: a terminal's CSI */
	    {"\x7f", "\\x7f"},
	};
	char out[NAMING_TEXT], other[NAMING_TEXT], longer[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		naming_text(out, cases[i].name);
		assert_string_equal(out, cases[i].text);
	}
	memset(longer, 'n', sizeof(longer));
	longer[127] = '\0';
	naming_text(out, longer);
	assert_string_equal(out, longer);
	longer[127] = 'n';
	longer[298] = '\0';
	naming_text(out, longer);
	longer[297] = 'm';
	naming_text(other, longer);
	assert_int_equal(strlen(out), 127);
	assert_int_equal(out[118], '~');
	assert_memory_equal(out, other, 118);
	assert_string_not_equal(out, other);
	/* A cut never splits a character or an escape. */
	for (size_t shift = 0; shift < 8; shift++) {
		char text[400] = "xxxxxxxx";

		text[shift] = '\0';
		for (int i = 0; i < 60; i++)
			strcat(text, i % 2 ? "\xe2\x98\x83" : "\x01");
		naming_text(out, text);
		naming_text(other, out); /* printable and valid: unchanged */
		assert_string_equal(out, other);
		assert_true(strlen(out) < NAMING_TEXT);
	}
}

/* ---- state folders */

static char base[64];

static int make_base(void **state)
{
	(void)state;
	snprintf(base, sizeof(base), "/tmp/hearth-test-XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static int remove_base(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command);
}

static void make_folders(char *path)
{
	for (char *p = path + strlen(base) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(path, 0755) < 0)
			assert_int_equal(errno, EEXIST);
		*p = '/';
	}
}

static void put(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", base, name);
	make_folders(path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void named(const char *set, const char *path, const char *function, const char *instance)
{
	struct naming *n = with_set(set);
	struct naming_result out = {.function = "(no match)"};
	bool matches;

	assert_int_equal(naming_set_root(n, base), 0);
	matches = naming_match(n, path, &out);
	if (matches != !!function)
		fail_msg("%s %s %s as %s", set, matches ? "matches" : "refuses", path,
			 out.function);
	if (function) {
		assert_string_equal(out.function, function);
		assert_string_equal(out.instance, instance);
	}
	naming_free(n);
}

#define DOCKER(id)     "var/lib/docker/containers/" id "/config.v2.json"
#define DOCKER_PATH(x) "system.slice/docker-" ID(x) ".scope"

static void docker_containers_are_named_after_service_or_name(void **state)
{
	(void)state;
	put(DOCKER(ID(a)), "{\"Name\": \"/resize\", \"Config\": {\"Labels\": {}}}");
	put(DOCKER(ID(b)), "{\"Name\": \"/shop-cart-2\", \"Config\": {\"Labels\": {"
			   "\"com.docker.compose.project\": \"shop\","
			   "\"com.docker.compose.service\": \"cart\"}}}");
	put(DOCKER(ID(c)), "{\"Name\": \"/pay.1.xyz\", \"Config\": {\"Labels\": {"
			   "\"com.docker.swarm.service.name\": \"pay\"}}}");
	put(DOCKER(ID(d)), "{\"Name\": \"/wsk0_7_guest\", \"Config\": {\"Labels\": {"
			   "\"com.docker.compose.project\": \"p\", \"hearth.function\": \"hello\","
			   "\"com.docker.compose.service\": \"s\"}}}");
	put(DOCKER(ID(e)), "{\"Name\": \"/kind-control-plane\", \"Config\": {\"Labels\": {"
			   "\"io.x-k8s.kind.cluster\": \"kind\"}}}");
	put(DOCKER(ID(1)), "{\"Name\": \"/plain\", \"Config\": {\"Labels\": null}}");
	put(DOCKER(ID(2)), "{\"Name\": \"/odd\", \"Config\": {\"Labels\": {"
			   "\"hearth.function\": \"a b\\u001b[2J\"}}}");
	named("docker", DOCKER_PATH(a), "resize", SHORT(a));
	named("docker", DOCKER_PATH(b), "shop/cart", "shop-cart-2");
	named("docker", "docker/" ID(c), "pay", "pay.1.xyz");
	named("docker", DOCKER_PATH(d), "hello", "wsk0_7_guest");
	named("docker", DOCKER_PATH(e), NULL, NULL);
	named("docker", DOCKER_PATH(1), "plain", SHORT(1));
	named("docker", DOCKER_PATH(2), "a\\x20b\\x1b[2J", "odd");
	named("docker", DOCKER_PATH(3), SHORT(3), SHORT(3));
}

static void damaged_state_names_a_container_by_its_id(void **state)
{
	char path[PATH_MAX], target[PATH_MAX];

	(void)state;
	put(DOCKER(ID(a)), "{\"Name\": \"/resi");
	put(DOCKER(ID(b)), "[1, 2]");
	put(DOCKER(ID(c)), "{\"Name\": 7, \"Config\": \"x\"}");
	put(DOCKER(ID(d)), "{\"Name\": \"/\"}");
	put(DOCKER(ID(e)), "{\"Name\": \"/nul\\u0000byte\"}");
	put(DOCKER(ID(f)), "");
	put("var/lib/docker/containers/" ID(1) "/config.v2.json/folder", "");
	snprintf(path, sizeof(path), "%s/" DOCKER(ID(2)), base);
	make_folders(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	named("docker", DOCKER_PATH(a), SHORT(a), SHORT(a));
	named("docker", DOCKER_PATH(b), SHORT(b), SHORT(b));
	named("docker", DOCKER_PATH(c), SHORT(c), SHORT(c));
	named("docker", DOCKER_PATH(d), SHORT(d), SHORT(d));
	named("docker", DOCKER_PATH(e), SHORT(e), SHORT(e));
	named("docker", DOCKER_PATH(f), SHORT(f), SHORT(f));
	named("docker", DOCKER_PATH(1), SHORT(1), SHORT(1));
	named("docker", DOCKER_PATH(2), SHORT(2), SHORT(2));

	/* A link out of the root does not lead out, one inside it does its work. */
	put("outside/config.v2.json", "{\"Name\": \"/linked\"}");
	snprintf(path, sizeof(path), "%s/" DOCKER(ID(3)), base);
	make_folders(path);
	snprintf(target, sizeof(target), "%s/outside/config.v2.json", base);
	assert_int_equal(symlink(target, path), 0);
	named("docker", DOCKER_PATH(3), SHORT(3), SHORT(3));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/outside/config.v2.json", path), 0);
	named("docker", DOCKER_PATH(3), "linked", SHORT(3));
}

static void podman_containers_are_named_from_either_list(void **state)
{
#define PODMAN "var/lib/containers/storage/overlay-containers/"
	(void)state;
	put(PODMAN "containers.json",
	    "[{\"id\": \"" ID(
		a) "\", \"names\": [\"resize\"], \"metadata\": \"{}\"},"
		   " {\"id\": \"" ID(b) "\", \"names\": [\"" SHORT(
		       c) "-infra\"]},"
			  " {\"id\": \"" ID(
			      d) "\", \"names\": [\"pod-x\"],"
				 "  \"metadata\": "
				 "\"{\\\"image-name\\\":\\\"localhost/podman-pause:4.3.1-0\\\"}\"},"
				 " {\"id\": \"" ID(e) "\", \"names\": []}, {\"id\": 3}, 7]");
	put(PODMAN "volatile-containers.json", "[{\"id\": \"" ID(f) "\", \"names\": [\"once\"]}]");
	named("podman", "machine.slice/libpod-" ID(a) ".scope", "resize", SHORT(a));
	named("podman", "libpod_parent/libpod-" ID(a), "resize", SHORT(a));
	named("podman", "machine.slice/libpod-" ID(b) ".scope", NULL, NULL);
	named("podman", "machine.slice/libpod-" ID(d) ".scope", NULL, NULL);
	named("podman", "machine.slice/libpod-" ID(e) ".scope", SHORT(e), SHORT(e));
	named("podman", "system.slice/o.service/libpod-payload-" ID(f), "once", SHORT(f));
	named("podman", "machine.slice/libpod-" ID(1) ".scope", SHORT(1), SHORT(1));
}

static void put_containerd(const char *id, const char *type, const char *ns, const char *pod,
			   const char *container)
{
	char name[PATH_MAX], text[1024];

	snprintf(name, sizeof(name),
		 "run/containerd/io.containerd.runtime.v2.task/k8s.io/%s/config.json", id);
	snprintf(text, sizeof(text),
		 "{\"ociVersion\": \"1.1.0\", \"annotations\": {"
		 "\"io.kubernetes.cri.container-type\": \"%s\","
		 "\"io.kubernetes.cri.sandbox-namespace\": \"%s\","
		 "\"io.kubernetes.cri.sandbox-name\": \"%s\","
		 "\"io.kubernetes.cri.container-name\": \"%s\"}}",
		 type, ns, pod, container);
	put(name, text);
}

static void kubernetes_functions_outlive_their_pods(void **state)
{
	static const struct {
		const char *pod, *container, *function;
	} cases[] = {
	    {"resize-5d78c9869d-4nqf2", "resize", "fn/resize"},
	    {"resize-5d78c9869d-wx7zc", "resize", "fn/resize"},
	    {"resize-8f6b4-4nqf2", "resize", "fn/resize-8f6b4/resize"}, /* too short a hash */
	    {"hello-00001-deployment-7c9d8bc4f5-k2lmz", "user-container",
	     "fn/hello-00001-deployment/user-container"},
	    {"hello-00001-deployment-7c9d8bc4f5-k2lmz", "queue-proxy",
	     "fn/hello-00001-deployment/queue-proxy"},
	    {"node-exporter-5q796", "exporter", "fn/node-exporter/exporter"}, /* DaemonSet */
	    {"db-0", "db", "fn/db"},                                          /* StatefulSet */
	    {"db-12", "proxy", "fn/db/proxy"},
	    {"nightly-28123456-x7k2p", "job", "fn/nightly/job"}, /* CronJob */
	    {"bare", "bare", "fn/bare"},
	    {"my-redis", "redis", "fn/my-redis/redis"}, /* a word, not random letters */
	    {"img-queue", "img-queue", "fn/img-queue"},
	    {"-4nqf2", "x", "fn/-4nqf2/x"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_containerd(ID(a), "container", "fn", cases[i].pod, cases[i].container);
		named("kubernetes", "kubepods/pod" UID "/" ID(a), cases[i].function, cases[i].pod);
	}
}

static void pause_containers_and_the_control_plane_are_no_functions(void **state)
{
	(void)state;
	put_containerd(ID(a), "sandbox", "fn", "resize-5d78c9869d-4nqf2", "");
	put_containerd(ID(b), "container", "kube-system", "coredns-5d78c9869d-4nqf2", "coredns");
	put_containerd(ID(c), "container", "", "", "");
	named("kubernetes", "kubepods/pod" UID "/" ID(a), NULL, NULL);
	named("kubernetes", "kubepods/pod" UID "/" ID(b), NULL, NULL);
	named("kubernetes", "kubepods/pod" UID "/" ID(c), SHORT(c), SHORT(c));
}

static void every_kubernetes_runtime_is_looked_up(void **state)
{
	static const char crio[] =
	    "{\"annotations\": {\"io.kubernetes.cri-o.ContainerType\": \"%s\","
	    "\"io.kubernetes.pod.namespace\": \"fn\","
	    "\"io.kubernetes.pod.name\": \"resize-5d78c9869d-4nqf2\","
	    "\"io.kubernetes.container.name\": \"resize\"}}";
	static const char docker[] = "{\"Name\": \"/k8s_x\", \"Config\": {\"Labels\": {"
				     "\"io.kubernetes.docker.type\": \"%s\","
				     "\"io.kubernetes.pod.namespace\": \"fn\","
				     "\"io.kubernetes.pod.name\": \"resize-5d78c9869d-4nqf2\","
				     "\"io.kubernetes.container.name\": \"resize\"}}}";
	char text[1024];

	(void)state;
	snprintf(text, sizeof(text), crio, "container");
	put("run/containers/storage/overlay-containers/" ID(a) "/userdata/config.json", text);
	put("var/lib/containers/storage/overlay-containers/" ID(b) "/userdata/config.json", text);
	snprintf(text, sizeof(text), crio, "sandbox");
	put("run/containers/storage/overlay-containers/" ID(c) "/userdata/config.json", text);
	snprintf(text, sizeof(text), docker, "container");
	put(DOCKER(ID(d)), text);
	snprintf(text, sizeof(text), docker, "podsandbox");
	put(DOCKER(ID(e)), text);
	put("run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" ID(f) "/config.json",
	    "{\"annotations\": {\"io.kubernetes.cri.container-type\": \"container\","
	    "\"io.kubernetes.cri.sandbox-namespace\": \"fn\","
	    "\"io.kubernetes.cri.sandbox-name\": \"resize-0\","
	    "\"io.kubernetes.cri.container-name\": \"resize\"}}");
	named("kubernetes", "kubepods.slice/kubepods-pod" UID_ ".slice/crio-" ID(a) ".scope",
	      "fn/resize", "resize-5d78c9869d-4nqf2");
	named("kubernetes", "kubepods/pod" UID "/crio-" ID(b), "fn/resize",
	      "resize-5d78c9869d-4nqf2");
	named("kubernetes", "kubepods/pod" UID "/crio-" ID(c), NULL, NULL);
	named("kubernetes", "kubepods/pod" UID "/" ID(d), "fn/resize", "resize-5d78c9869d-4nqf2");
	named("kubernetes", "kubepods/pod" UID "/" ID(e), NULL, NULL);
	named("kubernetes", "kubepods/pod" UID "/" ID(f), "fn/resize", "resize-0");
}

static void the_longest_kubernetes_names_fit_and_differ(void **state)
{
	struct naming *n = with_set("kubernetes");
	struct naming_result one, two;
	char ns[64], pod[254];

	(void)state;
	memset(ns, 'n', 63);
	ns[63] = '\0';
	memset(pod, 'p', 253);
	pod[253] = '\0';
	assert_int_equal(naming_set_root(n, base), 0);
	put_containerd(ID(a), "container", ns, pod, "one");
	put_containerd(ID(b), "container", ns, pod, "two");
	assert_true(naming_match(n, "kubepods/pod" UID "/" ID(a), &one));
	assert_true(naming_match(n, "kubepods/pod" UID "/" ID(b), &two));
	assert_string_not_equal(one.function, two.function);
	assert_int_equal(strlen(one.function), NAMING_TEXT - 1);
	naming_free(n);
}

#define WITH_BASE(test) cmocka_unit_test_setup_teardown(test, make_base, remove_base)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sets_know_their_paths_and_no_others),
	    cmocka_unit_test(sets_do_not_claim_each_others_containers),
	    cmocka_unit_test(unclean_paths_match_nothing),
	    cmocka_unit_test(patterns_match_whole_paths_and_capture),
	    cmocka_unit_test(patterns_with_too_many_groups_are_refused),
	    cmocka_unit_test(the_first_rule_that_matches_wins),
	    cmocka_unit_test(the_attach_folder_holds_all_that_rules_can_match),
	    cmocka_unit_test(odd_bytes_in_names_become_printable_and_stay_distinct),
	    WITH_BASE(docker_containers_are_named_after_service_or_name),
	    WITH_BASE(damaged_state_names_a_container_by_its_id),
	    WITH_BASE(podman_containers_are_named_from_either_list),
	    WITH_BASE(kubernetes_functions_outlive_their_pods),
	    WITH_BASE(pause_containers_and_the_control_plane_are_no_functions),
	    WITH_BASE(every_kubernetes_runtime_is_looked_up),
	    WITH_BASE(the_longest_kubernetes_names_fit_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
