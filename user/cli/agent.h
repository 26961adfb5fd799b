/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Talking to hearthd from a command: every failure is reported here, once, with
 * what to do next. Callers return the status they get.
 */
#ifndef HEARTH_CLI_AGENT_H
#define HEARTH_CLI_AGENT_H

#include "cli/cli.h"
#include "cli/client.h"

/* CLI_OK with *out set, or CLI_FAILED after the message. The caller owns *out. */
int agent_get(struct cli *cli, const char *path, json_t **out);
int agent_get_function(struct cli *cli, const char *name, json_t **out);

/* Change something; body may be NULL. Prints the agent's message, or its JSON. */
int agent_change(struct cli *cli, const char *method, const char *name, const char *suffix,
		 const json_t *body);

/* The newest decisions about a function as an array, oldest first. */
int agent_get_events(struct cli *cli, const char *name, int limit, json_t **out);

/* The journal line by line, see client_stream. */
int agent_stream(struct cli *cli, const struct client_query *query, client_line_fn fn, void *arg);

/* Report a result of client_call or client_stream that is not 2xx; CLI_FAILED. */
int agent_failed(struct cli *cli, int status, const json_t *answer);

/* One line for a transport error, as `top` shows while it waits for the agent. */
void agent_describe(const struct cli *cli, int error, char *text, size_t size);

/* The answer as --json prints it. */
void agent_print_json(struct cli *cli, const json_t *answer);

#endif
