/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Requests with messages: what went wrong, then what to do about it. */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/agent.h"
#include "lib/util.h"

#define TIMEOUT_MS 5000 /* an answer takes milliseconds; a stuck agent must not hang a script */

void agent_print_json(struct cli *cli, const json_t *answer)
{
	json_dumpf(answer, cli->out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	fputc('\n', cli->out);
}

void agent_describe(const struct cli *cli, int error, char *text, size_t size)
{
	switch (error) {
	case -ENOENT:
		snprintf(text, size, "hearthd is not running: there is no socket %s", cli->socket);
		break;
	case -ECONNREFUSED:
		snprintf(text, size, "hearthd is not running: nobody listens on %s", cli->socket);
		break;
	case -EACCES:
	case -EPERM:
		snprintf(text, size, "no permission to use %s", cli->socket);
		break;
	case -ETIMEDOUT:
		snprintf(text, size, "hearthd does not answer on %s", cli->socket);
		break;
	case -EPROTO:
		snprintf(text, size, "what answers on %s is not hearthd", cli->socket);
		break;
	case -EMSGSIZE:
		snprintf(text, size, "the answer of hearthd is too large");
		break;
	default:
		snprintf(text, size, "%s: %s", cli->socket, strerror(-error));
	}
}

static void hint_permission(struct cli *cli)
{
	struct stat st;
	struct group *group = stat(cli->socket, &st) ? NULL : getgrgid(st.st_gid);

	if (group && st.st_gid == 0)
		group = NULL; /* nobody should be told to join root's group */
	cli_hint(cli,
		 "run it with sudo, or join the group once: sudo usermod -aG %s \"$USER\", "
		 "then log in again",
		 group ? group->gr_name : "hearth");
}

static int transport_failed(struct cli *cli, int error)
{
	char text[512];

	agent_describe(cli, error, text, sizeof(text));
	cli_error(cli, "%s", text);
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		cli_hint(cli, "start it: sudo systemctl start hearthd, or "
			      "sudo hearthd --config /etc/hearth/hearth.conf");
		cli_hint(cli, "if it has another socket: hearth --socket PATH, or HEARTH_SOCKET");
		break;
	case -EACCES:
	case -EPERM:
		hint_permission(cli);
		break;
	case -ETIMEDOUT:
		cli_hint(cli, "look at it: systemctl status hearthd; journalctl -u hearthd");
		break;
	case -EPROTO:
		cli_hint(cli, "check the path: hearth --socket PATH, or HEARTH_SOCKET");
		break;
	}
	return CLI_FAILED;
}

static const char *string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void hint_accepted(struct cli *cli, const json_t *accepted)
{
	size_t i;
	json_t *item;

	if (json_is_string(accepted))
		cli_hint(cli, "accepted: %s", json_string_value(accepted));
	json_array_foreach (accepted, i, item)
		if (json_is_string(item))
			cli_hint(cli, "accepted: %s", json_string_value(item));
}

int agent_failed(struct cli *cli, int status, const json_t *answer)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = string(error, "code"), *message = string(error, "message");

	if (status < 0)
		return transport_failed(cli, status);
	if (!message)
		return cli_error(cli, "hearthd answered with HTTP status %d", status);
	cli_error(cli, "%s", message);
	if (string(error, "hint"))
		cli_hint(cli, "%s", string(error, "hint"));
	hint_accepted(cli, json_object_get(error, "accepted"));
	if (code && !strcmp(code, "not-allowed"))
		hint_permission(cli);
	if (code && !strcmp(code, "no-such-function"))
		cli_hint(cli, "all functions: hearth ls");
	return CLI_FAILED;
}

static int call(struct cli *cli, const char *method, const char *path, const json_t *body,
		json_t **out)
{
	struct client *client;
	json_t *answer = NULL;
	int status = client_new(cli->socket, TIMEOUT_MS, &client);

	if (status < 0)
		return cli_error(cli, "%s: %s", cli->socket, strerror(-status));
	status = client_call(client, method, path, body, &answer);
	client_free(client);
	if (status < 200 || status >= 300 || !answer) {
		agent_failed(cli, status >= 200 && status < 300 ? -EPROTO : status, answer);
		json_decref(answer);
		return CLI_FAILED;
	}
	*out = answer;
	return CLI_OK;
}

int agent_get(struct cli *cli, const char *path, json_t **out)
{
	return call(cli, "GET", path, NULL, out);
}

int agent_get_function(struct cli *cli, const char *name, json_t **out)
{
	_cleanup_free_ char *path = client_function_path(name, "");

	if (!path)
		return cli_error(cli, "%s", strerror(ENOMEM));
	return call(cli, "GET", path, NULL, out);
}

int agent_change(struct cli *cli, const char *method, const char *name, const char *suffix,
		 const json_t *body)
{
	_cleanup_free_ char *path = client_function_path(name, suffix);
	const char *message;
	json_t *answer;
	int status;

	if (!path)
		return cli_error(cli, "%s", strerror(ENOMEM));
	status = call(cli, method, path, body, &answer);
	if (status)
		return status;
	message = string(answer, "message");
	if (cli->json)
		agent_print_json(cli, answer);
	else
		fprintf(cli->out, "%s: %s\n", name, message ? message : "done");
	json_decref(answer);
	return CLI_OK;
}

int agent_get_events(struct cli *cli, const char *name, int limit, json_t **out)
{
	struct client_query query = {.function = name, .limit = limit, .since = -1};
	struct client *client;
	json_t *answer = NULL;
	int status = client_new(cli->socket, TIMEOUT_MS, &client);

	if (status < 0)
		return cli_error(cli, "%s: %s", cli->socket, strerror(-status));
	status = client_events(client, &query, &answer);
	client_free(client);
	if (status == 200) {
		*out = answer;
		return CLI_OK;
	}
	agent_failed(cli, status, answer);
	json_decref(answer);
	return CLI_FAILED;
}

int agent_stream(struct cli *cli, const struct client_query *query, client_line_fn fn, void *arg)
{
	struct client *client;
	json_t *answer = NULL;
	int status = client_new(cli->socket, TIMEOUT_MS, &client);

	if (status < 0)
		return cli_error(cli, "%s: %s", cli->socket, strerror(-status));
	status = client_stream(client, query, fn, arg, &answer);
	client_free(client);
	if (status != 200)
		agent_failed(cli, status, answer);
	json_decref(answer);
	return status == 200 ? CLI_OK : CLI_FAILED;
}
