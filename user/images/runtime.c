/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "images/runtime.h"
#include "lib/util.h"

/* What an instance does in an image, in a fresh interpreter, and with modules from where it has
 * them. */
static const char COLD[] =
    "import sys\n"
    "sys.path[:sys.path[0] == ''] = [sys.argv.pop(1)]\n"
    "import hearth_zygote\n"
    "hearth_zygote.run(sys.argv[1:], lambda why=None: why and print(why, file=sys.stderr))\n";

static const struct runtime runtimes[] = {
    {"python", "/usr/bin/python3", "PYTHONPATH", true},
    {"node", "/usr/bin/node", "NODE_PATH", false},
};

const struct runtime *runtime_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++)
		if (!strcmp(runtimes[i].name, name))
			return &runtimes[i];
	return NULL;
}

static size_t count(char *const *list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

/* first[n_first] and then rest; text[n_text] bytes behind them, for what first points to. */
static char **join(char *const *first, size_t n_first, char *const *rest, const char *text)
{
	size_t n_rest = count(rest), n = n_first + n_rest + 1, size = strlen(text) + 1;
	char **list = malloc(n * sizeof(*list) + size);

	if (!list)
		return NULL;
	if (n_first)
		memcpy(list, first, n_first * sizeof(*list));
	memcpy(list + n_first, rest, (n_rest + 1) * sizeof(*list));
	memcpy(list + n, text, size);
	for (size_t i = 0; i < n_first; i++)
		if (first[i] == text)
			list[i] = (char *)(list + n);
	return list;
}

char **runtime_spare_argv(const struct settings *all, const struct image_settings *image,
			  uint64_t heap_bytes)
{
	char heap[64], *first[] = {image->interpreter, heap, all->node_bootstrap, "--spare"};

	snprintf(heap, sizeof(heap), "--max-old-space-size=%" PRIu64, heap_bytes >> 20);
	if (heap_bytes)
		return join(first, ARRAY_SIZE(first), image->module, heap);
	first[1] = image->interpreter;
	return join(first + 1, ARRAY_SIZE(first) - 1, image->module, "");
}

char **runtime_cold_argv(const struct settings *all, const struct image_settings *image,
			 char *const *argv)
{
	char *node[] = {image->interpreter, all->node_bootstrap, "--run"};
	_cleanup_free_ char *folder = strdup(all->bootstrap);
	char *python[] = {image->interpreter, "-c", (char *)COLD, folder};

	if (!image->runtime->forks)
		return join(node, ARRAY_SIZE(node), argv, "");
	if (!folder)
		return NULL;
	*strrchr(folder, '/') = '\0';
	return join(python, ARRAY_SIZE(python), argv, folder);
}

static bool sets(const char *word, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(word, name, n) && word[n] == '=';
}

static const char *value_of(char *const *env, const char *name)
{
	while (*env && !sets(*env, name))
		env++;
	return *env ? *env + strlen(name) + 1 : NULL;
}

static void unset(char **env, const char *name)
{
	char **to = env;

	for (; *env; env++)
		if (!sets(*env, name))
			*to++ = *env;
	*to = NULL;
}

/* Is it the last of these? An instance may start others, with what it has been given. */
static bool ends_with(const char *list, const char *path)
{
	size_t n = strlen(list), m = strlen(path);

	return n >= m && !strcmp(list + n - m, path) && (n == m || list[n - m - 1] == ':');
}

char **runtime_env(const struct image_settings *image, char *const *env)
{
	static char *const plain[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", NULL};
	const char *name = image->runtime->path_variable, *theirs;
	_cleanup_free_ char *path = NULL;
	char **list;

	env = env ?: plain;
	theirs = value_of(env, name) ?: "";
	if (!*image->path || ends_with(theirs, image->path))
		return join(NULL, 0, env, "");
	if (asprintf(&path, "%s=%s%s%s", name, theirs, *theirs ? ":" : "", image->path) < 0) {
		path = NULL;
		return NULL;
	}
	list = join(&path, 1, env, path);
	if (list)
		unset(list + 1, name);
	return list;
}
