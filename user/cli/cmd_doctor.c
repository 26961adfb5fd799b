/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hearth doctor: every finding with what to do about it; exit status 1 if one
 * says that hearthd cannot work here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/agent.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/format.h"
#include "cli/pen.h"
#include "lib/util.h"

#define TIMEOUT_MS 2000

static const struct {
	const char *word;
	enum style style;
} verdicts[] = {
    [VERDICT_OK] = {"ok", STYLE_GOOD},
    [VERDICT_WARN] = {"warn", STYLE_WARN},
    [VERDICT_FAIL] = {"fail", STYLE_BAD},
};

void doctor_add(struct doctor *d, const char *name, enum verdict verdict, const char *todo,
		const char *format, ...)
{
	struct finding *f = &d->findings[d->n];
	va_list args;

	if (d->n == DOCTOR_FINDINGS)
		return;
	d->n++;
	f->name = name;
	f->verdict = verdict;
	snprintf(f->todo, sizeof(f->todo), "%s", todo ? todo : "");
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

ssize_t doctor_read(const char *root, const char *path, char *buf, size_t size)
{
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	return read_file_at(AT_FDCWD, full, buf, size);
}

/* ---- the agent's own view */

/* A hearthd without a program that it needs does not run: those off are not wanted. */
static void check_programs(struct doctor *d, const json_t *hooks)
{
	size_t i, attached = 0;
	json_t *hook;

	json_array_foreach (hooks, i, hook) {
		if (field_is_true(hook, "attached"))
			attached++;
		else
			doctor_add(d, "program", VERDICT_OK, NULL, "%s is off: %s",
				   field_text(hook, "name"), field_text(hook, "why_not"));
	}
	doctor_add(d, "programs", VERDICT_OK, NULL, "%zu of %zu loaded and attached", attached,
		   json_array_size(hooks));
}

static void check_drops(struct doctor *d, const json_t *drops)
{
	size_t i;
	json_t *drop;

	json_array_foreach (drops, i, drop)
		if (field_number(drop, "count") > 0)
			doctor_add(d, "drops", VERDICT_WARN,
				   "counters stay right; raise max_instances if maps are full",
				   "%.0f records dropped: %s", field_number(drop, "count"),
				   field_text(drop, "reason"));
}

void doctor_agent(struct doctor *d, const json_t *status)
{
	const json_t *guard = json_object_get(status, "guard");
	const json_t *wake = json_object_get(status, "wake");

	doctor_add(d, "hearthd", VERDICT_OK, NULL, "%s runs in mode %s",
		   field_text(status, "version"), field_text(status, "mode"));
	check_programs(d, json_object_get(status, "hooks"));
	check_drops(d, json_object_get(status, "drops"));
	if (!field_is_true(guard, "alive"))
		doctor_add(d, "guard", VERDICT_WARN, "look at hearthd's log: journalctl -u hearthd",
			   "not watching: nothing is frozen until it is back");
	if (!field_is_true(wake, "fifo"))
		doctor_add(d, "wake thread", VERDICT_WARN,
			   "give hearthd CAP_SYS_NICE, and wake_priority above 0",
			   "not SCHED_FIFO: %s", field_text(wake, "why_not_fifo"));
}

/* Asks quietly: a hearthd that does not run is a finding, not an error. */
static void ask_agent(struct cli *cli, struct doctor *d)
{
	struct client *client = NULL;
	json_t *answer = NULL;
	char text[320];
	int status = client_new(cli->socket, TIMEOUT_MS, &client);

	if (!status)
		status = client_call(client, "GET", "/v1/status", NULL, &answer);
	client_free(client);
	if (status == 200 && answer) {
		doctor_agent(d, answer);
	} else {
		agent_describe(cli, status < 0 ? status : -EPROTO, text, sizeof(text));
		doctor_add(d, "hearthd", VERDICT_WARN,
			   status == -EACCES ? "run it with sudo"
					     : "start it: sudo systemctl start hearthd",
			   "%s", text);
	}
	json_decref(answer);
}

/* ---- output */

static void draw(struct pen *pen, const struct doctor *d, const size_t *count)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct finding *f = &d->findings[i];

		pen_cell(pen, verdicts[f->verdict].style, verdicts[f->verdict].word, 4, false);
		pen_cell(pen, STYLE_PLAIN, f->name, 16, false);
		pen_print(pen, STYLE_PLAIN, "%s\n", f->text);
		if (*f->todo)
			pen_print(pen, STYLE_BOLD, "%21s -> %s\n", "", f->todo);
	}
	pen_print(pen, STYLE_PLAIN, "%zu ok, %zu warnings, %zu failures\n", count[VERDICT_OK],
		  count[VERDICT_WARN], count[VERDICT_FAIL]);
}

static void print_json(struct cli *cli, const struct doctor *d, const size_t *count)
{
	json_t *list = json_array(), *all;

	for (size_t i = 0; i < d->n; i++) {
		const struct finding *f = &d->findings[i];

		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "name", f->name,
						      "verdict", verdicts[f->verdict].word, "text",
						      f->text, "todo", f->todo));
	}
	all = json_pack("{s:o, s:i, s:i, s:i}", "findings", list, "ok", (int)count[VERDICT_OK],
			"warn", (int)count[VERDICT_WARN], "fail", (int)count[VERDICT_FAIL]);
	agent_print_json(cli, all);
	json_decref(all);
}

int cmd_doctor(struct cli *cli)
{
	_cleanup_free_ struct doctor *d = calloc(1, sizeof(*d));
	size_t count[ARRAY_SIZE(verdicts)] = {0};
	struct file_pen pen = pen_open(cli);

	if (cli_option(cli) != CLI_DONE)
		return CLI_USAGE;
	if (!d)
		return cli_error(cli, "%s", strerror(ENOMEM));
	d->procroot = "/proc";
	d->sysroot = "/sys";
	doctor_kernel(d);
	doctor_hooks(d);
	doctor_cgroups(d);
	doctor_privileges(d);
	doctor_memory(d);
	ask_agent(cli, d);
	for (size_t i = 0; i < d->n; i++)
		count[d->findings[i].verdict]++;
	if (cli->json)
		print_json(cli, d, count);
	else
		draw(&pen.pen, d, count);
	return count[VERDICT_FAIL] ? CLI_FAILED : CLI_OK;
}
