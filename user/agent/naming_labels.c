/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Names of containers from the state folders of their runtimes: docker, podman,
 * containerd, CRI-O. No socket, no API server. What is missing, unreadable or
 * odd makes a container unknown, never an error: it is named by its id then.
 *
 * A Kubernetes function is NAMESPACE/WORKLOAD[/CONTAINER]: the pod's name
 * without what its controller appended, so that it outlives the pod; the
 * container is left out where it is called like the workload.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "agent/naming_sets.h"
#include "lib/util.h"

#define STATE_BYTES_MAX (16 << 20) /* podman's list grows with every container */
#define NAME_BYTES      768        /* namespace, pod and container at their longest */

/* ---- reading a state file */

static void cleanup_json_p(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(cleanup_json_p)

/* Open below fsroot: links and ".." in it cannot lead out. */
static int open_below(const char *fsroot, const char *path)
{
	struct open_how how = {
	    .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, /* a FIFO must not stop us */
	    .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_close_ int root = open(fsroot, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return -errno;
	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* NULL if it is not there or not JSON. */
static json_t *load_state(const char *fsroot, const char *format, const char *id)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), format, id);
	fd = open_below(fsroot, path);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > STATE_BYTES_MAX)
		return NULL;
	return json_loadfd(fd, 0, NULL);
}

/* A non-empty string member of an object, else NULL. */
static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && *text ? text : NULL;
}

static void short_id(char out[NAMING_TEXT], const char *id)
{
	snprintf(out, NAMING_TEXT, "%.*s", NAMING_SHORT_ID, id);
}

/* ---- docker */

static const char *const docker_files[] = {
    "var/lib/docker/containers/%s/config.v2.json",
    "var/snap/docker/common/var-lib-docker/containers/%s/config.v2.json",
};

/* A function that spans containers: our own label, then a service's. */
static bool docker_service(const json_t *labels, char *out, size_t size)
{
	const char *own = text_of(labels, "hearth.function");
	const char *swarm = text_of(labels, "com.docker.swarm.service.name");
	const char *project = text_of(labels, "com.docker.compose.project");
	const char *service = text_of(labels, "com.docker.compose.service");

	if (own || swarm)
		snprintf(out, size, "%s", own ?: swarm);
	else if (project && service)
		snprintf(out, size, "%s/%s", project, service);
	else
		return false;
	return true;
}

/* Whole nodes of test clusters run as containers. */
static bool is_cluster_node(const json_t *labels)
{
	static const char *const node_labels[] = {"io.x-k8s.kind.cluster", "k3d.cluster",
						  "created_by.minikube.sigs.k8s.io"};

	for (size_t i = 0; i < ARRAY_SIZE(node_labels); i++) {
		if (json_object_get(labels, node_labels[i]))
			return true;
	}
	return false;
}

enum naming_verdict naming_docker_labels(const char *fsroot, const char *id,
					 struct naming_result *out)
{
	_cleanup_json_ json_t *state = NULL;
	char service[NAME_BYTES];
	const json_t *labels;
	const char *name;

	for (size_t i = 0; !state && i < ARRAY_SIZE(docker_files); i++)
		state = load_state(fsroot, docker_files[i], id);
	labels = json_object_get(json_object_get(state, "Config"), "Labels");
	name = text_of(state, "Name");
	if (is_cluster_node(labels))
		return NAMING_REFUSED;
	if (name && *name == '/')
		name++;
	if (!name || !*name)
		return NAMING_UNKNOWN;
	if (docker_service(labels, service, sizeof(service))) {
		naming_text(out->function, service);
		naming_text(out->instance, name);
	} else {
		naming_text(out->function, name);
		short_id(out->instance, id);
	}
	return NAMING_NAMED;
}

/* ---- podman */

static const char *const podman_files[] = {
    "var/lib/containers/storage/overlay-containers/containers.json",
    "var/lib/containers/storage/overlay-containers/volatile-containers.json", /* --rm */
    "run/containers/storage/overlay-containers/containers.json",              /* transient store */
    "run/containers/storage/overlay-containers/volatile-containers.json",
};

/* The infra container of a pod: "<short pod id>-infra" from podman's own image. */
static bool is_podman_infra(const json_t *container, const char *name)
{
	const char *metadata = text_of(container, "metadata"); /* JSON in a string */

	if (metadata && strstr(metadata, "podman-pause"))
		return true;
	return strspn(name, "0123456789abcdef") == NAMING_SHORT_ID &&
	       strcmp(name + NAMING_SHORT_ID, "-infra") == 0;
}

static enum naming_verdict name_podman(const json_t *list, const char *id,
				       struct naming_result *out)
{
	const json_t *container;
	size_t i;

	json_array_foreach (list, i, container) {
		const char *found = text_of(container, "id");
		const char *name =
		    json_string_value(json_array_get(json_object_get(container, "names"), 0));

		if (!found || strcmp(found, id) != 0)
			continue;
		if (!name || !*name)
			return NAMING_UNKNOWN;
		if (is_podman_infra(container, name))
			return NAMING_REFUSED;
		naming_text(out->function, name);
		short_id(out->instance, id);
		return NAMING_NAMED;
	}
	return NAMING_UNKNOWN;
}

enum naming_verdict naming_podman_labels(const char *fsroot, const char *id,
					 struct naming_result *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(podman_files); i++) {
		_cleanup_json_ json_t *list = load_state(fsroot, podman_files[i], "");
		enum naming_verdict verdict = name_podman(list, id, out);

		if (verdict != NAMING_UNKNOWN)
			return verdict;
	}
	return NAMING_UNKNOWN;
}

/* ---- Kubernetes */

/* Where each runtime keeps what the kubelet told it. */
static const struct k8s_runtime {
	const char *file;
	const char *map[2]; /* way to the object that holds the keys */
	const char *type;
	const char *sandbox; /* value of type for a pod's pause container */
	const char *namespace;
	const char *pod;
	const char *container;
} k8s_runtimes[] = {
#define CONTAINERD(folder)                                                                         \
	{                                                                                          \
		folder "/io.containerd.runtime.v2.task/k8s.io/%s/config.json",                     \
		    {"annotations", NULL}, "io.kubernetes.cri.container-type", "sandbox",          \
		    "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name",       \
		    "io.kubernetes.cri.container-name"                                             \
	}
#define CRIO(folder)                                                                               \
	{                                                                                          \
		folder "/containers/storage/overlay-containers/%s/userdata/config.json",           \
		    {"annotations", NULL}, "io.kubernetes.cri-o.ContainerType", "sandbox",         \
		    "io.kubernetes.pod.namespace", "io.kubernetes.pod.name",                       \
		    "io.kubernetes.container.name"                                                 \
	}
    CONTAINERD("run/containerd"),
    CONTAINERD("run/k3s/containerd"),
    CONTAINERD("var/snap/microk8s/common/run/containerd"),
    CRIO("run"),
    CRIO("var/lib"),
    {"var/lib/docker/containers/%s/config.v2.json", /* cri-dockerd */
     {"Config", "Labels"},
     "io.kubernetes.docker.type",
     "podsandbox",
     "io.kubernetes.pod.namespace",
     "io.kubernetes.pod.name",
     "io.kubernetes.container.name"},
};

static bool is_cluster_namespace(const char *namespace)
{
	static const char *const names[] = {"kube-system", "kube-public", "kube-node-lease"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(namespace, names[i]) == 0)
			return true;
	}
	return false;
}

/* Cut "-WORD" off the end if WORD has min to max letters, all in `letters`. */
static bool cut_word(char *name, size_t min, size_t max, const char *letters)
{
	char *dash = strrchr(name, '-');
	size_t len = dash ? strlen(dash + 1) : 0;

	if (!dash || dash == name || len < min || len > max || strspn(dash + 1, letters) != len)
		return false;
	*dash = '\0';
	return true;
}

/*
 * A pod's name without what its controller appended: a StatefulSet an ordinal,
 * the others five random letters, behind a ReplicaSet's hash (ten decimal digits
 * in ten letters of their own) or a CronJob's time in minutes.
 */
static void cut_pod_suffix(char *pod)
{
	static const char random_letters[] = "bcdfghjklmnpqrstvwxz2456789";
	static const char digits[] = "0123456789";

	if (!cut_word(pod, 5, 5, random_letters))
		cut_word(pod, 1, 4, digits);
	else if (!cut_word(pod, 7, 10, "bcdf456789"))
		cut_word(pod, 8, 8, digits);
}

static enum naming_verdict name_pod(const struct k8s_runtime *r, const json_t *map,
				    struct naming_result *out)
{
	const char *type = text_of(map, r->type), *namespace = text_of(map, r->namespace);
	const char *pod = text_of(map, r->pod), *container = text_of(map, r->container);
	char workload[NAME_BYTES / 2], function[NAME_BYTES];

	if (type && strcmp(type, r->sandbox) == 0)
		return NAMING_REFUSED;
	if (namespace && is_cluster_namespace(namespace))
		return NAMING_REFUSED;
	if (!namespace || !pod || !container)
		return NAMING_UNKNOWN;
	snprintf(workload, sizeof(workload), "%s", pod);
	cut_pod_suffix(workload);
	if (strcmp(workload, container) == 0)
		snprintf(function, sizeof(function), "%s/%s", namespace, workload);
	else
		snprintf(function, sizeof(function), "%s/%s/%s", namespace, workload, container);
	naming_text(out->function, function);
	naming_text(out->instance, pod);
	return NAMING_NAMED;
}

enum naming_verdict naming_kubernetes_labels(const char *fsroot, const char *id,
					     struct naming_result *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(k8s_runtimes); i++) {
		const struct k8s_runtime *r = &k8s_runtimes[i];
		_cleanup_json_ json_t *state = load_state(fsroot, r->file, id);
		const json_t *map = json_object_get(state, r->map[0]);
		enum naming_verdict verdict;

		if (r->map[1])
			map = json_object_get(map, r->map[1]);
		verdict = name_pod(r, map, out);
		if (verdict != NAMING_UNKNOWN)
			return verdict;
	}
	return NAMING_UNKNOWN;
}
