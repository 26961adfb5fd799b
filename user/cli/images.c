/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/images.h"
#include "lib/util.h"

#define ANSWER_MAX (200u << 10) /* as a message of that kind holds */
#define PATIENCE_S 10

static const char SILENT[] = "no answer within 10 s: hearth-images hangs, or is stopped";

const char *images_socket(void)
{
	const char *path = getenv("HEARTH_IMAGES_SOCKET");

	return path && *path ? path : IMAGES_SOCKET;
}

static int open_socket(struct cli *cli, const char *path, int *out)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return cli_error(cli, "socket: %s", strerror(errno));
	if (strlen(path) >= sizeof(address.sun_path))
		return cli_error(cli, "%s: the path of a socket has at most %zu bytes", path,
				 sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int err = errno;

		cli_error(cli, "%s: %s", path, err == EAGAIN ? SILENT : strerror(err));
		if (err == ENOENT || err == ECONNREFUSED)
			cli_hint(cli, "is hearth-images running? See hearth-images(8)");
		return CLI_FAILED;
	}
	*out = steal_fd(&fd);
	return CLI_OK;
}

static int send_text(int socket, const char *text, const int *fds, int n)
{
	struct iovec iov = {.iov_base = (char *)text, .iov_len = strlen(text)};
	char control[CMSG_SPACE(IMAGES_FDS * sizeof(int))] = {0};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int images_ask(struct cli *cli, const char *socket, json_t *request, const int *fds, int n,
	       int *out)
{
	_cleanup_free_ char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	_cleanup_close_ int fd = -1;
	int err;

	json_decref(request);
	if (!text)
		return cli_error(cli, "a request can be made of UTF-8 text only");
	if (open_socket(cli, socket, &fd))
		return CLI_FAILED;
	err = send_text(fd, text, fds, n);
	if (err)
		return cli_error(cli, "%s: %s", socket,
				 err == -EMSGSIZE ? "arguments and environment are too long"
						  : strerror(-err));
	*out = steal_fd(&fd);
	return CLI_OK;
}

void images_hurry(int conn)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};

	setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

int images_answer(struct cli *cli, int conn, json_t **out, int *fd)
{
	_cleanup_free_ char *text = malloc(ANSWER_MAX);
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {.iov_base = text, .iov_len = ANSWER_MAX};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	_cleanup_close_ int came = -1;
	ssize_t n;
	json_t *answer;

	do {
		n = text ? recvmsg(conn, &message, MSG_CMSG_CLOEXEC) : 0;
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return cli_error(cli, "%s", SILENT);
	if (n <= 0)
		return cli_error(cli, "hearth-images ended before it had answered");
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&came, CMSG_DATA(c), sizeof(int));
	answer = json_loadb(text, (size_t)n, 0, NULL);
	if (!json_is_object(answer)) {
		json_decref(answer);
		return cli_error(cli, "what answers is not hearth-images");
	}
	if (json_object_get(answer, "code")) {
		cli_error(cli, "%s", field_text(answer, "error"));
		json_decref(answer);
		return CLI_FAILED;
	}
	*out = answer;
	if (fd)
		*fd = steal_fd(&came);
	return CLI_OK;
}

static int list_part(struct cli *cli, const char *socket, bool retired, json_t *list, bool *more)
{
	json_t *answer;
	int conn;
	int status = images_ask(cli, socket,
				json_pack("{s:s s:b s:I}", "do", "ls", "retired", retired, "skip",
					  (json_int_t)json_array_size(list)),
				NULL, 0, &conn);

	if (status)
		return status;
	images_hurry(conn);
	status = images_answer(cli, conn, &answer, NULL);
	close(conn);
	if (status)
		return status;
	json_array_extend(list, json_object_get(answer, "images"));
	*more = field_is_true(answer, "more");
	json_decref(answer);
	return CLI_OK;
}

static int list_all(struct cli *cli, const char *socket, bool retired, json_t *list)
{
	bool more = true;
	int status = CLI_OK;

	while (more && !status)
		status = list_part(cli, socket, retired, list, &more);
	return status;
}

int images_list(struct cli *cli, const char *socket, json_t **out)
{
	json_t *images = json_array(), *retired = json_array();
	int status = list_all(cli, socket, false, images);

	if (!status)
		status = list_all(cli, socket, true, retired);
	if (status) {
		json_decref(images);
		json_decref(retired);
		return status;
	}
	*out = json_pack("{s:o s:o}", "images", images, "retired", retired);
	return CLI_OK;
}
