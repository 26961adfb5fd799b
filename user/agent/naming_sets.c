/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Ready-made sets: the cgroup layouts of systemd, docker, podman and the
 * Kubernetes runtimes, under the systemd and the cgroupfs driver. Only the
 * cgroup of a unit or container itself matches, nothing above or below it.
 */
#include <fnmatch.h>
#include <string.h>

#include "agent/naming_sets.h"
#include "lib/util.h"

#define POD_UID_LEN 36

/* Units that keep a host running. Nobody's function, whatever they serve. */
static const char *const plumbing[] = {
    /* of systemd and the base system */
    "systemd-*", "initrd-*", "dracut-*", "plymouth*", "emergency", "rescue", "dbus", "dbus-*",
    "polkit*", "user@*", "user-runtime-dir@*", "getty@*", "serial-getty@*", "console-getty",
    "container-getty@*", "modprobe@*", "kmod-*", "udev*", "lvm2-*", "dm-event", "multipathd",
    "mdmonitor", "fstrim", "accounts-daemon", "rtkit-daemon", "udisks2", "upower", "irqbalance",
    "tuned", "thermald", "acpid", "apparmor", "auditd", "rsyslog", "syslog-ng", "logrotate", "cron",
    "crond", "cronie", "anacron", "atd", "apt-daily*", "dnf-*", "packagekit", "snapd*",
    "unattended-upgrades", "fwupd*", "cloud-init*", "cloud-config", "cloud-final", "run-*",
    /* of the network */
    "ssh", "sshd", "ssh@*", "sshd@*", "sshd-*", "NetworkManager*", "networkd-dispatcher",
    "networking", "wpa_supplicant*", "ModemManager", "avahi-daemon", "bluetooth", "chrony",
    "chronyd", "ntp", "ntpd", "ntpsec", "openntpd", "firewalld", "nftables", "ufw", "fail2ban",
    "dnsmasq", "unbound", "rpcbind", "rpc-*", "nfs-*", "iscsid", "tailscaled", "wg-quick@*",
    "openvpn*",
    /* of virtual machines, containers and hearth */
    "qemu-guest-agent", "open-vm-tools", "vmtoolsd", "libvirtd", "libvirt-guests", "virtlogd",
    "virtlockd", "virtqemud", "virtnetworkd", "virtstoraged", "virtproxyd", "containerd", "docker",
    "podman", "podman-*", "crio", "cri-docker", "kubelet", "k3s", "k3s-agent", "rke2-*",
    "k0scontroller", "k0sworker", "snap.microk8s.*", "nomad", "consul", "faasd", "faasd-provider",
    "hearthd*", "hearth-guard*"};

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Length of s without the suffix, 0 if it does not end in it (or is nothing else). */
static size_t without(const char *s, const char *suffix)
{
	size_t len = strlen(s), cut = strlen(suffix);

	return len > cut && strcmp(s + len - cut, suffix) == 0 ? len - cut : 0;
}

/* ---- container ids */

/* The id in PREFIX + id + SUFFIX, NULL if name is not that. */
static const char *id_in(const char *name, const char *prefix, const char *suffix)
{
	const char *id;

	if (!starts_with(name, prefix))
		return NULL;
	id = name + strlen(prefix);
	if (strspn(id, "0123456789abcdef") != NAMING_ID_LEN)
		return NULL;
	return strcmp(id + NAMING_ID_LEN, suffix) == 0 ? id : NULL;
}

/* The id of the docker container that component i is the cgroup of, or NULL. */
static const char *docker_id(const struct naming_path *p, size_t i)
{
	const char *id = id_in(p->part[i], "docker-", ".scope");

	if (!id && i > 0 && strcmp(p->part[i - 1], "docker") == 0)
		id = id_in(p->part[i], "", "");
	return id;
}

static bool below_kubepods(const struct naming_path *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (strstr(p->part[i], "kubepods"))
			return true;
	}
	return false;
}

typedef enum naming_verdict (*labels_fn)(const char *fsroot, const char *id,
					 struct naming_result *out);

/* Name a container by what its runtime knows of it, else by its short id. */
static bool name_container(const char *id, const char *fsroot, labels_fn labels,
			   struct naming_result *out)
{
	enum naming_verdict verdict = NAMING_UNKNOWN;
	char whole[NAMING_ID_LEN + 1];

	memcpy(whole, id, NAMING_ID_LEN);
	whole[NAMING_ID_LEN] = '\0';
	if (fsroot)
		verdict = labels(fsroot, whole, out);
	if (verdict == NAMING_UNKNOWN) {
		snprintf(out->function, sizeof(out->function), "%.*s", NAMING_SHORT_ID, whole);
		snprintf(out->instance, sizeof(out->instance), "%.*s", NAMING_SHORT_ID, whole);
	}
	return verdict != NAMING_REFUSED;
}

/* ---- systemd: any.slice/.../NAME.service or NAME@INSTANCE.service */

static bool is_plumbing(const char *unit)
{
	for (size_t i = 0; i < ARRAY_SIZE(plumbing); i++) {
		if (fnmatch(plumbing[i], unit, FNM_NOESCAPE) == 0)
			return true;
	}
	return false;
}

static bool match_systemd(const struct naming_path *p, const char *fsroot,
			  struct naming_result *out)
{
	const char *last = p->part[p->n - 1];
	size_t len = without(last, ".service"), at;
	char unit[512];

	(void)fsroot;
	if (!len || len >= sizeof(unit) || strcmp(p->part[0], "user.slice") == 0)
		return false;
	for (size_t i = 0; i + 1 < p->n; i++) {
		if (!without(p->part[i], ".slice"))
			return false;
	}
	memcpy(unit, last, len);
	unit[len] = '\0';
	if (is_plumbing(unit))
		return false;
	at = strcspn(unit, "@");
	if (at == 0 || (unit[at] && !unit[at + 1]))
		return false; /* no name, or a template and not a unit */
	naming_text(out->instance, unit[at] ? unit + at + 1 : unit);
	unit[at] = '\0';
	naming_text(out->function, unit);
	return true;
}

/* ---- docker: docker-ID.scope or docker/ID */

static bool match_docker(const struct naming_path *p, const char *fsroot, struct naming_result *out)
{
	const char *id = docker_id(p, p->n - 1);

	if (!id || below_kubepods(p))
		return false;
	/* A container in a container is its outer one's business. */
	for (size_t i = 0; i + 1 < p->n; i++) {
		if (docker_id(p, i))
			return false;
	}
	return name_container(id, fsroot, naming_docker_labels, out);
}

/* ---- podman: libpod-ID.scope, libpod_parent/libpod-ID, UNIT/libpod-payload-ID */

static const char *podman_id(const struct naming_path *p, size_t i)
{
	const char *id = id_in(p->part[i], "libpod-", ".scope");

	if (!id)
		id = id_in(p->part[i], "libpod-payload-", "");
	if (!id && i > 0 && strcmp(p->part[0], "libpod_parent") == 0)
		id = id_in(p->part[i], "libpod-", "");
	return id;
}

static bool match_podman(const struct naming_path *p, const char *fsroot, struct naming_result *out)
{
	const char *id = podman_id(p, p->n - 1);

	if (!id)
		return false;
	for (size_t i = 0; i + 1 < p->n; i++) {
		if (podman_id(p, i))
			return false;
	}
	return name_container(id, fsroot, naming_podman_labels, out);
}

/* ---- Kubernetes: [prefix/]kubepods/[qos/]pod, then the container */

/*
 * A pod's uid, with dashes or (in slice names) underscores. Static pods have 32
 * hex digits instead: parts of the control plane, which are never functions.
 */
static bool is_pod_uid(const char *s, size_t len)
{
	if (len != POD_UID_LEN)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (!strchr(dash ? "-_" : "0123456789abcdef", s[i]))
			return false;
	}
	return true;
}

/* "[kubelet-]kubepods[-qos]-podUID.slice", the first len bytes of name. */
static bool is_pod_slice(const char *name, size_t len)
{
	static const char suffix[] = ".slice";
	size_t tail = POD_UID_LEN + sizeof(suffix) - 1;
	const char *kubepods = strstr(name, "kubepods-"), *uid;

	if (!kubepods || len < tail + strlen("kubepods-pod"))
		return false;
	uid = name + len - tail;
	return kubepods < uid && memcmp(uid - 4, "-pod", 4) == 0 && is_pod_uid(uid, POD_UID_LEN) &&
	       memcmp(uid + POD_UID_LEN, suffix, sizeof(suffix) - 1) == 0;
}

/* kubepods/podUID or kubepods/QOS/podUID, ending in component i. */
static bool is_pod_folder(const struct naming_path *p, size_t i)
{
	const char *name = p->part[i], *above = i > 0 ? p->part[i - 1] : "";

	if (!starts_with(name, "pod") || !is_pod_uid(name + 3, strlen(name + 3)))
		return false;
	if (i > 1 && (strcmp(above, "burstable") == 0 || strcmp(above, "besteffort") == 0))
		above = p->part[i - 2];
	return strcmp(above, "kubepods") == 0;
}

static const char *pod_container_id(const struct naming_path *p)
{
	static const char *const runtimes[] = {"cri-containerd", "crio", "docker"};
	const char *last = p->part[p->n - 1], *colon = strchr(last, ':');
	const char *pod = p->n > 1 ? p->part[p->n - 2] : "";
	bool slice = is_pod_slice(pod, strlen(pod));
	bool folder = p->n > 1 && is_pod_folder(p, p->n - 2);
	/* runc without its systemd driver takes SLICE:RUNTIME:ID for a folder name */
	bool joined = colon && is_pod_slice(last, (size_t)(colon - last));
	const char *id = folder ? id_in(last, "", "") : NULL;

	for (size_t i = 0; !id && i < ARRAY_SIZE(runtimes); i++) {
		char prefix[32];

		snprintf(prefix, sizeof(prefix), "%s%s", runtimes[i], joined ? ":" : "-");
		if (joined)
			id = id_in(colon + 1, prefix, "");
		else if (slice)
			id = id_in(last, prefix, ".scope");
		else if (folder)
			id = id_in(last, prefix, "");
	}
	return id;
}

static bool match_kubernetes(const struct naming_path *p, const char *fsroot,
			     struct naming_result *out)
{
	const char *id = pod_container_id(p);

	return id && name_container(id, fsroot, naming_kubernetes_labels, out);
}

static const struct naming_set sets[] = {
    {"systemd", match_systemd},
    {"docker", match_docker},
    {"podman", match_podman},
    {"kubernetes", match_kubernetes},
};

const struct naming_set *naming_set_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		if (strcmp(sets[i].name, name) == 0)
			return &sets[i];
	}
	return NULL;
}
