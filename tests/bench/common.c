/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Shared parts of the benchmarks. Sockets are blocking and answers small, so
 * that what is measured is the path of a request and not this code.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "common.h"
#include "lib/cgroup.h"
#include "lib/clock.h"

#define WAIT_NS (5 * NSEC_PER_SEC)

static struct {
	int root;
	pid_t owner;
	struct bench_cgroup base;
} cgroups = {.root = -1, .base = {.fd = -1}};

static int remove_one(int fd, uint64_t id, const char *path, void *arg)
{
	(void)fd;
	(void)id;
	(void)arg;
	unlinkat(cgroups.root, path, AT_REMOVEDIR);
	return 0;
}

/* Parents are visited before their children, hence a pass per level of nesting. */
static void cgroups_end(void)
{
	uint64_t deadline = now_ns() + WAIT_NS;

	if (cgroups.root < 0 || getpid() != cgroups.owner)
		return;
	write_file_at(cgroups.base.fd, "cgroup.kill", "1");
	while (waitpid(-1, NULL, 0) > 0)
		;
	while (faccessat(cgroups.root, cgroups.base.path, F_OK, 0) == 0 && now_ns() < deadline)
		cgroup_walk(cgroups.root, cgroups.base.path, remove_one, NULL);
	cgroups.root = -1;
}

void die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double quantile(double *values, size_t n, double q)
{
	size_t at = (size_t)(q / 100 * (double)(n - 1) + 0.5);

	qsort(values, n, sizeof(*values), compare);
	return values[at];
}

void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("cannot pin to CPU %d: %s", cpu, strerror(errno));
}

static void end_by_signal(int number)
{
	exit(128 + number); /* runs cgroups_end; the benchmark holds no locks worth fearing */
}

static void open_cgroup(const char *path, struct bench_cgroup *out)
{
	if (mkdirat(cgroups.root, path, 0755) < 0 && errno != EEXIST)
		die("cannot make cgroup %s: %s", path, strerror(errno));
	snprintf(out->path, sizeof(out->path), "%s", path);
	out->fd = cgroup_open(cgroups.root, path);
	if (out->fd < 0 || cgroup_id_of_fd(out->fd, &out->id) < 0)
		die("cannot open cgroup %s", path);
}

int cgroups_begin(const char *name)
{
	char mount[PATH_MAX];
	int rc = cgroup_root_open("/proc", &cgroups.root, mount, sizeof(mount));

	if (rc < 0)
		die("no cgroup2 mount: %s", strerror(-rc));
	cgroups.owner = getpid();
	open_cgroup(name, &cgroups.base);
	atexit(cgroups_end);
	signal(SIGINT, end_by_signal);
	signal(SIGTERM, end_by_signal);
	return cgroups.root;
}

void cgroups_base(struct bench_cgroup *out)
{
	*out = cgroups.base;
}

void cgroup_make(const char *path, struct bench_cgroup *out)
{
	char full[sizeof(out->path)];

	if ((size_t)snprintf(full, sizeof(full), "%s/%s", cgroups.base.path, path) >= sizeof(full))
		die("cgroup name too long: %s", path);
	open_cgroup(full, out);
}

pid_t run_in(const struct bench_cgroup *cg, void (*fn)(void *), void *arg)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (write_file_at(cg->fd, "cgroup.procs", "0") < 0)
		_exit(1);
	fn(arg);
	_exit(0);
}

void freeze_and_wait(const struct bench_cgroup *cg)
{
	uint64_t deadline = now_ns() + WAIT_NS;

	if (cgroup_freeze_write(cg->fd, true) < 0)
		die("cannot freeze %s", cg->path);
	while (cgroup_read_frozen(cg->fd) != 1)
		if (now_ns() > deadline)
			die("%s does not freeze", cg->path);
}

void thaw(const struct bench_cgroup *cg)
{
	cgroup_freeze_write(cg->fd, false);
}

int listen_local(uint16_t *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(addr);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		die("listen: %s", strerror(errno));
	*port = ntohs(addr.sin_port);
	return fd;
}

static void serve_connection(int fd)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
				     "Content-Length: 6\r\n\r\nhello\n";
	char buf[2048];

	while (read(fd, buf, sizeof(buf)) > 0)
		if (write(fd, answer, sizeof(answer) - 1) < 0)
			return;
}

struct serving {
	int report; /* pipe that takes the ports */
	int n;
};

static void serve(const struct serving *s)
{
	int fd, one = 1;
	uint16_t port;

	fd = listen_local(&port);
	if (write(s->report, &port, sizeof(port)) != sizeof(port))
		return;
	for (;;) {
		int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

		if (c < 0)
			continue;
		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		serve_connection(c);
		close(c);
	}
}

static void serve_all(void *arg)
{
	const struct serving *s = arg;

	for (int i = 1; i < s->n; i++)
		if (fork() == 0)
			break;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	serve(s);
}

pid_t start_servers(const struct bench_cgroup *cg, uint16_t *ports, int n)
{
	struct serving s = {.n = n};
	int ends[2];
	pid_t pid;

	if (pipe(ends) < 0)
		die("pipe: %s", strerror(errno));
	s.report = ends[1];
	pid = run_in(cg, serve_all, &s);
	close(ends[1]);
	for (int i = 0; i < n; i++)
		if (read(ends[0], &ports[i], sizeof(ports[i])) != sizeof(ports[i]))
			die("the servers in %s did not start", cg->path);
	close(ends[0]);
	return pid;
}

int connect_local(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				   .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("connect: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

void request(int fd)
{
	static const char get[] = "GET /hello HTTP/1.1\r\nHost: localhost\r\n"
				  "User-Agent: hearth-bench\r\nAccept: */*\r\n\r\n";
	char buf[2048];
	ssize_t n;

	if (write(fd, get, sizeof(get) - 1) != (ssize_t)sizeof(get) - 1)
		die("request: %s", strerror(errno));
	n = read(fd, buf, sizeof(buf)); /* the answer is one segment */
	if (n < 6 || memcmp(buf + n - 6, "hello\n", 6) != 0)
		die("request: %s", n < 0 ? strerror(errno) : "bad answer");
}

void emit(const char *bench, const char *variant, const struct figure *figures, size_t n)
{
	printf("{\"bench\":\"%s\",\"variant\":\"%s\"", bench, variant);
	for (size_t i = 0; i < n; i++)
		printf(",\"%s\":%.6g", figures[i].name, figures[i].value);
	printf("}\n");
	fflush(stdout);
}
